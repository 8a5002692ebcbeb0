"""The store of labelled pairs: content-addressed imports, each pair with one label.

Which label counts where a pair has both: `trainer.data.labels`. Where it comes again with the same
label, the first one stays. An import can be dropped; it is set aside, for models trained on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas.job import Reading, Rejection
from schemas.pair import LabelledPair
from trainer.data import pair_files
from trainer.data.labels import settle
from trainer.data.shards import Facts, ShardFolder, version
from trainer.data.table import Mask, Pairs
from trainer.errors import LimitExceeded, PairsError
from worker.settings.ingest import LimitSettings
from worker.settings.training import PairSettings
from worker.sources.options import SourceOptions
from worker.sources.records import DEFAULT, as_rejections
from worker.sources.report import Report

SCHEMA = pa.schema(
    [
        ("doi_a", pa.string()),
        ("doi_b", pa.string()),
        ("label", pa.int8()),
        ("source", pa.string()),
        ("group", pa.string()),
    ]
)


class Balance(NamedTuple):
    """How many pairs there are, how many have label 1, and how many are of each family."""

    pairs: int
    positives: int
    families: dict[str, int]

    @property
    def positive_share(self) -> float:
        """The share of pairs with label 1, 0 to 1; 0 of none."""
        return self.positives / self.pairs if self.pairs else 0.0

    def family_share(self, family: str) -> float:
        """The share of pairs of a family, 0 to 1; 0 of none."""
        return self.families.get(family, 0) / self.pairs if self.pairs else 0.0


class ImportReport(NamedTuple):
    """What became of an import's rows, and how it shifts the balance of the store.

    `new` rows were added; `repeated` ones had a pair and a label that were there; in
    `contradictions` a row met the other label of its pair. One that counts all the same is new as
    well; `corrected` ones changed what their own source had said. `shard` is the id of what was
    kept, None where nothing was.
    """

    files: tuple[str, ...]
    read: int
    new: int
    repeated: int
    contradictions: int
    rejected: tuple[Rejection, ...]
    reading: Reading
    shard: str | None
    before: Balance
    after: Balance
    corrected: int = 0


class Shard(NamedTuple):
    """One import: its id (SHA-256 of the pairs), how many pairs it added, from which files."""

    id: str
    pairs: int
    files: tuple[str, ...]
    created_at: datetime


class Dataset(NamedTuple):
    """Pairs with one label each; `version` is the SHA-256 of the ids of the `shards`, sorted."""

    version: str
    shards: tuple[str, ...]
    pairs: Sequence[LabelledPair]


class PairStore:
    """The pairs below `root`, in shards `pairs/<id>.parquet`."""

    def __init__(self, root: Path, *, limits: LimitSettings, caps: PairSettings) -> None:
        self._shards = ShardFolder(root / "pairs", schema=SCHEMA)
        self._limits = limits
        self._caps = caps

    def import_files(
        self, sources: Sequence[str], options: SourceOptions = DEFAULT, *, dry_run: bool = False
    ) -> ImportReport:
        """Take the pairs of `sources` (see `trainer.data.pair_files`) in: one shard or nothing.

        Rows keep their order. A `dry_run` reports, and keeps nothing. Raises `SourceError` where a
        file can't be read, `LimitExceeded` where the import goes past the caps, `PairsError`.
        """
        report, rejected = Report(), list[Rejection]()
        given = Pairs.of(self._read(sources, options, report=report, rejected=rejected))
        read = len(given) + len(rejected)
        with nullcontext() if dry_run else self._shards.locked():
            facts = self._shards.facts()
            stored, corrects = self._stored(facts)
            rows = Pairs.joined(stored, given)
            del stored, given
            found = settle(rows, corrects=corrects)
            before, after = balance(rows.only(found.before)), balance(rows.only(found.after))
            _check(before, after, caps=self._caps)
            # What overrules an earlier row means something behind it alone: its id says so.
            behind = version(known.id for known in facts) if found.corrected else ""
            new = rows.only(found.added).in_groups(found.added_groups)
            keep = new and not dry_run
            shard = self._shards.write(new, files=sources, after=behind) if keep else None
        return ImportReport(
            files=tuple(PurePath(source).name for source in sources),
            read=read,
            new=len(new),
            repeated=found.repeated,
            contradictions=found.contradictions,
            rejected=tuple(rejected),
            reading=report.reading,
            shard=shard,
            before=before,
            after=after,
            corrected=found.corrected,
        )

    def drop(self, prefix: str) -> Shard:
        """Set the import with this id or prefix aside; raises `PairsError`.

        Its rows count no more; those that a later import repeated were kept in this one alone.
        """
        with self._shards.locked():
            facts = self._shards.facts()
            (found,) = (known for known in facts if known.id == _find(prefix, facts))
            self._shards.set_aside(found)
        return Shard(found.id, found.rows, found.files, found.created_at)

    def shards(self) -> list[Shard]:
        """All shards, in the order of their import; raises `PairsError`."""
        return [Shard(f.id, f.rows, f.files, f.created_at) for f in self._shards.facts()]

    def dataset(self, shards: Sequence[str] = (), *, with_dropped: bool = False) -> Dataset:
        """The pairs of all shards, or of those with these ids or prefixes, in the order of ids.

        The order of imports changes nothing in a dataset, so neither in what is trained on it,
        unless one corrects another, which its id says. `with_dropped`, `shards` may be dropped
        ones. Raises `PairsError` for an unknown or ambiguous id, and for a shard that was changed.
        """
        facts = self._shards.facts(with_aside=with_dropped and bool(shards))
        ids = {_find(prefix, facts) for prefix in shards} or {known.id for known in facts}
        chosen = sorted((known for known in facts if known.id in ids), key=lambda known: known.id)
        rows, corrects = self._stored(chosen)
        found = settle(rows, corrects=corrects)
        pairs = rows.only(found.before).in_groups(found.groups)
        return Dataset(version(ids), tuple(known.id for known in chosen), pairs)

    def _read(
        self,
        sources: Sequence[str],
        options: SourceOptions,
        *,
        report: Report,
        rejected: list[Rejection],
    ) -> Iterator[LabelledPair]:
        """The pairs of the sources; what was rejected is put into `rejected`."""
        found = (
            item
            for source in sources
            for item in as_rejections(
                pair_files.read(source, limits=self._limits, options=options, report=report),
                report,
            )
        )
        for read, item in enumerate(found, start=1):
            if read > self._caps.file_pairs:
                raise LimitExceeded(f"more than {self._caps.file_pairs} pairs in one import")
            if isinstance(item, Rejection):
                rejected.append(item)
            else:
                yield item

    def _stored(self, facts: Iterable[Facts]) -> tuple[Pairs, Mask]:
        """The rows of these shards, and of each whether it corrects what is before it.

        First come those that any order gives the same, by their ids.
        """
        ordered = sorted(facts, key=lambda f: (f.number, f.created_at) if f.after else (0, f.id))
        rows = Pairs.of_pieces(piece for known in ordered for piece in self._pieces(known))
        corrects = [np.full(known.rows, bool(known.after)) for known in ordered]
        return rows, np.concatenate([*corrects, np.empty(0, bool)])

    def _pieces(self, facts: Facts) -> Iterator[pa.RecordBatch]:
        for piece in self._shards.pieces(facts):
            if any(column.null_count for column in piece.columns):
                raise PairsError(f"the shard {facts.id} lacks a value")
            yield piece


def balance(pairs: Iterable[LabelledPair]) -> Balance:
    """How pairs are spread over labels and families; the families sorted by name."""
    rows = Pairs.of(pairs)
    names, of_source = rows.families()
    counts = np.bincount(of_source[rows.source], minlength=len(names)).tolist()
    families = {name: count for name, count in zip(names, counts, strict=True) if count}
    return Balance(len(rows), int(np.count_nonzero(rows.label)), families)


def _check(before: Balance, after: Balance, *, caps: PairSettings) -> None:
    if after.pairs > caps.store_pairs:
        raise LimitExceeded(f"the store would hold {after.pairs} pairs; {caps.store_pairs} may be")
    if len(after.families) > caps.sources:
        raise LimitExceeded(f"{len(after.families)} sources; {caps.sources} may be")
    for family in after.families if len(after.families) > 1 else ():
        share = after.family_share(family)
        # A store that began with one family may take in others, though they are few at first.
        if share > caps.source_share and share > before.family_share(family):
            raise LimitExceeded(
                f"{family} would have {share:.1%} of all pairs; {caps.source_share:.1%} may be"
            )


def _find(prefix: str, facts: Sequence[Facts]) -> str:
    found = [known.id for known in facts if prefix and known.id.startswith(prefix)]
    if len(found) != 1:
        what = f"could be any of {', '.join(found)}" if found else "is no shard of the store"
        raise PairsError(f"{prefix!r} {what}")
    return found[0]
