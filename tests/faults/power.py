"""The power of the servers' machines goes, by seed: all that was not synced to a disk is lost.

Redis (`appendfsync always`) and Qdrant have a file system each that drops then what was not
synced, as Linux does. What was acknowledged must be there all the same: at random moments, and just
when all has settled. That the same finds a loss where there is one is shown by workers that don't
wait for Qdrant (`wait=false`), and by a Redis that syncs when it likes: each must lose something,
and an audit must name what Qdrant lost, exactly, and bring it back.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults import bench
from tests.faults.bench import DOIS, Bench
from tests.faults.children import HASTY
from tests.faults.lossy import LossyDisk, NoSuchDisk, lose_power, lossy_disk
from tests.support.deployment import ALIAS
from tests.support.servers import RedisServer, wait_until
from worker import bootstrap

ROUNDS = 60
HASTY_SEED = 7  # the first one whose workers don't wait
SERVERS = ("redis", "qdrant")
NAMES = (("redis",), ("qdrant",), SERVERS)  # whose power goes at once
LONGEST_S = 2.5
TRIES = 5


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """One round by its seed; it tells whose power went when."""
    with ExitStack() as stack:
        try:
            disks = {n: stack.enter_context(lossy_disk(folder / n)) for n in SERVERS}
        except NoSuchDisk as why:
            words = f"skipped, no disk can be made to lose what it was not told to keep: {why}"
            yield lambda _: [words]
            return
        redis = RedisServer(folder / "redis")
        made = stack.enter_context(bench.opened(folder, redis=redis))
        yield Power(made, disks).round


class Power:
    """Rounds on one deployment."""

    def __init__(self, made: Bench, disks: dict[str, LossyDisk]) -> None:
        self._bench = made
        self._disks = disks

    def round(self, seed: int) -> list[str]:
        """Let the power go; AssertionError where something is not as it must be."""
        chosen = random.Random(f"power {seed}")
        names = NAMES[seed % len(NAMES)]
        kinds = (self._busy, self._settled, self._hasty)
        return kinds[seed // len(NAMES) % len(kinds)](seed, chosen, names)

    def _busy(self, seed: int, chosen: random.Random, names: tuple[str, ...]) -> list[str]:
        """At a random moment, while lists are worked off and deleted and titles looked up."""
        paths = [self._bench.draw(chosen, name=f"{seed}-{number}.jsonl") for number in range(2)]
        commands = [("queue", str(path)) for path in paths]
        commands.append(("delete", *chosen.sample(DOIS, 12)))
        children = [self._bench.start("producer", *words) for words in commands]
        resolving = self._bench.start("resolver", "metadata", "resolve")
        time.sleep(chosen.uniform(0, LONGEST_S))  # the seed's moment
        self._lose(names)
        for words, child in zip(commands, children, strict=True):
            self._bench.done("producer", *words, child=child)
        self._bench.resolved(resolving)
        self._bench.check()
        return [f"{' and '.join(names)}, at a random moment"]

    def _settled(self, seed: int, chosen: random.Random, names: tuple[str, ...]) -> list[str]:
        """Just when all that was queued and deleted has settled."""
        self._work_off(seed, chosen, deleting=True)
        self._lose(names)
        self._bench.check()
        return [f"{' and '.join(names)}, when all had settled"]

    def _hasty(self, seed: int, chosen: random.Random, names: tuple[str, ...]) -> list[str]:
        """Somebody doesn't wait until a disk has it."""
        if names == ("redis",):
            return self._hasty_redis(seed, chosen)
        return self._hasty_workers(seed, chosen)

    def _hasty_workers(self, seed: int, chosen: random.Random) -> list[str]:
        """Workers that don't wait until Qdrant has what they write: something must be lost."""
        for worker in list(self._bench.workers):
            self._bench.replace(worker, **{HASTY: "1"}).ready()
        lost = 0
        for number in range(TRIES):
            self._work_off(seed + 1000 * number, chosen)
            there = self._there()
            self._lose(("qdrant",))
            lost = self._repaired(there)
            if lost:
                break
        assert lost, f"nothing was lost without waiting, in {TRIES} tries: this finds no loss"
        for worker in list(self._bench.workers):
            self._bench.replace(worker)
        self._bench.check()
        return ["record lost with wait=false, as it must; named and repaired by the audit"] * lost

    def _hasty_redis(self, seed: int, chosen: random.Random) -> list[str]:
        """A Redis that syncs when the system likes: something must be lost."""
        with self._bench.deployment.redis_client() as client:
            client.config_set("appendfsync", "no")
        path = self._bench.draw(chosen, name=f"{seed}.jsonl")
        self._bench.queued(path)
        self._lose(("redis",))  # it starts with `always` again
        with bootstrap.connect(self._bench.deployment.settings) as client:
            jobs = [client.ledger.job(name) for name in client.ledger.every_job()]
        assert str(path) not in {job.source for job in jobs}, "nothing was lost without syncing"
        self._bench.queued(path)
        self._bench.check()
        return ["job lost with appendfsync=no, as it must"]

    def _work_off(self, seed: int, chosen: random.Random, *, deleting: bool = False) -> None:
        for number in range(2):
            self._bench.queued(self._bench.draw(chosen, name=f"{seed}-{number}.jsonl"))
        if deleting:
            self._bench.delete(chosen.sample(DOIS, 12))
        with bootstrap.connect(self._bench.deployment.settings) as client:
            wait_until(
                lambda: all(client.ledger.job(n).settled_at for n in client.ledger.every_job())
            )

    def _repaired(self, there: dict[str, str]) -> int:
        """How much Qdrant lost: an audit names just that, and a repair brings it back."""
        now = self._there()
        lost = {doi for doi, revision in there.items() if now.get(doi) != revision}
        settings = self._bench.deployment.settings
        with bootstrap.connect(settings) as client, bootstrap.auditing(client) as audit:
            named = {finding.doi for page in audit.look() for finding in page}
        assert named == lost, f"named and not lost: {named - lost}, not named: {lost - named}"
        if lost:
            self._bench.done("producer", "audit", "--repair")
        return len(lost)

    def _there(self) -> dict[str, str]:
        """The revision of each DOI that the collection has."""
        with self._bench.deployment.qdrant_client() as client:
            points = client.scroll(ALIAS, limit=10_000)[0]
        return {p.payload["doi"]: p.payload["revision"] for p in points if p.payload}

    def _lose(self, names: tuple[str, ...]) -> None:
        lose_power([(getattr(self._bench, name), self._disks[name]) for name in names])
