"""Lists with what was looked up of their DOIs: into the index, or to a file."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from schemas.document import Document
from schemas.job import Rejection
from worker.cli import console
from worker.files import replacing
from worker.metadata.resolver import PAGE_DOIS, PAGES, Resolver
from worker.metadata.supplements import lacks
from worker.settings.ingest import LimitSettings
from worker.settings.metadata import Want
from worker.sources.options import SourceOptions
from worker.sources.records import read


class Lists:
    """The records of sources, read when asked for; what is no record is counted, and told."""

    def __init__(
        self, sources: Sequence[str], *, limits: LimitSettings, options: SourceOptions
    ) -> None:
        self._sources = sources
        self._limits = limits
        self._options = options
        self._rejections: list[Rejection] = []
        self.rejected = 0

    def __iter__(self) -> Iterator[Document]:
        for source in self._sources:
            for record in read(source, limits=self._limits, options=self._options):
                if isinstance(record, Document):
                    yield record
                else:
                    self._reject(record)

    def tell_rejected(self) -> None:
        """Say what is no record: the first few, and how many more."""
        console.print_rejections(self._rejections, self.rejected)

    def _reject(self, rejection: Rejection) -> None:
        self.rejected += 1
        if len(self._rejections) < console.SHOWN_REJECTIONS:
            self._rejections.append(rejection)


def titled(resolver: Resolver, records: Iterable[Document], *, want: Want) -> Iterator[Document]:
    """The records in their order, each with what was found and it lacks."""
    left = iter(records)
    while chunk := list(islice(left, PAGES * PAGE_DOIS)):
        lacking = dict.fromkeys(r.doi for r in chunk if lacks(r.metadata, want))
        pages = resolver.resolve(lacking)
        found = {doi: known for page in pages for doi, known in page.found.items()}
        for record in chunk:
            yield record.supplemented(found.get(record.doi, ()))


@contextmanager
def writing(output: Path | None) -> Iterator[Callable[[Document], object]]:
    """What writes a record as a line of JSON; the file is there in whole, or as it was."""
    if output is None:
        yield lambda _: None
        return
    with replacing(output) as made:
        opened = gzip.open if output.suffix == ".gz" else open
        with opened(made, "wt", encoding="utf-8") as file:
            yield lambda d: file.write(_line(d))


def _line(document: Document) -> str:
    return json.dumps({"doi": document.doi, **document.metadata}, ensure_ascii=False) + "\n"
