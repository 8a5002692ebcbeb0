"""Crossref, OpenAlex, DataCite and doi.org on one local HTTP server, which counts and misbehaves.

Each has the records it is given, its limits, and `faults`: what becomes of the next requests.
"""

import json
import threading
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.support import registry_records as shapes
from worker.settings.metadata import MetadataSettings

DAY_S = 86400
MAILTO = "someone@example.org"
HTML, JSON = "text/html; charset=utf-8", "application/json"
CSL = "application/vnd.citationstyles.csl+json"
TEXT = "text/plain"
PROBLEM_HTML = (
    "<html><body><h1>429 Too Many Requests</h1>\n"
    "You have sent too many requests in a given amount of time.\n</body></html>\n"
)
NOT_VALID = {
    "status": "failed",
    "message-type": "validation-failure",
    "message": [{"type": "filter-not-available", "value": "doi", "message": "not a DOI"}],
}
Fields = Mapping[str, Any]


@dataclass
class Answer:
    """What is sent: JSON, or a text; `cut` bytes of it are promised and not sent."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: int = 0
    drip_s: float = 0.0  # pause after each of ten parts

    def content(self) -> bytes:
        """The body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


Fault = Callable[[Answer], Answer]


def instead(body: Any, status: int = 200, content_type: str = HTML, **headers: str) -> Fault:
    """Another answer than the right one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(body, status, named, content_type)


def changed(change: Callable[[Any], Any]) -> Fault:
    """The right answer, with its JSON changed."""
    return lambda right: Answer(change(right.body), right.status, right.headers)


def cut(right: Answer) -> Answer:
    """The right answer, its connection lost in the middle."""
    return Answer(right.body, right.status, right.headers, cut=len(right.content()) // 2)


def slow(pause_s: float) -> Fault:
    """The right answer, in ten parts with pauses."""
    return lambda right: Answer(right.body, right.status, right.headers, drip_s=pause_s)


TOO_MANY_BARE = instead("", 429, TEXT)
TOO_MANY_HTML = instead(PROBLEM_HTML, 429)
MAINTENANCE = instead("<!doctype html><h1>We'll be back soon</h1>", 200)
BLOCKED = instead("Forbidden", 403, TEXT)


@dataclass
class Pool:
    """A limit that is enforced: so many requests in a second, and so many at once."""

    name: str
    requests: int
    at_once: int

    @property
    def headers(self) -> dict[str, str]:
        """As Crossref names it in its answers."""
        return {
            "x-api-pool": self.name,
            "x-rate-limit-limit": str(self.requests),
            "x-rate-limit-interval": "1s",
            "x-concurrency-limit": str(self.at_once),
        }


class Fake:
    """One registry: its records by lower-cased DOI, and what was asked of it."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = f"{url}/{name}"
        self.records: dict[str, Any] = {}
        self.bad_dois: set[str] = set()  # a list with one of these is answered 400, and so are they
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.pools: dict[str, Pool] = {}
        self.budget_usd: float | None = None
        self.takes_s = 0.0
        self.asked: Counter[str] = Counter()
        self.paths: list[str] = []
        self.agents: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.arrivals: dict[str, list[float]] = {}
        self.refused = 0  # for their number or their rate
        self.highest_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def know(self, records: Iterable[Fields], shape: Callable[[str, Fields], Any]) -> None:
        """Take records: `doi`, and of title, abstract, year, venue what is known."""
        for record in records:
            self.records[str(record["doi"]).lower()] = shape(str(record["doi"]), record)

    def highest_rate(self, kind: str | None = None, interval_s: float = 1.0) -> int:
        """The most requests that came within any interval."""
        kinds = [kind] if kind else list(self.arrivals)
        times = sorted(t for name in kinds for t in self.arrivals.get(name, []))
        return max(
            (bisect_right(times, t) - bisect_right(times, t - interval_s) for t in times), default=0
        )

    @contextmanager
    def counted(self, kind: str, path: str, headers: Mapping[str, str]) -> Iterator[bool]:
        """While a request is served; whether it is within the limits."""
        with self._lock:
            self.arrivals.setdefault(kind, []).append(time.monotonic())
            self.paths.append(path)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self._at_once += 1
            self.highest_at_once = max(self.highest_at_once, self._at_once)
            pool = self.pools.get(kind)
            times = self.arrivals[kind]
            recent = sum(t > times[-1] - 1.0 for t in times[-200:])
            is_fine = not pool or (recent <= pool.requests and self._at_once <= pool.at_once)
            self.refused += not is_fine
        try:
            time.sleep(self.takes_s)
            yield is_fine
        finally:
            with self._lock:
                self._at_once -= 1

    def count(self, dois: Iterable[str]) -> None:
        """Note what was asked for."""
        with self._lock:
            self.asked.update(dois)

    def spend(self, usd: float) -> bool:
        """Take from the day's budget; whether it was there."""
        with self._lock:
            if self.budget_usd is None or self.budget_usd - usd > -1e-9:
                self.budget_usd = None if self.budget_usd is None else self.budget_usd - usd
                return True
            return False

    def fault(self) -> Fault | None:
        """What becomes of this request."""
        with self._lock:
            return self.faults.popleft() if self.faults else self.always


