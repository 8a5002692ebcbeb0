"""The ledger's server: does it keep what it acknowledges, has it room, is it ours alone."""

import time

from worker.addresses import shown
from worker.doctor.addresses import of_address
from worker.doctor.findings import Findings, doubtful, fine, wrong
from worker.ledger.facts import ServerFacts
from worker.ledger.ledger import Ledger
from worker.settings.servers import RedisSettings

OLDEST = (6, 2)  # ZMSCORE came with it
NEARLY, FULL = 0.8, 0.95
APART_S = 5.0
SHOWN = 3
MIB = 2**20
CHECK = "Redis"
AWAY = "start it, or see that DOIVEC_REDIS__URL, its password and its certificates are right"


def look(ledger: Ledger, redis: RedisSettings, *, is_private: bool) -> Findings:
    """What is to be said of the server that answers."""
    facts = ledger.server()
    url = redis.url.get_secret_value() if redis.url else ""
    where = "the private Redis of the data directory" if is_private else shown(url)
    yield fine(CHECK, f"{facts.version} answers: {where}")
    if not is_private:
        yield from of_address(CHECK, url, has_key="@" in url, is_secret=url.startswith("rediss:"))
    yield from of_durability(facts)
    yield from of_memory(facts)
    yield from of_neighbours(facts, ledger.strangers(SHOWN))
    yield from of_clocks(time.time() - ledger.now_s())


def of_durability(facts: ServerFacts) -> Findings:
    """Whether it keeps on disk what it acknowledged."""
    said = facts.version.split(".")[:2]
    if all(part.isdigit() for part in said) and tuple(map(int, said)) < OLDEST:
        yield wrong(CHECK, f"it is {facts.version}, which is too old", "take 6.2 or newer")
    if facts.role not in {"", "master"}:
        todo = "set DOIVEC_REDIS__URL to its primary, which takes writes"
        yield wrong(CHECK, f"it is a {facts.role}, which takes no writes", todo)
    if not facts.appends:
        yield wrong(
            CHECK,
            "it keeps no append-only file: what was accepted is lost when it ends",
            "CONFIG SET appendonly yes, and `appendonly yes` in its configuration",
        )
    elif facts.fsync == "no":
        yield doubtful(
            CHECK,
            "appendfsync is no: the loss of power costs what was accepted in the last half minute",
            "CONFIG SET appendfsync everysec, and the same in its configuration",
        )
    else:
        yield fine(CHECK, f"its append-only file is on ({facts.fsync or 'fsync not told'})")
    for trouble in facts.troubles:
        todo = "look at its log and its disk: it takes no writes, or keeps none"
        yield wrong(CHECK, f"its {trouble}", todo)


def of_memory(facts: ServerFacts) -> Findings:
    """Whether it has room, and throws nothing away to make some."""
    if facts.most_bytes and facts.policy != "noeviction":
        yield wrong(
            CHECK,
            f"maxmemory-policy is {facts.policy}: when its memory is full it forgets accepted work",
            "CONFIG SET maxmemory-policy noeviction, and the same in its configuration",
        )
    limit = facts.most_bytes or facts.machine_bytes
    what = "maxmemory" if facts.most_bytes else "the machine's memory"
    share = facts.used_bytes / limit if limit else 0.0
    words = f"{facts.used_bytes // MIB:,} of {limit // MIB:,} MiB are used ({what})"
    todo = "give it more, or let it keep less: DOIVEC_INGEST__RETENTION_S"
    if share >= FULL:
        yield wrong(CHECK, words, todo)
    elif share >= NEARLY:
        yield doubtful(CHECK, words, todo)
    else:
        yield fine(CHECK, words)


def of_neighbours(facts: ServerFacts, strangers: list[str]) -> Findings:
    """Whether others use it, who may fill its memory or flush its database."""
    if strangers:
        yield doubtful(
            CHECK,
            f"its database has keys that are not doivec's: {', '.join(map(repr, strangers))}, ...",
            "give doivec a Redis of its own, or at least a database: redis://host:6379/1",
        )
    if facts.others:
        yield doubtful(
            CHECK,
            f"other databases of it have {facts.others:,} keys: they share its memory and policy",
            "give doivec a Redis of its own, or see that the others leave it room",
        )


def of_clocks(ahead_s: float) -> Findings:
    """Whether this machine's clock is the server's, within what a network takes."""
    if abs(ahead_s) > APART_S:
        what = "ahead of" if ahead_s > 0 else "behind"
        yield doubtful(
            "clock",
            f"this machine's clock is {abs(ahead_s):,.0f} s {what} that of Redis",
            "let both follow a time server: times in logs and schedules are wrong by as much",
        )
