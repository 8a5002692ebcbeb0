"""What a collection holds, asked and changed from a shell, without servers."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from schemas.doi import point_id
from tests.support.shell import WORKER, Shell
from tests.support.tiny_model import make_tiny_model

NUMPY = "10.1038/s41586-020-2649-2"
BARE = "10.1103/physrevlett.77.3865"
ABSENT = "10.1103/physrevb.50.17953"
LIST = f"doi,title,year\n{NUMPY},Array programming with NumPy,2020\n{BARE},,\n"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(
        tmp_path,
        DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")),
        DOIVEC_MODEL__TEMPLATES='["{title}", "{doi}"]',
    )
    (tmp_path / "list.csv").write_text(LIST)
    made.worker("ingest", "list.csv")
    return made


def show(shell: Shell, doi: str, *, expect: int = 0) -> Any:
    return json.loads(shell.worker("show", doi, "--json", expect=expect))


def test_what_a_list_lacks(shell: Shell) -> None:
    wanted = shell.folder / "wanted.txt"
    wanted.write_text(f"# wanted\nhttps://doi.org/{NUMPY.upper()}\n{BARE}\n{ABSENT}\nnonsense\n")
    done = shell.run(WORKER, "missing", "wanted.txt", expect=3)
    assert done.stdout == f"{BARE}  no title\n{ABSENT}  absent\n"
    assert "of 3 DOIs: 1 absent, 1 no title" in done.stderr
    assert "wanted.txt:5: no registrant prefix" in done.stderr
    lines = shell.worker("missing", "wanted.txt", "--json", expect=3).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"doi": BARE, "lacks": "no title"},
        {"doi": ABSENT, "lacks": "absent"},
    ]
    assert shell.worker("missing", NUMPY) == ""


def test_all_that_is_known_of_a_doi(shell: Shell) -> None:
    text = shell.worker("show", f"doi:{NUMPY}")
    known = show(shell, NUMPY)
    assert known["point"] == point_id(NUMPY)
    assert known["payload"]["title"] == "Array programming with NumPy"
    assert (known["deleted"], known["dead_letters"]) == (None, [])
    for words in (
        f"{NUMPY} is in {known['collection']}, as point {point_id(NUMPY)}\n",
        "  title: Array programming with NumPy",
        "  vector made of: title\n",
        f"  job: {known['payload']['job']}\n",
        f"  sequence: {known['payload']['sequence']}, 20",
        f"  model: {known['model']}\n",
    ):
        assert words in text, words
    assert "vector made of: the DOI alone" in shell.worker("show", BARE)


def test_what_became_of_a_doi_that_is_not_there(shell: Shell) -> None:
    shell.worker("delete", BARE)
    assert f"{BARE} is not in the collection" in shell.worker("show", BARE, expect=3)
    gone = show(shell, BARE, expect=3)
    assert gone["payload"] is None
    assert gone["deleted"] > 1.7e15
    assert "  deleted: sequence " in shell.worker("show", BARE, expect=3)
    never = shell.worker("show", ABSENT, expect=3)
    assert never == f"{ABSENT} is not in the collection {gone['collection']}\n"


def test_delete_says_what_was_there(shell: Shell) -> None:
    (shell.folder / "gone.txt").write_text(f"{NUMPY}\n{ABSENT}\n{NUMPY}\n{ABSENT}\n")
    done = shell.run(WORKER, "delete", BARE, "gone.txt")
    assert done.stdout == f"{ABSENT} was not there\n2 DOIs removed, 1 were not there\n"
    again = json.loads(shell.worker("delete", "gone.txt", "--json"))
    assert again == {
        "dois": 2,
        "removed": True,
        "there": 0,
        "absent": [NUMPY, ABSENT],
        "invalid": 0,
    }


def test_delete_reads_standard_input_and_goes_on_past_bad_lines(shell: Shell) -> None:
    source = shell.folder / "in.txt"
    source.write_text(f"nonsense\n{NUMPY}\n")
    with source.open() as file:
        process = shell.start(WORKER, "delete", "-", "--json", stdin=file.fileno())
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert json.loads(out)["there"] == 1
    assert "standard input:1: no registrant prefix" in err
    assert shell.worker("missing", NUMPY, expect=3) == f"{NUMPY}  absent\n"


def test_a_list_is_read_as_one_says(shell: Shell) -> None:
    (shell.folder / "list.csv").write_bytes(
        f"N\xfcmmer;Link\n1;{NUMPY}\n2;{ABSENT}\n".encode("cp1252")
    )
    said = ("--encoding", "cp1252", "--column", "doi=Link")
    assert shell.worker("missing", "list.csv", *said, expect=3) == f"{ABSENT}  absent\n"
    assert "1 DOIs removed, 1 were not there" in shell.worker("delete", "list.csv", *said)


def test_delete_of_what_is_neither_a_doi_nor_a_file_removes_nothing(shell: Shell) -> None:
    error = shell.worker("delete", NUMPY, "missing.txt", expect=1)
    assert "'missing.txt' is neither a file nor a DOI" in error
    assert shell.worker("missing", NUMPY) == ""


def test_an_export_is_what_ingest_reads(shell: Shell) -> None:
    done = shell.run(WORKER, "export", "all.jsonl")
    assert "2 records of dois-" in done.stderr
    lines = (shell.folder / "all.jsonl").read_text().splitlines()
    assert lines == shell.worker("export").splitlines()
    assert {json.loads(line)["doi"] for line in lines} == {NUMPY, BARE}
    other = {"DOIVEC_DATA_DIR": str(shell.folder / "other")}
    assert "stored 2," in shell.worker("ingest", "all.jsonl", **other)
    there = json.loads(shell.worker("show", NUMPY, "--json", **other))["payload"]
    assert there["content_hash"] == show(shell, NUMPY)["payload"]["content_hash"]


def test_an_export_as_parquet_with_vectors(shell: Shell) -> None:
    shell.worker("export", "all.parquet", "--vectors")
    rows = pq.read_table(shell.folder / "all.parquet").to_pylist()
    assert {(row["doi"], row["text_from"], len(row["vector"])) for row in rows} == {
        (NUMPY, "title", 32),
        (BARE, "doi", 32),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["all.csv"], "say --format"),
        (["--format", "parquet"], "needs a FILE"),
        (["nowhere/all.jsonl"], "there is no folder"),
        (["/dev/stdout"], "no regular file"),
    ],
    ids=str,
)
def test_exports_that_can_not_be_written_are_told(
    tmp_path: Path, words: list[str], said: str
) -> None:
    assert said in Shell(tmp_path).worker("export", *words, expect=2)


def test_what_is_not_ingested_yet_can_not_be_asked_after(tmp_path: Path) -> None:
    for words in (["missing", NUMPY], ["show", NUMPY], ["export"], ["search", NUMPY]):
        assert "nothing is ingested yet" in Shell(tmp_path).worker(*words, expect=1)