class Spending:
    """A budget that a test may look at; `usd` is what may be spent, for ever."""

    def __init__(self, usd: float = 1.0) -> None:
        self.usd = usd

    def take(self, usd: float, now: float) -> bool:
        """Spend so much, if it is there."""
        assert now > 1.7e9, "Unix seconds"
        if self.usd - usd < -1e-9:
            return False
        self.usd -= usd
        return True


class Registries:
    """The server; each registry under a path of its own. `elsewhere` is another server's address.

    `agencies` are those of prefixes; doi.org leads to `/agency/DOI` for the records it is given.
    """

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registries = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.crossref, self.openalex, self.datacite, self.doi, self.agency = self.all = [
            Fake(name, self.url) for name in ("crossref", "openalex", "datacite", "doi", "agency")
        ]
        self.agencies: dict[str, str] = {}
        self.leads_to = self.agency.url
        self.polite("polite", lists=(3, 3), alone=(10, 3))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def polite(self, name: str, *, lists: tuple[int, int], alone: tuple[int, int]) -> None:
        """Set Crossref's limits, requests a second and at once, for lists and for single DOIs."""
        self.crossref.pools = {
            "list": Pool(f"{name}-array", *lists),
            "alone": Pool(f"{name}-single", *alone),
        }

    def know(self, records: Iterable[Fields]) -> None:
        """Give records to Crossref."""
        self.crossref.know(records, shapes.crossref_work)

    def environment(self, *sources: str) -> dict[str, str]:
        """The variables that make doivec ask this server."""
        return {
            "DOIVEC_METADATA__SOURCES": ",".join(sources),
            "DOIVEC_METADATA__MAILTO": MAILTO,
            **{f"DOIVEC_METADATA__{fake.name.upper()}_URL": fake.url for fake in self.all[:4]},
            "no_proxy": "127.0.0.1",
        }

    def settings(self, *sources: str, **more: Any) -> MetadataSettings:
        """The same as an object; `more` are other settings."""
        urls = {f"{fake.name}_url": fake.url for fake in self.all[:4]}
        return MetadataSettings(**{"sources": sources, "mailto": MAILTO, **urls, **more})

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    registries: Registries

    def handle_error(self, *_: object) -> None:
        """A client may go at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Answer one request."""
        registries = self.server.registries
        _, name, rest = self.path.split("/", 2)
        fake: Fake = getattr(registries, name)
        split = urlsplit(f"/{rest}")
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        path = [unquote(part) for part in split.path.split("/")[1:]]
        kind = "list" if len(path) == 1 else "ra" if path[0] == "ra" else "alone"
        with fake.counted(kind, self.path, self.headers) as is_fine:
            right = ROUTES[name](registries, path, query)
            if any(bad in unquote(self.path) for bad in fake.bad_dois):
                right = Answer(NOT_VALID, 400)
            fault = fake.fault() if is_fine else TOO_MANY_HTML
            answer = fault(right) if fault else right
            if is_fine and kind in fake.pools:
                answer.headers = {**fake.pools[kind].headers, **answer.headers}
        self._send(answer)  # counted no more: whoever has it may ask again at once

    def _send(self, answer: Answer) -> None:
        content = answer.content()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.content_type:
            self.send_header("content-type", answer.content_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        content = content[: len(content) - answer.cut]
        size = max(1, len(content) // 10) if answer.drip_s else max(1, len(content))
        for start in range(0, len(content), size):
            self.wfile.write(content[start : start + size])
            self.wfile.flush()
            time.sleep(answer.drip_s)
        self.close_connection = bool(answer.cut)


def not_found(content_type: str) -> Answer:
    """How a registry says that it knows no such DOI."""
    texts = {
        TEXT: "Resource not found.",
        HTML: "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n",
        JSON: {"errors": [{"status": "404", "title": "The resource doesn't exist."}]},
    }
    return Answer(texts[content_type], 404, content_type=content_type)


def crossref(all_of_them: Registries, path: list[str], query: dict[str, str]) -> Answer:
    """`/works?filter=doi:A,doi:B` and `/works/A`."""
    fake = all_of_them.crossref
    dois = path[1:] or [value.partition(":")[2] for value in query["filter"].split(",")]
    fake.count(dois)
    if len(path) > 1:
        work = fake.records.get(path[1].lower())
        return Answer(shapes.crossref_one(work)) if work else not_found(TEXT)
    fields = query["select"].split(",") if "select" in query else None
    works = [
        {name: value for name, value in work.items() if fields is None or name in fields}
        for doi in reversed(dois)
        if (work := fake.records.get(doi.lower()))
    ]
    answer = shapes.crossref_list(works)
    answer["message"]["items"] = works[: int(query.get("rows", 20))]
    return Answer(answer)


def openalex(all_of_them: Registries, path: list[str], query: dict[str, str]) -> Answer:
    """`/works?filter=doi:A|B` and `/works/doi:A`."""
    fake = all_of_them.openalex
    if len(path) > 1:
        doi = path[1].partition(":")[2]
        fake.count([doi])
        work = fake.records.get(doi.lower())
        return Answer(work) if work else not_found(HTML)
    if not fake.spend(0.0001):
        return budget_spent(DAY_S - int(time.time()) % DAY_S)
    dois = query["filter"].partition(":")[2].split("|")
    fake.count(dois)
    if len(dois) > 100 or query.get("corpus") != "all":
        return Answer({"error": "Invalid query parameters error.", "message": "too many"}, 400)
    works = [work for doi in reversed(dois) if (work := fake.records.get(doi.lower()))]
    answer = shapes.openalex_list(works)
    answer["results"] = works[: int(query.get("per-page", 25))]
    return Answer(answer)


def budget_spent(seconds: int) -> Answer:
    """How OpenAlex says that nothing is left for today."""
    headers = {"retry-after": str(seconds), "x-ratelimit-remaining-usd": "0"}
    message = "Insufficient budget. This request costs $0.0001 but you only have $0 remaining."
    body = {"error": "Rate limit exceeded", "message": message, "retryAfter": seconds}
    return Answer(body, 429, headers)


def datacite(all_of_them: Registries, path: list[str], query: dict[str, str]) -> Answer:
    """`/dois?ids=A,B` and `/dois/A`."""
    fake = all_of_them.datacite
    dois = path[1:] or query["ids"].split(",")
    fake.count(dois)
    found = [one for doi in reversed(dois) if (one := fake.records.get(doi.lower()))]
    if len(path) > 1:
        return Answer({"data": found[0]}) if found else not_found(JSON)
    answer = shapes.datacite_list(found)
    answer["data"] = found[: int(query.get("page[size]", 25))]
    return Answer(answer)


def doi(all_of_them: Registries, path: list[str], query: dict[str, str]) -> Answer:
    """`/ra/PREFIX`, and where a DOI leads to."""
    name = "/".join(path[1:] if path[0] == "ra" else path)
    all_of_them.doi.count([name])
    if path[0] == "ra":
        agency_name = all_of_them.agencies.get(name)
        told = {"RA": agency_name} if agency_name else {"status": "DOI does not exist"}
        return Answer([{"DOI": name, **told}])
    if name not in all_of_them.agency.records:
        return not_found(HTML)
    address = f"{all_of_them.leads_to}/{quote(name, safe='')}"
    return Answer(f"<a href={address}>", 302, {"location": address}, HTML)


def agency(all_of_them: Registries, path: list[str], query: dict[str, str]) -> Answer:
    """An agency's own server: CSL-JSON, or a page where its record is a text."""
    record = all_of_them.agency.records.get(path[0])
    all_of_them.agency.count(path)
    if record is None:
        return not_found(HTML)
    return Answer(record, content_type=HTML if isinstance(record, str) else CSL)


ROUTES = {one.__name__: one for one in (crossref, openalex, datacite, doi, agency)}
