"""The metrics of a process, by Prometheus's conventions; docs/operations/watch.md has them all.

They are counted in memory, whether or not anybody asks (`worker.exposition`): one lock and one
addition each. What lies in the ledger is read now and then, not when it is asked for.
"""

from itertools import product

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from schemas.job import State

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nobody asks for

# From a look-up of nothing new to a batch of abstracts on a slow CPU.
BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 180, 600)

RECORDS = Counter(
    "doivec_records", "Records that this process settled, by their end.", ["state", "work"]
)
DEAD = Counter("doivec_dead_letters", "Records that ended as dead letters.", ["stage", "reason"])
STEP = Histogram("doivec_step_seconds", "How long a step took.", ["step"], buckets=BUCKETS_S)
TEXTS = Counter("doivec_texts", "Texts embedded.")
TOKENS = Counter("doivec_tokens", "Tokens of the texts embedded.")
RETRIES = Counter("doivec_retries", "Calls that failed and were tried again.", ["server"])
LEASES_LOST = Counter("doivec_leases_lost", "Batches in hand that another worker took over.")
SWEEPS = Counter("doivec_sweeps", "Sweeps for what was lost.")
REQUEUED = Counter("doivec_requeued_batches", "Batches that a sweep queued again.")

LOOKUPS = Counter(
    "doivec_lookups", "DOIs that a registry was asked for, by what it said.", ["registry", "answer"]
)

IN_HAND = Gauge("doivec_batches_in_hand", "Batches that this process has claimed.")
WAITING = Gauge("doivec_waiting", "Whether a call waits for a server.", ["server"])
LOOKUPS_WAITING = Gauge("doivec_lookups_waiting", "DOIs of this pass that are not looked up yet.")
LEFT_ALONE_UNTIL = Gauge(
    "doivec_registry_left_alone_until_seconds",
    "Until when a registry is not asked, in Unix seconds; in the past where it is.",
    ["registry"],
)

# There from the start: rate() and increase() see no rise in a series that begins above 0.
for _state, _work in product(State, ("ingest", "backfill")):
    RECORDS.labels(_state, _work)
for _server in ("redis", "store"):
    RETRIES.labels(_server)
    WAITING.labels(_server)
