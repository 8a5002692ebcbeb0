"""Bare lists get their titles: the commands against registries on a local server."""

import gzip
import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.doi import point_id
from tests.support.deployment import Deployment, deployed
from tests.support.registries import BLOCKED, Registries
from tests.support.servers import wait_until
from tests.support.shell import SCRIPTS, WORKER, Shell
from tests.support.tiny_model import make_tiny_model
from worker.metadata.index import Index

pytestmark = pytest.mark.timeout(180)
DOIS = [f"10.1103/physreve.{number}.011101" for number in range(40)]
KNOWN = [{"doi": doi, "title": f"Title of {doi}", "year": 2001} for doi in DOIS[:30]]


@pytest.fixture
def shell(tmp_path: Path, server: Registries) -> Shell:
    server.know(KNOWN)
    (tmp_path / "dois.txt").write_text("\n".join(DOIS))
    return Shell(
        tmp_path,
        DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")),
        **server.environment("crossref"),
    )


def test_a_bare_list_gets_its_titles(shell: Shell, server: Registries) -> None:
    shell.worker("ingest", "dois.txt")
    planned = shell.worker("metadata", "resolve", "--dry-run")
    assert "40 records of the live collection without what is wanted" in planned
    assert "crossref: at most 40 DOIs in 1 requests" in planned
    assert not server.crossref.asked
    said = shell.worker("metadata", "resolve")
    assert "of 40 DOIs that were looked up, 30 are found" in said
    assert "10 known to no source that was asked, 0 not answered yet" in said
    assert "stored 30" in said
    assert server.crossref.asked == Counter(DOIS)
    shown = shell.json(WORKER, "show", DOIS[0])["payload"]
    assert (shown["title"], shown["text_from"]) == (KNOWN[0]["title"], "title")
    assert shown["fields"]["title"]["source"] == "crossref"
    # Again: nothing is asked for, and nothing queued.
    again = json.loads(shell.worker("metadata", "resolve", "--json"))
    assert (again["lacking"], again["found"], again["job"]) == (10, 0, None)
    assert server.crossref.asked == Counter(DOIS)
    status = shell.worker("metadata", "status")
    assert "crossref: 30 found, 10 not found" in status
    assert "10 DOIs lacked something, of which 0 are found, 0 waiting" in status


def test_a_list_is_looked_up_without_being_ingested(shell: Shell, server: Registries) -> None:
    titled = shell.folder / "titled.jsonl.gz"
    with_year = shell.folder / "given.csv"
    with_year.write_text(
        f"doi,title,year\n{DOIS[0]},Given,1999\n{DOIS[1]},,1998\n{DOIS[39]},,1997\n"
        + 7 * "none,,\n"
    )
    words = ("metadata", "resolve", "given.csv", "dois.txt", "-o", str(titled))
    done = shell.run(WORKER, *words, expect=3)
    assert "of 40 DOIs that were looked up" in done.stdout, "each once"
    assert done.stderr.count("given.csv:") == 5
    assert "… and 2 more rejected" in done.stderr
    assert "--rejects" not in done.stderr, "the command has none"
    with gzip.open(titled, "rt") as file:
        rows = [json.loads(line) for line in file]
    assert rows[:3] == [
        {"doi": DOIS[0], "title": "Given", "year": 1999},
        {"doi": DOIS[1], "title": KNOWN[1]["title"], "year": 1998},
        {"doi": DOIS[39], "year": 1997},
    ]
    assert [row["doi"] for row in rows[3:]] == DOIS
    assert max(server.crossref.asked.values()) == 1


def test_nobody_is_asked_without_an_address_to_answer_to(shell: Shell, server: Registries) -> None:
    del shell.environment["DOIVEC_METADATA__MAILTO"]
    error = shell.worker("metadata", "resolve", "dois.txt", expect=1)
    assert error.startswith("doi-worker: DOIVEC_METADATA__MAILTO is needed")
    del shell.environment["DOIVEC_METADATA__SOURCES"]
    done = shell.run(WORKER, "metadata", "resolve", "dois.txt")
    assert "no registry is asked: DOIVEC_METADATA__SOURCES names none" in done.stderr
    assert not server.crossref.asked


def test_a_block_is_told_and_the_second_resolver_says_who_is_at_it(
    shell: Shell, server: Registries
) -> None:
    server.crossref.takes_s = 30.0
    first = shell.start(WORKER, "metadata", "resolve", "dois.txt")
    wait_until(lambda: bool(server.crossref.paths), what=lambda: "the first one asks nothing")
    error = shell.worker("metadata", "resolve", "dois.txt", expect=1)
    assert f"process {first.pid} is at it: one resolver at a time" in error
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130
    server.crossref.takes_s, server.crossref.always = 0.0, BLOCKED
    done = shell.run(WORKER, "metadata", "resolve", "dois.txt", expect=3)
    assert "crossref is left alone" in done.stderr
    assert "40 not answered yet" in done.stdout


def test_a_killed_resolver_asks_for_nothing_twice_but_what_was_under_way(
    tmp_path: Path, server: Registries
) -> None:
    server.polite("quick", lists=(20, 1), alone=(20, 1))
    dois = [f"10.1103/physrevd.{number}" for number in range(1500)]
    server.know([{"doi": doi, "title": f"Title of {doi}"} for doi in dois])
    (tmp_path / "dois.txt").write_text("\n".join(dois))
    model = make_tiny_model(tmp_path / "model")
    with deployed(tmp_path, model=model, **server.environment("crossref")) as deployment:
        deployment.start_worker()
        deployment.settled(deployment.queue(tmp_path / "dois.txt"))
        for requests in (2, 5, 12):
            with resolving(deployment) as process:
                wait_for_requests(server, requests)
                process.kill()
                process.wait()
        with resolving(deployment) as process:
            wait_until(
                lambda: titled(deployment, dois) == len(dois),
                timeout_s=60.0,
                what=deployment._words,
            )
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 143
        index = Index(deployment.settings.data_dir / "metadata.sqlite")
    assert len(index.find(dois)) == len(dois)
    twice = [doi for doi, times in server.crossref.asked.items() if times > 1]
    assert len(twice) <= 3 * 3 * 50, "three lists at each kill: asked, or answered and not kept"
    assert max(server.crossref.asked.values()) <= 4
    assert server.crossref.highest_rate("list") <= 20
    assert server.crossref.refused == 0


@contextmanager
def resolving(deployment: Deployment) -> Iterator[subprocess.Popen[bytes]]:
    """A `doi-worker metadata run`."""
    with (deployment.folder / "resolver.log").open("ab") as log:
        command = [str(SCRIPTS / WORKER), "metadata", "run"]
        process = subprocess.Popen(command, env=deployment.environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_requests(server: Registries, count: int) -> None:
    seen = len(server.crossref.paths)
    wait_until(lambda: len(server.crossref.paths) >= seen + count, what=lambda: "nothing is asked")


def titled(deployment: Deployment, dois: list[str]) -> int:
    """How many of the DOIs have a title in Qdrant."""
    with deployment.qdrant_client() as client:
        ids = [point_id(doi) for doi in dois]
        points = client.retrieve("dois", ids, with_payload=["title"])
    return sum("title" in (point.payload or {}) for point in points)
