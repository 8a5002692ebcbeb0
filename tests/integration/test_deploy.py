"""deploy/: its rules, board, units and manifest name what there is.

Where there is a promtool (`make .tools/promtool`), it says which alerts what series raise. Grafana
does not run here; what only it can show is not shown.
"""

import configparser
import json
import re
import shutil
import subprocess
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
PROMTOOL = shutil.which("promtool") or ROOT / ".tools" / "promtool"
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
    found["doivec_dead_letters_total"] = {"stage", "reason"}
    found["doivec_step_seconds_bucket"] = {"step", "le"}
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
    page = (ROOT / "docs" / "operations" / "watch.md").read_text()
    table = page.partition("\n## Metrics\n")[2]
    told = set(re.findall(r"`(doivec_\w+)", table))
    there = {re.sub("_(bucket|count|sum)$", "", name) for name in known if "doivec_" in name}
    assert told == there


WELL = {
    'doivec_stalled{instance="a"}': "0x60",
    'doivec_stalled{instance="b"}': "0x60",
    'doivec_batches_in_hand{instance="a"}': "3x60",
    'doivec_records_total{instance="a",state="stored",work="ingest"}': "0+1000x60",
    'doivec_outstanding_batches{instance="a",work="ingest"}': "9x60",
    'doivec_dead_letters_kept{instance="a"}': "7x60",
    'doivec_last_refine_timestamp_seconds{instance="t",outcome="failed"}': "1000x60",
    'doivec_last_refine_timestamp_seconds{instance="t",outcome="promoted"}': "2000x60",
    'doivec_server_ok{instance="a",server="redis"}': "1x60",
    'doivec_server_ok{instance="a",server="store"}': "1x60",
    'doivec_disk_free_bytes{instance="a"}': "5e9x60",
    'doivec_leases_lost_total{instance="a"}': "0x60",
}
ILL = {
    "all is well": ({}, set()),
    "no worker, and a trainer that tells what all processes tell": (
        {s: "_x60" for s in WELL if "stalled" in s or "outstanding" in s},
        {"DoivecNoWorker"},
    ),
    "nothing settles": (
        {'doivec_records_total{instance="a",state="stored",work="ingest"}': "9000x60"},
        {"DoivecNoProgress"},
    ),
    "nothing settles, and nothing waits": (
        {
            'doivec_records_total{instance="a",state="stored",work="ingest"}': "9000x60",
            'doivec_outstanding_batches{instance="a",work="ingest"}': "0x60",
        },
        set(),
    ),
    "one of two is stalled": ({'doivec_stalled{instance="b"}': "0x9 1x50"}, {"DoivecStalled"}),
    "all of a batch dies at once": (
        {'doivec_dead_letters_kept{instance="a"}': "0x30 1024x30"},
        {"DoivecDeadLetters"},
    ),
    "a refine failed": (
        {'doivec_last_refine_timestamp_seconds{instance="t",outcome="failed"}': "2001x60"},
        {"DoivecRefineFailed"},
    ),
    "a refine is overdue": (
        {
            'doivec_last_refine_timestamp_seconds{instance="t",outcome="failed"}': "-700000x60",
            'doivec_last_refine_timestamp_seconds{instance="t",outcome="promoted"}': "-690000x60",
        },
        {"DoivecRefineOverdue"},
    ),
    "Redis may forget": (
        {'doivec_server_ok{instance="a",server="redis"}': "0x60"},
        {"DoivecRedisNotDurable"},
    ),
    "Qdrant is red": (
        {'doivec_server_ok{instance="a",server="store"}': "0x60"},
        {"DoivecStoreNotGreen"},
    ),
    "the disk is nearly full": (
        {'doivec_disk_free_bytes{instance="a"}': "5e9-1e8x60"},
        {"DoivecDiskFull"},
    ),
    "leases are lost": (
        {'doivec_leases_lost_total{instance="a"}': "0x30 1+1x29"},
        {"DoivecLeasesLost"},
    ),
}


def promtool(*words: str | Path) -> None:
    if not Path(PROMTOOL).exists():
        pytest.skip("no promtool; on Debian `make .tools/promtool` brings one")
    done = subprocess.run([PROMTOOL, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_prometheus_s(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_expressions_of_the_board_are_prometheus_s(tmp_path: Path) -> None:
    rules = [{"record": f"r{n}", "expr": e} for n, e in enumerate(board_expressions())]
    (tmp_path / "board.yml").write_text(yaml.dump({"groups": [{"name": "b", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "board.yml")


def test_each_alert_is_raised_by_what_it_is_for_and_by_nothing_else(tmp_path: Path) -> None:
    assert set.union(*(raised for _, raised in ILL.values())) == {rule["alert"] for rule in RULES}
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": s, "values": v} for s, v in (WELL | ill).items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "55m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}"}}', "value": 1}
                        for alert in sorted(raised)
                    ],
                }
            ],
        }
        for name, (ill, raised) in ILL.items()
    ]
    suite = {"rule_files": [str(DEPLOY / "alerts.yml")], "evaluation_interval": "1m"}
    (tmp_path / "tests.yml").write_text(yaml.dump({**suite, "tests": tests}))
    promtool("test", "rules", tmp_path / "tests.yml")


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
