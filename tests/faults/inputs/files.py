"""Files in every format: whole, damaged, spliced, packed, in other encodings, under other names."""

import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from zstandard import ZstdCompressor

from schemas.document import Document
from schemas.job import Rejection
from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.papers import FORMATS, NAMES, Paper, papers
from tests.faults.inputs.truth import check_document, check_reason, comes_from
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.records import read

SEEDS = 24  # files of each format, of which cases are made
BINARIES = ("parquet", "xlsx")
BY_LINES = ("jsonl", "txt", "csv", "tsv")
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": partial(gzip.compress, compresslevel=1, mtime=0),
    ".xz": partial(lzma.compress, preset=0),
    ".zst": ZstdCompressor(level=1).compress,
}
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252")
SMALL = (
    LimitSettings(record_bytes=120),
    LimitSettings(doi_bytes=12),
    LimitSettings(record_bytes=1),
)
FORMAT_NAMES = (*(name for name in FORMATS if name != "ciw"), "wos")


class Seed(NamedTuple):
    """A file that is as it should be, and what it holds."""

    papers: Sequence[Paper]
    content: bytes


class Made(NamedTuple):
    """What a case gives to read: `plain` is the text before it was packed, None where it is none.

    `kept` are DOIs that must be found, `apart` says that no record may have another one's title.
    """

    content: bytes
    plain: str | None
    kept: frozenset[str] = frozenset()
    apart: bool = False
    suffix: str = ""


def seeds(name: str) -> list[Seed]:
    """The files of a format that cases are made of."""
    rng = Random(f"seeds {name}")
    made = []
    for _ in range(SEEDS):
        found = papers(rng, rng.randint(1, 6))
        made.append(Seed(found, FORMATS[name](rng, found)))
    return made


@contextmanager
def _open(folder: Path, *, name: str) -> Iterator[Case]:
    known = seeds(name)

    def case(rng: Random) -> bool:
        made = _made(rng, name, known)
        is_plain = rng.random() < 0.9 or bool(made.kept) or made.apart
        suffix = f".{name}" if is_plain else rng.choice(("", ".txt", ".json", ".csv", ".bib"))
        path = folder / f"a{suffix}{made.suffix}"
        path.write_bytes(made.content)
        limits = LimitSettings() if is_plain else rng.choice((LimitSettings(), *SMALL))
        options = SourceOptions() if is_plain else _options(rng)
        try:
            return _read(path, made, limits=limits, options=options)
        finally:
            path.unlink()

    yield case


def _read(path: Path, made: Made, *, limits: LimitSettings, options: SourceOptions) -> bool:
    found = []
    try:
        for record in read(str(path), limits=limits, options=options):
            found.append(record)
            check(record, made.plain, limits=limits)
    except SourceError as error:
        check_reason(error, of=str(path))
    documents = [record for record in found if isinstance(record, Document)]
    missing = made.kept - {document.doi for document in documents}
    assert not missing, f"lost {missing}, where another line is damaged"
    if made.apart:
        _check_apart(documents)
    return bool(documents)


def check(record: Document | Rejection, plain: str | None, *, limits: LimitSettings) -> None:
    """Raise AssertionError for a record that no reader may give of this text."""
    if isinstance(record, Rejection):
        assert record.line >= 1
        assert record.reason not in {"", "internal error"}, f"a bug: {record}"
        return
    check_document(record, doi_bytes=limits.doi_bytes)
    size = sum(len(value.encode()) for value in (record.title, record.venue) if value)
    # Clean text may be longer than its escapes: &lang; has six bytes, its sign three.
    assert size <= 4 * limits.record_bytes, f"{size} bytes"
    if plain is not None:
        plain += plain  # a packed file may be damaged so that it holds all of it twice
        for value in (record.doi, record.title or "", record.venue or ""):
            assert comes_from(value, plain), f"{value!r} is not in the file"


def _check_apart(documents: Sequence[Document]) -> None:
    words = {document.doi.rpartition(".")[2] for document in documents}
    for document in documents:
        own = document.doi.rpartition(".")[2]
        others = [word for word in words if word != own and word in (document.title or "")]
        assert not others or own in (document.title or ""), f"another one's title: {document!r}"


def _options(rng: Random) -> SourceOptions:
    return SourceOptions(
        encoding=rng.choice((None, None, *ENCODINGS)),
        format=rng.choice((None, None, *FORMAT_NAMES)),
        columns=rng.choice(
            ({}, {}, {"doi": "DOI"}, {"title": "nothing"}, {"doi": noise.text(rng)})
        ),
    )


def _made(rng: Random, name: str, known: Sequence[Seed]) -> Made:
    seed = rng.choice(known)
    if name in BINARIES:
        return Made(STRUCTURED[name](rng, seed, known), None)
    act = rng.random()
    if act < (0.25 if name in BY_LINES else 0.05):
        is_damaged = act > 0.05 and name in BY_LINES
        return _one_line_damaged(rng, name, seed) if is_damaged else _as_it_is(seed)
    if act < 0.4 and name in BY_LINES:
        # Three bytes can't make a line of two, of which each has its own fields.
        content = noise.flipped(rng, seed.content)
        return Made(content, content.decode(errors="replace"), apart=True)
    content = _damaged_text(rng, seed, known)
    if act > 0.93:
        return _encoded(rng, content)
    plain = content.decode(errors="replace")
    return Made(content, plain) if act < 0.85 else _packed(rng, content, plain)


