"""Who asks: said to the registries, and to nobody else."""

import gzip
import json
import logging
import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.integration.worker.metadata.conftest import Open
from tests.support import registry_records as shapes
from tests.support.registries import HTML, JSON, MAILTO, TEXT, Registries, Spending, instead
from tests.support.tls import Authority, tls_front
from worker.errors import ConfigurationError, RegistryUnavailable, WorkerError
from worker.metadata.registries.opening import open_registries
from worker.settings.metadata import MetadataSettings

SECRET = "s3cr"
KEY = SecretStr("/".join([SECRET] * 2) + "".join(sign + SECRET for sign in "#@%?;:+&= '\"\\"))
OURS = "s3cr@s3cr.example"
DOIS = ["10.1000/a", "10.1000/b"]
NAMES = ("crossref", "openalex", "datacite", "agency")


def test_without_a_mailto_nobody_is_asked() -> None:
    settings = MetadataSettings(sources=("crossref", "agency"))
    with pytest.raises(ConfigurationError, match="DOIVEC_METADATA__MAILTO"):
        open_registries(settings, budget=Spending(), agencies={})
    assert open_registries(MetadataSettings(), budget=Spending(), agencies={}) == []


def test_they_are_opened_in_order_of_trust(server: Registries) -> None:
    settings = server.settings("agency", "datacite", "openalex", "crossref")
    opened = open_registries(settings, budget=Spending(), agencies={})
    assert [registry.name for registry in opened] == list(NAMES)
    for registry in opened:
        registry.close()


def test_each_request_says_who_asks_and_with_which_key(server: Registries, opened: Open) -> None:
    keys = {"crossref_token": KEY, "openalex_key": KEY}
    for name in NAMES:
        opened(name, **keys).ask(["10.1000/a", "10.1000/b"])
    said = {fake.name: fake.headers for fake in server.all if fake.headers}
    assert set(said) == {"crossref", "openalex", "datacite", "doi"}
    for headers in (one for many in said.values() for one in many):
        assert headers["user-agent"].startswith("doivec/0.")
        assert f"mailto:{MAILTO}" in headers["user-agent"]
    bearer = f"Bearer {KEY.get_secret_value()}"
    assert {one["crossref-plus-api-token"] for one in said["crossref"]} == {bearer}
    assert {one["authorization"] for one in said["openalex"]} == {bearer}
    assert SECRET not in str(said["datacite"]) + str(said["doi"])


def test_a_redirect_is_followed_and_tells_others_nothing(server: Registries, opened: Open) -> None:
    elsewhere = Registries()
    try:
        elsewhere.know([{"doi": "10.1000/a", "title": "Moved"}])
        for status in (301, 302, 307, 308):
            location = f"{elsewhere.crossref.url}/works/10.1000%2Fa"
            server.crossref.faults.append(instead("", status, TEXT, location=location))
            answers = opened("crossref", mailto=OURS, crossref_token=KEY).ask(["10.1000/a"])
            assert answers.found["10.1000/a"].document.title == "Moved"
        assert SECRET in str(server.crossref.headers)
        assert SECRET not in str(elsewhere.crossref.headers)
    finally:
        elsewhere.close()


def test_an_alias_leads_to_another_doi_and_is_absent(server: Registries, opened: Open) -> None:
    server.know([{"doi": "10.1000/new", "title": "The work"}])
    moved = instead("", 301, HTML, location="/crossref/works/10.1000%2Fnew")
    server.crossref.faults.append(moved)
    answers = opened("crossref").ask(["10.1000/old"])
    assert answers.absent == {"10.1000/old"}
    assert not answers.found


def test_redirects_have_an_end(server: Registries, opened: Open) -> None:
    server.crossref.always = instead("", 301, TEXT, location="/crossref/works/again")
    with pytest.raises(RegistryUnavailable, match="more than 5 times"):
        opened("crossref").ask(["10.1000/a"])
    assert len(server.crossref.paths) == 6


ECHOES = [(200, HTML), (418, TEXT), (401, JSON), (503, TEXT)]


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_logged_or_told(
    server: Registries, opened: Open, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    told = f"{OURS} {KEY.get_secret_value()}" if name in {"crossref", "openalex"} else OURS
    registry = opened(name, mailto=OURS, crossref_token=KEY, openalex_key=KEY)
    fake = server.doi if name == "agency" else getattr(server, name)
    for status, kind in ECHOES:
        fake.always = instead(told * 9, status, kind, set_cookie="a=1; Path=/")
        with pytest.raises(WorkerError) as raised:
            registry.ask(DOIS[:1])
        assert SECRET not in f"{raised.value!r}{pickle.dumps(raised.value)!r}", status
    assert SECRET not in caplog.text
    assert "10.1000" in caplog.text, "addresses are logged"


def test_what_a_server_says_is_shown_escaped_and_cut(server: Registries, opened: Open) -> None:
    server.crossref.always = instead("\x1b[31m\n[bold]" + "x" * 5000, 418, TEXT)
    with pytest.raises(RegistryUnavailable) as raised:
        opened("crossref").ask(DOIS)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 250


def test_a_bomb_is_no_answer(server: Registries, opened: Open) -> None:
    bomb = gzip.compress(b"[" + b"0," * (20 * 1024 * 1024))
    server.datacite.always = instead(bomb, 200, JSON, content_encoding="gzip")
    with pytest.raises(RegistryUnavailable, match="longer than"):
        opened("datacite").ask(["10.1000/a"])


def test_a_compressed_answer_is_read(server: Registries, opened: Open) -> None:
    server.know([{"doi": "10.1000/a", "title": "Packed"}])
    body = json.dumps({"message": server.crossref.records["10.1000/a"]}).encode()
    server.crossref.faults.append(instead(gzip.compress(body), 200, JSON, content_encoding="gzip"))
    assert opened("crossref").ask(["10.1000/a"]).found["10.1000/a"].document.title == "Packed"


def test_an_environment_that_can_t_be_used_is_told(
    server: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in (f"socks5://u:{SECRET}@localhost:1", f"ftp://u:{SECRET}@localhost"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(ConfigurationError, match="ALL_PROXY") as raised:
            open_registries(server.settings("crossref"), budget=Spending(), agencies={})
        assert SECRET not in str(raised.value)
    monkeypatch.delenv("ALL_PROXY")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        open_registries(server.settings("crossref"), budget=Spending(), agencies={})


def test_a_registry_that_nobody_vouches_for_is_not_told_who_asks(
    server: Registries, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
    server.datacite.know([{"doi": DOIS[0], "title": "Sealed"}], shapes.datacite_doi)
    _, port = server.url.rsplit(":", 1)
    for authority in (ours, theirs):
        with tls_front(authority, behind=int(port)) as front:
            registry = opened("datacite", datacite_url=f"https://127.0.0.1:{front.port}/datacite")
            if authority is ours:
                assert registry.ask(DOIS[:1]).found[DOIS[0]].document.title == "Sealed"
                continue
            with pytest.raises(RegistryUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                registry.ask(DOIS[:1])
            assert front.heard == b""
