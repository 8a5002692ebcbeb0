"""The metrics that a worker reads off the ledger and the store, as it saw them last."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.exposition import DiskFree, Exposition
from worker.ingest.presence import Presence, Vitals
from worker.ledger.workers import Backlog
from worker.settings.environment import Settings
from worker.store.names import version_in


class VitalsCollector(Collector):
    """What a worker's presence saw, as metrics; each worker tells the same, so take one's."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def collect(self) -> Iterator[Metric]:
        """The metrics, as they are now."""
        seen = self._presence.vitals
        if seen.backlog:
            yield from _of_backlog(seen.backlog)
        yield _gauge(
            "doivec_route_number", "Grows with each change of the route.", seen.route.number
        )
        candidate = InfoMetricFamily("doivec_candidate", "The collection that is written besides.")
        if seen.route.candidate:
            candidate.add_metric([], {"collection": seen.route.candidate})
        yield candidate
        if seen.collection:
            version = version_in(self._presence.alias, seen.collection)
            labels = {"collection": seen.collection, "alias": self._presence.alias}
            words = "The live collection and its model."
            yield InfoMetricFamily("doivec_model", words, {**labels, "version": version})
        if seen.points is not None:
            yield _gauge("doivec_points", "Points of the live collection.", seen.points)
        yield self._of_servers(seen)
        trouble = bool(self._presence.trouble())
        yield _gauge("doivec_stalled", "Whether it has work and settles nothing.", trouble)

    def _of_servers(self, seen: Vitals) -> Metric:
        """Whether the servers are as they should be, as far as that is known."""
        words = "1 where it is as it should be: Redis durable, the live collection not red."
        found = GaugeMetricFamily("doivec_server_ok", words, labels=["server"])
        if seen.is_durable is not None:
            found.add_metric(["redis"], seen.is_durable)
        if seen.status is not None:
            found.add_metric(["store"], seen.status != "red")
        return found


@contextmanager
def told(presence: Presence, settings: Settings) -> Iterator[None]:
    """Tell how a worker is, in the ledger and at its port, for as long as the process runs.

    Where the body fails, it is told no longer.
    """
    presence.start()
    try:
        collectors = [VitalsCollector(presence), DiskFree(settings.data_dir)]
        Exposition(
            settings.metrics,
            lives=presence.trouble,
            is_ready=presence.unready,
            collectors=collectors,
        )
        yield
    except BaseException:
        presence.stop()
        raise


def _of_backlog(backlog: Backlog) -> Iterator[Metric]:
    batches = GaugeMetricFamily(
        "doivec_outstanding_batches", "Batches that have not settled.", labels=["work"]
    )
    for work, count in (
        ("ingest", backlog.outstanding),
        ("backfill", backlog.backfill),
        ("paused", backlog.parked),
    ):
        batches.add_metric([work], count)
    yield batches
    oldest = "How long ago the oldest batch outstanding was accepted."
    yield _gauge("doivec_oldest_outstanding_seconds", oldest, backlog.oldest_s)
    yield _gauge("doivec_dead_letters_kept", "Dead letters that can be replayed.", backlog.dead)
    queues = GaugeMetricFamily("doivec_queue_messages", "Messages in a queue.", labels=["queue"])
    for queue, length in backlog.queues.items():
        queues.add_metric([queue], length)
    yield queues


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value)
