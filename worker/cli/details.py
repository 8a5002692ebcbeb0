"""How all that is known of one DOI is shown."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.document import METADATA_FIELDS
from schemas.doi import point_id
from schemas.job import DeadLetter
from schemas.model import VERSION_CHARACTERS
from worker.cli import console
from worker.contents import Known
from worker.store.points import OF_DOI, TEXT_FROM

FIELDS = "fields"  # of a payload: where each field came from
TOLD = ("doi", FIELDS, TEXT_FROM)  # in places of their own


def say_json(doi: str, known: Known, *, deleted: int | None, letters: Sequence[DeadLetter]) -> None:
    """Print what is known of a DOI as an object of JSON."""
    console.say_json(
        {
            "doi": doi,
            "point": point_id(doi),
            "collection": known.collection,
            "model": _model(known),
            "payload": known.payload,
            "others": known.others,
            "deleted": deleted,
            "dead_letters": [letter.model_dump(mode="json") for letter in letters],
        }
    )


def print_known(
    doi: str, known: Known, *, deleted: int | None, letters: Sequence[DeadLetter]
) -> None:
    """Print what is known of a DOI, a line for each thing."""
    if known.payload is None:
        console.out.print(f"{doi} is not in the collection {known.collection}")
    else:
        console.out.print(f"{doi} is in {known.collection}, as point {point_id(doi)}")
        for line in _of_payload(known.payload):
            console.out.print(f"  {line}")
        console.out.print(f"  model: {_model(known)}")
    if known.others:
        console.out.print(f"  also in: {', '.join(known.others)}")
    if deleted is not None:
        since = ", and stored again since" if known.payload is not None else ""
        console.out.print(f"  deleted: sequence {_when(deleted)}{since}")
    for letter in letters:
        where = f"job {letter.job}, sequence {_when(letter.sequence)}"
        console.out.print(f"  dead letter: {where}, {letter.stage}: {letter.reason}")


def _of_payload(payload: Mapping[str, Any]) -> Iterator[str]:
    sources = payload.get(FIELDS)
    for name in (name for name in METADATA_FIELDS if name in payload):
        yield f"{name}: {payload[name]}{_origin(sources, name)}"
    made_of = payload.get(TEXT_FROM, "unknown")
    yield f"vector made of: {'the DOI alone' if made_of == OF_DOI else made_of}"
    for name in sorted(payload.keys() - {*METADATA_FIELDS, *TOLD}):
        yield f"{name}: {_when(payload[name]) if name == 'sequence' else payload[name]}"


def _origin(sources: Any, name: str) -> str:
    """Who gave a field, and when; nothing where the payload doesn't say so."""
    given = sources.get(name) if isinstance(sources, Mapping) else None
    if not isinstance(given, Mapping):
        return ""
    source, sequence = given.get("source", "unknown"), given.get("sequence", "unknown")
    return f"  ({source}, sequence {_when(sequence)})"


def _when(sequence: Any) -> str:
    """A sequence with the time that it stands for: microseconds since the epoch."""
    try:
        time = datetime.fromtimestamp(int(sequence) / 1e6, UTC)
    except (TypeError, ValueError, OverflowError, OSError):  # not as doivec writes it
        return str(sequence)
    return f"{sequence}, {time:%Y-%m-%d %H:%M:%S} UTC"


def _model(known: Known) -> str:
    return known.collection[-VERSION_CHARACTERS:]
