"""What only Qdrant Edge can show: one process at a time, crashes, its own limits."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.doi import point_id
from tests.support.paths import ROOT
from tests.support.vectors import DIMENSION, DOIS, NOW, bare, write
from worker.errors import ConfigurationError, StoreBusy, StoreUnavailable
from worker.settings.servers import QdrantSettings
from worker.store.edge import EdgeStore
from worker.store.opening import open_store

WRITER = """
import sys
from pathlib import Path
from tests.support.vectors import DIMENSION, DOIS, NOW, bare, write
from worker.store.edge import EdgeStore

store = EdgeStore(Path(sys.argv[1]), options={})
store.create("dois-1", dimension=DIMENSION)
store.publish(["dois"], collection="dois-1")
for doi in DOIS:
    store.upsert("dois-1", write(bare([doi])), revisions=())
    print(doi, flush=True)
sys.stdin.read()
"""
IMPORTS = """
import sys
from pathlib import Path
from worker.settings.servers import QdrantSettings
from worker.store.opening import open_store

store = open_store(QdrantSettings(url=sys.argv[2] or None), data_dir=Path(sys.argv[1]))
store.close()
print(sorted({"qdrant_client", "qdrant_edge", "torch"} & sys.modules.keys()))
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_every_acknowledged_point_survives_sigkill(tmp_path: Path) -> None:
    with start(WRITER, str(tmp_path)) as writer:
        assert writer.stdout
        acknowledged = [writer.stdout.readline().strip() for _ in DOIS]
        with pytest.raises(StoreBusy, match=f"in use by process {writer.pid};"):
            EdgeStore(tmp_path, options={})
        writer.send_signal(signal.SIGKILL)
    assert acknowledged == list(DOIS)
    store = EdgeStore(tmp_path, options={})
    assert store.live("dois") == "dois-1"
    assert set(store.ids("dois-1")) == {point_id(doi) for doi in DOIS}
    store.upsert("dois-1", write(bare(), sequence=NOW + 1), revisions=())
    assert store.count("dois-1") == len(DOIS)
    store.close()


def test_what_a_crash_left_half_removed_is_gone_when_it_is_opened(tmp_path: Path) -> None:
    EdgeStore(tmp_path, options={}).close()
    (tmp_path / ".dois-1" / "segments").mkdir(parents=True)
    EdgeStore(tmp_path, options={}).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]


def test_a_store_is_opened_once_within_a_process_too(tmp_path: Path) -> None:
    first = EdgeStore(tmp_path, options={})
    with pytest.raises(StoreBusy, match=str(os.getpid())):
        EdgeStore(tmp_path, options={})
    first.close()
    EdgeStore(tmp_path, options={}).close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path, options={})
    store.create("dois-1", dimension=DIMENSION)
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.count("dois-1")


def test_a_creation_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / ".dois-1" / "segments"
    half.mkdir(parents=True)
    (half / "leftover").write_text("half")
    store = EdgeStore(tmp_path, options={})
    store.create("dois-1", dimension=DIMENSION)
    store.upsert("dois-1", write(bare()), revisions=())
    assert store.count("dois-1") == len(DOIS)
    assert not half.exists()
    store.close()


@pytest.mark.parametrize("finished_by", ["drop", "create"])
def test_a_removal_that_was_cut_short_leaves_no_collection(
    tmp_path: Path, finished_by: str
) -> None:
    store = EdgeStore(tmp_path, options={})
    gone, other = f"dois-{'a' * 16}", f"dois-{'b' * 16}"
    store.create(gone, dimension=DIMENSION)
    store.close()
    half = (tmp_path / "collections" / gone).rename(tmp_path / f".{gone}")
    store = EdgeStore(tmp_path, options={})
    assert store.collections("dois") == []
    if finished_by == "drop":
        store.drop(other)
    else:
        store.create(other, dimension=DIMENSION)
    assert not half.exists()
    assert store.collections("dois") == ([] if finished_by == "drop" else [other])
    store.close()


def test_a_closed_store_changes_nothing(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path, options={})
    store.create("dois-1", dimension=DIMENSION)
    store.close()
    for call in (
        lambda: store.drop("dois-1"),
        lambda: store.create("dois-2", dimension=DIMENSION),
        lambda: store.publish(["dois"], collection="dois-1"),
    ):
        with pytest.raises(StoreUnavailable, match="closed"):
            call()
    assert [path.name for path in (tmp_path / "collections").iterdir()] == ["dois-1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_number": 2}, "shard_number: Qdrant Edge takes only"),
        ({"quantization_config": {"scalar": {"type": "int8"}}}, "quantization_config: Qdrant"),
        ({"hnsw_config": {"mm": 2}}, "mm"),
        ({"optimizers_config": {"threshold": 2}}, "threshold"),
        ({"vectors": {"on_disc": True}}, "on_disc"),
        ({"vectors": {"size": 2}}, "vectors.size: the model decides that"),
    ],
)
def test_settings_that_edge_does_not_know(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store(QdrantSettings(collection=options), data_dir=tmp_path)
    assert str(caught.value).startswith("DOIVEC_QDRANT__COLLECTION: ")


def test_settings_that_edge_knows_are_applied(tmp_path: Path) -> None:
    options = {
        "vectors": {"on_disk": True},
        "hnsw_config": {"m": 24},
        "optimizers_config": {"indexing_threshold": 777},
        "on_disk_payload": False,
    }
    store = EdgeStore(tmp_path, options=options)
    store.create("dois-1", dimension=DIMENSION)
    store.close()
    config = json.loads((tmp_path / "collections" / "dois-1" / "edge_config.json").read_text())
    assert config["vectors"][""]["on_disk"] is True
    assert config["hnsw_config"]["m"] == 24
    assert config["optimizers"]["indexing_threshold"] == 777
    assert config["on_disk_payload"] is False


@pytest.mark.parametrize(
    ("url", "loaded"),
    [("", "['qdrant_edge']"), ("http://127.0.0.1:6333", "['qdrant_client']")],
)
def test_a_process_imports_only_the_client_it_uses(tmp_path: Path, url: str, loaded: str) -> None:
    with start(IMPORTS, str(tmp_path), url) as process:
        output, _ = process.communicate()
    assert (process.returncode, output.strip()) == (0, loaded)
