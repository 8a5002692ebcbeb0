"""Snapshots on disk: their files, and the records in one of them, told by what they hold."""

import errno
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple, cast
from uuid import uuid4

from schemas.job import Rejection
from worker.errors import NoRecord, SourceError
from worker.metadata import shapes
from worker.metadata.answers import Answer
from worker.settings.ingest import LimitSettings
from worker.sources.columns import DOCUMENT, Columns
from worker.sources.compression import COMPRESSIONS, decompressed
from worker.sources.fields import document, picked
from worker.sources.formats import cut
from worker.sources.options import SourceOptions
from worker.sources.parsing import attempt, told
from worker.sources.streams import opened, source_name

RECORD_BYTES = 64 * 2**20  # of Crossref's some have ten thousand references
SUFFIXES = {"", ".json", ".jsonl", ".ndjson", ".parquet", ".tar"}
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst")
COPY_BYTES = 2**20
LONGEST_SUFFIX = 20
WITHIN = "::"  # between an archive and its member
OPENALEX = "https://openalex.org/"


class Part(NamedTuple):
    """A file of a snapshot, or a member of an archive (`path::member`).

    `at` is where its bytes are: in a file, from an offset on where it is a member of one.
    """

    name: str
    size: int
    mtime_ns: int
    at: Path
    offset: int | None = None


class Listing(NamedTuple):
    """The files of snapshots: those to be read, archives among them, and how many others."""

    files: list[Path]
    passed: list[Path]


def listing(sources: Sequence[str]) -> Listing:
    """The files of some paths: themselves, and those below folders that may hold records.

    Raises `SourceError` for a path that is not there, and where there is no file at all.
    """
    files, passed = list[Path](), list[Path]()
    for source in sources:
        path = Path(source)
        if not path.exists():
            raise SourceError(f"{source_name(source)}: there is no such file or folder")
        found = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for one in found:
            (files if one == path or _may_hold_records(one) else passed).append(one)
    if not files:
        raise SourceError(f"{', '.join(map(source_name, sources))}: no file that may hold records")
    return Listing([Path(os.path.realpath(one)) for one in files], passed)


def parts(path: Path, *, folder: Path, wants: Callable[[Part], bool]) -> Iterator[Part]:
    """What is wanted of a file: itself, or members of an archive.

    A member of a compressed archive is unpacked to `folder` when it is asked for. Raises
    `SourceError` for a damaged archive.
    """
    facts = path.stat()
    if not is_archive(path):
        whole = Part(source_name(str(path)), facts.st_size, facts.st_mtime_ns, path)
        yield from (whole,) if wants(whole) else ()
        return
    try:
        yield from _members(path, facts.st_mtime_ns, folder, wants)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise  # it is the disk that is unpacked to
        raise SourceError(f"{path}: a damaged archive: {error or 'it ends too early'}") from error


@contextmanager
def in_a_file(part: Part, *, folder: Path) -> Iterator[Path]:
    """A part as a file of its own; what lies in `folder` is removed afterwards."""
    path = part.at
    if part.offset is not None:
        path = _path_for(part.name, folder)
        with part.at.open("rb") as archive, path.open("wb") as file:
            archive.seek(part.offset)
            _copy(archive, file, part.size)
    try:
        yield path
    finally:
        if path.parent == folder:
            path.unlink(missing_ok=True)


