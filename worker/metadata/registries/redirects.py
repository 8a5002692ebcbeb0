"""Where a registry may send us: to what everybody can reach, and not into our own network."""

import ipaddress
import socket
from contextlib import suppress

import httpx2

WEB = {"http": 80, "https": 443}


def is_same(here: httpx2.URL, there: httpx2.URL) -> bool:
    """Whether two addresses are of one server, or the second of the same one over TLS."""
    if here.origin == there.origin:
        return True
    is_default = here.port in {None, 80} and there.port in {None, 443}
    return here.host == there.host and is_default and there.scheme == "https"


def refusal(here: httpx2.URL, there: httpx2.URL) -> str | None:
    """Why a redirect must not be followed; None where it may.

    Whoever registers a DOI decides where it leads. A registry in one's own network (a mirror)
    may lead to another there.
    """
    if there.scheme not in WEB or not there.host:
        return "leads to what is no web address"
    if not is_same(here, there) and _is_public(here) and not _is_public(there):
        return "leads into a private network"
    return None


def _is_public(url: httpx2.URL) -> bool:
    """Whether all that a name stands for is reached from anywhere; so is one unknown here.

    Behind a proxy, names needn't be known.
    """
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(url.host, WEB[url.scheme], type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
        return all(address.is_global for address in addresses)
    return True
