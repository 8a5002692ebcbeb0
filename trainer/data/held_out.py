"""Held-out sets: frozen, so that champions and challengers meet on the same pairs for good."""

import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.document import METADATA_FIELDS, Document
from schemas.model import render
from schemas.pair import LabelledPair
from trainer.data import split
from trainer.data.metadata import FIELDS as DOCUMENT_FIELDS
from trainer.data.pairs import SCHEMA as PAIRS_SCHEMA
from trainer.data.pairs import Dataset
from trainer.data.shards import NEW, digest, locked, read_rows, write_rows
from trainer.data.split import NOTHING, HeldOut, groups_of
from trainer.errors import HeldOutUnknown, PairsError
from worker.files import sync, write_text

NAME = re.compile(r"[0-9a-f]{64}")
NOTE, PAIRS, DOCUMENTS = "held_out.json", "pairs.parquet", "documents.parquet"
DOCUMENTS_SCHEMA = pa.schema([("role", pa.string()), *DOCUMENT_FIELDS])
PAIR, CORPUS = "pair", "corpus"
NOTED = {"number", "dataset", "groups", "apart", "related"}


class HeldOutSet(NamedTuple):
    """Pairs that no model trains on, and what a search over them runs in.

    `dataset` is the version that they are of; `groups` are all that were chosen, those too of
    which no pair is left; the families in `apart` are reported, but not in the totals.
    `documents` has each DOI of `pairs`, bare where nothing is known of it; `corpus` has others.
    `related` are further pairs of these DOIs that are known to belong together, but are not
    tested on: to find one is no mistake.
    """

    id: str
    dataset: str
    groups: frozenset[str]
    apart: tuple[str, ...]
    pairs: list[LabelledPair]
    documents: dict[str, Document]
    corpus: list[Document]
    related: tuple[tuple[str, str], ...] = ()


class HeldOutStore:
    """The frozen sets below `root`, each in a directory `held_out/<id>`."""

    def __init__(self, root: Path) -> None:
        self._path = root / "held_out"

    def freeze(  # noqa: PLR0913 - each is a decision of the caller's
        self,
        dataset: Dataset,
        documents: Mapping[str, Document],
        *,
        share: float,
        keep: Collection[LabelledPair] = (),
        before: HeldOut = NOTHING,
        trained: Collection[LabelledPair] = (),
        apart: Sequence[str] = (),
        corpus: int = 50_000,
        searched: Sequence[str] = (),
    ) -> HeldOutSet:
        """Hold `share` (0 to 1) of the dataset's groups out, and keep the set for good.

        For `share`, `keep`, `before`, `trained` see `trainer.data.split.hold_out`. The corpus has
        at most `corpus` of the other documents, none of which is known to belong with a held-out
        one: those with a title first, of these those in no pair of the dataset, each by SHA-256.
        They come from `documents`, the dataset, and the canonical DOIs in `searched`. What was
        frozen already is returned as it is. Raises `PairsError`, also where nothing could be held
        out.
        """
        chosen = split.hold_out(
            dataset.pairs, share=share, keep=keep, before=before, trained=trained
        )
        if not chosen.pairs:
            raise PairsError(
                f"no pair can be held out: of {len(groups_of(dataset.pairs)):,} groups (what pairs "
                "came with) half must train, and those that are kept"
            )
        tested = list(dict.fromkeys(doi for p in chosen.pairs for doi in (p.doi_a, p.doi_b)))
        others = _others(dataset.pairs, {*documents, *searched}, tested=set(tested))
        known = [documents.get(doi) or Document(doi=doi) for doi in others]
        in_pairs = split.dois(dataset.pairs)
        found = HeldOutSet(
            id="",
            dataset=dataset.version,
            groups=chosen.groups,
            apart=tuple(sorted(set(apart))),
            pairs=chosen.pairs,
            documents={doi: documents.get(doi) or Document(doi=doi) for doi in tested},
            corpus=sorted(known, key=lambda document: _rank(document, in_pairs))[:corpus],
            related=_related(dataset.pairs, chosen.pairs, tested=set(tested)),
        )
        return self._keep(found._replace(id=_identity(found)))

    def renew(
        self, frozen: HeldOutSet, known: Mapping[str, Document], *, templates: Sequence[str]
    ) -> HeldOutSet:
        """The set with what is known of its documents by now, where `templates` need it.

        A field that was frozen stays; one that was not known then is filled from `known`. The
        pairs and the documents stay what they are, so that whatever could be judged still can;
        what is frozen anew has its own id, and is in force. Raises `PairsError`.
        """
        learnt = {doi: _learn(document, known) for doi, document in frozen.documents.items()}
        both = ((document, learnt[doi]) for doi, document in frozen.documents.items())
        if not any(_is_read_otherwise(*one, templates=templates) for one in both):
            return frozen
        corpus = [_learn(document, known) for document in frozen.corpus]
        renewed = frozen._replace(documents=learnt, corpus=corpus)
        return self._keep(renewed._replace(id=_identity(renewed)))

    def load(self, id: str | None = None) -> HeldOutSet:  # noqa: A002 - as in the tables
        """The set of this id or prefix, or without one the set that was frozen last.

        The version of a dataset, or its beginning, stands for the set last frozen with it.
        Raises `HeldOutUnknown` for none or several, `PairsError` for one that was changed.
        """
        path = self._path / self._find(id)
        note = _note(path)
        rows = read_rows(path / DOCUMENTS, schema=DOCUMENTS_SCHEMA)
        documents = [(role, _document(row)) for role, *row in rows]
        found = HeldOutSet(
            id=path.name,
            dataset=note["dataset"],
            groups=frozenset(note["groups"]),
            apart=tuple(note["apart"]),
            pairs=[LabelledPair(*row) for row in read_rows(path / PAIRS, schema=PAIRS_SCHEMA)],
            documents={d.doi: d for role, d in documents if role == PAIR},
            corpus=[d for role, d in documents if role == CORPUS],
            related=tuple((a, b) for a, b in note["related"]),
        )
        if _identity(found) != found.id:
            raise PairsError(f"the held-out set {path} was changed")
        return found

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

    def _keep(self, frozen: HeldOutSet) -> HeldOutSet:
        with locked(self._path):
            if self.ids()[-1:] == [frozen.id]:
                return self.load(frozen.id)
            notes = (_note(self._path / known) for known in self.ids())
            number = 1 + max((note["number"] for note in notes), default=0)
            try:
                if (path := self._path / frozen.id).exists():  # before another one: in force again
                    write_text(path / NOTE, _noted(frozen, number))
                    return self.load(frozen.id)
                made = self._path / NEW  # one that was killed may have left it
                shutil.rmtree(made, ignore_errors=True)
                _write(made, frozen, number=number)
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


