"""What is known of DOIs, so that text templates can render them: append-only shards."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
FIELDS = [(name, TYPES.get(name, pa.string())) for name in ("doi", *METADATA_FIELDS)]


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

    Records are merged by field: each field has what was given for it last.
    """

    def __init__(self, root: Path, *, limits: LimitSettings) -> None:
        self._shards = ShardFolder(root / "metadata", schema=pa.schema(FIELDS))
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
        with self._shards.locked():
            added, changed = _merge(self.documents(), telling)
            shard = self._keep(changed, sources) if changed else None
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

    def documents(self, dois: Collection[str] | None = None) -> dict[str, Document]:
        """The documents of these canonical DOIs, or of all, of which something is known.

        Raises `PairsError` where a shard can't be read or was changed.
        """
        return {document.doi: document for document in self.each(dois)}

    def each(self, dois: Collection[str] | None = None) -> Iterator[Document]:
        """The same documents one after the other: they take ten times the memory of their rows."""
        wanted = None if dois is None else set(dois)
        rows = (row for facts in self._shards.facts() for row in self._shards.read(facts))
        latest = {row[0]: row for row in rows if wanted is None or row[0] in wanted}
        names = ("doi", *METADATA_FIELDS)
        return (Document(**dict(zip(names, row, strict=True))) for row in latest.values())

    @property
    def version(self) -> str:
        """The SHA-256 (hexadecimal) of the shards' ids; of nothing where there are none."""
        return version(facts.id for facts in self._shards.facts())

    def _keep(self, changed: dict[str, Document], sources: Sequence[str]) -> str:
        rows = [(d.doi, *(getattr(d, name) for name in METADATA_FIELDS)) for d in changed.values()]
        # A record may change and change back: with what was before it, each shard has an id of
        # its own, and the version tells the order in which they came.
        return self._shards.write(rows, files=sources, after=self.version)


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
