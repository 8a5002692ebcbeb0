"""Kills at the named steps of a promotion, by seed; `make faults` runs all.

The promoter stops itself (SIGSTOP) where the step begins. Then the promoter, a worker, Redis or
Qdrant is killed (SIGKILL): at that very point, or a random moment after the promoter goes on. All
the while records are ingested and read. `doi-trainer promote`, given again, must complete the
promotion, and nothing may be lost, brought back, or of the wrong model.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path

from schemas.document import Document
from tests.faults.children import POISON, Child, Trap, forked
from tests.support.deployment import Deployment
from tests.support.life import DOIS, Life, record, registered
from tests.support.servers import QdrantServer, RedisServer, wait_until
from tests.support.tiny_model import make_tiny_model
from trainer.bootstrap import open_promoter
from trainer.errors import TrainerError
from worker import bootstrap
from worker.app import QUEUES
from worker.errors import WorkerError
from worker.settings.environment import read_settings

STEPS = (
    *("check", "create", "backfill", "index", "candidate", "last lap", "verify"),
    *("switch", "release"),
)
WRITTEN_TO_BOTH = ("last lap", "verify", "switch")
VICTIMS = ("promoter", "worker", "redis", "qdrant")
LONGEST_DELAY_S = 0.02
SHORT_DELAY_S = {"switch": 0.004, "release": 0.002}  # what these steps take, about
AT_THE_POINT = 0.4  # so many of the kills come just where the step begins
TRIES = 4
ROUNDS = 180
TITLES = ("{title}. {venue}", "{title}", "{doi}")


class Stopper:
    """A watcher that stops its process where a step begins, and goes on when it is told to."""

    def __init__(self, at: str) -> None:
        self._at = at

    def step(self, name: str, words: str) -> None:
        """Tell the step; be stopped there."""
        print(f"{name}: {words}", flush=True)
        if name == self._at:
            os.kill(os.getpid(), signal.SIGSTOP)

    def progress(self, done: int, total: int) -> None:
        """Nothing."""

    def warn(self, words: str) -> None:
        """Tell what a person should look at."""
        print(words, flush=True)


def _promote_until(version: str, step: str) -> None:
    with open_promoter(read_settings(), command="promote") as promoter:
        try:
            promoter.promote(version, watcher=Stopper(step))
        except (TrainerError, WorkerError) as error:
            print(error, flush=True)
            sys.exit(1)


class Faults:
    """A deployment whose model is promoted again and again, and what is killed meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        redis, qdrant = RedisServer(folder / "redis"), QdrantServer(folder / "qdrant")
        redis.start()
        qdrant.start()
        model = make_tiny_model(folder / "first")
        self.deployment = Deployment(
            folder,
            redis=redis,
            qdrant=qdrant,
            model=model,
            DOIVEC_INGEST__LEASE_S="2",
            DOIVEC_INGEST__SWEEP_S="0.5",
        )
        self.life = Life(self.deployment, models=self.deployment.settings.data_dir / "models")
        self._logs = 0
        self._trap = Trap(folder)
        self.late = 0  # kills after a promotion had ended, which show nothing
        self._worker = self._start_worker()
        self.life.ingest([record(doi) for doi in DOIS[:300]])
        other = make_tiny_model(folder / "second", seed=1, dimension=48)
        with self.life.promoter() as promoter:
            live = promoter.live()
        assert live
        self._versions = [live, registered(self.deployment, other, TITLES, "second")]
        self._fresh = iter(f"10.5555/fault.{n}" for n in range(1_000_000))

    def close(self) -> None:
        """End everything."""
        self._worker.kill()
        self.deployment.redis.stop()
        self.deployment.qdrant.stop()

    def run(self, step: str, seed: int) -> str:
        """One promotion with one kill; returns what was killed. Raises where a rule is broken."""
        chosen = random.Random(f"{step} {seed}")
        victim = VICTIMS[seed % len(VICTIMS)]
        self._drop_the_old_one()
        self._versions.reverse()
        documents = [record(next(self._fresh)) for _ in range(20)]
        known = [doi for doi in sorted(self.life.known) if not record(doi).is_bare]
        documents += [record(doi, edition=seed + 1) for doi in chosen.sample(known, 5)]
        job = self._queue(documents)
        dead = self._dead_letter()
        # Who reads from Qdrant itself sees its death; no other death may be seen.
        with nullcontext() if victim == "qdrant" else self.life.going_on("plain_reader"):
            log, promoter = self._start_promoter(step)
            wait_until(lambda: _is_stopped(promoter), what=log.read_text)
            if step in WRITTEN_TO_BOTH:  # what is settled now is copied by nobody
                self._replay(dead)
            if chosen.random() < AT_THE_POINT:
                self._kill(victim, promoter)
                os.kill(promoter.pid or 0, signal.SIGCONT)
            else:
                os.kill(promoter.pid or 0, signal.SIGCONT)
                # The moment is the seed's.
                time.sleep(chosen.uniform(0, SHORT_DELAY_S.get(step, LONGEST_DELAY_S)))
                self._kill(victim, promoter)
            words = self._complete(promoter, log)
        self._replay(dead)
        self._settle(job, documents, words)
        self.life.check()
        self._check_ledger()
        return victim

    def _dead_letter(self) -> str:
        """A job whose record could not be embedded; nobody looks for that yet."""
        document = Document(doi=next(self._fresh), title=f"{POISON} of {next(self._fresh)}")
        with self._trap.ill():
            job = self._queue([document])
            assert self.deployment.settled(job).dead == 1
        self._dead = document
        return job

    def _replay(self, job: str) -> None:
        """Bring a dead letter back, if it is still one."""
        with bootstrap.connect(self.deployment.settings) as client:
            for number in client.ledger.replay(job):
                client.producer.send(job, number)
        settled = self.deployment.settled(job)
        assert (settled.stored, settled.dead) == (1, 0), settled
        self.life.known[self._dead.doi] = self._dead

    def _settle(self, job: str, documents: list[Document], words: str) -> None:
        settled = self.deployment.settled(job)
        assert settled.stored + settled.unchanged == len(documents), f"{settled}\n{words}"
        self.life.known.update((d.doi, d) for d in documents)
        self.life.delete([documents[0].doi])
        with self.deployment.redis_client() as redis:
            wait_until(lambda: redis.zcard("doivec:backfill") == 0)
            route = redis.get("doivec:route")
            assert route is not None
            assert route.endswith(b" "), f"the route is {route!r}\n{words}"
            assert redis.get("doivec:note:promotion") is None

    def _check_ledger(self) -> None:
        """The audit finds nothing, and no message and no batch waits."""
        with bootstrap.connect(self.deployment.settings) as client:
            wait_until(lambda: not any(client.ledger.queue_length(queue) for queue in QUEUES))
            assert client.ledger.outstanding() == client.ledger.outstanding(backfill=True) == 0
            with bootstrap.auditing(client) as audit:
                findings = [finding for page in audit.look() for finding in page]
                assert not findings, findings

    def _complete(self, promoter: BaseProcess, log: Path) -> str:
        """See the promoter to its end, and give the command again until it went well."""
        words = ""
        for _ in range(TRIES):
            promoter.join(60)
            assert promoter.exitcode is not None, f"it hangs\n{log.read_text()}"
            words += log.read_text()
            assert "Traceback" not in words, words
            if promoter.exitcode == 0:
                return words
            log, promoter = self._start_promoter()
        raise AssertionError(f"not completed\n{words}")

    def _kill(self, victim: str, promoter: BaseProcess) -> None:
        self.late += not promoter.is_alive()
        if victim == "promoter":
            promoter.kill()
        elif victim == "worker":
            self._worker.kill()
            self._worker = self._start_worker()
        else:
            server = self.deployment.redis if victim == "redis" else self.deployment.qdrant
            server.kill()
            server.start()

    def _queue(self, documents: list[Document]) -> str:
        with bootstrap.connect(self.deployment.settings) as client:
            return client.producer.enqueue([{"doi": d.doi, **d.metadata} for d in documents])

    def _drop_the_old_one(self) -> None:
        """So that there is something to copy each time; its version stays."""
        with self.life.promoter() as promoter:
            live = promoter.store.live("dois")
            for collection in promoter.store.collections("dois"):
                if collection != live:
                    promoter.store.drop(collection)

    def _start_worker(self) -> Child:
        worker = Child(
            "worker",
            ["run"],
            environment=self.deployment.environment,
            log=self._log("worker"),
            traps=self._trap.folder,
        )
        worker.ready()
        return worker

    def _start_promoter(self, *step: str) -> tuple[Path, BaseProcess]:
        """A promoter that stops itself at a step, or one as a person has it."""
        log, environment = self._log("promoter"), self.deployment.environment
        if step:
            arguments = (self._versions[0], *step)
            return log, forked(_promote_until, log, *arguments, environment=environment)
        words = ["promote", self._versions[0]]
        traps = self._trap.folder
        child = Child("trainer", words, environment=environment, log=log, traps=traps)
        return log, child.process

    def _log(self, name: str) -> Path:
        self._logs += 1
        log = self._folder / f"{name}-{self._logs}.log"
        log.touch()
        return log


def _is_stopped(process: BaseProcess) -> bool:
    """Whether a process stands still, as /proc has it; raises where it has ended instead."""
    assert process.is_alive(), "it ended before the step"
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("T")


@contextmanager
def faults(folder: Path) -> Iterator[Faults]:
    """A deployment to break."""
    made = Faults(folder)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """A kill at a step of a promotion, by its seed; it tells who was killed, and where."""
    with faults(folder) as deployment:

        def one(seed: int) -> list[str]:
            step, late = STEPS[seed % len(STEPS)], deployment.late
            victim = deployment.run(step, seed // len(STEPS))
            return [f"{victim}, {step}" + (", too late" if deployment.late > late else "")]

        yield one