def _others(pairs: Iterable[LabelledPair], more: set[str], *, tested: set[str]) -> set[str]:
    """What may be searched beside `tested`: not what is known to belong with one of them.

    A document that a query cites, but whose pair is not held out, would count as a wrong answer.
    """
    related = {
        doi
        for pair in pairs
        if pair.label and (pair.doi_a in tested or pair.doi_b in tested)
        for doi in (pair.doi_a, pair.doi_b)
    }
    return (split.dois(pairs) | more) - tested - related


def _related(
    pairs: Iterable[LabelledPair], chosen: Iterable[LabelledPair], *, tested: set[str]
) -> tuple[tuple[str, str], ...]:
    known = {p.key for p in pairs if p.label and p.doi_a in tested and p.doi_b in tested}
    return tuple(sorted(known - {pair.key for pair in chosen}))


def _rank(document: Document, in_pairs: set[str]) -> tuple[bool, bool, bytes]:
    return document.title is None, document.doi in in_pairs, split.digest(document.doi)


def _identity(found: HeldOutSet) -> str:
    head = [found.dataset, sorted(found.groups), found.apart, found.related]
    return digest([head, *found.pairs, *_rows(found)])


def _rows(found: HeldOutSet) -> Iterator[tuple[Any, ...]]:
    roles = ((PAIR, found.documents.values()), (CORPUS, found.corpus))
    for role, documents in roles:
        for document in documents:
            yield role, document.doi, *(getattr(document, name) for name in METADATA_FIELDS)


def _document(row: Sequence[Any]) -> Document:
    return Document(**dict(zip(("doi", *METADATA_FIELDS), row, strict=True)))


def _write(path: Path, found: HeldOutSet, *, number: int) -> None:
    path.mkdir()
    write_rows(path / PAIRS, found.pairs, schema=PAIRS_SCHEMA)
    write_rows(path / DOCUMENTS, list(_rows(found)), schema=DOCUMENTS_SCHEMA)
    write_text(path / NOTE, _noted(found, number))
    sync(path)


def _noted(found: HeldOutSet, number: int) -> str:
    note = {
        "number": number,
        "frozen_at": datetime.now(UTC).isoformat(),
        "dataset": found.dataset,
        "groups": sorted(found.groups),
        "apart": found.apart,
        "related": found.related,
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