def _as_it_is(seed: Seed) -> Made:
    return Made(seed.content, seed.content.decode(), frozenset(paper.doi for paper in seed.papers))


def _one_line_damaged(rng: Random, name: str, seed: Seed) -> Made:
    """One line of several is damaged, in itself: the others must be read."""
    lines = seed.content.decode().splitlines()
    first = 1 if name in {"txt", "jsonl"} else 2  # the first tells the format
    if len(lines) <= first:
        return _as_it_is(seed)
    at = rng.randrange(first, len(lines))
    damaged = noise.flipped(rng, lines[at].encode()).translate(
        None, b'\r\n\0"' if name != "jsonl" else b"\r\n\0"
    )
    raw = [line.encode() for line in lines]
    raw[at] = damaged
    content = b"\n".join(raw) + b"\n"
    number = at - (len(lines) - len(seed.papers))
    kept = frozenset(paper.doi for n, paper in enumerate(seed.papers) if n != number)
    return Made(content, content.decode(errors="replace"), kept)


def _damaged_text(rng: Random, seed: Seed, known: Sequence[Seed]) -> bytes:
    if rng.random() < 0.2:
        other = rng.choice(known).content
        cut = rng.randint(0, len(seed.content))
        return seed.content[:cut] + other[rng.randint(0, len(other)) :]
    return noise.damaged(rng, seed.content, most=3)


def _packed(rng: Random, content: bytes, plain: str) -> Made:
    suffix, pack = rng.choice(list(PACKED.items()))
    packed = pack(content)
    if rng.random() < 0.2:
        packed += pack(content)
    if rng.random() < 0.7:
        return Made(noise.damaged(rng, packed), None, suffix=suffix)
    return Made(packed, plain, suffix=suffix)


def _encoded(rng: Random, content: bytes) -> Made:
    recoded = content.decode(errors="replace").encode(rng.choice(ENCODINGS), errors="replace")
    return Made(noise.damaged(rng, recoded) if rng.random() < 0.5 else recoded, None)


def _parquet(rng: Random, seed: Seed, known: Sequence[Seed]) -> bytes:
    if rng.random() < 0.7:
        return noise.damaged(rng, seed.content, most=3)
    columns = {
        noise.text(rng).encode(errors="replace").decode()
        if rng.random() < 0.1
        else rng.choice(names): _column(rng)
        for names in NAMES.values()
    }
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), out)
    except (pa.ArrowException, UnicodeError, OverflowError):  # no such file can be made
        return noise.damaged(rng, seed.content)
    return out.getvalue()


def _column(rng: Random) -> pa.Array:
    texts = ["10.1000/a", noise.text(rng).encode(errors="replace").decode(), None]
    columns: tuple[Callable[[], Any], ...] = (
        lambda: pa.array(texts),
        lambda: pa.array(texts).dictionary_encode(),
        lambda: pa.array([b"10.1000/a", b"\xff\x00", None], pa.binary()),
        lambda: pa.array([2001, -1, None], rng.choice((pa.int64(), pa.int16()))),
        lambda: pa.array([1e999, float("nan"), 1999.5]),
        lambda: pa.array([["10.1000/a"], [], None]),
        lambda: pa.array([{"a": 1}, None, {"a": 2}]),
        lambda: pa.array(
            [0, 10**15, -(10**15)], pa.timestamp(rng.choice(("s", "us")), tz="Nowhere/Land")
        ),
        lambda: pa.array([0, 10**6, None], pa.date32()),
        lambda: pa.nulls(3),
        lambda: pa.array([True, None, False]),
    )
    return rng.choice(columns)()


def _xlsx(rng: Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    if rng.random() < 0.3:
        return noise.damaged(rng, seed.content)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seed.content)) as book, zipfile.ZipFile(out, "w") as made:
        names = book.namelist()
        chosen = rng.choice([name for name in names if "theme" not in name])
        for name in names:
            part = book.read(name)
            if name == chosen and rng.random() < 0.1:
                continue
            made.writestr(name, _damaged_xml(rng, part) if name == chosen else part)
    return out.getvalue()


def _damaged_xml(rng: Random, part: bytes) -> bytes:
    """XML that is often still whole: numbers, names and references are changed, not only bytes."""
    if rng.random() < 0.4:
        return noise.damaged(rng, part, most=2)
    text = part.decode()
    olds = [old for old in XML_PARTS if old in text]
    old = rng.choice(olds or [text[:1]])
    new = rng.choice(
        (*XML_PARTS, "-1", "99999999999999999999", "A0", "XFE1", "1e999", "nan", "", "é")
    )
    return text.replace(old, new, rng.choice((1, 1, -1))).encode()


XML_PARTS = (
    *('t="s"', 't="inlineStr"', 't="n"', 't="d"', 't="e"', 't="b"', 't="zz"', 'r="A1"', 'r="B2"'),
    *(
        "<v>0</v>",
        "<v>1</v>",
        "<v>2</v>",
        'r="1"',
        'r="2"',
        "A1:D3",
        's="0"',
        's="9"',
        "<row",
        "<c ",
    ),
    *("<si>", "<t>", "</t>", "numFmtId=", "sheetId=", "rId1", "worksheets/sheet1.xml", 'count="'),
)
STRUCTURED = {"parquet": _parquet, "xlsx": _xlsx}
WEIGHTS = {"parquet": 14, "xlsx": 8, "bib": 18, "jsonl": 24}
TARGETS = tuple(Target(name, WEIGHTS.get(name, 20), partial(_open, name=name)) for name in FORMATS)
