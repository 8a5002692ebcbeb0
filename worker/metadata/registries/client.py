"""The client of all registries: paced, patient, bounded; errors are made ours in this one place."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx2
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from worker.errors import (
    ConfigurationError,
    RegistryBlocked,
    RegistryRefused,
    RegistryUnavailable,
    Stopped,
)
from worker.metadata.registries.bodies import BODY_BYTES, Malformed, shown, whole
from worker.metadata.registries.identity import Identity, stranger
from worker.metadata.registries.pacing import Pace
from worker.metadata.registries.redirects import is_same, refusal

TRIES = 4
FIRST_PAUSE_S = 2.0  # then 8 and 30, so that four tries take about a minute
LONGEST_PAUSE_S = 30.0
LONGEST_BLOCK_S = 86400.0
MOST_REDIRECTS = 5
ERROR_BYTES = 64 * 1024
JSON = "application/json"
OK = 200
MOVED = {301, 302, 303, 307, 308}
# It knows no such thing; it does not take what was asked for what it knows.
NO_SUCH, UNFIT = {404, 410}, {400, 406, 413, 414, 422}
REFUSING = {
    401: "refuses the key (401)",
    403: "refuses to answer (403): it may have blocked this machine, or whoever asks",
}
PASSING = {408, 425, 429, *range(500, 600)}
log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """What a registry said: `OK` and its `value`, or `NO_SUCH`, `UNFIT`, or `MOVED`.

    `moved` says that it named another address on the way, `location` which one where it wasn't
    to be followed.
    """

    status: int
    value: Any = None
    is_html: bool = False
    moved: bool = False
    location: str = ""


class _Passing(Exception):
    """A failure that may pass, and the pause that the server asked for, in seconds."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message, pause_s)
        self.pause_s = pause_s


