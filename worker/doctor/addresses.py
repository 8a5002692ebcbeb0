"""Where servers are: on a public address without a key, or with one in the clear."""

import socket
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from worker.doctor.findings import Findings, doubtful, wrong


def of_address(check: str, url: str, *, has_key: bool, is_secret: bool) -> Findings:
    """What is to be said of a server at this URL; `is_secret` says that it is asked over TLS."""
    host = urlsplit(url).hostname
    if not host or not is_public(host):
        return
    if not has_key:
        todo = "give it a key or a password, and let a firewall keep others out"
        yield wrong(check, f"{host} is a public address, and no key or password is set", todo)
    if not is_secret:
        todo = "ask it over TLS (https://, rediss://), or through a private network"
        yield doubtful(check, f"{host} is a public address, and is asked in the clear", todo)


def is_public(host: str) -> bool:
    """Whether a host has an address that all the world reaches; one that is unknown has none."""
    with suppress(OSError, ValueError):
        found = {row[4][0] for row in socket.getaddrinfo(host, None)}
        return any(ip_address(address).is_global for address in found)
    return False
