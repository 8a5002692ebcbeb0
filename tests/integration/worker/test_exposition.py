"""The HTTP port of a process: metrics and health."""

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from tests.support.servers import free_port
from worker import metrics
from worker.errors import ConfigurationError
from worker.exposition import Exposition
from worker.settings.watching import MetricsSettings


def asked(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)


def test_it_tells_metrics_and_health() -> None:
    port, troubles = free_port(), [""]
    gauge = Gauge("doivec_of_this_test", "Nothing.", registry=CollectorRegistry())
    exposition = Exposition(
        MetricsSettings(port=port),
        lives=lambda: "",
        is_ready=lambda: troubles[0],
        collectors=[gauge],
    )
    try:
        metrics.SWEEPS.inc()
        text = asked(port, "/metrics").text
        assert "\ndoivec_sweeps_total " in text
        assert "\ndoivec_of_this_test 0.0" in text
        assert "_created" not in text
        assert asked(port, "/readyz").text == "ok\n"
        troubles[0] = "Qdrant does not answer"
        refused = asked(port, "/readyz")
        assert (refused.status_code, refused.text) == (503, "Qdrant does not answer\n")
        assert asked(port, "/livez").status_code == 200
        assert asked(port, "/").status_code == 404
        with pytest.raises(ConfigurationError, match="a port of its own"):
            Exposition(MetricsSettings(port=port), lives=str, is_ready=str)
    finally:
        exposition.close()
    with pytest.raises(httpx.ConnectError):
        asked(port, "/livez")


def test_without_a_port_nothing_is_served() -> None:
    Exposition(MetricsSettings(), lives=str, is_ready=str).close()
