"""Commands on the local index, in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from worker.cli import metadata
from worker.cli.indexing import IndexProgress
from worker.errors import IndexRejected, SourceError
from worker.metadata.answers import Answers
from worker.metadata.index import Index
from worker.metadata.indexing import Progress


class Commands:
    """`doi-worker metadata` in a folder, without servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = Index(folder / "data" / "metadata.sqlite")

    def run(self, *words: str, expect: int = 0) -> Result:
        environment = {"DOIVEC_DATA_DIR": str(self.folder / "data")}
        done = CliRunner().invoke(
            metadata.metadata, words, env=environment, standalone_mode=False, catch_exceptions=False
        )
        assert done.return_value == expect, done.output
        return done

    def say(self, *words: str, expect: int = 0) -> str:
        return self.run(*words, expect=expect).stdout

    def json(self, *words: str, expect: int = 0) -> Any:
        return json.loads(self.say(*words, "--json", expect=expect))

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def indexed(commands: Commands) -> Commands:
    works = [{"DOI": "10.1000/1", "title": ["A <i>title</i>"], "indexed": {}}, {"title": "No DOI"}]
    old = commands.write("old.json", json.dumps({"items": works}))
    papers = commands.write("papers.csv", "doi,title,year\n10.1000/2,Another,1999\nnone,x,\n")
    told = commands.json("index", old, papers, "--jobs", "1", expect=3)
    assert told == {
        "files": 2,
        "before": 0,
        "read": 4,
        "kept": 2,
        "without_doi": 1,
        "bare": 0,
        "unwanted": 0,
        "rejected": 1,
    }
    return commands


def test_what_is_known_of_a_doi(indexed: Commands) -> None:
    shown = indexed.say("show", "https://doi.org/10.1000/1")
    assert shown.startswith("10.1000/1\n  crossref: found; known since ")
    assert shown.endswith(", for good\n    title: A title\n")
    (known,) = indexed.json("show", "10.1000/2")["sources"]
    assert known.items() >= {"source": "file", "title": "Another", "year": 1999}.items()
    assert known["until"] is None
    assert "nothing is known" in indexed.say("show", "10.1000/3", expect=3)


def test_what_a_source_does_not_know_is_shown(commands: Commands) -> None:
    answers = Answers({}, {"10.1000/3"})
    commands.index.keep("openalex", answers, asked_at=0, until={"10.1000/3": 86_400})
    assert commands.say("show", "10.1000/3") == (
        "10.1000/3\n  openalex: not found; known since 1970-01-01T00:00:00+00:00, "
        "until 1970-01-02T00:00:00+00:00\n"
    )


def test_what_the_index_holds(indexed: Commands) -> None:
    status = indexed.json("status")["index"]
    assert status["sources"] == {
        "file": {"found": 1, "absent": 0, "due": 0},
        "crossref": {"found": 1, "absent": 0, "due": 0},
    }
    assert (status["files"], status["unfinished"]) == (2, False)
    assert status["bytes"] > 0
    assert "  crossref: 1 found, 0 not found\n" in indexed.say("status")


def test_an_index_that_is_not_there_yet(commands: Commands) -> None:
    assert "not there yet" in commands.say("status")
    assert commands.json("status")["index"]["sources"] == {}
    commands.say("show", "10.1000/1", expect=3)
    assert not commands.index.path.exists()


def test_forgotten_is_forgotten(indexed: Commands) -> None:
    wrong = indexed.write("wrong.txt", "10.1000/1\n10.1000/7\nnonsense\n")
    told = indexed.json("forget", wrong, expect=3)
    assert told == {"dois": 2, "forgotten": 1, "invalid": 1}
    indexed.say("show", "10.1000/1", expect=3)
    indexed.say("show", "10.1000/2")


def test_only_what_a_list_names(commands: Commands) -> None:
    wanted = commands.write("wanted.txt", "10.1000/2\n")
    papers = commands.write("papers.csv", "doi,title\n10.1000/1,One\n10.1000/2,Two\n")
    told = commands.json("index", papers, "--only", wanted, "--jobs", "1")
    assert (told["kept"], told["unwanted"]) == (1, 1)
    assert list(commands.index.find(["10.1000/1", "10.1000/2"])) == ["10.1000/2"]


def test_what_is_wrong_is_an_error_of_ours(commands: Commands) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        commands.run("index", "nowhere")
    commands.index.path.parent.mkdir()
    commands.index.path.write_text("of another program")
    papers = commands.write("papers.csv", "doi,title\n10.1000/1,One\n")
    for words in (["status"], ["show", "10.1000/1"], ["forget", "10.1000/1"], ["index", papers]):
        with pytest.raises(IndexRejected, match="another program's file"):
            commands.run(*words)


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with IndexProgress(say_s=0.0) as progress:
        progress.show(Progress("reading", 0, 100, 2000))
        progress.show(Progress("reading", 25, 100, 4000))
        progress.show(Progress("merging", 10, 4000, 4000))
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("time left not known yet")
    assert "reading: 4,000 records, " in second
    assert "25% done, " in second
    assert third.startswith("merging into the index: 10 records, ")
    with IndexProgress() as progress:
        progress.show(Progress("reading", 25, 100, 4000))
    assert capsys.readouterr().err == ""
