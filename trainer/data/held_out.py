"""Held-out sets: frozen, so that champions and challengers meet on the same pairs for good."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.document import METADATA_FIELDS, Document
from schemas.model import render
from schemas.pair import LabelledPair
from trainer.data.metadata import FIELDS as DOCUMENT_FIELDS
from trainer.data.metadata import Documents
from trainer.data.pairs import SCHEMA as PAIRS_SCHEMA
from trainer.data.shards import NEW, digest, locked, read_rows, write_rows
from trainer.errors import HeldOutUnknown, PairsError
from worker.files import sync, write_text

NAME = re.compile(r"[0-9a-f]{64}")
NOTE, PAIRS, DOCUMENTS = "held_out.json", "pairs.parquet", "documents.parquet"
RETIRED = "retired.parquet"
DOCUMENTS_SCHEMA = pa.schema([("role", pa.string()), *DOCUMENT_FIELDS])
PAIR, CORPUS = "pair", "corpus"
NOTED = {"number", "dataset", "groups", "apart", "related"}


class HeldOutSet(NamedTuple):
    """Pairs that no model trains on, and what a search over them runs in.

    `dataset` is the version that they are of; `groups` are all that were chosen, those too of
    which no pair is left; the families in `apart` are reported, but not in the totals.
    `documents` has each DOI of `pairs`, bare where nothing is known of it; `corpus` has others.
    `related` are further pairs of these DOIs that are known to belong together, but are not
    tested on: to find one is no mistake. For `retired`, `reserve`, `exempt` see `split.HeldOut`.
    """

    id: str
    dataset: str
    groups: frozenset[str]
    apart: tuple[str, ...]
    pairs: list[LabelledPair]
    documents: Mapping[str, Document]
    corpus: list[Document]
    related: tuple[tuple[str, str], ...] = ()
    retired: tuple[LabelledPair, ...] = ()
    reserve: float = 0.0
    exempt: frozenset[str] = frozenset()

    def at_hand(self) -> "HeldOutSet":
        """The same set with its documents made once, to be looked at many times."""
        return self._replace(documents=dict(self.documents))


class HeldOutStore:
    """The frozen sets below `root`, each in a directory `held_out/<id>`."""

    def __init__(self, root: Path) -> None:
        self._path = root / "held_out"

    def renew(
        self, frozen: HeldOutSet, known: Mapping[str, Document], *, templates: Sequence[str]
    ) -> HeldOutSet:
        """The set with what is known of its documents by now, where `templates` need it.

        A field that was frozen stays; one that was not known then is filled from `known`. The
        pairs and the documents stay what they are, so that whatever could be judged still can;
        what is frozen anew has its own id, and is in force. Raises `PairsError`.
        """
        both = ((document, _learn(document, known)) for document in frozen.documents.values())
        if not any(_is_read_otherwise(*one, templates=templates) for one in both):
            return frozen
        learnt = Documents.of(_learn(document, known) for document in frozen.documents.values())
        corpus = [_learn(document, known) for document in frozen.corpus]
        renewed = frozen._replace(documents=learnt, corpus=corpus)
        return self.keep(identified(renewed), since=self.since(frozen.id))

    def load(self, id: str | None = None) -> HeldOutSet:  # noqa: A002 - as in the tables
        """The set of this id or prefix, or without one the set that was frozen last.

        The version of a dataset, or its beginning, stands for the set last frozen with it.
        Raises `HeldOutUnknown` for none or several, `PairsError` for one that was changed.
        """
        path = self._path / self._find(id)
        note = _note(path)
        rows = read_rows(path / DOCUMENTS, schema=DOCUMENTS_SCHEMA)
        corpus = [_document(row) for role, *row in rows if role == CORPUS]
        found = HeldOutSet(
            id=path.name,
            dataset=note["dataset"],
            groups=frozenset(note["groups"]),
            apart=tuple(note["apart"]),
            pairs=[LabelledPair(*row) for row in read_rows(path / PAIRS, schema=PAIRS_SCHEMA)],
            documents=Documents({doi: (doi, *row) for role, doi, *row in rows if role == PAIR}),
            corpus=corpus,
            related=tuple((a, b) for a, b in note["related"]),
            retired=_retired(path),
            reserve=note.get("reserve", 0.0),
            exempt=frozenset(note.get("exempt", ())),
        )
        if _identity(found) != found.id:
            raise PairsError(f"the held-out set {path} was changed")
        return found

    def since(self, id: str) -> datetime:  # noqa: A002 - as in the tables
        """When the questions of this set were first asked; raises as `load` does."""
        note = _note(self._path / self._find(id))
        return datetime.fromisoformat(note.get("since") or note["frozen_at"])

    def ids(self) -> list[str]:
        """The ids of all sets, in the order in which they were frozen; raises `PairsError`."""
        found = [path for path in self._path.glob("*") if NAME.fullmatch(path.name)]
        return [path.name for path in sorted(found, key=lambda path: _note(path)["number"])]

    def _find(self, prefix: str | None) -> str:
        ids = self.ids()
        found = ids[-1:] if prefix is None else [known for known in ids if known.startswith(prefix)]
        if prefix and not found:
            datasets = ((known, _note(self._path / known)["dataset"]) for known in ids)
            found = [known for known, dataset in datasets if dataset.startswith(prefix)][-1:]
        if len(found) > 1:
            raise HeldOutUnknown(f"{prefix!r} could be any of the sets {', '.join(found)}")
        if not found:
            what = "no held-out set was frozen yet" if prefix is None else f"no set {prefix!r}"
            raise HeldOutUnknown(f"{what} in {self._path}")
        return found[0]

    def keep(self, frozen: HeldOutSet, *, since: datetime | None = None) -> HeldOutSet:
        """Keep a set for good, and have it in force; what is there already stays as it is.

        `since` is when its questions were first asked, now unless said. Raises `PairsError`.
        """
        at = since or datetime.now(UTC)
        with locked(self._path):
            if self.ids()[-1:] == [frozen.id]:
                return self.load(frozen.id)
            notes = (_note(self._path / known) for known in self.ids())
            number = 1 + max((note["number"] for note in notes), default=0)
            try:
                if (path := self._path / frozen.id).exists():  # before another one: in force again
                    write_text(path / NOTE, _noted(frozen, number, since=self.since(frozen.id)))
                    return self.load(frozen.id)
                made = self._path / NEW  # one that was killed may have left it
                shutil.rmtree(made, ignore_errors=True)
                _write(made, frozen, _noted(frozen, number, since=at))
                made.replace(self._path / frozen.id)
                sync(self._path)
            except OSError as error:
                raise PairsError(f"the held-out set can't be kept: {error}") from error
        return frozen


def _learn(document: Document, known: Mapping[str, Document]) -> Document:
    now = known.get(document.doi, document)
    unknown = [name for name in METADATA_FIELDS if getattr(document, name) is None]
    return document.model_copy(update={name: getattr(now, name) for name in unknown})


def _is_read_otherwise(before: Document, now: Document, *, templates: Sequence[str]) -> bool:
    """Whether an earlier one of the templates applies by now, or one at all."""
    places = [
        next((n for n, one in enumerate(templates) if render(document, (one,)) is not None), None)
        for document in (before, now)
    ]
    return places[0] != places[1]


def identified(found: HeldOutSet) -> HeldOutSet:
    """The set with the id that is its own: the SHA-256 of all that is in it."""
    return found._replace(id=_identity(found))


def _identity(found: HeldOutSet) -> str:
    head: list[Any] = [found.dataset, sorted(found.groups), found.apart, found.related]
    if found.reserve:  # sets from before there was one keep their names
        head += [found.reserve, sorted(found.exempt), len(found.retired)]
    return digest([head, *found.pairs, *found.retired, *_rows(found)])


def _rows(found: HeldOutSet) -> Iterator[tuple[Any, ...]]:
    roles = ((PAIR, found.documents.values()), (CORPUS, found.corpus))
    for role, documents in roles:
        for document in documents:
            yield role, document.doi, *(getattr(document, name) for name in METADATA_FIELDS)


def _document(row: Sequence[Any]) -> Document:
    return Document(**dict(zip(("doi", *METADATA_FIELDS), row, strict=True)))


def _write(path: Path, found: HeldOutSet, note: str) -> None:
    path.mkdir()
    write_rows(path / PAIRS, found.pairs, schema=PAIRS_SCHEMA)
    write_rows(path / DOCUMENTS, list(_rows(found)), schema=DOCUMENTS_SCHEMA)
    if found.retired:
        write_rows(path / RETIRED, found.retired, schema=PAIRS_SCHEMA)
    write_text(path / NOTE, note)
    sync(path)


def _retired(path: Path) -> tuple[LabelledPair, ...]:
    if not (path / RETIRED).exists():
        return ()
    rows = read_rows(path / RETIRED, schema=PAIRS_SCHEMA)
    return tuple(LabelledPair(*row) for row in rows)


def _noted(found: HeldOutSet, number: int, *, since: datetime) -> str:
    note = {
        "number": number,
        "frozen_at": datetime.now(UTC).isoformat(),
        "since": since.isoformat(),
        "dataset": found.dataset,
        "groups": sorted(found.groups),
        "apart": found.apart,
        "related": found.related,
        "reserve": found.reserve,
        "exempt": sorted(found.exempt),
    }
    return json.dumps(note, indent=1, ensure_ascii=False) + "\n"


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads((path / NOTE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PairsError(f"the held-out set {path} can't be read: {error}") from error
    if not isinstance(note, dict) or not note.keys() >= NOTED:
        raise PairsError(f"the held-out set {path} was changed: {NOTE} lacks something")
    return note
