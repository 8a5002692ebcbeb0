"""A ledger into another Redis, key by key: servers of any version understand each other so."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

from worker.ledger.failures import translated_errors
from worker.ledger.state import DEPLOYMENT, SharedState

ITEMS_A_CALL = 1000
# What is over when its process is: locks, leases of one process at a time, messages in hand.
PASSING = re.compile(rb"doivec:(lock:|lease:|worker|sweeping|unacked|beats).*", re.DOTALL)
# How what is not a string is read, item by item, and written again, a page at a time.
MANNERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "hash": (
        lambda redis, key: redis.hscan_iter(key, count=ITEMS_A_CALL),
        lambda redis, key, page: redis.hset(key, mapping=dict(page)),
    ),
    "zset": (
        lambda redis, key: redis.zscan_iter(key, count=ITEMS_A_CALL),
        lambda redis, key, page: redis.zadd(key, dict(page)),
    ),
    "set": (
        lambda redis, key: redis.sscan_iter(key, count=ITEMS_A_CALL),
        lambda redis, key, page: redis.sadd(key, *page),
    ),
    "list": (
        lambda redis, key: redis.lrange(key, 0, -1),
        lambda redis, key, page: redis.rpush(key, *page),
    ),
}


class Copying(SharedState):
    """What of a ledger lasts, read whole and written again."""

    def copy_to(self, other: "Copying") -> Iterator[int]:
        """Write all that lasts to another ledger, which becomes this deployment's at the end.

        Tells how many keys that were so far. Nobody may write to either meanwhile; repeated, it
        writes the same again.
        """
        done = 0
        with translated_errors():
            for key in cast(Iterator[bytes], self._redis.scan_iter("doivec:*", count=1000)):
                if key != DEPLOYMENT.encode() and not PASSING.fullmatch(key):
                    self._copy(key, other)
                    done += 1
                    yield done
        if known := self.identity():
            other.identify(known)

    def _copy(self, key: bytes, other: "Copying") -> None:
        source, target = cast(Any, self._redis), cast(Any, other._redis)
        kind = source.type(key).decode()
        target.delete(key)
        if kind == "string":
            target.set(key, source.get(key))
        else:
            read, write = MANNERS[kind]
            left = iter(read(source, key))
            while page := list(islice(left, ITEMS_A_CALL)):
                write(target, key, page)
        if (left_ms := source.pttl(key)) > 0:
            target.pexpire(key, left_ms)
