"""deploy/: its rules, board, units and manifest name what there is.

Neither Prometheus nor Grafana runs here; what only they can show is not shown.
"""

import configparser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from pydantic import BaseModel

from schemas.history import Entry
from tests.support.paths import ROOT
from trainer.cli.commands import cli as trainer_cli
from trainer.history import History
from trainer.refinement.vitals import RefineMetrics
from worker.cli.commands import cli as worker_cli
from worker.exposition import DiskFree, GpuMemory
from worker.ingest.presence import Presence, Vitals
from worker.ingest.vitals import VitalsCollector
from worker.ledger.ledger import Ledger
from worker.ledger.state import Route
from worker.ledger.workers import Backlog
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.settings.ingest import IngestSettings
from worker.settings.servers import RedisSettings

DEPLOY = ROOT / "deploy"
RULES = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
BOARD = json.loads((DEPLOY / "grafana" / "board.json").read_text())
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAMS = {"doi-worker": worker_cli, "doi-trainer": trainer_cli}


def board_expressions() -> Iterator[str]:
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each series that a process can have, with the labels that it has."""
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(data_dir=folder)
    ledger = Ledger.connect(RedisSettings(url="redis://127.0.0.1:1/0"), options=IngestSettings())
    presence = Presence(ledger, settings, queues=("ingest",), patience=Patience())
    presence.vitals = Vitals(
        Backlog(1, 1, 1, 1.0, 1, {"ingest": 1}),
        Route(1, "dois-0"),
        "dois-0123456789abcdef",
        points=1,
        status="green",
        is_durable=True,
    )
    ended = Entry(kind="refine", started_at=0, ended_at=1, outcome="failed")  # type: ignore[arg-type]
    History.below(folder).append(ended)
    metrics = [
        *REGISTRY.collect(),
        *VitalsCollector(presence).collect(),
        *RefineMetrics(History.below(folder)).collect(),
        *DiskFree(folder).collect(),
        *GpuMemory().collect(),
    ]
    found = {"doivec_gpu_memory_bytes": {"device", "kind"}}
    for metric in metrics:
        found |= {sample.name: set(sample.labels) for sample in metric.samples}
    labels = {"doivec_records": {"state", "work"}, "doivec_dead_letters": {"stage", "reason"}}
    found |= {f"{name}_total": names for name, names in labels.items()}
    found["doivec_step_seconds_bucket"] = {"step", "le"}
    found |= {"doivec_retries_total": {"server"}, "doivec_waiting": {"server"}}
    found["doivec_lookups_total"] = {"registry", "answer"}
    found["doivec_registry_left_alone_until_seconds"] = {"registry"}
    return found


@pytest.mark.parametrize("expression", [rule["expr"] for rule in RULES] + [*board_expressions()])
def test_expressions_name_series_and_labels_that_there_are(
    known: dict[str, set[str]], expression: str
) -> None:
    names = set(re.findall(r"doivec_\w+", expression))
    assert names
    assert names <= known.keys()
    labels = set(re.findall(r"(\w+)=\"", expression))
    labels |= {n.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for n in by.split(",")}
    assert labels - {"instance"} <= set().union(*(known[name] for name in names))
    assert expression.count("(") == expression.count(")")


def test_each_metric_is_in_the_docs_and_each_in_the_docs_is_there(
    known: dict[str, set[str]],
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page.partition("### Metrics")[2]
    told = set(re.findall(r"`(doivec_\w+)", table))
    there = {re.sub("_(bucket|count|sum)$", "", name) for name in known if "doivec_" in name}
    assert told == there


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "action"}
    for program, command in re.findall(r"(doi-\w+) (\w+)", rule["annotations"]["action"]):
        assert command in PROGRAMS[program].commands


def test_panels_have_places_that_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_start_commands_that_there_are(unit: Path) -> None:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(unit)
    program, command = re.findall(r"bin/(doi-\w+) (\w+)", parsed["Service"]["ExecStart"])[0]
    assert command in PROGRAMS[program].commands


def test_the_manifest_names_settings_that_there_are() -> None:
    manifest = yaml.safe_load((DEPLOY / "kubernetes" / "worker.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        model: Any = Settings
        for part in variable["name"].removeprefix("DOIVEC_").lower().split("__"):
            assert issubclass(model, BaseModel)
            model = model.model_fields[part].annotation
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
