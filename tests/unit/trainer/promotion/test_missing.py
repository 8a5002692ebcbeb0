"""The list of what stays behind."""

from pathlib import Path

from trainer.promotion.missing import Missing


def test_each_is_listed_once_and_nothing_makes_no_file(tmp_path: Path) -> None:
    missing = Missing(tmp_path / "missing" / "dois-1.txt")
    missing.add([])
    missing.add_new([])
    assert (missing.count(), missing.path.exists()) == (0, False)
    missing.add(["10.1000/b", "10.1000/ä"])
    missing.add_new(["10.1000/c", "10.1000/b", "10.1000/a"])
    assert list(missing.dois()) == ["10.1000/b", "10.1000/ä", "10.1000/a", "10.1000/c"]
    assert missing.count() == 4
    missing.clear()
    assert list(missing.dois()) == []
