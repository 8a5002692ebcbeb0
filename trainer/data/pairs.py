"""The store of labelled pairs: content-addressed imports, each pair with one label.

Which label counts where a pair has both: `trainer.data.labels`. Where it comes again with the same
label, the first one stays. An import can be dropped; it is set aside, for models trained on it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path, PurePath
from typing import NamedTuple

import pyarrow as pa

from schemas.job import Reading, Rejection
from schemas.pair import LabelledPair
from trainer.data import pair_files
from trainer.data.labels import Labels
from trainer.data.shards import Facts, ShardFolder, version
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
    pairs: list[LabelledPair]


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
        report = Report()
        given, rejected, read = self._read(sources, options, report)
        with nullcontext() if dry_run else self._shards.locked():
            facts = self._shards.facts()
            store = self._stored(facts)
            before = balance(store)
            added = (store.add(pair, corrects=True) for pair in given.rows())
            new = [pair for pair in added if pair is not None]
            after = balance(store)
            _check(before, after, caps=self._caps)
            # What overrules an earlier row means something behind it alone: its id says so.
            behind = version(known.id for known in facts) if store.corrected else ""
            keep = new and not dry_run
            shard = self._shards.write(new, files=sources, after=behind) if keep else None
        return ImportReport(
            files=tuple(PurePath(source).name for source in sources),
            read=read,
            new=len(new),
            repeated=given.repeated + store.repeated,
            contradictions=given.contradictions + store.contradictions,
            rejected=tuple(rejected),
            reading=report.reading,
            shard=shard,
            before=before,
            after=after,
            corrected=store.corrected,
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
        pairs = list(self._stored(chosen))
        return Dataset(version(ids), tuple(known.id for known in chosen), pairs)

    def _read(
        self, sources: Sequence[str], options: SourceOptions, report: Report
    ) -> tuple[Labels, list[Rejection], int]:
        given, rejected, read = Labels(every_source=True), [], 0
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
                given.add(item)
        return given, rejected, read

    def _stored(self, facts: Iterable[Facts]) -> Labels:
        """What these shards say: first those that any order gives the same, by their ids."""
        found = Labels()
        ordered = sorted(facts, key=lambda f: (f.number, f.created_at) if f.after else (0, f.id))
        for known in ordered:
            for row in self._shards.read(known):
                found.add(LabelledPair(*row), corrects=bool(known.after))
        found.repeated = found.contradictions = found.corrected = 0
        return found


def balance(pairs: Iterable[LabelledPair]) -> Balance:
    """How pairs are spread over labels and families; the families sorted by name."""
    kinds = Counter((pair.family, pair.label) for pair in pairs)
    families: Counter[str] = Counter()
    for (family, _), count in kinds.items():
        families[family] += count
    positives = sum(count for (_, label), count in kinds.items() if label)
    return Balance(kinds.total(), positives, dict(sorted(families.items())))


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
