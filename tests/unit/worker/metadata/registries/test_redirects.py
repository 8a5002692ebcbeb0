"""Where a registry may send us."""

import httpx2
import pytest

from worker.metadata.registries.redirects import is_same, refusal

PUBLIC, INSIDE = httpx2.URL("https://93.184.216.34/"), httpx2.URL("http://127.0.0.1:8000/")
PRIVATE = [
    *("http://127.0.0.1/", "http://localhost:6333/", "http://[::1]/", "http://10.0.0.1/"),
    *("http://169.254.169.254/latest/meta-data", "http://192.168.1.1/", "http://0.0.0.0/"),
    *("http://[::ffff:127.0.0.1]/", "http://2130706433/", "http://[fe80::1]/"),
]


@pytest.mark.parametrize("url", PRIVATE)
def test_nobody_outside_leads_inside(url: str) -> None:
    assert refusal(PUBLIC, httpx2.URL(url)) == "leads into a private network"


@pytest.mark.parametrize(
    "url", ["https://93.184.216.34/x", "http://8.8.8.8/", "https://no.invalid/"]
)
def test_what_everybody_reaches_is_followed(url: str) -> None:
    assert refusal(PUBLIC, httpx2.URL(url)) is None
    assert refusal(INSIDE, httpx2.URL(url)) is None


def test_a_mirror_may_lead_to_another() -> None:
    assert refusal(INSIDE, httpx2.URL("http://127.0.0.1:9000/")) is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://8.8.8.8/", "data:,x", "https:///x"])
def test_only_the_web_is_followed(url: str) -> None:
    assert refusal(INSIDE, httpx2.URL(url)) == "leads to what is no web address"


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("https://a.org/x", "https://a.org/y", True),
        ("https://a.org/", "https://a.org:443/", True),
        ("http://a.org/", "https://a.org/", True),
        ("https://a.org/", "http://a.org/", False),
        ("https://a.org/", "https://a.org:444/", False),
        ("http://a.org:8000/", "https://a.org/", False),
        ("https://a.org/", "https://b.a.org/", False),
        ("https://a.org/", "https://a.org.evil.example/", False),
    ],
)
def test_who_asks_is_said_to_the_same_server_only(here: str, there: str, same: bool) -> None:
    assert is_same(httpx2.URL(here), httpx2.URL(there)) == same
