"""What is told of a batch that has settled: a line of the log, and the metrics."""

import logging
from collections import Counter

from schemas.job import DeadLetter
from worker import metrics
from worker.ingest.settlement import Outcome
from worker.ledger.ledger import Claim

REASONS = 30  # of dead letters, with a metric each; what comes later is `other`
log = logging.getLogger(__name__)
_reasons: set[str] = set()


def tell(claim: Claim, outcome: Outcome) -> None:
    """Tell how a batch ended that this process settled."""
    work, kind = outcome.work, "backfill" if claim.copies else "ingest"
    for state, count in outcome.counts.items():
        metrics.RECORDS.labels(state, kind).inc(count)
    if not claim.copies:
        for (stage, reason), count in Counter(map(_kind, outcome.dead.values())).items():
            metrics.DEAD.labels(stage, reason).inc(count)
    seconds = {name: round(s, 3) for name, s in work.seconds.items()}
    rate = work.records / work.for_s if work.for_s else 0.0
    told = {
        "job": work.job,
        "batch": work.number,
        "work": kind,
        "records": work.records,
        **{str(state): count for state, count in outcome.counts.items()},
        "seconds": {**seconds, "all": round(work.for_s, 3)},
        "records_per_s": round(rate, 1),
    }
    log.info("%s", _line(claim, outcome, rate), extra={"told": told})


def _line(claim: Claim, outcome: Outcome, rate: float) -> str:
    work = outcome.work
    states = ", ".join(f"{state} {count:,}" for state, count in sorted(outcome.counts.items()))
    steps = ", ".join(f"{name} {seconds:,.2f}" for name, seconds in work.seconds.items())
    what = "backfill" if claim.copies else "batch"
    return (
        f"{what} {claim.member}: {work.records:,} records, {states}; "
        f"{work.for_s:,.2f} s ({steps}), {rate:,.0f} records/s"
    )


def _kind(letter: DeadLetter) -> tuple[str, str]:
    """The stage and kind of a dead letter: few, whatever is in the records."""
    reason = letter.reason.partition(":")[0]
    if not reason.replace("_", "").isalnum():
        reason = "worker died"
    if reason not in _reasons and len(_reasons) >= REASONS:
        reason = "other"
    _reasons.add(reason)
    return letter.stage, reason