class _Response(NamedTuple):
    url: httpx2.URL
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Asks the registry at `url`; says who asks to it alone, and in headers: addresses are logged.

    `before` is called with a request's kind before each try.
    """

    def __init__(
        self,
        url: str,
        *,
        pace: Pace,
        identity: Identity,
        timeout_s: float,
        first_pause_s: float = FIRST_PAUSE_S,
        before: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = httpx2.URL(url)
        self._base = url
        self._pace = pace
        self._identity = identity
        self._stranger = stranger()
        self._timeout_s = timeout_s
        self._before = before
        self._http = _connections(timeout_s)
        self._growing = wait_exponential_jitter(
            multiplier=first_pause_s, exp_base=4, max=LONGEST_PAUSE_S, jitter=first_pause_s
        )

    def get(
        self,
        path: str,
        *,
        kind: str,
        read: Callable[[bytes], Any],
        tries: int = TRIES,
        accept: str = JSON,
        follow: bool = True,
    ) -> Reply:
        """The answer to a request, its value what `read` makes of the body.

        `path` follows the registry's address, or is another. `kind` is one that the pace knows.
        `read` raises `Malformed` for what is no answer. Raises `RegistryUnavailable`,
        `RegistryRefused`, `RegistryBlocked`, and after `close` `Stopped`.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(tries),
            wait=self._pause_s,
            sleep=self._pace.rest,  # all threads' next turns come after it
            before_sleep=_tell,
            reraise=True,
        )
        address = f"{self._base}{path}" if path.startswith("/") else path
        try:
            return retrying(self._try, address, kind=kind, accept=accept, follow=follow, read=read)
        except _Passing as passing:
            raise RegistryUnavailable(passing.args[0]) from passing

    def close(self) -> None:
        """Let go of connections, and end all waiting."""
        self._pace.stop()
        self._http.close()

    def _try(
        self, address: str, *, kind: str, accept: str, follow: bool, read: Callable[[bytes], Any]
    ) -> Reply:
        self._before(kind)
        with self._translated(address):
            first = target = httpx2.URL(address)
        for _ in range(1 + MOST_REDIRECTS):
            if why := refusal(self._url, target):
                raise RegistryUnavailable(f"{_name(first)} {why}")
            response = self._exchange(target, kind=kind, accept=accept)
            location = response.headers.get("location")
            if response.status not in MOVED or location is None:
                return self._judged(response, read=read, moved=target != first)
            if not follow:
                return Reply(response.status, moved=True, location=_joined(address, location))
            with self._translated(str(target)):
                target = target.join(location)
        raise RegistryUnavailable(f"{_name(first)} redirects more than {MOST_REDIRECTS} times")

    def _exchange(self, url: httpx2.URL, *, kind: str, accept: str) -> _Response:
        """One request and its answer, the body whole where it is one that counts."""
        is_ours = is_same(self._url, url)
        identity = self._identity if is_ours else self._stranger
        headers = {"accept": accept, "accept-encoding": "gzip", **identity.headers}
        with self._pace.turn(kind), self._translated(str(url)):
            deadline = time.monotonic() + self._timeout_s
            with self._http.stream("GET", url, headers=headers) as answer:
                if is_ours:
                    self._pace.learn(kind, answer.headers)
                body = b""
                with nullcontext() if answer.status_code == OK else suppress(Malformed):
                    body = whole(
                        _timely(answer.iter_raw(), deadline),
                        encoding=answer.headers.get("content-encoding", ""),
                        limit=BODY_BYTES if answer.status_code == OK else ERROR_BYTES,
                    )
                return _Response(url, answer.status_code, answer.headers, body)

    @contextmanager
    def _translated(self, address: str) -> Iterator[None]:
        """The one place where the library's errors become ours."""
        try:
            yield
        except Malformed as error:
            raise _Passing(f"{_name(address)}: an answer that is {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            words = self._shown(str(error).encode())
            raise _Passing(f"{_name(address)}: {type(error).__name__} {words}") from error
        except RuntimeError as error:
            if not self._http.is_closed:
                raise
            raise Stopped(f"{_name(address)} is asked no more") from error

    def _judged(self, response: _Response, *, read: Callable[[bytes], Any], moved: bool) -> Reply:
        """What an answer says, or the error that it is."""
        status, host = response.status, _name(response.url)
        is_html = "html" in response.headers.get("content-type", "").lower()
        if status == OK:
            try:
                return Reply(OK, read(response.body), moved=moved)
            except Malformed as error:
                words = self._shown(response.body)
                raise _Passing(f"{host}: an answer that is {error}: {words}") from error
        if status in NO_SUCH | UNFIT:
            return Reply(status, is_html=is_html, moved=moved)
        if status in REFUSING:
            raise RegistryRefused(f"{host} {REFUSING[status]}")
        words = self._shown(response.body)
        if status not in PASSING:
            raise RegistryUnavailable(f"{host} answered {status}: {words}")
        pause_s = asked_pause_s(response.headers.get("retry-after"))
        if pause_s > LONGEST_PAUSE_S:
            until = time.time() + min(pause_s, LONGEST_BLOCK_S)
            raise RegistryBlocked(f"{host} answered {status}: {words}", until)
        raise _Passing(f"{host} answered {status}: {words}", pause_s)

    def _pause_s(self, state: RetryCallState) -> float:
        passing = state.outcome.exception() if state.outcome else None
        asked_s = passing.pause_s if isinstance(passing, _Passing) else 0.0
        return max(asked_s, self._growing(state))

    def _shown(self, body: bytes) -> str:
        return shown(body, without=self._identity.secrets)


def _connections(timeout_s: float) -> httpx2.Client:
    """A client that goes by the environment's proxies and certificates.

    Raises `ConfigurationError` where they can't be used, which may not quote them: a proxy's
    address may hold a password.
    """
    try:
        return httpx2.Client(timeout=timeout_s, follow_redirects=False)
    except OSError as error:
        what = f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR name: {error.strerror}"
    except ImportError:
        what = "the proxy that ALL_PROXY names: a SOCKS proxy is not understood"
    except (ValueError, httpx2.InvalidURL):
        what = "the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names: not an http:// URL"
    raise ConfigurationError(f"the environment can't be used: {what}")


def asked_pause_s(retry_after: str | None) -> float:
    """The seconds that a Retry-After asks for, as a number or as a date; 0 where it asks none."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _timely(pieces: Iterable[bytes], deadline: float) -> Iterator[bytes]:
    """The pieces of a body; raises `Malformed` where they take too long altogether."""
    for piece in pieces:
        yield piece
        if time.monotonic() > deadline:
            raise Malformed("too slow")


def _joined(address: str, location: str) -> str:
    """Where a redirect leads; what is no address stays as it is."""
    with suppress(ValueError):
        return urljoin(address, location)
    return location


def _name(address: str | httpx2.URL) -> str:
    """The host of an address, and its port where it has one."""
    with suppress(ValueError):
        return urlsplit(str(address)).netloc.rpartition("@")[2]
    return "no address"


def _tell(state: RetryCallState) -> None:
    passing = state.outcome.exception() if state.outcome else None
    log.info("trying again: %s", passing.args[0] if passing else None)
