"""Hits as a person reads them, and as a program does."""

import csv
import io
import json

import pytest

from schemas.search import Answer, Filter, Hit
from worker.cli import answers

LONG = "A comparison of sustained-release bupropion and placebo for smoking cessation, again"
HITS = [
    Hit(
        doi="10.1109/mcse.2007.55",
        score=0.91234567,
        metadata={"title": "Matplotlib: A 2D graphics environment", "year": 2007, "venue": "CSE"},
    ),
    Hit(
        doi="10.1002/(sici)1097-4636(199823)43:4<338::aid-jbm1>3.0.co;2-b",
        score=0.5,
        metadata={"title": LONG, "venue": "New England Journal, of, Medicine"},
    ),
    Hit(doi="10.1000/182", score=-0.1, metadata={"year": 1999}),
    Hit(doi="10.1000/183", score=-0.2, metadata={}),
]
ANSWER = Answer("10.1000/1", is_doi=True, known={"title": "Its own"}, of_text=True, hits=HITS)


def test_a_terminal_of_eighty_columns_shows_all_of_it() -> None:
    lines = list(answers.hit_lines(HITS, width=80))
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("0.9123  10.1109/mcse.2007.55  Matplotlib")
    assert [line for line in lines if not line.startswith(" ")][1:] == [
        "0.5000  10.1002/(sici)1097-4636(199823)43:4<338::aid-jbm1>3.0.co;2-b",
        "-0.1000  10.1000/182  (1999)",
        "-0.2000  10.1000/183",
    ]
    assert f"{LONG} (New England Journal, of, Medicine)" in " ".join(" ".join(lines).split())


def test_into_a_pipe_each_hit_is_a_whole_line(capsys: pytest.CaptureFixture[str]) -> None:
    answers.tell_alone(ANSWER, form=None)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "10.1000/1  Its own"
    assert [line.split()[1] for line in lines] == [hit.doi for hit in HITS]
    assert lines[0].endswith("  Matplotlib: A 2D graphics environment (2007, CSE)")
    assert lines[1].endswith(f"  {LONG} (New England Journal, of, Medicine)")


def test_csv_and_json_say_which_question_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    answers.tell_columns(form="csv")
    answers.tell(ANSWER, form="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["doi"] for row in rows] == [hit.doi for hit in HITS]
    assert rows[1] == {
        "query": "10.1000/1",
        "rank": "2",
        "score": "0.500000",
        "doi": HITS[1].doi,
        "title": LONG,
        "year": "",
        "venue": "New England Journal, of, Medicine",
    }
    answers.tell(ANSWER, form="json")
    found = json.loads(capsys.readouterr().out)
    assert found == {"query": "10.1000/1", "hits": [hit.model_dump() for hit in HITS]}


DOI = "10.1000/1"
STRING = "neighbours by the string alone say little"
CURE = "`doi-worker metadata resolve` looks it up, or ingest it with its title"


@pytest.mark.parametrize(
    ("answer", "only", "all_kinds", "expected"),
    [
        (ANSWER, Filter(), False, []),
        (Answer("t", is_doi=False, of_text=True, hits=HITS), Filter(), False, []),
        (
            Answer(DOI, is_doi=True, known={}, of_text=False, hits=HITS),
            *(Filter(), False),
            [f"no title is known of {DOI}: {STRING}; {CURE}"],
        ),
        (
            Answer(DOI, is_doi=True, known={"title": "T"}, of_text=False, hits=HITS),
            *(Filter(), True),
            [f"the live model reads no title of {DOI}: {STRING}"],
        ),
        (
            Answer(DOI, is_doi=True, of_text=False, hits=HITS),
            *(Filter(), False),
            [
                f"{DOI} is not in the collection",
                f"no title is known of {DOI}: {STRING}; {CURE}",
            ],
        ),
        (
            Answer("t", is_doi=False, of_text=True),
            *(Filter(venue="nature"), False),
            [
                "nothing found for 't' with these filters (--venue is compared letter by letter) "
                "among the vectors made of text; --all takes all vectors"
            ],
        ),
        (Answer("t", is_doi=False, of_text=True), Filter(), True, ["nothing found for 't'"]),
        (Answer("x y", is_doi=True, refusal="no DOI"), Filter(), False, ["'x y': no DOI"]),
    ],
)
def test_what_is_said_beside_an_answer(
    answer: Answer, only: Filter, *, all_kinds: bool, expected: list[str]
) -> None:
    assert list(answers.notes(answer, only=only, all_kinds=all_kinds)) == expected
