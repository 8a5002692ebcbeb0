"""Where servers are: URLs that all who take them read alike, and that are shown without secrets.

No error quotes a URL: in one that is wrong, any part may be a piece of a password.
"""

import re
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

REDIS, SOCKET, HTTP = ("redis", "rediss"), "unix", ("http", "https")
ENCODED = "; in a user or a password, each of / ? # @ : % is written as %2F %3F %23 %40 %3A %25"


def redis_url(raw: str) -> str:
    """A Redis URL in the one form that redis-py and kombu understand alike.

    `redis://` and `rediss://` have the database as their path, `unix://` has it as `?db=`; both
    ways are taken. Raises ValueError.
    """
    parts = _split(raw, (*REDIS, SOCKET))
    is_socket = parts.scheme == SOCKET
    user, at, host = parts.netloc.rpartition("@")
    if is_socket and (host or parts.path in {"", "/"}):
        raise ValueError(f"a socket's URL is unix:///path/of/the/socket{ENCODED}")
    if not is_socket and not parts.hostname:
        raise ValueError(f"the URL names no host{ENCODED}")
    database = _database("" if is_socket else parts.path, parts.query)
    name, colon, password = user.partition(":")
    start = f"{parts.scheme}://{_encoded(name)}{colon}{_encoded(password)}{at}{host}"
    if is_socket:
        return f"{start}{quote(unquote(parts.path))}?db={database}"
    return f"{start}/{database}"


def celery_url(url: str) -> str:
    """What `redis_url` gave, as kombu writes it."""
    if not url.startswith(f"{SOCKET}://"):
        return url
    return url.replace(f"{SOCKET}://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)


def socket_url(path: str) -> str:
    """The URL of database 0 of a Redis that listens on a socket."""
    return redis_url(f"{SOCKET}://{quote(path)}")


def qdrant_url(raw: str) -> str:
    """The HTTP URL of a Qdrant server; raises ValueError."""
    return _http_url(raw, instead=": DOIVEC_QDRANT__API_KEY is for the key")


def registry_url(raw: str) -> str:
    """The HTTP URL of a registry of DOIs, without a slash at its end; raises ValueError."""
    return _http_url(raw)


def shown(url: str) -> str:
    """A URL that was checked, without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _http_url(raw: str, *, instead: str = "") -> str:
    parts = _split(raw, HTTP)
    if "@" in raw:  # in the path too: "http://user:12/34@host" is a password with a /
        raise ValueError(f"a URL with a user or password{instead}")
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if parts.query:
        raise ValueError("an HTTP URL with parameters after a ?")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _split(raw: str, schemes: tuple[str, ...]) -> SplitResult:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if not raw.isprintable() or " " in raw:  # urlsplit drops some of these without a word
        raise ValueError("the URL holds a blank or a line break")
    try:
        parts = urlsplit(raw)
        _ = parts.port
    except ValueError:
        raise ValueError(f"not a URL: its host or port can't be read{ENCODED}") from None
    if "://" not in raw or parts.scheme not in schemes:
        raise ValueError(f"a URL that begins with {wanted} is expected")
    if "#" in raw:
        raise ValueError(f"a URL with a #{ENCODED}")
    return parts


def _database(path: str, query: str) -> int:
    named = {path.removeprefix("/")} - {""}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "db":
            raise ValueError(f"only db may follow the ? of a Redis URL{ENCODED}")
        named.add(value)
    if not all(re.fullmatch(r"[0-9]{1,9}", name) for name in named):
        raise ValueError(f"the database is no number{ENCODED}")
    if len(named) > 1:
        raise ValueError("the URL names two databases")
    return int(named.pop()) if named else 0


def _encoded(text: str) -> str:
    # Once more from the start, since kombu splits a URL at any ; that it finds.
    return quote(unquote(text), safe="")
