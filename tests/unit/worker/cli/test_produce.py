"""How many records sources give is estimated by their bytes while they are read."""

import gzip
from pathlib import Path

import pytest

from schemas.document import Document
from worker.cli.produce import Producing
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.report import Report

DOIS = "".join(f"10.1000/{n:08}\n" for n in range(40_000)).encode()


def producing(*names: Path | str) -> Producing:
    return Producing([str(n) for n in names], options=SourceOptions(), limits=LimitSettings())


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_the_total_is_known_about_from_the_bytes_read(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}{suffix}").write_bytes(
            gzip.compress(DOIS) if suffix.endswith(".gz") else DOIS
        )
    sources = producing(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert sources.expected() is None, "nothing was read"
    guesses = []
    sources.begin()
    for number, record in enumerate(sources._records(), start=1):
        assert isinstance(record, Document)
        if number % 20_000 == 0:
            sources._accepted = number
            guesses.append(sources.expected())
    assert guesses[-1] == 80_000
    assert all(guess and 50_000 < guess < 120_000 for guess in guesses), guesses


def test_of_standard_input_no_total_is_known() -> None:
    assert producing("-").expected() is None


def test_what_never_opened_raises_before_there_is_a_job(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "b.txt").write_text("10.1000/b\n")
    with pytest.raises(SourceError, match=r"a\.pdf"):
        producing(tmp_path / "a.pdf").begin()
    producing(tmp_path / "a.pdf", tmp_path / "b.txt").begin()


def test_a_position_outlives_its_source() -> None:
    report = Report()
    with report.following(lambda: 10):
        assert report.bytes_read == 10
    with report.following(lambda: 5):
        assert report.bytes_read == 15
    assert report.bytes_read == 15
    report.clear()
    assert report.bytes_read == 0
