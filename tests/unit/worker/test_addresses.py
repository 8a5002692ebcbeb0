"""URLs mean the same to redis-py and to kombu, and no error or line shows what is secret in one."""

from typing import Any

import pytest
from kombu import Connection
from kombu.transport.redis import Channel
from redis.connection import parse_url

from worker.addresses import celery_url, qdrant_url, redis_url, shown, socket_url

UNDERSTOOD = {
    "redis://h": (None, None, 0),
    "redis://h:7/3": (None, None, 3),
    "redis://h/?db=3": (None, None, 3),
    "redis://h/3?db=3": (None, None, 3),
    "redis://[::1]:7/1": (None, None, 1),
    "REDIS://user:p%2F%23%3F@h/2": ("user", "p/#?", 2),
    "redis://:a@b:c;d+e,f%@h": (None, "a@b:c;d+e,f%", 0),
    "rediss://user@h:7": ("user", None, 0),
    "unix:///run/redis.sock": (None, None, 0),
    "unix:///run/a%20;b+c%3F.sock?db=3": (None, None, 3),
    "unix://user:p%40%3B+@/run/redis.sock?db=3": ("user", "p@;+", 3),
}
REFUSED = [
    *("", "h:6379", "//h", "http://h", "h", "redis:h", "redis:///0", "redis://:7", "redis://h\n"),
    *("redis://h/0/1", "redis://h/x", "redis://h/-1", "redis://h/2?db=3", "redis://h?db=x"),
    *("redis://h?db=", "redis://h?ssl_cert_reqs=none", "redis://h?socket_timeout=3", "redis://h:x"),
    *("redis://h:99999", "redis://[::1", "redis://h/ 1", "unix://", "unix://run/redis.sock"),
    *("unix:///", "unix:///run/redis.sock?virtual_host=3"),
]
# Digits can be a port, so that what follows is cut off without an error of urllib's.
SECRETS = ("s3cr", "2718")
LEAKY = [
    (scheme + user + secret + sign + tail, secret)
    for secret in SECRETS
    for scheme in ("redis://", "rediss://", "unix://", "http://", "nonsense://", "//", "")
    for user in (":", "user:", ":1", "user:1")
    for sign in ("/", "#", "?", "[", "\n", " ", "\u2100")
    for tail in (f"{secret}@h:6379/0", f"1={secret}@/run/redis.sock")
] + [(f"{scheme}://h?s3cr=s3cr", "s3cr") for scheme in ("redis", "unix", "http", "https")]


def kombus(url: str) -> dict[str, Any]:
    """What kombu connects with."""
    with Connection(celery_url(url)) as connection:
        channel = object.__new__(Channel)
        channel.connection = connection.transport  # it has the connection as its client
        parameters: dict[str, Any] = Channel._connparams(channel)
        channel._closed, channel.connection = True, None
    return parameters


@pytest.mark.parametrize(("raw", "expected"), UNDERSTOOD.items())
def test_the_ledger_and_celery_mean_the_same(
    raw: str, expected: tuple[str | None, str | None, int]
) -> None:
    url = redis_url(raw)
    ledgers, celerys = parse_url(url), kombus(url)
    for found in (ledgers, celerys):
        assert (found.get("username"), found.get("password"), found["db"]) == expected
    assert ledgers.get("path") == celerys.get("path")
    if "path" not in ledgers:
        assert ledgers["host"] == celerys["host"]
        assert ledgers.get("port", 6379) == celerys["port"]
    assert redis_url(url) == url


@pytest.mark.parametrize("raw", REFUSED)
def test_what_one_of_them_would_not_understand_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        redis_url(raw)


@pytest.mark.parametrize("check", [redis_url, qdrant_url])
def test_no_error_quotes_the_url(check: Any) -> None:
    for raw, secret in LEAKY:
        with pytest.raises(ValueError, match=r"\w") as caught:
            check(raw)
        assert secret not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("raw", UNDERSTOOD)
def test_a_url_is_shown_without_user_and_password(raw: str) -> None:
    words = shown(redis_url(raw))
    assert "@" not in words
    assert "user" not in words
    assert redis_url(words) == words


def test_any_path_of_a_socket_can_be_written() -> None:
    path = "/run/a b;c+d#e?f@g%h:i/é.sock"
    url = redis_url(socket_url(path))
    assert parse_url(url)["path"] == kombus(url)["path"] == path


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("http://h", "http://h"),
        ("HTTPS://h:6333/", "https://h:6333"),
        ("https://h/qdrant/", "https://h/qdrant"),
        ("http://[::1]:6333", "http://[::1]:6333"),
    ],
)
def test_qdrant_urls(raw: str, url: str) -> None:
    assert qdrant_url(raw) == shown(url) == url


@pytest.mark.parametrize(
    "raw",
    ["", "h:6333", "localhost", "grpc://h:6334", "http://", "http://:6333", "http://u:p@h",
     "http://h?x=1", "http://h#x", "http://h:x"],
)  # fmt: skip
def test_what_is_no_qdrant_url_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        qdrant_url(raw)
