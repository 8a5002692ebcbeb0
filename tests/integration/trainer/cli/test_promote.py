"""promote, rollback, prune and history as a user runs them, without servers."""

import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.support.learnable import DOIS
from tests.support.servers import wait_until
from tests.support.shell import TRAINER, WORKER, Shell
from tests.support.tiny_model import make_tiny_model
from worker.model.registry import Registry

pytestmark = pytest.mark.timeout(240)


def register(shell: Shell, *templates: str) -> str:
    source = make_tiny_model(shell.folder / f"m{len(templates)}", seed=1, dimension=48)
    return (
        Registry(shell.data / "models").register(source, name="second", templates=templates).version
    )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    model = make_tiny_model(tmp_path / "first")
    made = Shell(tmp_path, DOIVEC_MODEL__NAME=str(model))
    source = tmp_path / "papers.jsonl"
    rows = [{"doi": doi, "title": f"A study of {doi}"} for doi in DOIS[:80]]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    made.run(WORKER, "ingest", str(source))
    return made


def test_from_one_model_to_another_and_back(shell: Shell) -> None:
    second = register(shell, "{title}")
    found = shell.json(TRAINER, "promote", second[:12], "--dry-run")
    assert (found["points"], found["records"], found["unreadable"]) == (80, 80, [])
    asked = shell.folder / "asked.txt"
    asked.write_text(f"A study of {DOIS[1]}\n")
    look = ("promote", second[:12], "--preview", DOIS[0], "not-a-doi", "--preview-file", str(asked))
    nothing = shell.run(TRAINER, "history", "--plot", str(shell.folder / "none.png"))
    assert "is not drawn" in nothing.stderr
    looked = shell.run(TRAINER, *look, expect=3).stdout.splitlines()
    assert looked[1] == "the new model's are sought among all 80 records"
    assert looked[3] == f"{DOIS[0].lower()}  A study of {DOIS[0]}"
    assert looked[-1].startswith("nothing is changed; next: doi-trainer promote ")
    assert shell.json(TRAINER, "history") == []
    words = shell.run(TRAINER, "promote", second[:12])
    assert "switch: the alias moves to dois-" in words.stderr
    assert f"{second[:12]} is live, as dois-{second[:16]}, with 80 records" in words.stdout
    assert len(shell.json(WORKER, "search", "--text", "A study", "-k", "3")) == 3
    assert "is live already" in shell.run(TRAINER, "promote", second).stdout
    back = shell.json(TRAINER, "rollback", "--now")
    assert (back["previous"], back["missing"]) == (second, 0)
    picture = shell.folder / "life.png"
    drawn = shell.run(TRAINER, "history", "--plot", str(picture), "--json")
    assert f"not evaluated or are gone: {back['version'][:12]}, {second[:12]}" in drawn.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    kinds = [(e["kind"], e["outcome"]) for e in json.loads(drawn.stdout)]
    assert kinds == [("rollback", "switched"), ("promote", "switched")]
    assert "nothing to remove" in shell.run(TRAINER, "prune", "--keep", "0").stdout


def test_what_cannot_be_done_is_said_in_one_line(shell: Shell) -> None:
    source = shell.folder / "bare.txt"
    source.write_text(DOIS[100])
    shell.run(WORKER, "ingest", str(source))
    second = register(shell, "{title}")
    refused = shell.run(TRAINER, "promote", second, expect=1)
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith(f"doi-trainer: {second[:12]} can't read 1 of 81 records")
    listed = shell.json(TRAINER, "promote", second, "--allow-missing")
    assert Path(listed["listed"]).read_text().strip() == DOIS[100].lower()
    unknown = shell.run(TRAINER, "promote", "feedface", expect=1)
    assert unknown.stderr.strip().splitlines()[-1].startswith("doi-trainer: the registry ")


