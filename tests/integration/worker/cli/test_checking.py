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
from worker.settings import QdrantSettings
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
    assert "nothing is ingested yet" in shell.worker("verify", expect=1)
    assert "nothing is ingested yet" in shell.worker("audit", expect=1)
    shell.worker("ingest", "list.txt")
    job = json.loads(shell.worker("status", "--json"))[0]["id"]
    assert "250 records of 3 batches (3 settled): 0 missing" in shell.worker("audit", job[:6])
    assert "all are as they should be" in shell.worker("verify")
    with closing(open_store(QdrantSettings(), data_dir=shell.data)) as store:
        live = str(store.live("dois"))
        ids = [point_id(doi) for doi in DOIS[:3]]
        moved = dict(store.points(live, ids))
        store.delete(live, ids, below=FOREVER)
        payload, vector = moved[ids[2]]
        wrong = {**payload, "doi": "10.1000/other"}
        store.upsert(live, Write([ids[2]], vector[None], [wrong]), revisions=())
    said = shell.worker("audit", expect=3)
    assert f"{DOIS[0]}  missing: job {job}, batch 0\n" in said
    assert "10.1000/other  foreign id: its own is " in said
    answers = lines(shell.worker("audit", "--json", expect=3))
    assert [a["doi"] for a in answers if a.get("trouble") == "missing"] == DOIS[:3]
    assert (answers[-1]["missing"], answers[-1]["foreign_id"]) == (3, 1)
    found = shell.worker("verify", "--all", expect=3)
    assert "10.1000/other  foreign point: its id is another DOI's\n" in found
    done = shell.run(WORKER, "audit", "--repair")
    assert "queued again as job " in done.stderr
    assert done.stdout.splitlines()[-1].endswith(
        "0 missing, 0 outdated, 0 foreign id, 0 unexpected; 0 need not be there"
    )
    assert "all are as they should be" in shell.worker("verify", "--all")
    summary = lines(shell.worker("verify", "--sample", "100", "--json"))[-1]
    assert (summary["looked_at"], summary["at_most"]) == (100, 0.03)


def test_doctor_says_what_to_do(shell: Shell) -> None:
    good = lines(shell.worker("doctor", "--json"))
    assert {found["level"] for found in good} == {"ok"}
    bad = {"DOIVEC_REDIS__URL": "redis://:geheim@127.0.0.1:1/0", "DOIVEC_QDRANT__EMBEDDED": "true"}
    done = shell.run(WORKER, "doctor", expect=1, **bad)
    assert "error    Redis: Redis: " in done.stdout
    assert "\n         start it, or see that DOIVEC_REDIS__URL" in done.stdout
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
    shell = Shell(deployment.folder, **deployment.environment)
    with deployment.qdrant_client() as client:
        client.delete("dois", [point_id(doi) for doi in DOIS[:150]])
    assert len(shell.worker("audit", expect=3).splitlines()) == 151
    shell.worker("audit", "--repair")
    assert deployment.ids() == {point_id(doi) for doi in DOIS}
    levels = {a["level"] for a in lines(shell.worker("doctor", "--json"))}
    assert levels == {"ok"}
