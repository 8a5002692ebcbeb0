"""What the server of the ledger is like, for whoever looks whether it can be trusted."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, cast

from worker.errors import ConfigurationError, LedgerRejected
from worker.ledger.damage import undamaged
from worker.ledger.failures import translated_errors
from worker.ledger.state import SharedState

# What doivec and Celery keep in the database, queues with a priority and replies included.
OURS = re.compile(
    rb"doivec:.*|_kombu\..*|(celery|ingest|trainer)(\x06.*)?|celeryev\..*|.*\.?celery\.pidbox",
    re.DOTALL,
)
LOOKED_AT = 10_000
BEATS, BEAT_S = "doivec:beats", 20.0


class ServerFacts(NamedTuple):
    """A Redis server: sizes in bytes, 0 where there is no limit; what it doesn't say is empty.

    `troubles` are what it can't do now; `others` are how many keys its other databases have.
    """

    version: str
    role: str
    appends: bool
    fsync: str
    policy: str
    used_bytes: int
    most_bytes: int
    machine_bytes: int
    troubles: tuple[str, ...]
    others: int


class Facts(SharedState):
    """The server, who else uses its database, and which clocks of the schedule are alive."""

    def server(self) -> ServerFacts:
        """What the server says of itself."""
        with translated_errors():
            info = self._redis.info()
            own = f"db{self._redis.get_connection_kwargs().get('db') or 0}"
        databases = {name: said for name, said in info.items() if re.fullmatch(r"db\d+", name)}
        return ServerFacts(
            version=str(info.get("redis_version", "")),
            role=str(info.get("role", "")),
            appends=bool(info.get("aof_enabled")),
            fsync=self._configured("appendfsync"),
            policy=str(info.get("maxmemory_policy", "")),
            used_bytes=int(info.get("used_memory", 0)),
            most_bytes=int(info.get("maxmemory", 0)),
            machine_bytes=int(info.get("total_system_memory", 0)),
            troubles=tuple(
                f"{name} is {info[name]}"
                for name in ("aof_last_write_status", "rdb_last_bgsave_status")
                if info.get(name, "ok") != "ok"
            ),
            others=sum(said["keys"] for name, said in databases.items() if name != own),
        )

    def strangers(self, count: int) -> list[str]:
        """Some keys of the database that are neither doivec's nor Celery's."""
        with translated_errors():
            keys = islice(cast(Iterator[bytes], self._redis.scan_iter(count=1000)), LOOKED_AT)
            found = list(islice((key for key in keys if not OURS.fullmatch(key)), count))
        return [key.decode(errors="replace") for key in found]

    def beat(self, name: str) -> None:
        """Say that a schedule's clock is alive."""
        with translated_errors():
            self._redis.zadd(BEATS, {name: self._redis.time()[0]})
            self._redis.expire(BEATS, int(3 * BEAT_S))

    def end_beat(self, name: str) -> None:
        """Say that it has ended."""
        with translated_errors():
            self._redis.zrem(BEATS, name)

    def beats(self) -> list[str]:
        """The clocks of the schedule that are alive; there should be one at the most."""
        with translated_errors():
            oldest = self._redis.time()[0] - 3 * BEAT_S
            self._redis.zremrangebyscore(BEATS, "-inf", oldest)
            names = cast(list[bytes], self._redis.zrange(BEATS, 0, -1))
        with undamaged(BEATS):
            return [name.decode() for name in names]

    def _configured(self, name: str) -> str:
        # Who rents a server may not ask for its configuration.
        with suppress(LedgerRejected, ConfigurationError), translated_errors():
            return str(cast(dict[str, str], self._redis.config_get(name)).get(name, ""))
        return ""
