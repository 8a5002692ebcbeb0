"""What is known of DOIs, so that text templates can render them: append-only shards."""

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.document import METADATA_FIELDS, Document
from schemas.job import Reading, Rejection
from trainer.data.shards import ShardFolder, version
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.parsing import CUT_CHARACTERS
from worker.sources.records import DEFAULT, as_rejections, read
from worker.sources.report import Report

TYPES = {"year": pa.int32()}
NAMES = ("doi", *METADATA_FIELDS)
FIELDS = [(name, TYPES.get(name, pa.string())) for name in NAMES]
# Who said it, and in which folder that lies: of a field what stands first counts.
GIVEN, COLLECTION, INDEX = "given", "collection", "index"
LAYERS = {GIVEN: ".", COLLECTION: "collection", INDEX: "index"}
ROWS_A_SHARD = 100_000  # of what is supplied: so much is in memory at once

Row = tuple[Any, ...]


class MetadataReport(NamedTuple):
    """What became of an import's records: read = added + repeated + bare + the rejected.

    `added` are those that are new or differ from what was known of their DOI, `bare` those that
    say nothing but a DOI. `shard` is the id of what was kept, None where nothing was.
    """

    files: tuple[str, ...]
    read: int
    added: int
    repeated: int
    bare: int
    rejected: tuple[Rejection, ...]
    reading: Reading
    shard: str | None


class MetadataStore:
    """The records below `root`, in shards `metadata/<id>.parquet`, of which a later one counts.

    Records are merged by field: each field has what was given for it last. What the live
    collection and the index supplied lies in layers below that, each in a folder of its own: it
    fills what was not given, and what one of them says replaces nothing of another's.
    """

    def __init__(self, root: Path, *, limits: LimitSettings) -> None:
        schema = pa.schema(FIELDS)
        self._layers = {
            name: ShardFolder(root / "metadata" / folder, schema=schema)
            for name, folder in LAYERS.items()
        }
        self._limits = limits

    def import_files(
        self, sources: Sequence[str], options: SourceOptions = DEFAULT
    ) -> MetadataReport:
        """Take the records of `sources` in, as one shard or not at all.

        They are read by `worker.sources.records.read`. What is known already adds nothing, and a
        bare DOI erases nothing. Raises `SourceError`, `PairsError`.
        """
        report = Report()
        found = [
            record
            for source in sources
            for record in as_rejections(
                read(source, limits=self._limits, options=options, report=report), report
            )
        ]
        given = [record for record in found if isinstance(record, Document)]
        rejected = tuple(_cut(record) for record in found if isinstance(record, Rejection))
        telling = [document for document in given if not document.is_bare]
        with self._layers[GIVEN].locked():
            known = {doi: _document(row) for doi, row in self._latest(GIVEN).items()}
            added, changed = _merge(known, telling)
            rows = [_row(document) for document in changed.values()]
            shard = self._keep(GIVEN, rows, files=sources) if rows else None
        return MetadataReport(
            files=tuple(Path(source).name for source in sources),
            read=len(found),
            added=added,
            repeated=len(telling) - added,
            bare=len(given) - len(telling),
            rejected=rejected,
            reading=report.reading,
            shard=shard,
        )

    def supply(self, layer: str, pages: Iterable[Mapping[str, Document]], *, origin: str) -> int:
        """Take in what `layer`'s source says by now of some DOIs; returns of how many that is new.

        What it says of a DOI replaces what it said before; what it said already adds nothing.
        `origin` is noted. Raises `PairsError`, and what `pages` raises: up to there it is kept in
        part.
        """
        count, new = 0, list[Row]()
        with self._layers[layer].locked():
            known = {row[0]: hash(row) for row in self._rows(layer)}  # few bytes of each
            for page in pages:
                rows = (_row(document) for document in page.values() if not document.is_bare)
                new += [row for row in rows if hash(row) != known.get(row[0])]
                if len(new) >= ROWS_A_SHARD:
                    self._keep(layer, new, files=[origin])
                    count, new = count + len(new), []
            if new:
                self._keep(layer, new, files=[origin])
        return count + len(new)

    def lacking(self, dois: Collection[str], fields: Iterable[str], *, above: str) -> list[str]:
        """Those of the DOIs, sorted, of which the layers above this one lack some of `fields`."""
        wanted, fields = _as_set(dois), frozenset(fields)
        left: dict[str, frozenset[str]] = {}
        for layer in list(LAYERS)[: list(LAYERS).index(above)]:
            for doi, row in self._latest(layer, wanted).items():
                said = {n for n, v in zip(NAMES, row, strict=True) if v is not None}
                left[doi] = left.get(doi, fields) - said
        return sorted(doi for doi in wanted if left.get(doi, fields))

    def titled(self, dois: Collection[str]) -> Counter[str]:
        """How many of the DOIs have their title from which layer."""
        wanted, titled, found = _as_set(dois), set[str](), Counter[str]()
        for layer in LAYERS:
            rows = self._latest(layer, wanted).items()
            new = {doi for doi, row in rows if row[1] is not None} - titled
            found[layer] = len(new)
            titled |= new
        return found

    def documents(self, dois: Collection[str] | None = None) -> "Documents":
        """The documents of these canonical DOIs, or of all, of which something is known.

        Raises `PairsError` where a shard can't be read or was changed.
        """
        wanted = None if dois is None else _as_set(dois)
        found: dict[str, Row] = {}
        for layer in LAYERS:
            for doi, row in self._latest(layer, wanted).items():
                found[doi] = _over(found[doi], row) if doi in found else row
        return Documents(found)

    @property
    def version(self) -> str:
        """The SHA-256 (hexadecimal) of the shards' ids; of nothing where there are none."""
        return version(facts.id for shards in self._layers.values() for facts in shards.facts())

    def _rows(self, layer: str) -> Iterator[Row]:
        shards = self._layers[layer]
        return (row for facts in shards.facts() for row in shards.read(facts))

    def _latest(self, layer: str, dois: Container[str] | None = None) -> dict[str, Row]:
        rows = (row for row in self._rows(layer) if dois is None or row[0] in dois)
        return {row[0]: row for row in rows}

    def _keep(self, layer: str, rows: Sequence[Row], *, files: Sequence[str]) -> str:
        shards = self._layers[layer]
        # A record may change and change back: with what was before it, each shard has an id of
        # its own, and the version tells the order in which they came, and who said it.
        behind = version(facts.id for facts in shards.facts())
        after = behind if layer == GIVEN else f"{layer} {behind}"
        return shards.write(rows, files=files, after=after)


