"""What the trainer and the index read: pairs, metadata, recipes, snapshots, lines of questions."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.doi import InvalidDoi, normalize
from schemas.job import Rejection
from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.files import PACKED, check, seeds
from tests.faults.inputs.truth import check_document, check_reason, is_canonical
from tests.support import registry_records as shapes
from tests.support.paths import ROOT
from trainer.data import pair_files
from trainer.data.metadata import MetadataStore
from trainer.errors import PairsError, RecipeError
from trainer.training.recipe import Arguments, Recipe, load
from worker.errors import SourceError
from worker.metadata.snapshots import in_a_file, listing, parts, records
from worker.settings.ingest import LimitSettings
from worker.sources.questions import questions

LIMITS = LimitSettings()
PAIRS = [(f"10.1000/a.{n}", f"10.1000/b.{n}", n % 2, "here:cites", f"g{n}") for n in range(4)]
NAMES = ("doi_a", "doi_b", "label", "source", "group")
RECIPES = ROOT / "trainer" / "training" / "recipes"
OVERRIDES = (*Recipe.model_fields, *Arguments.model_fields, "x", "", "arguments.seed")


def _pair_files() -> dict[str, bytes]:
    rows = [",".join(map(str, pair)) for pair in PAIRS]
    objects = [json.dumps(dict(zip(NAMES, pair, strict=True))) for pair in PAIRS]
    out = io.BytesIO()
    pq.write_table(pa.table(dict(zip(NAMES, zip(*PAIRS, strict=True), strict=True))), out)
    return {
        "a.csv": "\n".join([",".join(NAMES), *rows, ""]).encode(),
        "a.jsonl": "\n".join([*objects, ""]).encode(),
        "a.parquet": out.getvalue(),
    }


@contextmanager
def _open_pairs(folder: Path) -> Iterator[Case]:
    files = _pair_files()

    def case(rng: Random) -> bool:
        name = rng.choice(list(files))
        content = noise.damaged(rng, files[name])
        if name == "a.jsonl" and rng.random() < 0.6:
            row = noise.mangled(rng, dict(zip(NAMES, rng.choice(PAIRS), strict=True)))
            content = files[name] + json.dumps(row).encode() + b"\n"
        (folder / name).write_bytes(content)
        found: list[Any] = []
        try:
            for item in pair_files.read(str(folder / name), limits=LIMITS):
                found.append(item)
                _check_pair(item)
        except SourceError as error:
            check_reason(error)
        return any(not isinstance(item, Rejection) for item in found)

    yield case


def _check_pair(item: Any) -> None:
    if isinstance(item, Rejection):
        assert item.reason not in {"", "internal error"}, f"a bug: {item}"
        return
    assert is_canonical(item.doi_a), item
    assert is_canonical(item.doi_b), item
    assert item.doi_a != item.doi_b, item
    assert type(item.label) is int, item
    assert item.label in {0, 1}, item
    for name in (item.source, item.group):
        assert name.isprintable(), item
        assert 0 < len(name) <= 2100, item  # a group may be `doi:` and the longest DOI
    assert item.family.strip(), item


@contextmanager
def _open_metadata(folder: Path) -> Iterator[Case]:
    known = seeds("csv") + seeds("jsonl")

    def case(rng: Random) -> bool:
        path, root = folder / "a.txt", folder / f"store{rng.randrange(3)}"
        path.write_bytes(noise.damaged(rng, rng.choice(known).content))
        store = MetadataStore(root, limits=LIMITS)
        try:
            report = store.import_files([str(path)])
        except (SourceError, PairsError) as error:
            check_reason(error)
            return False
        total = report.added + report.repeated + report.bare + len(report.rejected)
        assert report.read == total, f"{report.read} read, {total} accounted for"
        if rng.random() < 0.3:
            return _reads_back(rng, store, root)
        return report.added > 0

    yield case


def _reads_back(rng: Random, store: MetadataStore, root: Path) -> bool:
    for document in store.documents().values():
        check_document(document)
    shards = sorted((root / "metadata").glob("*.parquet"))
    for shard in shards[rng.randrange(3) :]:
        shard.write_bytes(noise.damaged(rng, shard.read_bytes()))
        break
    try:
        for document in store.documents().values():
            check_document(document)
    except PairsError as error:
        check_reason(error)
    for shard in shards:
        shard.unlink(missing_ok=True)
    return True


@contextmanager
def _open_recipes(folder: Path) -> Iterator[Case]:
    known = [path.read_bytes() for path in sorted(RECIPES.glob("*.toml"))]

    def case(rng: Random) -> bool:
        path = folder / "a.toml"
        content = rng.choice(known)
        path.write_bytes(noise.damaged(rng, content) if rng.random() < 0.6 else content)
        name = str(path) if rng.random() < 0.95 else noise.text(rng)
        overrides = [_override(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
        try:
            recipe = load(name, overrides=overrides)
        except RecipeError as error:
            check_reason(error)
            return False
        # It is kept with what it made, as JSON.
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
        assert recipe.serving, recipe
        return True

    yield case


def _override(rng: Random) -> str:
    values = ("1", "0", "-1", "inf", "nan", "1e400", "true", '"x"', "[]", '["{doi}"]', "9" * 30)
    equals, value = rng.choice(("=", "=", "")), rng.choice((*values, noise.text(rng)))
    return f"{rng.choice(OVERRIDES)}{equals}{value}"


def _snapshot_files() -> list[tuple[str, bytes]]:
    fields = {"title": "On something", "year": 2001, "venue": "A Journal"}
    dois = [f"10.1000/s.{n}" for n in range(3)]
    makers: tuple[Callable[..., Any], ...] = (
        *(shapes.crossref_work, shapes.openalex_work, shapes.datacite_doi),
    )
    wrappers = (shapes.crossref_list, shapes.openalex_list, shapes.datacite_list)
    made = []
    for make, wrap in zip(makers, wrappers, strict=True):
        works = [make(doi, fields) for doi in dois]
        made.append(("a.jsonl", "\n".join(json.dumps(work) for work in works).encode()))
        made.append(("a.json", json.dumps(wrap(works)).encode()))
    out = io.BytesIO()
    pq.write_table(pa.table({"doi": dois, "title": ["On"] * 3}), out)
    return [*made, ("a.parquet", out.getvalue())]


def _archived(files: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, (name, content) in enumerate(files):
            member = tarfile.TarInfo(f"dir/{number}{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@contextmanager
def _open_snapshots(folder: Path) -> Iterator[Case]:
    files = _snapshot_files()
    files.append(("a.tar", _archived(files[:3])))

    def case(rng: Random) -> bool:
        name, content = rng.choice(files)
        is_inside = rng.random() < 0.7
        content = noise.damaged(rng, content) if is_inside else content
        if rng.random() < 0.3:
            suffix, pack = rng.choice(list(PACKED.items()))
            name, content = f"{name}{suffix}", pack(content)
        path, unpacked = folder / name, folder / "unpacked"
        unpacked.mkdir(exist_ok=True)
        path.write_bytes(content if is_inside else noise.damaged(rng, content))
        try:
            return _indexed(path, unpacked)
        finally:
            path.unlink()
            assert {one.name for one in folder.iterdir()} == {"unpacked"}, "written elsewhere"
            for left in unpacked.iterdir():
                left.unlink()

    yield case


def _indexed(path: Path, unpacked: Path) -> bool:
    found = 0
    try:
        (one,) = listing([str(path)]).files
        for part in parts(one, folder=unpacked, wants=lambda _: True):
            with in_a_file(part, folder=unpacked) as file:
                for answer in records(file, mtime_s=1, limits=LIMITS):
                    if isinstance(answer, Rejection):
                        check(answer, None, limits=LIMITS)
                    elif answer is not None:
                        check_document(answer.document)
                        found += 1
    except SourceError as error:
        check_reason(error)
    return found > 0


@contextmanager
def _open_questions(folder: Path) -> Iterator[Case]:
    lines = ["10.1000/a", "https://doi.org/10.1038/nphys1170", "large networks", "naïve cells", ""]

    def case(rng: Random) -> bool:
        path = folder / "questions.txt"
        text = "\n".join(rng.choice((*lines, noise.text(rng))) for _ in range(rng.randint(1, 5)))
        content = text.encode(errors="surrogatepass")
        content = noise.damaged(rng, content) if rng.random() < 0.7 else content
        plain = content.decode(errors="replace")
        is_packed = rng.random() < 0.1
        path.write_bytes(
            noise.damaged(rng, rng.choice(list(PACKED.values()))(content)) if is_packed else content
        )
        found = 0
        try:
            for item in questions(str(path), limits=LIMITS):
                if isinstance(item, Rejection):
                    check(item, None, limits=LIMITS)
                    continue
                found += 1
                _check_question(item, None if is_packed or "\0" in plain else plain)
        except SourceError as error:
            check_reason(error)
        return found > 0

    yield case


def _check_question(item: Any, plain: str | None) -> None:
    assert (item.doi is None) != (item.text is None), item
    if item.doi is not None:
        assert plain is None or item.doi in plain, item
        with suppress(InvalidDoi):
            assert is_canonical(normalize(item.doi)), item
    else:
        assert item.text.strip(), item


TARGETS = (
    Target("pairs", 14, _open_pairs),
    Target("metadata", 2, _open_metadata),
    Target("recipe", 18, _open_recipes),
    Target("snapshot", 16, _open_snapshots),
    Target("questions", 14, _open_questions),
)