def test_what_stays_behind_is_told_and_pruned_by_its_number_alone(shell: Shell) -> None:
    source = shell.folder / "bare.txt"
    source.write_text(DOIS[100])
    shell.run(WORKER, "ingest", str(source))
    second, third = register(shell, "{title}"), register(shell, "{title}", "{venue}")
    forecast = shell.run(TRAINER, "promote", second, "--dry-run").stdout
    assert "1 of them came in the last 7 days, 0.1 a day: once this model is live" in forecast
    shell.run(TRAINER, "promote", second, "--allow-missing")
    source.write_text(DOIS[101])
    shell.run(WORKER, "ingest", str(source), expect=3)
    letter = shell.run(WORKER, "dead", "list").stdout
    assert (
        "missing_metadata: it has no title; bring it (`doi-worker metadata`) or ingest it again"
        in letter
    )
    assert "stay behind" in shell.run(TRAINER, "promote", third).stdout
    (found,) = shell.json(TRAINER, "prune", "--keep", "0", "--dry-run")
    assert (found["points"], found["last_copies"]) == (81, 1)
    words = shell.run(TRAINER, "prune", "--keep", "0").stdout
    assert "`doi-trainer prune --losing 1`" in words
    refused = shell.run(TRAINER, "prune", "--keep", "0", "--losing", "2", expect=1)
    assert refused.stderr.strip().endswith("1 records would go, not 2; nothing is removed")
    back = shell.run(TRAINER, "rollback", found["version"], expect=0)
    assert "with 81 records" in back.stdout
    refused = shell.run(TRAINER, "rollback", expect=1)
    assert "with --allow-missing they stay in" in refused.stderr
    assert shell.json(TRAINER, "rollback", "--now")["missing"] == 1


def test_ctrl_c_in_a_promotion_and_the_same_command_again(shell: Shell) -> None:
    second = register(shell, "{title}")
    log = shell.folder / "promote.log"
    with log.open("w") as output:
        process = shell.start(TRAINER, "promote", second, output=output)
    wait_until(lambda: "backfill: " in log.read_text(), what=log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in {130, 0}
    assert "Traceback" not in log.read_text()
    shell.run(TRAINER, "promote", second)
    assert f"dois-{second[:16]}" in shell.run(TRAINER, "promote", second).stdout


def test_templates_change_without_training_by_the_command_that_ingest_names(shell: Shell) -> None:
    wanted = '["{title}. {venue}", "{title}", "{doi}"]'
    source = shell.folder / "venues.jsonl"
    rows = [{"doi": d, "title": f"A study of {d}", "venue": "Tests"} for d in DOIS[80:90]]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    text = ("search", "--text", f"A study of {DOIS[80]}. Tests", "-k", "1")
    said = shell.run(WORKER, "ingest", str(source), DOIVEC_MODEL__TEMPLATES=wanted).stderr
    assert f"DOIVEC_MODEL__TEMPLATES={wanted} without effect: dois-" in said
    assert shell.json(WORKER, *text)[0]["score"] < 0.999, "it reads by the title alone"
    command = said.partition("`doi-trainer ")[2].partition("`, then")[0]
    made, following = shell.run(TRAINER, *shlex.split(command)).stdout.splitlines()
    assert following.endswith(f"doi-trainer promote {made[:12]}")
    shell.run(TRAINER, "promote", made[:12])
    (hit,) = shell.json(WORKER, *text)
    assert hit["doi"] == DOIS[80].lower()
    assert hit["score"] > 0.9999
    said = shell.run(WORKER, "ingest", str(source), DOIVEC_MODEL__TEMPLATES=wanted).stderr
    assert "without effect" not in said
    again = shell.run(TRAINER, "template", wanted).stdout.splitlines()
    assert again == [made, "the live version reads by these templates already"]


def test_templates_of_a_named_version_or_model(shell: Shell) -> None:
    first = shell.json(TRAINER, "versions")[0]
    made = shell.json(TRAINER, "template", '["{doi}"]', "--of", first["version"][:12])
    other = make_tiny_model(shell.folder / "other", seed=2)
    named = shell.json(TRAINER, "template", '["{doi}"]', "--of", str(other))
    assert (made["name"], named["name"]) == (first["name"], str(other))
    assert made["templates"] == named["templates"] == ["{doi}"]
    assert len({first["version"], made["version"], named["version"]}) == 3


@pytest.mark.parametrize("templates", ["{title}", '"{title}"', "[1]", '{"title": 1}'])
def test_templates_that_are_no_list_are_wrong_usage(tmp_path: Path, templates: str) -> None:
    said = Shell(tmp_path).run(TRAINER, "template", templates, expect=2).stderr
    assert 'a JSON list is expected, such as \'["{title}", "{doi}"]\'' in said


def test_templates_are_told_apart_from_settings_before_the_first_collection(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    said = shell.run(TRAINER, "template", '["{title}"]', expect=1).stderr
    assert "nothing is ingested yet: DOIVEC_MODEL__TEMPLATES says how" in said
    said = shell.run(TRAINER, "template", '["{author}"]', "--of", "base", expect=1).stderr
    assert "asks for {author}" in said
