"""The metrics of a trainer: what came of the refines, and when."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trainer.history import History

REFINE = "refine"


class RefineMetrics(Collector):
    """When a refine last ended with each outcome, by the history."""

    def __init__(self, history: History) -> None:
        self._history = history

    def collect(self) -> Iterator[Metric]:
        """The metric, as it is now."""
        ended = {
            entry.outcome: entry.ended_at.timestamp()
            for entry in self._history.entries()
            if entry.kind == REFINE
        }
        found = GaugeMetricFamily(
            "doivec_last_refine_timestamp_seconds",
            "When a refine last ended so, in Unix seconds.",
            labels=["outcome"],
        )
        for outcome, at_s in ended.items():
            found.add_metric([outcome], at_s)
        yield found
