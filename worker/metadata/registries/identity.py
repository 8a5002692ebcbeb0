"""Who asks: a name that says how to reach its people, and a key; never told to others."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import NamedTuple
from urllib.parse import quote

from pydantic import SecretStr

HOME = "https://github.com/doivec/doivec"


class Identity(NamedTuple):
    """The headers that say who asks, and what of them must not be shown."""

    headers: Mapping[str, str]
    secrets: tuple[str, ...] = ()


def stranger() -> Identity:
    """Says which program asks, and nothing of who runs it."""
    return Identity({"user-agent": f"doivec/{version('doivec')} ({HOME})"})


def known(mailto: str, *, header: str = "", key: SecretStr | None = None) -> Identity:
    """Says whom to write to, and has a key, which follows the word `Bearer` in its header."""
    headers = {"user-agent": f"doivec/{version('doivec')} ({HOME}; mailto:{mailto})"}
    secrets = [mailto]
    if key:
        headers[header] = f"Bearer {key.get_secret_value()}"
        secrets.append(key.get_secret_value())
    return Identity(headers, (*secrets, *(quote(secret, safe="") for secret in secrets)))