def records(
    path: Path, *, mtime_s: int, limits: LimitSettings
) -> Iterator[Answer | Rejection | None]:
    """What each record of a file says: an answer, what was rejected, None where it has no DOI.

    Crossref's, OpenAlex's and DataCite's records are told by their own fields; all else is read as
    `ingest` does, is of the source `file`, and dated `mtime_s`. Raises `SourceError`, after all
    that could be read.
    """
    columns = Columns(DOCUMENT, {})
    with opened(str(path)) as source:
        if source.is_whole and not source.head.strip():
            return
        found = cut(str(path), source, options=SourceOptions(), columns=columns, limit=RECORD_BYTES)
        known = None if found.is_picked else columns
        answer = partial(_answer, columns=known, mtime_s=mtime_s, limits=limits)
        is_first = True
        for number, raw in found.records:
            try:
                value = attempt(found.read, raw)
                if is_first and (strange := _no_work(value)):
                    raise NoRecord(f"holds {strange}, which is no work")
                is_first = False
                yield attempt(answer, value)
            except ValueError as error:
                shown = raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw
                yield Rejection(str(path), number, told(shown), str(error))


def _answer(
    value: Any, *, columns: Columns | None, mtime_s: int, limits: LimitSettings
) -> Answer | None:
    if isinstance(value, Mapping):
        if columns and (shape := _shape(value)):
            return shape(value)
        value = picked(value, columns) if columns else value
        if not value.get("doi"):
            return None
    return Answer(
        document(value, limits=limits).document.model_copy(update={"source": "file"}), mtime_s
    )


def _shape(record: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Answer | None] | None:
    """Whose record it is; None where it is nobody's that is known."""
    if isinstance(record.get("attributes"), Mapping) or ("doi" in record and "titles" in record):
        return shapes.datacite
    if _named(record).startswith(OPENALEX):
        return shapes.openalex
    if "DOI" in record and ("indexed" in record or record.get("source") == "Crossref"):
        return shapes.crossref
    return None


def _named(record: Mapping[str, Any]) -> str:
    name = record.get("id")
    return name if isinstance(name, str) else ""


def _no_work(value: Any) -> str:
    """OpenAlex's name of an author, a source, ...; empty for all else."""
    named = _named(value) if isinstance(value, Mapping) else ""
    is_one = named.startswith(OPENALEX) and not named.startswith(f"{OPENALEX}W")
    return named if is_one else ""


def is_archive(path: PurePath) -> bool:
    """Whether a file is a tar, compressed or not, by its name."""
    return path.name.lower().endswith(ARCHIVES)


def _may_hold_records(path: PurePath) -> bool:
    name = PurePath(path.name.lower())
    if name.name.startswith(".") or not name.suffix:
        return False
    inner = PurePath(name.stem) if name.suffix in COMPRESSIONS else name
    return is_archive(path) or inner.suffix in SUFFIXES


def _members(
    path: Path, mtime_ns: int, folder: Path, wants: Callable[[Part], bool]
) -> Iterator[Part]:
    with path.open("rb") as file:
        stream = decompressed(io.BufferedReader(cast(Any, file), COPY_BYTES))
        is_plain = isinstance(stream, io.BufferedReader)
        with tarfile.open(fileobj=stream, mode="r:" if is_plain else "r|") as archive:
            for member in archive:
                at = member.offset_data if is_plain else None
                name = source_name(f"{path}{WITHIN}{member.name}")
                part = Part(name, member.size, mtime_ns, path, at)
                if not member.isreg() or not _may_hold_records(PurePath(member.name)):
                    continue
                if wants(part):
                    yield part if is_plain else _unpacked(archive, member, part, folder)


def _unpacked(archive: tarfile.TarFile, member: tarfile.TarInfo, part: Part, folder: Path) -> Part:
    path = _path_for(part.name, folder)
    held = archive.extractfile(member)
    with path.open("wb") as file:
        _copy(cast(IO[bytes], held), file, member.size)
    return part._replace(at=path)


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    left = size
    while left and (block := source.read(min(left, COPY_BYTES))):
        target.write(block)
        left -= len(block)


def _path_for(name: str, folder: Path) -> Path:
    """A file that nobody has, with the end of a name, which may tell what is in it."""
    ends = "".join(PurePath(name).suffixes[-2:])
    return folder / f"{uuid4().hex}{ends if len(ends) < LONGEST_SUFFIX else ''}"
