"""What all processes share in Redis, besides jobs: the route, leases, tombstones, notes.

`worker.ledger.ledger` has the batches, `jobs` the jobs. Each step that must be whole is one Lua
script (see `worker/ledger/lua/`); times are Redis's own, so that no two machines' clocks need
agree.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any, NamedTuple, Self, cast
from uuid import uuid4

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.damage import undamaged
from worker.ledger.failures import translated_errors
from worker.settings.ingest import IngestSettings
from worker.settings.servers import RedisSettings

SCRIPTS = tuple(
    name.removesuffix(".lua")
    for name in (f.name for f in (files("worker.ledger") / "lua").iterdir())
    if name.endswith(".lua") and name != "shared.lua"
)


DEPLOYMENT = "doivec:deployment"
SILENCE_S = 5.0
log = logging.getLogger(__name__)


class Route(NamedTuple):
    """Where batches are written besides the live collection; `number` grows with every change."""

    number: int = 0
    candidate: str | None = None

    @classmethod
    def read(cls, raw: bytes | None) -> "Route":
        """The route as the ledger keeps it."""
        with undamaged("doivec:route"):
            number, _, candidate = (raw or b"0 ").decode().partition(" ")
            return cls(int(number), candidate or None)


class Identity(NamedTuple):
    """A deployment: its id, its alias, and whether it has a collection in a store."""

    id: str
    alias: str
    has_store: bool


class Holder(NamedTuple):
    """Who holds a lease: its own words, and how often it renewed."""

    words: str
    beats: int


class SharedState:
    """The state in Redis that no job owns.

    Every method raises `LedgerUnavailable` when Redis does not answer; all are safe to repeat
    and may be called from any thread.
    """

    def __init__(self, client: redis.Redis, *, options: IngestSettings) -> None:
        self._redis = client
        self._options = options
        self._retention_s = int(options.retention_s)
        folder = files("worker.ledger") / "lua"
        shared = (folder / "shared.lua").read_text()
        self._scripts = {
            name: client.register_script(shared + (folder / f"{name}.lua").read_text())
            for name in SCRIPTS
        }

    @classmethod
    def connect(cls, settings: RedisSettings, *, options: IngestSettings) -> Self:
        """The state at `settings.url`, which is there; connects at the first call."""
        if settings.url is None:
            raise ConfigurationError("set DOIVEC_REDIS__URL")
        client = redis.Redis.from_url(
            settings.url.get_secret_value(),
            socket_timeout=settings.timeout_s,
            socket_connect_timeout=settings.timeout_s,
            health_check_interval=30,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 1),
            **settings.tls(),
        )
        return cls(client, options=options)

    def ping(self) -> None:
        """Check that Redis answers."""
        with translated_errors():
            self._redis.ping()

    def is_durable(self) -> bool:
        """Whether what is written survives a crash of Redis: appended to a file, with success."""
        with translated_errors():
            found = self._redis.info("persistence")
        return bool(found.get("aof_enabled")) and found.get("aof_last_write_status") == "ok"

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    # The deployment

    def identity(self) -> Identity | None:
        """The deployment that this ledger is of; None before there is one."""
        with translated_errors():
            raw = cast(bytes | None, self._redis.get(DEPLOYMENT))
        with undamaged(DEPLOYMENT):
            return None if raw is None else Identity(**json.loads(raw))

    def found(self, alias: str) -> Identity:
        """Found a deployment of this alias, where there is none yet; the one that there is."""
        new = Identity(uuid4().hex[:12], alias, has_store=False)
        with translated_errors():
            self._redis.set(DEPLOYMENT, json.dumps(new._asdict()), nx=True)
        return self.identity() or new

    def identify(self, identity: Identity) -> None:
        """Say of which deployment this ledger is."""
        with translated_errors():
            self._redis.set(DEPLOYMENT, json.dumps(identity._asdict()))

    # The route

    def route(self) -> Route:
        """Where batches are to be written now."""
        with translated_errors():
            return Route.read(cast(bytes | None, self._redis.get("doivec:route")))

    def reroute(self, candidate: str | None, *, lease: str, token: str) -> bool:
        """Make `candidate` the collection that is written besides the live one, or none.

        False where `token` doesn't hold the lease of this name: nothing changed then. Where the
        route is so already, it is left as it is.
        """
        return bool(self._run("reroute", lease, token, candidate or ""))

    # Leases and locks

    def hold(self, name: str, token: str, *, words: str, lease_s: float) -> Holder | None:
        """Take a lease; None where that went well, else who has it."""
        answer = self._run("hold", name, token, words, int(lease_s * 1000))
        with undamaged(f"the lease of {name}"):
            return Holder(answer[0].decode(), int(answer[1])) if answer else None

    def prolong(self, name: str, token: str, *, lease_s: float) -> bool:
        """Renew a lease; False where it ran out, whoever has it now."""
        return bool(self._run("prolong", name, token, int(lease_s * 1000)))

    def let_go(self, name: str, token: str) -> None:
        """Give a lease back, if it is still this token's."""
        self._run("let_go", name, token)

    @contextmanager
    def sweeping(self) -> Iterator[bool]:
        """Whether this process may sweep now; one does at a time, on any machine."""
        name, ttl_ms = "doivec:sweeping", int(self._options.sweep_s * 2000)
        with translated_errors():
            mine = bool(self._redis.set(name, uuid4().hex, nx=True, px=ttl_ms))
        yield mine
        if mine:
            with translated_errors():
                self._redis.delete(name)

    @contextmanager
    def exclusive(self, name: str, *, timeout_s: float) -> Iterator[None]:
        """Hold a lock that all processes share; raises `LedgerUnavailable` after `timeout_s`.

        That of a process that was killed is free after a minute.
        """
        lock = self._redis.lock(f"doivec:lock:{name}", timeout=60)
        with translated_errors():
            if not lock.acquire(blocking_timeout=min(SILENCE_S, timeout_s)):
                log.warning("waiting for %s: another process is at it, or was killed at it", name)
                if not lock.acquire(blocking_timeout=timeout_s):
                    raise LedgerUnavailable(f"Redis: another process has had {name} for too long")
        try:
            yield
        finally:
            with translated_errors(), suppress(redis.exceptions.LockNotOwnedError):
                lock.release()

    # Small things

    def once(self, name: str, *, keep_s: float) -> bool:
        """Whether this is the first call for `name` within `keep_s`."""
        with translated_errors():
            return bool(self._redis.set(f"doivec:once:{name}", 1, nx=True, ex=int(keep_s)))

    def count(self, name: str, *, keep_s: float) -> int:
        """How often this was called for `name`, this time included, with pauses below `keep_s`."""
        key = f"doivec:count:{name}"
        with translated_errors(), self._redis.pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, int(keep_s))
            return int(pipe.execute()[0])

    def note(self, name: str, value: str | None) -> None:
        """Keep a text for other processes, and for after a crash; None removes it."""
        with translated_errors():
            if value is None:
                self._redis.delete(f"doivec:note:{name}")
            else:
                self._redis.set(f"doivec:note:{name}", value)

    def noted(self, name: str) -> str | None:
        """The text that is kept under `name`."""
        with translated_errors():
            value = cast(bytes | None, self._redis.get(f"doivec:note:{name}"))
        with undamaged(f"doivec:note:{name}"):
            return None if value is None else value.decode()

    def queue_length(self, queue: str) -> int:
        """How many messages wait in a Celery queue."""
        with translated_errors():
            return self._redis.llen(queue)

    # Tombstones

    def bury(self, ids: Sequence[str]) -> int:
        """Leave tombstones for ids; returns their sequence."""
        return int(self._run("bury", *ids))

    def epoch(self) -> str:
        """The sequence of the newest tombstone, '0' where there is none."""
        with translated_errors():
            epoch = cast(bytes, self._redis.get("doivec:epoch") or b"0")
        with undamaged("doivec:epoch"):
            return str(int(epoch))

    def buried(self, ids: Sequence[str]) -> dict[str, int]:
        """The tombstones among ids, each with its sequence."""
        with translated_errors():
            if not ids or not self._redis.exists("doivec:tombstones"):
                return {}
            scores = self._redis.zmscore("doivec:tombstones", list(ids))
        with undamaged("doivec:tombstones"):
            return {i: int(s) for i, s in zip(ids, scores, strict=True) if s is not None}

    def tombstones(self, offset: int, count: int) -> dict[str, int]:
        """A page of tombstones, newest first, each with its sequence."""
        with translated_errors():
            rows = self._redis.zrange(
                "doivec:tombstones", offset, offset + count - 1, desc=True, withscores=True
            )
        with undamaged("doivec:tombstones"):
            return {row[0].decode(): int(row[1]) for row in cast(list[tuple[bytes, float]], rows)}

    @property
    def _lease_ms(self) -> int:
        return int(self._options.lease_s * 1000)

    def _run(self, script: str, *arguments: Any) -> Any:
        with translated_errors():
            return cast(Callable[..., Any], self._scripts[script])(args=arguments)
