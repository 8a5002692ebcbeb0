"""Every message ten times at once, out of order, and once more days later, by another model.

Batches and whole lists (`worker.ingest`) are delivered so; then those of earlier rounds again,
also after a model was promoted in between: the collection and all counts must stay as they were.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from schemas.job import Job
from tests.faults import bench
from tests.faults.bench import DOIS, Bench
from tests.support.deployment import ALIAS
from tests.support.life import Silent, registered
from tests.support.tiny_model import make_tiny_model
from trainer.bootstrap import open_promoter
from worker import bootstrap
from worker.app import INTAKE
from worker.sources.records import read
from worker.store.opening import open_store

ROUNDS = 50
TIMES = 10
LISTS = 3
LATE = 20  # batches of earlier rounds that come again
SWITCH_EVERY = 5
TEMPLATES = ("{title}. {venue}", "{title}", "{doi}")
Message = tuple[str, int]


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """A round by its seed; it tells how many messages were delivered, of which kind."""
    with bench.opened(folder) as made:
        yield Delivery(made).round


class Delivery:
    """Rounds on one deployment."""

    def __init__(self, made: Bench) -> None:
        self._bench = made
        self._sent: list[Message] = []
        other = make_tiny_model(made.folder / "other", seed=1, dimension=48)
        with open_promoter(made.deployment.settings, command="promote") as promoter:
            live = promoter.live()
        assert live
        self._versions = [live, registered(made.deployment, other, TEMPLATES, "other")]

    def round(self, seed: int) -> list[str]:
        """Deliver; raises AssertionError where something is not as it must be."""
        chosen = random.Random(f"delivery {seed}")
        self._bench.delete(chosen.sample(DOIS, 10))
        fresh = self._take_in(chosen, seed)
        self._send(chosen, fresh)
        lists = self._lists(chosen)
        self._bench.check()
        late = chosen.sample(self._sent, min(LATE, len(self._sent)))
        self._sent += fresh
        if seed % SWITCH_EVERY == SWITCH_EVERY - 1:
            self._switch()
        before = self._state()
        self._send(chosen, late)
        self._bench.check()
        assert self._state() == before, "what came late changed something"
        kinds = {"batch": len(fresh), "list": lists, "batch, late": len(late)}
        return [kind for kind, count in kinds.items() for _ in range(count * TIMES)]

    def _take_in(self, chosen: random.Random, seed: int) -> list[Message]:
        """Lists in the ledger, and their messages, of which none is sent yet."""
        held: list[Message] = []
        with bootstrap.connect(self._bench.deployment.settings) as client:
            client.producer.send = lambda job, number: held.append((job, number))
            for number in range(LISTS):
                path = self._bench.draw(chosen, name=f"{seed}-{number}.jsonl")
                job = client.producer.open(source=str(path))
                limits = client.settings.limits
                client.producer.fill(job, lambda p=path, m=limits: read(str(p), limits=m))
        return held

    def _send(self, chosen: random.Random, messages: list[Message]) -> None:
        many = messages * TIMES
        chosen.shuffle(many)
        with bootstrap.connect(self._bench.deployment.settings) as client:
            for job, number in many:
                client.producer.send(job, number)

    def _lists(self, chosen: random.Random) -> int:
        """Whole lists as tasks of one id each."""
        name = str(UUID(int=chosen.getrandbits(128)))
        path = self._bench.draw(chosen, name=name)
        rows = self._bench.given.pop(str(path))
        self._bench.given[name] = rows
        with bootstrap.connect(self._bench.deployment.settings) as client:
            for _ in range(TIMES):
                client.application().send_task(
                    "worker.ingest", args=[rows], queue=INTAKE, task_id=name
                )
        return 1

    def _switch(self) -> None:
        """Promote the other model, and drop the collection of the one before."""
        self._versions.reverse()
        settings = self._bench.deployment.settings
        with open_promoter(settings, command="promote") as promoter:
            promoter.promote(self._versions[0], watcher=Silent())
            live = promoter.store.live(ALIAS)
            for collection in promoter.store.collections(ALIAS):
                if collection != live:
                    promoter.store.drop(collection)

    def _state(self) -> tuple[dict[str, Job], dict[str, dict[str, Any]]]:
        """Every count, and every payload."""
        settings = self._bench.deployment.settings
        with (
            bootstrap.connect(settings) as client,
            closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store,
        ):
            live = store.live(ALIAS) or ""
            jobs = {name: client.ledger.job(name) for name in client.ledger.every_job()}
            return jobs, store.payloads(live, sorted(store.ids(live)))
