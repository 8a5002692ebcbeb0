"""The store: does it answer, is its collection whole and in good state, whose is it."""

from worker.addresses import shown
from worker.doctor.addresses import of_address
from worker.doctor.findings import Findings, doubtful, fine, wrong
from worker.ledger.identity import WAY_OUT, There, compare
from worker.ledger.ledger import Ledger
from worker.settings.servers import QdrantSettings
from worker.store.names import guard_of
from worker.store.protocol import VectorStore

CHECK = "Qdrant"
AWAY = "start it, or see that DOIVEC_QDRANT__URL, _GRPC_PORT, _API_KEY and _CA_FILE are right"
BELONG = "deployment"


def look(store: VectorStore, qdrant: QdrantSettings, *, alias: str) -> Findings:
    """What is to be said of a store, and of the live collection in it."""
    if url := qdrant.url:
        has_key = qdrant.api_key is not None
        yield from of_address(CHECK, url, has_key=has_key, is_secret=url.startswith("https:"))
    live = store.live(alias)
    where = shown(url) if url else "in the data directory"
    if live is None:
        yield fine(CHECK, f"it answers: {where}")
        yield from of_no_alias(store, alias=alias)
        return
    health = store.health(live)
    points = store.count(live, exact=False)
    yield fine(CHECK, f"{health.engine} answers: {where}; {live} has about {points:,} points")
    words = f"{live} is {health.status}"
    if health.status == "red":
        yield wrong(CHECK, words, "look at Qdrant's log and its disk: it can't take writes")
    elif health.status == "grey":
        todo = "any write to it, or a PATCH of the collection without content, lets it go on"
        yield doubtful(CHECK, f"{words}: it waits to be optimized", todo)
    else:
        yield fine(CHECK, words + (": it is being optimized" if health.status == "yellow" else ""))
    for trouble in health.troubles:
        todo = "look at Qdrant's log and its disk; an index that is missing, the next start of a "
        yield wrong(CHECK, f"{live}: {trouble}", todo + "first collection or a promotion makes")
    if health.limits:
        limits = ", ".join(f"{name} {value}" for name, value in health.limits.items())
        todo = "see that its limits are above what doivec asks for, or turn it off for this one"
        yield doubtful(CHECK, f"{live} is in strict mode: {limits}", todo)
    yield from of_guard(store, live, alias=alias)


def of_no_alias(store: VectorStore, *, alias: str) -> Findings:
    """Whether it is only that nothing is ingested yet."""
    if others := store.collections(alias):
        yield wrong(
            CHECK,
            f"the alias {alias!r} is gone, and collections of it are there: {', '.join(others)}",
            "point it, and its guard, at the one that was live (docs/operations/back-up.md)",
        )
    else:
        yield fine(CHECK, f"there is no collection behind the alias {alias!r} yet")


def of_guard(store: VectorStore, live: str, *, alias: str) -> Findings:
    """Whether the second alias is there, by which a switch is compare-and-set."""
    guard = guard_of(alias, live)
    if (there := store.aliases().get(guard)) != live:
        what = f"points at {there}" if there else "is missing"
        todo = "nothing: the next promotion makes it again; find out who moved the alias by hand"
        yield doubtful(CHECK, f"the guard {guard} {what}", todo)


def of_deployment(ledger: Ledger, store: VectorStore, *, alias: str) -> Findings:
    """Whether ledger and store belong together; raises `ConfigurationError` where they don't."""
    there = There.of(store, alias)
    known = ledger.identity()
    if known is None and there.deployment:
        yield wrong(
            BELONG,
            f"the ledger is empty, and {there.live} is of deployment {there.deployment}: Redis "
            "has lost its data, or is another one",
            f"bring Redis back with its append-only file; {WAY_OUT}",
        )
    elif known is None:
        yield fine(BELONG, "ledger and store have none yet: nothing was queued")
    else:
        compare(ledger, lambda: there, alias=alias)
        yield fine(BELONG, f"ledger and store are of {known.id}")
