"""Lists with what was looked up of their DOIs: into the index, or to a file."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from schemas.document import Document
from worker.files import replacing
from worker.metadata.resolver import PAGE_DOIS, PAGES, Resolver
from worker.metadata.supplements import lacks
from worker.settings.metadata import Want


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
