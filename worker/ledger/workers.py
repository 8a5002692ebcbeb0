"""Which workers are alive and what each has in hand, and what waits for them."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple, cast

from schemas.worker import InHand, WorkerState
from worker.errors import JobUnknown
from worker.ledger.damage import undamaged
from worker.ledger.failures import translated_errors
from worker.ledger.state import SharedState

SHOWN = 5
GLOB = re.compile(r"([*?\[\]\\])")


class Backlog(NamedTuple):
    """What waits: batches by kind, dead letters, messages by queue.

    `oldest_s` is how long ago the oldest batch outstanding was accepted, in seconds.
    """

    outstanding: int
    backfill: int
    parked: int
    oldest_s: float
    dead: int
    queues: Mapping[str, int]


class Workers(SharedState):
    """What workers say of themselves; who is silent for as long as a lease counts as gone."""

    def present(self, state: WorkerState) -> None:
        """Say that a worker is alive, and how it is."""
        self._run("present", state.name, state.model_dump_json(), self._lease_ms)

    def leave(self, name: str) -> None:
        """Say that a worker has ended."""
        self._run("present", name, "", 0)

    def workers(self) -> list[WorkerState]:
        """The workers that are alive, by name; of what each had in hand, what has not settled."""
        with translated_errors():
            rows = self._redis.zrange("doivec:workers", 0, -1, withscores=True)
            expiries = {row[0]: row[1] for row in cast(list[tuple[bytes, float]], rows)}
            keys = [b"doivec:worker:" + name for name in expiries]
            found = cast(list[bytes | None], self._redis.mget(keys)) if keys else []
            states = [_state(*one) for one in zip(expiries, found, strict=True) if one[1]]
            settled = self._settled({b for state in states for b in state.in_hand})
            now_ms = self.now_s() * 1000
        return sorted(
            (
                state.model_copy(
                    update={
                        "in_hand": tuple(b for b in state.in_hand if b not in settled),
                        "silent_s": (now_ms - expiries[state.name.encode()] + self._lease_ms)
                        / 1000,
                    }
                )
                for state in states
            ),
            key=lambda state: state.name,
        )

    def _settled(self, batches: Set[InHand]) -> set[InHand]:
        """Those of some batches that have settled: a worker's words are up to a second old."""
        asked = list(batches)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch in asked:
                pipe.getbit(f"doivec:settled:{batch.job}", batch.number)
            return {batch for batch, is_so in zip(asked, pipe.execute(), strict=True) if is_so}

    def backlog(self, queues: Sequence[str]) -> Backlog:
        """What waits now, in the ledger and in these queues."""
        found = self._run("backlog", *queues)
        with undamaged("what waits"):
            outstanding, backfill, parked, oldest, now, dead, *lengths = (int(n) for n in found)
        oldest_s = max(0, now - oldest) / 1e6 if oldest else 0.0
        lengths_by = dict(zip(queues, lengths, strict=True))
        return Backlog(outstanding, backfill, parked, oldest_s, dead, lengths_by)

    def now_s(self) -> float:
        """Redis's clock, in Unix seconds."""
        with translated_errors():
            seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1e6

    def find(self, beginning: str) -> str:
        """The id of the one job that begins so; raises `JobUnknown` for none and for several."""
        with translated_errors():
            if not beginning or self._redis.exists(f"doivec:job:{beginning}"):
                return beginning
            pattern = GLOB.sub(r"\\\1", beginning) + "*"
            rows = self._redis.zscan_iter("doivec:jobs", match=pattern, count=1000)
            with undamaged("doivec:jobs"):
                found = sorted({cast(bytes, row[0]).decode() for row in rows})
        if len(found) > 1:
            shown = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
            raise JobUnknown(f"{len(found)} jobs begin with {beginning!r}: {shown}")
        return found[0] if found else beginning


def _state(name: bytes, words: bytes | None) -> WorkerState:
    with undamaged(f"what worker {name!r} says of itself"):
        found = WorkerState.model_validate_json(words or b"")
        if found.name.encode() != name:
            raise ValueError(f"it is of {found.name}")
        return found
