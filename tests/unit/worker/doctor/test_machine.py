"""What is told of a machine, by tables as the kernel writes them."""

from pathlib import Path

import pytest

from tests.support.disk import small_disk
from worker.doctor import addresses, machine
from worker.doctor.findings import Finding, Level
from worker.doctor.machine import of_disk, of_folders, of_network, of_packages, of_processor
from worker.settings.environment import Settings

TABLE = """overlay / overlay rw,relatime 0 0
filer:/home /data nfs4 rw,vers=4.2 0 0
/dev/sda1 /data/here ext4 rw 0 0
filer:/a /with\\040blank cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/doivec", "nfs4"), ("/data/here/x", ""), ("/with blank/x", "cifs"), ("/x", "")],
)
def test_a_network_disk_is_told(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    # Paths that aren't there are looked up where they would be made: these stand for them.
    root = tmp_path / "root"
    (root / path[1:]).mkdir(parents=True)
    mounts.write_text(TABLE.replace(" /", f" {root}/"))
    found = list(of_network(root / path[1:], mounts=mounts))
    assert [f.level for f in found] == ([Level.WARNING] if kind else [])
    assert all(f"({kind})" in f.words for f in found)


def test_a_processor_without_avx_is_told(tmp_path: Path) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text("processor : 0\nflags\t\t: fpu sse4_2 avx\n")
    (found,) = of_processor(cpu)
    assert "no AVX2" in found.words
    for text in ("flags\t\t: fpu avx2 fma\n", "Features : asimd\n"):
        cpu.write_text(text)
        assert list(of_processor(cpu)) == []
    assert list(of_processor(tmp_path / "none")) == []


def test_packages_that_do_not_fit_are_named() -> None:
    wanted = ["pytest<2", "pytest>1", "nothing-of-this-name", "other; python_version < '3'"]
    first, second = machine.misfits(wanted)
    assert first.startswith("pytest ")
    assert first.endswith(" is installed, <2 is needed")
    assert second == "nothing-of-this-name is not installed"
    assert [f.level for f in of_packages("doivec")] == [Level.OK]
    assert [f.level for f in of_packages("nothing-of-this-name")] == [Level.WARNING]


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(data_dir=tmp_path / "file" / "data", trace=tmp_path / "new" / "trace.json")
    found = list(of_folders(settings))
    assert [f.level for f in found] == [Level.ERROR, Level.OK]
    assert "DOIVEC_DATA_DIR" in found[0].todo


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def look(path: Path) -> Finding:
        (found,) = of_disk(path / "not" / "yet")
        return found

    with small_disk(tmp_path / "disk", mib=4096) as disk:
        assert look(disk.path).level is Level.OK
        disk.resize(1024)
        assert look(disk.path).level is Level.WARNING
        disk.resize(100)
        found = look(disk.path)
    assert found.level is Level.ERROR
    assert "the disk is full: 100 of 100 MiB are free" in found.words


@pytest.mark.parametrize(
    ("url", "has_key", "levels"),
    [
        ("http://8.8.8.8:6333", False, ["error", "warning"]),
        ("http://8.8.8.8:6333", True, ["warning"]),
        ("https://8.8.8.8:6333", True, []),
        ("http://127.0.0.1:6333", False, []),
        ("http://192.168.1.7:6333", False, []),
        ("redis://:secret@[2001:4860:4860::8888]:6379/0", True, ["warning"]),
        ("unix:///run/redis.sock?db=0", False, []),
    ],
)
def test_a_public_address_wants_a_key_and_tls(url: str, has_key: bool, levels: list[str]) -> None:
    is_secret = url.startswith("https:")
    found = list(addresses.of_address("x", url, has_key=has_key, is_secret=is_secret))
    assert [f.level for f in found] == levels
    assert "secret" not in str(found)
