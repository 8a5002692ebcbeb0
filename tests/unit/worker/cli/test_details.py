"""All that is known of a DOI, as a person reads it, whatever its payload holds."""

import json
from typing import Any

import pytest

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import DeadLetter
from worker.cli import details
from worker.contents import Known

DOI = "10.1038/nphys1170"
LIVE, OLDER = "dois-0123456789abcdef", "dois-fedcba9876543210"
NOW = 1_795_430_000_000_000
WHOLE = {
    "doi": DOI,
    "title": "Measured measurement\x1b[2J",
    "year": 2009,
    "text_from": "title",
    "sequence": NOW,
    "fields": {
        "title": {"sequence": NOW, "source": "given"},
        "year": {"sequence": NOW + 1, "source": "crossref"},
    },
}
LETTER = DeadLetter(
    job="j1", sequence=NOW, stage="embed", reason="too long", document=Document(doi=DOI)
)


def said(capsys: pytest.CaptureFixture[str], payload: Any, **more: Any) -> list[str]:
    known = Known(LIVE, payload, more.pop("others", ()))
    details.print_known(DOI, known, **{"deleted": None, "letters": [], **more})
    return capsys.readouterr().out.splitlines()


def test_each_field_says_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, WHOLE, others=(OLDER,), deleted=NOW - 1, letters=[LETTER]) == [
        f"{DOI} is in {LIVE}, as point {point_id(DOI)}",
        "  title: Measured measurement\\u001b[2J"
        f"  (given, sequence {NOW}, 2026-11-23 10:33:20 UTC)",
        f"  year: 2009  (crossref, sequence {NOW + 1}, 2026-11-23 10:33:20 UTC)",
        "  vector made of: title",
        f"  sequence: {NOW}, 2026-11-23 10:33:20 UTC",
        "  model: 0123456789abcdef",
        f"  also in: {OLDER}",
        f"  deleted: sequence {NOW - 1}, 2026-11-23 10:33:19 UTC, and stored again since",
        f"  dead letter: job j1, sequence {NOW}, 2026-11-23 10:33:20 UTC, embed: too long",
    ]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (None, "  title: T"),
        ([], "  title: T"),
        ({"title": "given"}, "  title: T"),
        ({"title": {}}, "  title: T  (unknown, sequence unknown)"),
        ({"title": {"source": "x", "sequence": 10**30}}, f"  title: T  (x, sequence {10**30})"),
    ],
)
def test_a_payload_of_another_shape_is_shown_as_far_as_it_goes(
    capsys: pytest.CaptureFixture[str], fields: Any, shown: str
) -> None:
    payload = {"title": "T", "tags": ["a"], "sequence": "none"}
    lines = said(capsys, payload | ({} if fields is None else {"fields": fields}))
    assert lines[1:] == [
        *(shown, "  vector made of: unknown", "  sequence: none", "  tags: ['a']"),
        "  model: 0123456789abcdef",
    ]


def test_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, None, deleted=NOW) == [
        f"{DOI} is not in the collection {LIVE}",
        f"  deleted: sequence {NOW}, 2026-11-23 10:33:20 UTC",
    ]


def test_a_program_reads_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    details.say_json(DOI, Known(LIVE, WHOLE, (OLDER,)), deleted=NOW, letters=[LETTER])
    answer = json.loads(capsys.readouterr().out)
    assert answer["payload"] == WHOLE
    assert (answer["collection"], answer["others"], answer["deleted"]) == (LIVE, [OLDER], NOW)
    assert answer["model"] == "0123456789abcdef"
    assert [letter["reason"] for letter in answer["dead_letters"]] == ["too long"]
