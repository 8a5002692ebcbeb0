"""`doi-worker search` as a person types it, without servers."""

import csv
import json
from pathlib import Path

import pytest

from tests.support.shell import WORKER, Shell
from tests.support.tiny_model import make_tiny_model

NUMPY = "10.1038/s41586-020-2649-2"
TITLED = [
    {"doi": NUMPY, "title": "Array programming with NumPy", "year": 2020, "venue": "Nature"},
    {"doi": "10.1109/mcse.2007.55", "title": "Matplotlib: A 2D graphics environment", "year": 2007},
    {
        "doi": "10.1038/s41592-019-0686-2",
        "title": "SciPy 1.0",
        "year": 2020,
        "venue": "Nat Meth",
    },
    {"doi": "10.7717/peerj.453", "title": "scikit-image: image processing", "venue": "PeerJ"},
]
BARE = ["10.1103/physrevlett.77.3865", "10.1103/physrevb.54.11169", "10.1103/physrevb.59.1758"]
ABSENT = "10.1103/physrevb.50.17953"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("search")
    made = Shell(
        folder,
        DOIVEC_MODEL__NAME=str(make_tiny_model(folder / "model")),
        DOIVEC_MODEL__TEMPLATES='["{title}", "{doi}"]',
    )
    source = folder / "papers.jsonl"
    records = [*TITLED, *({"doi": doi} for doi in BARE)]
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    made.worker("ingest", str(source))
    return made


def dois(out: str) -> set[str]:
    return {line.split()[1] for line in out.splitlines()}


def test_a_doi_has_its_title_on_top_and_neighbours_with_theirs(shell: Shell) -> None:
    done = shell.run(WORKER, "search", NUMPY)
    title, *hits = done.stdout.splitlines()
    assert title == f"{NUMPY}  Array programming with NumPy (2020, Nature)"
    assert dois("\n".join(hits)) == {str(record["doi"]) for record in TITLED[1:]}
    assert any("SciPy 1.0 (2020, Nat Meth)" in hit for hit in hits)
    assert done.stderr == ""


def test_kinds_are_not_mixed_unless_asked_to(shell: Shell) -> None:
    done = shell.run(WORKER, "search", BARE[0])
    assert dois(done.stdout) == set(BARE[1:])
    assert f"no title is known of {BARE[0]}: neighbours by the string alone" in done.stderr
    assert len(shell.worker("search", BARE[0], "--all").splitlines()) == 6
    assert len(shell.worker("search", "--text", "arrays").splitlines()) == 4
    assert len(shell.worker("search", "--text", "arrays", "--all").splitlines()) == 7


def test_a_doi_that_is_not_there_is_told(shell: Shell) -> None:
    done = shell.run(WORKER, "search", ABSENT)
    assert f"{ABSENT} is not in the collection" in done.stderr
    assert dois(done.stdout) == set(BARE)
    narrow = shell.run(WORKER, "search", ABSENT, "--registrant", "10.9999", expect=1)
    assert f"{ABSENT} is not in the collection" in narrow.stderr
    assert narrow.stdout == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--year", "2020"], [TITLED[0], TITLED[2]]),
        (["--year", "-2010"], [TITLED[1]]),
        (["--year", "2008-"], [TITLED[0], TITLED[2]]),
        (["--venue", "Nature"], [TITLED[0]]),
        (["--registrant", "10.1038", "--year", "2019-2021"], [TITLED[0], TITLED[2]]),
    ],
    ids=str,
)
def test_filters(shell: Shell, words: list[str], expected: list[dict[str, str]]) -> None:
    found = shell.worker("search", "--text", "arrays", *words)
    assert dois(found) == {record["doi"] for record in expected}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--text", " "], 2, "it is empty"),
        (["--text", "t", "--registrant", "Nature"], 2, "is no registrant"),
        (["--text", "t", "--year", "20-15-3"], 2, "is no span of years"),
        ([NUMPY, "--text", "t"], 2, "one of the three"),
        (["Array programming with NumPy"], 1, "--text 'Array programming with NumPy'"),
        (["10.1038/two, 10.1038/dois"], 1, "no DOI"),
        (["--queries", "nowhere.txt"], 1, "No such file"),
    ],
    ids=str,
)
def test_what_is_no_question_is_refused(
    shell: Shell, words: list[str], code: int, said: str
) -> None:
    done = shell.run(WORKER, "search", *words, expect=code)
    assert said in done.stderr
    assert done.stdout == ""


def test_an_answer_without_hits_says_what_would_widen_it(shell: Shell) -> None:
    done = shell.run(WORKER, "search", "--text", "arrays", "--venue", "nature")
    assert (done.stdout, "compared letter by letter" in done.stderr) == ("", True)


QUERIES = f"arrays of numbers\n\n{NUMPY}\n{BARE[0].upper()}\n10.1038/one, 10.1038/two\n"


@pytest.fixture
def queries(shell: Shell) -> Path:
    file = shell.folder / "queries.txt"
    file.write_bytes(QUERIES.encode() + b"caf\xe9\n")
    return file


def test_many_queries_as_json_lines(shell: Shell, queries: Path) -> None:
    done = shell.run(WORKER, "search", "--queries", str(queries), "-k", "2", "--json", expect=3)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == [
        *("arrays of numbers", NUMPY, BARE[0], "10.1038/one, 10.1038/two"),
    ]
    assert [len(answer["hits"]) for answer in answers] == [2, 2, 2, 0]
    assert "no DOI" in answers[-1]["refusal"]
    assert "queries.txt:6: not UTF-8" in done.stderr
    alone = json.loads(shell.worker("search", NUMPY, "-k", "2", "--json"))
    assert answers[1]["hits"] == alone


def test_many_queries_as_csv_and_in_words(shell: Shell, queries: Path) -> None:
    words = ["search", "--queries", str(queries), "-k", "1"]
    rows = list(csv.DictReader(shell.worker(*words, "--csv", expect=3).splitlines()))
    assert [row["query"] for row in rows] == ["arrays of numbers", NUMPY, BARE[0]]
    assert all(row["rank"] == "1" and row["doi"] for row in rows)
    text = shell.worker(*words, expect=3)
    assert f"{NUMPY}  Array programming with NumPy (2020, Nature)\n" in text


def test_queries_from_standard_input(shell: Shell, queries: Path) -> None:
    with queries.open() as file:
        process = shell.start(WORKER, "search", "--queries", "-", "--csv", stdin=file.fileno())
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert {row["query"] for row in csv.DictReader(out.splitlines())} == {
        *("arrays of numbers", NUMPY, BARE[0]),
    }
