"""Labelled pairs are taken in whole or not at all, each with one label, and never twice."""

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.pair import LabelledPair
from tests.support.paths import DATA
from trainer.data import shards
from trainer.data.pairs import SCHEMA, Balance, ImportReport, PairStore, balance
from trainer.data.shards import FACTS, ShardFolder
from trainer.errors import LimitExceeded, PairsError
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.settings.training import PairSettings

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not here")
HEADER = "doi_a,doi_b,label,source,group"
A, B, C, D = (f"10.1000/{name}" for name in "abcd")
IMPORT = (
    "import sys; from pathlib import Path; from trainer.data.pairs import PairStore\n"
    "from worker.settings.ingest import LimitSettings\n"
    "from worker.settings.training import PairSettings\n"
    "store = PairStore(Path(sys.argv[1]), limits=LimitSettings(), caps=PairSettings())\n"
    "print('ready', flush=True); sys.stdin.read()\n"
    "store.import_files(sys.argv[2:])"
)


def store(root: Path, **caps: float) -> PairStore:
    return PairStore(root / "trainer", limits=LimitSettings(), caps=PairSettings(**caps))


def table(folder: Path, rows: Iterable[str], *, name: str = "pairs.csv") -> str:
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def rows(pairs: Iterable[LabelledPair]) -> list[str]:
    return [",".join(map(str, pair)) for pair in pairs]


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the locks, which hold nothing."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.name: path.read_bytes() for path in found}


def chain(length: int, source: str = "one:cites") -> list[LabelledPair]:
    return [
        LabelledPair(f"10.1000/{n}", f"10.1000/{n + 1}", n % 2, source, f"g{n % 7}")
        for n in range(length)
    ]


# Files


def test_rows_become_pairs_in_their_order(tmp_path: Path) -> None:
    path = table(tmp_path, [f"https://doi.org/{B.upper()},{A},1,one:cites,g", f"{C},{A},0.0,,"])
    report = store(tmp_path).import_files([path])
    assert store(tmp_path).dataset().pairs == [
        LabelledPair(B, A, 1, "one:cites", "g"),
        LabelledPair(C, A, 0, "pairs", f"doi:{C}"),
    ]
    assert (report.read, report.new, report.repeated, report.rejected) == (2, 2, 0, ())


COLUMNS = ["Sentence_0", "sentence_1", "LABEL", "more"]
VALUES = [[A, B, 1.0, "x"], [B, C, 0.0, "y"]]


def write_csv(path: Path) -> None:
    path.write_text("\n".join(",".join(map(str, row)) for row in [COLUMNS, *VALUES]))


def write_tsv_gz(path: Path) -> None:
    lines = ("\t".join(map(str, row)) for row in [COLUMNS, *VALUES])
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def write_jsonl_xz(path: Path) -> None:
    lines = (json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in VALUES)
    path.write_bytes(lzma.compress("\n".join(lines).encode()))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table(dict(zip(COLUMNS, zip(*VALUES, strict=True), strict=True))), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("seed.csv", write_csv),
        ("seed.tsv.gz", write_tsv_gz),
        ("seed.jsonl.xz", write_jsonl_xz),
        ("seed.parquet", write_parquet),
    ],
)
def test_all_formats_and_the_original_models_columns_are_read(tmp_path, name, write) -> None:
    write(tmp_path / name)
    report = store(tmp_path).import_files([str(tmp_path / name)])
    assert report.rejected == ()
    assert store(tmp_path).dataset().pairs == [
        LabelledPair(A, B, 1, "seed", f"doi:{A}"),
        LabelledPair(B, C, 0, "seed", f"doi:{B}"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{A},{A.upper()},1,,", "a pair of a DOI with itself"),
        (f"{A},,1,,", "no `doi_b`"),
        (f"{A},nonsense,1,,", "doi_b: no registrant prefix 10.NNNN/"),
        (f"{A},{B},yes,,", "the label is neither 0 nor 1"),
        (f"{A},{B},0.5,,", "the label is neither 0 nor 1"),
        (f"{A},{B},,,", "the label is neither 0 nor 1"),
        (f"{A},{B},1,:cites,", "the source has no name before its colon"),
        (f"{A},{B},1,one,\x1b[2J", "the group holds a character that can't be printed"),
        (f"{A},{B},1,one,g,more", "6 fields where the header line has 5"),
    ],
)
def test_a_bad_row_is_rejected_by_itself(tmp_path: Path, row: str, reason: str) -> None:
    path = table(tmp_path, [f"{A},{B},1,one,g", row, f"{B},{C},0,one,g"])
    report = store(tmp_path).import_files([path])
    assert report.new == 2
    assert [(r.line, r.raw, r.reason) for r in report.rejected] == [(3, row, reason)]


