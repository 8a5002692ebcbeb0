"""Made-up papers, written in each format that sources are read in."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook

from tests.support import registry_records as shapes

WORDS = (
    *(
        "drawing",
        "large",
        "networks",
        "of",
        "the",
        "Schrödinger",
        "equation",
        "in",
        "naïve",
        "cells",
    ),
    *(
        "CO2",
        "β-catenin",
        "A&B",
        "5%",
        "role",
        "deep",
        "learning",
        "μm",
        "中文",
        "x < y",
        "“quoted”",
    ),
)
# One of each in a file: the first is our own name.
NAMES = {
    "doi": ("doi", "DOI", "Article DOI", "DI"),
    "title": ("title", "Article Title", "Document Title"),
    "year": ("year", "Publication Year", "PY"),
    "venue": ("venue", "Source Title", "journal"),
}
FIELDS = tuple(NAMES)


class Paper(NamedTuple):
    """A paper; the word that its DOI and its title share is no other's."""

    word: str
    doi: str
    title: str
    year: int
    venue: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Its fields as texts, in the order of `FIELDS`."""
        return (self.doi, self.title, str(self.year), self.venue)


def papers(rng: Random, count: int) -> list[Paper]:
    """Papers of different DOIs."""
    return [_paper(rng, number) for number in range(count)]


def _paper(rng: Random, number: int) -> Paper:
    word = f"q{rng.randrange(10**6):06}w{number}"
    words = [word, *rng.choices(WORDS, k=rng.randint(2, 7))]
    doi = f"10.{rng.randint(1000, 99999)}/{rng.choice(('j', 'abc', 's'))}.{word}"
    return Paper(word, doi, " ".join(words), rng.randint(1850, 2026), f"Journal of {word}")


def _table(rng: Random, found: Sequence[Paper], delimiter: str) -> bytes:
    out = io.StringIO()
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerow(rng.choice(NAMES[field]) for field in FIELDS)
    writer.writerows(paper.cells for paper in found)
    return out.getvalue().encode()


def _csv(rng: Random, found: Sequence[Paper]) -> bytes:
    return _table(rng, found, rng.choice(",,;|"))


def _tsv(rng: Random, found: Sequence[Paper]) -> bytes:
    return _table(rng, found, "\t")


def _txt(rng: Random, found: Sequence[Paper]) -> bytes:
    start = rng.choice(("", "", "https://doi.org/", "doi:"))
    return "".join(f"{start}{paper.doi}\n" for paper in found).encode()


def _fields(paper: Paper) -> dict[str, object]:
    return {"title": paper.title, "year": paper.year, "venue": paper.venue}


def _object(rng: Random, paper: Paper) -> object:
    make = rng.choice(SHAPES)
    return make(paper.doi, _fields(paper)) if make else {"doi": paper.doi, **_fields(paper)}


def _jsonl(rng: Random, found: Sequence[Paper]) -> bytes:
    is_ascii = rng.random() < 0.5
    rows = (json.dumps(_object(rng, paper), ensure_ascii=is_ascii) for paper in found)
    return "".join(f"{row}\n" for row in rows).encode()


def _json(rng: Random, found: Sequence[Paper]) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        value: object = [_object(rng, paper) for paper in found]
    else:
        make, wrap = WRAPPED[kind - 1]
        value = wrap([make(paper.doi, _fields(paper)) for paper in found])
    return json.dumps(value, indent=rng.choice((None, 1)), ensure_ascii=False).encode()


def _ris(_: Random, found: Sequence[Paper]) -> bytes:
    return "".join(
        f"TY  - JOUR\nTI  - {p.title}\nPY  - {p.year}\nJO  - {p.venue}\nDO  - {p.doi}\nER  - \n\n"
        for p in found
    ).encode()


def _nbib(_: Random, found: Sequence[Paper]) -> bytes:
    return "".join(
        f"PMID- {n}\nOWN - NLM\nTI  - {p.title}\nLID - {p.doi} [doi]\nDP  - {p.year} May\n"
        f"JT  - {p.venue}\n\n"
        for n, p in enumerate(found, start=1000)
    ).encode()


def _wos(_: Random, found: Sequence[Paper]) -> bytes:
    rows = (f"PT J\nTI {p.title}\nSO {p.venue}\nPY {p.year}\nDI {p.doi}\nER\n\n" for p in found)
    return f"FN Clarivate Analytics Web of Science\nVR 1.0\n{''.join(rows)}EF\n".encode()


def _enw(_: Random, found: Sequence[Paper]) -> bytes:
    return "".join(
        f"%0 Journal Article\n%T {p.title}\n%D {p.year}\n%J {p.venue}\n%R {p.doi}\n\n"
        for p in found
    ).encode()


def _bib(rng: Random, found: Sequence[Paper]) -> bytes:
    opened, closed = rng.choice(("{}", '""', "{}"))
    rows = []
    for p in found:
        title = p.title.replace("&", r"\&").replace("%", r"\%").replace("ö", r"{\"o}")
        title = title if opened == "{" else title.replace(r"{\"o}", "ö")
        rows.append(
            f"@article{{{p.word},\n  title = {opened}{title}{closed},\n"
            f"  journal = {opened}{p.venue}{closed},\n  year = {p.year},\n"
            f"  doi = {{{p.doi}}},\n}}\n\n"
        )
    return "".join(rows).encode()


def _parquet(rng: Random, found: Sequence[Paper]) -> bytes:
    columns = {rng.choice(NAMES[f]): [getattr(p, f) for p in found] for f in FIELDS}
    out = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        out,
        compression=rng.choice(("snappy", "zstd", "none")),
        use_dictionary=rng.random() < 0.5,
        data_page_version=rng.choice(("1.0", "2.0")),
        row_group_size=rng.choice((1, 100)),
    )
    return out.getvalue()


def _xlsx(rng: Random, found: Sequence[Paper]) -> bytes:
    book, out = Workbook(), io.BytesIO()
    sheet = book.active
    assert sheet is not None
    sheet.append([rng.choice(NAMES[field]) for field in FIELDS])
    for paper in found:
        sheet.append([paper.doi, paper.title, paper.year, paper.venue])
    book.save(out)
    return out.getvalue()


SHAPES = (None, shapes.crossref_work, shapes.openalex_work, shapes.csl_item)
WRAPPED = (
    (shapes.crossref_work, shapes.crossref_list),
    (shapes.openalex_work, shapes.openalex_list),
    (shapes.datacite_doi, shapes.datacite_list),
)
# By the suffix that a file of the format has.
FORMATS: dict[str, Callable[[Random, Sequence[Paper]], bytes]] = {
    "csv": _csv,
    "tsv": _tsv,
    "txt": _txt,
    "jsonl": _jsonl,
    "json": _json,
    "ris": _ris,
    "nbib": _nbib,
    "ciw": _wos,
    "enw": _enw,
    "bib": _bib,
    "parquet": _parquet,
    "xlsx": _xlsx,
}
