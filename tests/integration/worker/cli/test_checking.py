"""`doctor`, `audit` and `verify` from a shell, without servers and on servers."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.doi import point_id
from tests.support.deployment import Deployment, deployed
from tests.support.shell import WORKER, Shell
from tests.support.tiny_model import make_tiny_model
from worker.doctor.examination import examine
from worker.doctor.findings import Level
from worker.settings.servers import QdrantSettings
from worker.store.opening import open_store
from worker.store.protocol import Write

DOIS = [f"10.1000/x{n}" for n in range(250)]
FOREVER = 2**60
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "list.txt").write_text("\n".join(DOIS))
    return Shell(
        tmp_path,
        DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")),
        DOIVEC_INGEST__BATCH_RECORDS="100",
    )


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_loss_is_named_and_repaired_without_servers(shell: Shell) -> None:
    shell.worker("ingest", "list.txt")
    with closing(open_store(QdrantSettings(), data_dir=shell.data)) as store:
        live = str(store.live("dois"))
        ids = [point_id(doi) for doi in DOIS[:3]]
        payload, vector = store.points(live, ids)[ids[2]]
        store.delete(live, ids, below=FOREVER)
        wrong = {**payload, "doi": "10.1000/other"}
        store.upsert(live, Write([ids[2]], vector[None], [wrong]), revisions=())
    said = shell.worker("audit", expect=3)
    assert f"{DOIS[0]}  missing: job " in said
    assert "10.1000/other  foreign id: its own is " in said
    assert "250 records of 3 batches (3 settled); 248 points: 3 missing, 0 outdated, 1 " in said
    (found, summary) = lines(shell.worker("verify", "--json", expect=3))
    assert (found["doi"], found["fault"]) == ("10.1000/other", "foreign point")
    assert (summary["looked_at"], summary["faulty"], summary["foreign_point"]) == (248, 1, 1)
    done = shell.run(WORKER, "audit", "--repair", "--json")
    assert "queued again as job " in done.stderr
    told = lines(done.stdout)
    assert [a["doi"] for a in told if a.get("trouble") == "missing"] == DOIS[:3]
    # The second look is at the repair's job, too.
    assert (told[-1]["missing"], told[-1]["records"], told[-1]["points"]) == (0, 253, 250)


def test_doctor_says_what_to_do(shell: Shell) -> None:
    bad = {"DOIVEC_REDIS__URL": "redis://:geheim@127.0.0.1:1/0", "DOIVEC_QDRANT__EMBEDDED": "true"}
    done = shell.run(WORKER, "doctor", expect=1, **bad)
    assert "error    Redis: Redis: " in done.stdout
    assert "\n         start it, or see that DOIVEC_REDIS__URL" in done.stdout
    assert "ok       Qdrant: " in done.stdout
    assert "geheim" not in done.stdout + done.stderr
    (only,) = lines(shell.run(WORKER, "doctor", "--json", expect=1, DOIVEC_REDIS="x").stdout)
    assert only["check"] == "settings"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, model=make_tiny_model(tmp_path / "model")) as made:
        yield made


def test_a_loss_is_repaired_by_the_workers_of_servers(deployment: Deployment) -> None:
    deployment.start_worker()
    source = deployment.folder / "list.txt"
    source.write_text("\n".join(DOIS))
    deployment.settled(deployment.queue(source))
    with deployment.qdrant_client() as client:
        client.delete("dois", [point_id(doi) for doi in DOIS[:150]])
    said = Shell(deployment.folder, **deployment.environment).worker("audit", "--repair")
    assert len(said.splitlines()) == 151
    assert deployment.ids() == {point_id(doi) for doi in DOIS}
    found = list(examine(deployment.settings))
    assert [finding for finding in found if finding.level is not Level.OK] == []
