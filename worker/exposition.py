"""A process's HTTP port: /metrics for Prometheus; /livez and /readyz for its keepers."""

import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from worker.errors import ConfigurationError
from worker.settings.watching import MetricsSettings

OK, NOT_FOUND, UNAVAILABLE = 200, 404, 503
TEXT = "text/plain; charset=utf-8"
Trouble = Callable[[], str]  # why not, in words; nothing where all is well
log = logging.getLogger(__name__)


class Exposition:
    """Answers while the process runs; nothing without a port in the settings.

    `lives` and `is_ready` say why the process does not live, and why it can't work now;
    `collectors` have metrics of their own. Raises `ConfigurationError` where the port is taken.
    """

    def __init__(
        self,
        settings: MetricsSettings,
        *,
        lives: Trouble,
        is_ready: Trouble,
        collectors: Sequence[Collector] = (),
    ) -> None:
        self._server: ThreadingHTTPServer | None = None
        self._collectors = (*collectors, GpuMemory())
        if settings.port is None:
            return
        pages = {"/livez": lives, "/readyz": is_ready}
        try:
            self._server = _Server((settings.host, settings.port), _handler(pages))
        except OSError as error:
            raise ConfigurationError(
                f"DOIVEC_METRICS__PORT: {settings.host}:{settings.port}: "
                f"{error.strerror or error}; each process needs a port of its own"
            ) from error
        for collector in self._collectors:
            REGISTRY.register(collector)
        name = "doivec-metrics"
        threading.Thread(target=self._server.serve_forever, name=name, daemon=True).start()
        log.info("metrics at http://%s:%d/metrics", settings.host, settings.port)

    def close(self) -> None:
        """Let go of the port."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            for collector in self._collectors:
                REGISTRY.unregister(collector)


class GpuMemory(Collector):
    """The memory of the GPU that torch has in use in this process, where it has one."""

    def collect(self) -> Iterator[Metric]:
        """The metric, as it is now."""
        words = "Memory of a GPU, in bytes: all of it, what is free, what this process holds."
        found = GaugeMetricFamily("doivec_gpu_memory_bytes", words, labels=["device", "kind"])
        # Not imported: where no model is loaded there is nothing to ask for.
        if devices := sys.modules.get("worker.model.devices"):
            for device, kind, size in devices.gpu_memory():
                found.add_metric([device, kind], size)
        yield found


class DiskFree(Collector):
    """What is free on the disk of the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def collect(self) -> Iterator[Metric]:
        """The metric, as it is now; nothing where there is no such directory yet."""
        words = "What is free on the disk of the data directory, in bytes."
        with suppress(OSError):
            free = shutil.disk_usage(self._data_dir).free
            yield GaugeMetricFamily("doivec_disk_free_bytes", words, free)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, _request: object, _address: object) -> None:
        log.debug("an asker went away", exc_info=True)


def _handler(pages: dict[str, Trouble]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # one that asks nothing holds no thread for long

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(OK, encode(REGISTRY), kind)
            elif path in pages:
                trouble = pages[path]()
                words = f"{trouble or 'ok'}\n".encode()
                self._answer(UNAVAILABLE if trouble else OK, words, TEXT)
            else:
                self._answer(NOT_FOUND, b"/metrics, /livez or /readyz\n", TEXT)

        def log_message(self, _format: str, *_: object) -> None:
            pass

        def _answer(self, code: int, body: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