class Documents(Mapping[str, Document]):
    """Documents by their DOIs, each made anew where it is asked for: it takes ten times its row.

    Who looks at each many times makes a `dict` of it first.
    """

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Documents":
        """These documents."""
        return cls({document.doi: _row(document) for document in documents})

    def __getitem__(self, doi: str) -> Document:
        return _document(self._rows[doi])

    def __contains__(self, doi: object) -> bool:
        return doi in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _as_set(dois: Collection[str]) -> Collection[str]:
    return dois if isinstance(dois, set | frozenset | dict) else set(dois)


def _row(document: Document) -> Row:
    return tuple(getattr(document, name) for name in NAMES)


def _document(row: Row) -> Document:
    return Document(**dict(zip(NAMES, row, strict=True)))


def _over(above: Row, below: Row) -> Row:
    return tuple(b if a is None else a for a, b in zip(above, below, strict=True))


def _merge(
    known: dict[str, Document], records: Sequence[Document]
) -> tuple[int, dict[str, Document]]:
    """How many records said something new in their turn, and what differs from `known` at last."""
    before, added = dict(known), 0
    for document in records:
        there = known.get(document.doi)
        merged = there.model_copy(update=document.metadata) if there else document
        added += merged != there
        known[document.doi] = merged
    dois = dict.fromkeys(document.doi for document in records)
    return added, {doi: known[doi] for doi in dois if before.get(doi) != known[doi]}


def _cut(rejection: Rejection) -> Rejection:
    return rejection._replace(raw=rejection.raw[:CUT_CHARACTERS])