@pytest.mark.parametrize("value", [[2], {"x": 1}, None, 2, "yes", -1, 0.5, "1e0"])
def test_a_label_is_a_number_or_its_text(tmp_path: Path, value: object) -> None:
    path = tmp_path / "pairs.jsonl"
    lines = [{"doi_a": A, "doi_b": B, "label": value}, [], 3, {"doi_a": A, "doi_b": C, "label": 1}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = store(tmp_path).import_files([str(path)])
    assert [r.line for r in report.rejected] == [1, 2, 3]
    assert report.new == 1


@pytest.mark.parametrize("label", ["1", "1.0", "1.00", "True", "true", "TRUE", " 1 ", "+1"])
def test_a_label_is_read_in_its_usual_forms(tmp_path: Path, label: str) -> None:
    path = table(
        tmp_path, [f"{A},{B},{label},one,g", f"{B},{C},0.00,one,g", f"{C},{D},False,one,g"]
    )
    pairs = store(tmp_path)
    pairs.import_files([path])
    assert sorted(pair.label for pair in pairs.dataset().pairs) == [0, 0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", f"sentence1,sentence2,score\n{A},{B},1\n"),
        ("a.csv", f"sentence_0;sentence_1;label\r{A};{B};1\r"),
        ("a.txt", f"DOI_A\tDOI_B\tLABEL\n{A}\t{B}\t1\n"),
        ("a.json", f'[{{"doi_a": "{A}", "doi_b": "{B}", "label": true}}]'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_pairs_are_read_as_other_sources_are(
    tmp_path: Path, name: str, content: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes(content.encode(encoding))
    pairs = store(tmp_path)
    pairs.import_files([str(tmp_path / name)])
    assert pairs.dataset().pairs == [LabelledPair(A, B, 1, "a", f"doi:{A}")]


def test_rows_of_parquet_are_rejected_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"doi_a": [A, None], "doi_b": [B, B], "label": [1, 1]}), path)
    report = store(tmp_path).import_files([str(path)])
    assert [(r.line, r.reason) for r in report.rejected] == [(2, "no `doi_a`")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.csv", b"doi_a,doi_b\n", "no column `label` among `doi_a`, `doi_b`"),
        ("b.csv", b"doi_a,doi_b,label,label\n", "more than one column `label`"),
        ("b.txt", b"# nothing\n", "it holds no record"),
        ("b.parquet", b"PAR1 nonsense", "b.parquet: "),
        ("b.csv.xz", b"", "it holds no xz data"),
        ("missing.csv", None, "No such file or directory"),
        ("missing.parquet", None, "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_nothing_of_the_import(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    good = table(tmp_path, rows(chain(3)))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        store(tmp_path).import_files([good, str(tmp_path / name)])
    assert contents(tmp_path / "trainer") == {}


# Repeats and contradictions


def counts(report: ImportReport) -> tuple[int, int, int]:
    return report.new, report.repeated, report.contradictions


@pytest.mark.parametrize("labels", ["0011", "1100", "0110", "1001"])
def test_within_an_import_the_stronger_label_counts(tmp_path: Path, labels: str) -> None:
    path = table(tmp_path, [f"{A},{B},{label},one,g{n}" for n, label in enumerate(labels)])
    report = store(tmp_path).import_files([path])
    assert report.new == 1
    assert report.repeated + report.contradictions == 3
    [pair] = store(tmp_path).dataset().pairs
    assert pair == LabelledPair(A, B, 1, "one", f"g{labels.index('1')}")


def test_across_imports_the_stronger_label_counts(tmp_path: Path) -> None:
    weak = table(tmp_path, [f"{A},{B},0,one,g", f"{A},{C},1,one,g"])
    strong = table(tmp_path, [f"{B},{A},1,two,h", f"{C},{A},0,two,h"], name="more.csv")
    pairs = store(tmp_path)
    assert counts(pairs.import_files([weak])) == (2, 0, 0)
    assert counts(pairs.import_files([strong])) == (1, 0, 2)
    assert counts(pairs.import_files([weak, strong])) == (0, 3, 2)
    assert [shard.pairs for shard in pairs.shards()] == [2, 1]
    assert pairs.dataset().pairs == [
        LabelledPair(A, C, 1, "one", "g"),
        LabelledPair(B, A, 1, "two", "h"),
    ]
    first = pairs.shards()[0].id
    assert [pair.label for pair in pairs.dataset([first[:8]]).pairs] == [0, 1]


def labels(pairs: PairStore) -> dict[tuple[str, str], int]:
    return {pair.key: pair.label for pair in pairs.dataset().pairs}


def test_a_later_label_by_the_same_source_rules_and_is_taken_back_with_its_import(
    tmp_path: Path,
) -> None:
    pairs = store(tmp_path)
    pairs.import_files([table(tmp_path, [f"{A},{B},1,one:cites,g", f"{A},{C},0,one:not,g"])])
    first = pairs.dataset()
    wrong = [f"{B},{A},0,one:checked,", f"{A},{C},1,one,h"]
    report = pairs.import_files([table(tmp_path, wrong, name="corrected.csv")])
    assert (report.new, report.contradictions, report.corrected) == (2, 2, 2)
    assert pairs.dataset().pairs == [
        LabelledPair(B, A, 0, "one:checked", "g"),
        LabelledPair(A, C, 1, "one", "g"),
    ], "in the groups in which they were"
    assert counts(pairs.import_files([str(tmp_path / "corrected.csv")])) == (0, 2, 0)
    back = pairs.import_files([str(tmp_path / "pairs.csv")])
    assert (back.new, back.corrected) == (2, 2)
    assert labels(pairs) == {(A, B): 1, (A, C): 0}
    assert back.shard not in first.shards, "the same rows, which mean something else by now"
    assert back.shard is not None
    pairs.drop(back.shard)
    assert labels(pairs) == {(A, B): 0, (A, C): 1}
    assert report.shard is not None
    pairs.drop(report.shard[:8])
    assert pairs.dataset() == first


def test_between_sources_label_1_counts_until_its_source_takes_it_back(tmp_path: Path) -> None:
    pairs = store(tmp_path)
    for number, row in enumerate(("1,one", "1,two", "0,one", "0,three", "0,two", "1,three")):
        path = table(tmp_path, [f"{A},{B},{row},g{number}"], name=f"{number}.csv")
        pairs.import_files([path])
        assert labels(pairs) == {(A, B): int(number != 4)}, row


SOME = st.lists(
    st.builds(
        LabelledPair,
        doi_a=st.sampled_from([A, B, C]),
        doi_b=st.sampled_from([B, C]),
        label=st.integers(0, 1),
        source=st.sampled_from(["one", "two:x"]),
        group=st.just("g"),
    ).filter(lambda pair: pair.doi_a != pair.doi_b),
    min_size=1,
    max_size=6,
)


@given(files=st.lists(SOME, min_size=1, max_size=4), data=st.data())
@settings(max_examples=50, deadline=None)
def test_labels_are_those_of_the_latest_import_of_each_source(
    files: list[list[LabelledPair]], data: st.DataObject
) -> None:
    said: dict[tuple[tuple[str, str], str], int] = {}
    with TemporaryDirectory() as made:
        folder = Path(made)
        some = store(folder, source_share=1)
        for number, file in enumerate(files):
            some.import_files([table(folder, rows(file), name=f"{number}.csv")])
            for (key, family), label in best(file).items():
                if label or key not in {known for known, _ in said} or (key, family) in said:
                    said[key, family] = label
        expected = {key: 0 for key, _ in said} | {key: 1 for (key, _), one in said.items() if one}
        assert labels(some) == expected
        other = store(folder / "other", source_share=1)
        for number in data.draw(st.permutations(range(len(files)))):
            other.import_files([str(folder / f"{number}.csv")])
        if other.dataset().version == some.dataset().version:
            assert other.dataset() == some.dataset()


@pytest.mark.parametrize("other", [0, 1])
def test_a_source_is_corrected_though_another_one_speaks_in_the_same_import(
    tmp_path: Path, other: int
) -> None:
    def pair(label: int, source: str) -> LabelledPair:
        return LabelledPair("10.1000/b", "10.1000/c", label, source, "g")

    made = store(tmp_path, source_share=1)
    made.import_files([table(tmp_path, rows([pair(1, "one")]), name="first.csv")])
    later = [pair(other, "two"), pair(0, "one")]
    report = made.import_files([table(tmp_path, rows(later), name="later.csv")])
    assert report.corrected == 1
    assert labels(made) == {("10.1000/b", "10.1000/c"): other}


def best(file: list[LabelledPair]) -> dict[tuple[tuple[str, str], str], int]:
    """What each source says of each pair in one import: label 1, where it says both."""
    found: dict[tuple[tuple[str, str], str], int] = {}
    for pair in file:
        place = (pair.key, pair.family)
        found[place] = max(found.get(place, 0), pair.label)
    return found


# Shards


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    path = table(tmp_path, rows(chain(20)))
    pairs = store(tmp_path)
    first = pairs.import_files([path])
    before, version = contents(tmp_path), pairs.dataset().version
    again = pairs.import_files([path])
    assert first.shard in {shard.id for shard in pairs.shards()}
    assert again.shard is None
    assert counts(again) == (0, 20, 0)
    assert contents(tmp_path) == before
    assert pairs.dataset().version == version


def test_a_shards_id_is_that_of_its_pairs(tmp_path: Path) -> None:
    pairs = chain(20)
    one = store(tmp_path / "1").import_files([table(tmp_path, rows(pairs), name="a.csv")])
    same = store(tmp_path / "2").import_files(
        [table(tmp_path, rows(pairs[:9])), table(tmp_path, rows(pairs[9:]), name="b.csv")]
    )
    other = store(tmp_path / "3").import_files([table(tmp_path, rows(pairs[1:]))])
    assert one.shard == same.shard != other.shard


def test_shards_are_listed_in_the_order_of_their_import(tmp_path: Path) -> None:
    pairs = store(tmp_path)
    for n, row in enumerate(rows(chain(20))):
        pairs.import_files([table(tmp_path, [row], name=f"{n}.csv")])
    assert [shard.files for shard in pairs.shards()] == [(f"{n}.csv",) for n in range(20)]
    assert pairs.dataset().shards == tuple(sorted(shard.id for shard in pairs.shards()))


def test_a_dry_run_reports_and_keeps_nothing(tmp_path: Path) -> None:
    path = table(tmp_path, rows(chain(4)))
    report = store(tmp_path).import_files([path], dry_run=True)
    assert (report.new, report.shard) == (4, None)
    assert not (tmp_path / "trainer").exists()


def test_an_empty_store_has_a_dataset(tmp_path: Path) -> None:
    assert store(tmp_path).dataset().pairs == []
    assert store(tmp_path).shards() == []


@pytest.mark.parametrize("prefix", ["", "zz", "0" * 64])
def test_an_unknown_shard_is_an_error(tmp_path: Path, prefix: str) -> None:
    store(tmp_path).import_files([table(tmp_path, rows(chain(4)))])
    with pytest.raises(PairsError, match="is no shard of the store"):
        store(tmp_path).dataset([prefix])


def test_a_shard_with_other_pairs_is_refused(tmp_path: Path) -> None:
    report = store(tmp_path).import_files([table(tmp_path, rows(chain(4)))])
    path = tmp_path / "trainer" / "pairs" / f"{report.shard}.parquet"
    good = pq.read_table(path)
    pq.write_table(good.slice(1), path)
    with pytest.raises(PairsError, match="was changed"):
        store(tmp_path).dataset()
    pq.write_table(good.drop_columns("group"), path)
    with pytest.raises(PairsError, match="it has other columns"):
        store(tmp_path).dataset()
    no_text = pa.array([b"\xc2\x86\x86"]).cast(pa.string(), safe=False)
    damaged = good.slice(0, 1).set_column(0, good.schema.field(0), no_text)
    pq.write_table(damaged, path)
    with pytest.raises(PairsError, match=r"was changed: .*codec can't decode"):
        store(tmp_path).dataset()
    note = json.loads(good.schema.metadata[FACTS])
    for rows_told in (0, -1, 99):
        told = {FACTS: json.dumps(note | {"rows": rows_told})}
        pq.write_table(good.replace_schema_metadata(told), path)
        with pytest.raises(PairsError, match="was changed"):
            store(tmp_path).dataset()
    path.write_bytes(b"PAR1")
    with pytest.raises(PairsError, match="is no shard"):
        store(tmp_path).shards()


def test_a_shard_that_is_set_aside_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS_A_PIECE", 1)
    pairs = store(tmp_path)
    report = pairs.import_files([table(tmp_path, rows(chain(4)))])
    folder = ShardFolder(tmp_path / "trainer" / "pairs", schema=SCHEMA)
    (facts,) = folder.facts()
    reading = folder.read(facts)
    first = next(reading)
    pairs.drop(report.shard or "")
    assert [first, *reading] == chain(4)


def test_a_shard_that_lacks_a_value_is_refused(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "trainer" / "pairs", schema=SCHEMA)
    with folder.locked():
        folder.write([(A, B, 1, "one", None)], files=["made.csv"])
    with pytest.raises(PairsError, match="lacks a value"):
        store(tmp_path).dataset()


def test_a_shard_under_another_name_is_refused(tmp_path: Path) -> None:
    report = store(tmp_path).import_files([table(tmp_path, rows(chain(4)))])
    folder = tmp_path / "trainer" / "pairs"
    (folder / f"{report.shard}.parquet").rename(folder / f"{'0' * 64}.parquet")
    with pytest.raises(PairsError, match="was renamed"):
        store(tmp_path).dataset()


def test_a_dropped_import_counts_no_more_but_is_there_for_what_was_trained_on_it(
    tmp_path: Path,
) -> None:
    pairs = store(tmp_path)
    good = pairs.import_files([table(tmp_path, rows(chain(4)))])
    bad = pairs.import_files([table(tmp_path, [f"{A},{B},1,two,g"], name="bad.csv")])
    assert bad.shard is not None
    before = pairs.dataset()
    assert pairs.drop(bad.shard[:8]).files == ("bad.csv",)
    assert [shard.id for shard in pairs.shards()] == [good.shard]
    assert pairs.dataset().pairs == chain(4)
    for prefix in (bad.shard, "zz"):
        with pytest.raises(PairsError, match="is no shard of the store"):
            pairs.drop(prefix)
    with pytest.raises(PairsError, match="is no shard of the store"):
        pairs.dataset([bad.shard])
    assert pairs.dataset(before.shards, with_dropped=True) == before
    assert pairs.dataset((), with_dropped=True).pairs == chain(4)
    assert pairs.import_files([str(tmp_path / "bad.csv")]).shard == bad.shard
    assert pairs.dataset() == before == pairs.dataset(before.shards, with_dropped=True)


# Caps and balance


@pytest.mark.parametrize(
    ("caps", "message"),
    [
        ({"file_pairs": 9}, "more than 9 pairs in one import"),
        ({"store_pairs": 9}, "the store would hold 10 pairs; 9 may be"),
        ({"source_share": 0.8}, "one would have 90.0% of all pairs; 80.0% may be"),
    ],
)
def test_an_import_past_a_cap_is_refused_whole(tmp_path: Path, caps: dict, message: str) -> None:
    path = table(tmp_path, [*rows(chain(9)), f"{A},{B},1,two:cites,g"])
    for dry_run in (True, False):
        with pytest.raises(LimitExceeded, match=message):
            store(tmp_path, **caps).import_files([path], dry_run=dry_run)
    assert contents(tmp_path / "trainer") == {}


def test_a_store_of_one_family_may_take_in_a_second(tmp_path: Path) -> None:
    pairs = store(tmp_path, source_share=0.5)
    pairs.import_files([table(tmp_path, rows(chain(9)))])
    pairs.import_files([table(tmp_path, [f"{A},{B},1,two,g"])])
    with pytest.raises(LimitExceeded, match="one would have"):
        pairs.import_files([table(tmp_path, rows(chain(12)))])


def test_an_import_says_how_it_shifts_the_balance(tmp_path: Path) -> None:
    pairs = store(tmp_path)
    pairs.import_files([table(tmp_path, [f"{A},{B},0,one:not,g", f"{A},{C},1,one:cites,g"])])
    report = pairs.import_files([table(tmp_path, [f"{A},{B},1,two,g", f"{A},{D},1,two,g"])])
    assert report.before == Balance(2, 1, {"one": 2})
    assert report.after == Balance(3, 3, {"one": 1, "two": 2}) == balance(pairs.dataset().pairs)
    assert report.after.positive_share == 1
    assert report.after.family_share("two") == pytest.approx(2 / 3)


# Processes


def importing(root: Path, *paths: str) -> subprocess.Popen[bytes]:
    """A process that is about to import; it begins when its standard input is closed."""
    command = [sys.executable, "-c", IMPORT, str(root), *paths]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def begin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def finish(process: subprocess.Popen[bytes]) -> int:
    code = process.wait()
    assert process.stdout is not None
    process.stdout.close()
    return code


@pytest.mark.parametrize("moment", ["", "pairs/.lock", "pairs/.new"])
def test_an_import_that_is_killed_leaves_nothing_half(tmp_path: Path, moment: str) -> None:
    whole = chain(20_000)
    path = table(tmp_path, rows(whole))
    root = tmp_path / "trainer"
    process = importing(root, path)
    begin(process)
    while process.poll() is None and not (root / moment).exists() and moment:
        pass
    process.kill()
    finish(process)
    left = store(tmp_path).dataset().pairs
    assert left in ([], whole)
    report = store(tmp_path).import_files([path])
    assert report.new == len(whole) - len(left)
    assert store(tmp_path).dataset().pairs == whole
    [shard] = store(tmp_path).shards()
    assert contents(root).keys() == {f"{shard.id}.parquet"}


def test_what_a_killed_import_left_is_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "trainer" / "pairs"
    folder.mkdir(parents=True)
    (folder / ".new").write_bytes(b"PAR1 half a shard")
    assert store(tmp_path).dataset().pairs == []
    store(tmp_path).import_files([table(tmp_path, rows(chain(4)))])
    assert store(tmp_path).dataset().pairs == chain(4)
    assert not (folder / ".new").exists()


def test_two_imports_at_once_keep_a_pair_once(tmp_path: Path) -> None:
    whole = chain(3000)
    one = table(tmp_path, rows(whole[:2000]), name="one.csv")
    two = table(tmp_path, rows(whole[1000:]), name="two.csv")
    processes = [importing(tmp_path / "trainer", path) for path in (one, two)]
    for process in processes:
        begin(process)
    assert [finish(process) for process in processes] == [0, 0]
    assert sum(shard.pairs for shard in store(tmp_path).shards()) == 3000
    assert sorted(store(tmp_path).dataset().pairs) == sorted(whole)


# Real data


@needs_data
def test_the_real_pairs_are_taken_in(tmp_path: Path) -> None:
    pairs = store(tmp_path)
    seed = pairs.import_files([str(DATA / "pairs_seedlike.csv")])
    assert (seed.new, seed.rejected, seed.contradictions) == (39_408, (), 0)
    assert seed.after.positive_share == pytest.approx(0.841, abs=0.0005)
    more = pairs.import_files([str(DATA / "pairs.csv.xz")])
    assert counts(more) == (233_352, 39_408, 0)
    assert more.rejected == ()
    assert len(pairs.dataset().pairs) == 272_760
    assert len(pairs.dataset([seed.shard or ""]).pairs) == 39_408
