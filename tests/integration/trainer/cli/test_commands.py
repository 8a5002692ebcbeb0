"""doi-trainer as a user runs it: import, hold out, train, evaluate, compare, show."""

import csv
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click import UsageError
from click.testing import CliRunner, Result
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

from tests.support.hub import TOKEN, hub
from tests.support.paths import DOIS
from tests.support.shell import SCRIPTS, TRAINER, Shell
from trainer.cli.commands import EXIT_REFUSED, cli
from trainer.errors import TrainerError
from worker.errors import ModelError

SHORT = (
    "--set=per_device_train_batch_size=8",
    "--set=max_steps=6",
    "--set=save_steps=2",
    "--set=logging_steps=2",
)


def write_pairs(path: Path) -> Path:
    """Real DOIs; a made-up group cites the DOIs of its own prefix. Three lines are no pairs."""
    rows = [("doi_a", "doi_b", "label", "source", "group")]
    for number in range(0, 480, 12):
        a, *others = DOIS[number : number + 12]
        for place, b in enumerate(others):
            rows.append((a, b, str(int(place % 3 > 0)), "example:cites", f"group-{number}"))
    rows.insert(3, ("not a doi", DOIS[0], "1", "example:cites", "x"))
    rows.insert(7, (DOIS[0], DOIS[1], "2", "example:cites", "x"))
    rows.append((DOIS[0].upper(), f"https://doi.org/{DOIS[0]}", "1", "example:cites", "x"))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_metadata(path: Path, dois: Sequence[str] = DOIS) -> Path:
    records = ({"doi": doi, "title": f"A study of {doi.partition('/')[2]}"} for doi in dois)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


class Desk:
    """The commands, called in this process: torch is imported once."""

    def __init__(self, folder: Path) -> None:
        self.shell = Shell(folder, DOIVEC_GATE__MINIMUM_GROUPS="2")
        self.path = self.shell.data

    def run(self, *words: str) -> Result:
        runner = CliRunner(env=self.shell.environment)
        result = runner.invoke(cli, words, standalone_mode=False)
        if result.exception:
            raise result.exception
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json").stdout)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return furnished(tmp_path_factory.mktemp("desk"))


def furnished(folder: Path) -> Desk:
    desk = Desk(folder)
    desk.run("pairs", "import", str(write_pairs(folder / "pairs.csv")))
    desk.run("metadata", "import", str(write_metadata(folder / "metadata.jsonl")))
    desk.run("pairs", "hold-out", "--share", "0.2", "--corpus", "200")
    return desk


@pytest.fixture(scope="module")
def trained(desk: Desk) -> dict[str, Any]:
    return dict(desk.json("train", *SHORT))


def test_an_import_reports_each_rejected_line_and_again_changes_nothing(tmp_path: Path) -> None:
    desk, source = Desk(tmp_path), write_pairs(tmp_path / "pairs.csv")
    rejects = tmp_path / "rejects.jsonl"
    dry = desk.run("pairs", "import", str(source), "--dry-run")
    assert "would be added" in dry.stdout
    assert not (desk.path / "trainer" / "pairs").exists()
    first = desk.run("pairs", "import", str(source), "--rejects", str(rejects))
    assert first.return_value == 3
    assert "read 443 = new 440 (added) + repeated 0 + overruled 0 + rejected 3" in first.stdout
    lines = [json.loads(line)["line"] for line in rejects.read_text().splitlines()]
    assert lines == [4, 8, 444]
    before = tree(desk.path)
    again = desk.json("pairs", "import", str(source))
    assert (again["new"], again["repeated"], again["shard"]) == (0, 440, None)
    assert tree(desk.path) == before


def tree(path: Path) -> dict[str, int]:
    files = (p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.stat().st_mtime_ns for p in files}


def test_the_stats_count_pairs_and_tokens(desk: Desk) -> None:
    found = desk.json("pairs", "stats")
    assert found["balance"]["pairs"] == 440
    assert found["groups"] == 40
    assert 5 < found["lengths"]["sentence_0"]["mean"] < 60
    titled = desk.json("pairs", "stats", "--recipe", "title")
    assert titled["lengths"] != found["lengths"]
    assert "440 pairs" in desk.run("pairs", "stats").stdout


def test_an_import_is_listed_and_taken_back_and_a_label_corrected(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    (good,) = desk.json("pairs", "list")
    assert (good["pairs"], good["files"]) == (440, ["pairs.csv"])
    tested = read_held_out(desk)[0]
    right = tmp_path / "right.csv"
    row = f"{tested['doi_a']},{tested['doi_b']},{1 - int(tested['label'])},example:checked"
    right.write_text(f"doi_a,doi_b,label,source\n{row}\n")
    said = desk.run("pairs", "import", str(right))
    assert "1 correct what their source said before" in said.stdout
    assert "tests on 1 pairs that are gone, or labelled otherwise" in said.stderr
    bad = tmp_path / "bad.csv"
    bad.write_text(f"doi_a,doi_b,label\n{DOIS[0]},{DOIS[-1]},1\n")
    shard = desk.json("pairs", "import", str(bad))["shard"]
    assert shard[:12] in desk.run("pairs", "list").stdout
    assert (
        f"dropped {shard[:12]}: 1 pairs of bad.csv" in desk.run("pairs", "drop", shard[:12]).stdout
    )
    assert desk.json("pairs", "stats")["balance"]["pairs"] == 440
    desk.run(*HOLD_OUT)
    again = {frozenset((p["doi_a"], p["doi_b"])): p["label"] for p in read_held_out(desk)}
    assert again[frozenset((tested["doi_a"], tested["doi_b"]))] == 1 - tested["label"]
    assert (
        "gone, or labelled"
        not in desk.run("pairs", "drop", desk.json("pairs", "import", str(bad))["shard"]).stderr
    )


def read_held_out(desk: Desk) -> list[dict[str, Any]]:
    newest = max(
        (desk.path / "trainer" / "held_out").glob("*/pairs.parquet"),
        key=lambda p: p.stat().st_mtime_ns,
    )
    return list(pq.read_table(newest).to_pylist())


def test_a_trained_version_is_registered_with_card_and_provenance(
    desk: Desk, trained: dict[str, Any]
) -> None:
    path = Path(trained["path"])
    vectors = SentenceTransformer(str(path), device="cpu").encode(DOIS[:3])
    assert vectors.shape == (3, 384)
    card = (path / "README.md").read_text()
    for part in ("## Evaluation", "## Limits", "## Lineage", "Training Loss", "plots/"):
        assert part in card, part
    assert str(desk.path) not in card
    shown = desk.json("show", trained["version"][:10])
    assert shown["training"]["recipe"]["arguments"]["max_steps"] == 6
    assert shown["training"]["pairs"]["trained"] > 100
    assert shown["training"]["parent"] == "base"
    assert shown["files"]["model.safetensors"]
    assert shown["evaluation"][0]["subject"] == trained["version"]
    assert [r["name"] for r in shown["evaluation"]] == ["seed", "base", "trigrams", "prefix"]
    assert shown["evaluation"][0]["seen"] == 0
    listed = desk.json("versions")
    assert trained["version"] in [one["version"] for one in listed]
    assert trained["version"][:12] in desk.run("versions").stdout
    assert "recipe" in desk.run("show", trained["version"]).stdout


def test_the_same_run_again_gives_the_same_version_at_once(
    desk: Desk, trained: dict[str, Any]
) -> None:
    assert desk.json("train", *SHORT)["version"] == trained["version"]
    runs = list((desk.path / "trainer" / "runs").iterdir())
    assert len(runs) == 1
    assert sorted(p.name for p in runs[0].iterdir()) == [
        ".lock",
        "finished.json",
        "started.json",
        "version",
    ]


def test_a_version_can_be_the_parent_of_another(desk: Desk, trained: dict[str, Any]) -> None:
    words = ("--from", trained["version"][:12], "--set=seed=1")
    child = desk.json("train", *SHORT, *words)
    shown = desk.json("show", child["version"])
    assert shown["training"]["parent"] == trained["version"]


def test_the_gate_says_why(desk: Desk, trained: dict[str, Any], tmp_path: Path) -> None:
    same = desk.run("compare", trained["version"], trained["version"])
    assert same.return_value == EXIT_REFUSED
    first, reason, *_, last = same.stdout.splitlines()
    assert first.startswith("refuse")
    assert "not better by more than chance" in reason, "what refuses comes first"
    assert last == f"next: doi-trainer evaluate {trained['version'][:12]} --full"
    full = desk.run("compare", trained["version"], trained["version"], "--full").stdout
    assert len(full.splitlines()) > len(same.stdout.splitlines()) + 20
    verdict = desk.json("compare", "base", trained["version"])
    assert {d["metric"] for d in verdict["differences"]} >= {"ndcg@10", "roc_auc"}
    picture = tmp_path / "compared.png"
    several = desk.run("compare", "base", trained["version"], "base", "--plot", str(picture))
    assert several.return_value == EXIT_REFUSED
    assert several.stdout.count(" in place of ") == 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_evaluation_stands_beside_the_baselines(desk: Desk, trained: dict[str, Any]) -> None:
    printed = desk.run("evaluate", "base", trained["version"]).stdout
    for name in ("base", "seed", "trigrams", "prefix", "ndcg@10", "95 % intervals"):
        assert name in printed, name
    short = trained["version"][:12]
    assert printed.startswith(f"seed {short}, in brackets the base model: nDCG@10 ")
    assert f"next: doi-trainer compare base {short}" in printed
    assert "negatives:" not in printed
    assert "negatives:" in desk.run("evaluate", trained["version"], "--full").stdout


def test_a_version_is_pushed_to_a_directory_whole_with_a_valid_card(
    desk: Desk, trained: dict[str, Any], tmp_path: Path
) -> None:
    target = tmp_path / "out" / "model"
    assert str(target) in desk.run("push", trained["version"][:12], str(target)).stdout
    names = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
    assert names == {str(p.relative_to(trained["path"])) for p in files(Path(trained["path"]))}
    assert [p.name for p in target.parent.iterdir()] == ["model"]
    assert SentenceTransformer(str(target), device="cpu").encode(DOIS[:1]).shape == (1, 384)
    head = ModelCard.load(target / "README.md").data.to_dict()
    assert (head["license"], head["library_name"]) == ("apache-2.0", "sentence-transformers")
    with pytest.raises(TrainerError, match="is there already"):
        desk.run("push", trained["version"][:12], str(target))


def test_a_version_is_committed_to_a_hub_that_was_named_and_only_then(
    desk: Desk, trained: dict[str, Any], tmp_path: Path
) -> None:
    version, path = trained["version"], Path(trained["path"])
    wanted = {str(p.relative_to(path)): p.read_bytes() for p in files(path)}
    with hub() as made:
        their = {
            "HF_ENDPOINT": made.url,
            "HF_HOME": str(tmp_path),
            "HF_HUB_DISABLE_XET": "1",
        }
        words = ("push", version, "--hub", "us/dois")
        refused = desk.shell.run(TRAINER, *words, expect=1, **their)
        assert "HF_TOKEN must be one" in refused.stderr
        assert (made.files, made.repositories) == ({}, {})
        for _ in range(2):  # into a new repository, and into one that is there
            done = desk.shell.run(TRAINER, *words, HF_TOKEN=TOKEN, **their)
            assert f"{version[:12]} is in {made.url}/us/dois" in done.stdout
            assert made.files == wanted
            made.files["left.json"] = b"of an earlier version"
        assert [asked["visibility"] for asked in made.repositories.values()] == ["private"]
        made.repositories["us/dois"]["visibility"] = "public"
        refused = desk.shell.run(TRAINER, *words, expect=1, HF_TOKEN=TOKEN, **their)
        assert "to commit to a public one, give --public" in refused.stderr
        del made.files["doivec.json"]
        refused = desk.shell.run(TRAINER, *words, "--public", expect=1, HF_TOKEN=TOKEN, **their)
        assert "holds something that isn't a version" in refused.stderr
        made.files.clear()
        made.is_full = True
        refused = desk.shell.run(TRAINER, *words, "--public", expect=1, HF_TOKEN=TOKEN, **their)
        assert "507" in refused.stderr
        assert made.files == {}
    for words in ((), (str(tmp_path / "x"), "--hub", "us/dois"), (str(tmp_path / "x"), "--public")):
        with pytest.raises(UsageError, match="DIRECTORY, or --hub"):
            desk.run("push", version, *words)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_own_queries_stand_in_the_report_with_what_could_not_be_judged(
    desk: Desk, trained: dict[str, Any], tmp_path: Path
) -> None:
    tested = read_held_out(desk)[0]
    own = tmp_path / "own.jsonl"
    rows = [
        {"text": f"A study of {DOIS[7].partition('/')[2]}", "relevant": DOIS[7]},
        {"doi": DOIS[20].upper(), "relevant": [DOIS[21], "10.5555/absent"]},
        {"doi": tested["doi_a"], "relevant": [tested["doi_b"]]},
        {"text": "nothing is known of it", "relevant": ["10.5555/absent"]},
        {"doi": DOIS[0], "text": "both", "relevant": [DOIS[1]]},
        {"doi": DOIS[0], "relevant": [DOIS[0]]},
        {"text": "no DOI", "relevant": ["nonsense"]},
    ]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = desk.run("evaluate", trained["version"], "--queries", str(own), "--json")
    assert done.return_value == 3
    assert done.stderr.count("own.jsonl") >= 3, "each row that is none is told"
    plain = desk.json("evaluate", trained["version"])
    for report, before in zip(json.loads(done.stdout), plain, strict=True):
        counts = report.pop("own")
        assert report["slices"].pop()["queries"] == counts["judged"] == 3
        assert {**report, "own": None} == before, "the rest of the report is what it was"
        assert (counts["queries"], counts["unknown"], counts["unread"]) == (4, 1, 0)
        assert (counts["relevant"], counts["relevant_unknown"]) == (5, 2)
        assert report["name"] == "seed" or counts["seen"] == 0, "baselines train on nothing"
    table = tmp_path / "own.csv"
    table.write_text(f"query,relevant\nA study of {DOIS[7]},{DOIS[7]} {DOIS[8]}\n")
    said = desk.run("evaluate", "base", "--queries", str(table)).stdout
    assert "own queries: 1 queries" in said
    assert "base: 1 of 1 own queries judged among 298 documents" in said
    table.write_text("query,relevant\nA study,10.5555/absent\n")
    with pytest.raises(TrainerError, match="none of the 1 queries of own"):
        desk.run("evaluate", "base", "--queries", str(table))


def test_a_run_tells_its_version_its_figures_and_what_is_next(
    desk: Desk, trained: dict[str, Any]
) -> None:
    said = desk.run("train", *SHORT)
    assert said.stdout.startswith(f"registered {trained['version'][:12]}\n")
    assert trained["version"] not in said.stdout.replace(trained["path"], "")
    assert "beside random documents" in said.stdout
    assert f"next: doi-trainer compare base {trained['version'][:12]}" in said.stdout
    other = desk.run("train", *SHORT, "--set=seed=5", "--set=max_steps=4")
    line = r"training seed: 4 of 4 steps, \S+/s, loss "
    assert re.search(line, other.stderr), "without a terminal, lines"
    assert "evaluating: " in other.stderr


def test_training_that_stops_by_groups_says_which_weights_it_kept(desk: Desk) -> None:
    stopping = (*SHORT, "--set=development_share=0.3", "--set=patience=1", "--set=max_steps=4")
    said = desk.run("train", *stopping)
    assert re.search(r"training stops by \d+ pairs of groups set apart; \d+ others", said.stderr)
    found = re.search(
        r"kept weights: those of step (\d); development loss: 0\.\d+ at 2,", said.stdout
    )
    assert found
    (version,) = re.findall(r"registered (\w+)", said.stdout)
    record = desk.json("show", version)["training"]
    assert (record["kept_step"], record["development"][0]["step"]) == (int(found[1]), 2)
    assert record["pairs"]["development"] > 0
    assert "development loss at step 2: 0." in desk.run("show", version).stdout
    assert "weights kept" in (Path(desk.json("show", version)["path"]) / "README.md").read_text()
    with pytest.raises(TrainerError, match="no pair is left to stop by"):
        desk.run("train", *SHORT, "--set=development_share=0.0001")


def test_more_pairs_do_not_move_the_held_out_ones(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    words = ("--set=max_steps=2", "--set=per_device_train_batch_size=4")
    before = desk.json("train", *words)["evaluation"][0]["held_out"]
    more = tmp_path / "more.csv"
    more.write_text(f"doi_a,doi_b,label\n{DOIS[0]},{DOIS[-1]},1\n{DOIS[-2]},{DOIS[-3]},1\n")
    desk.run("pairs", "import", str(more))
    after = desk.json("train", *words)["evaluation"][0]
    assert (after["held_out"], after["seen"]) == (before, 0)


QUICK = ("--set=max_steps=2", "--set=per_device_train_batch_size=4")
HOLD_OUT = ("pairs", "hold-out", "--share", "0.2", "--corpus", "200")


def write_reviews(folder: Path, count: int) -> list[str]:
    """Files of one review each, so of one source and one group each."""
    made = []
    for n in range(count):
        rows = (f"10.1016/r{n}.{i},10.1109/r{n}.{i},{i % 2},review-{n}" for i in range(12))
        path = folder / f"review{n}.csv"
        path.write_text("doi_a,doi_b,label,group\n" + "\n".join(rows) + "\n")
        made.append(str(path))
    return made


def write_more(folder: Path) -> str:
    """Twenty new groups, of one source."""
    path = folder / "more.csv"
    rows = (f"10.1016/n{g}.{i},10.1109/n{g}.{i},{i % 2},new-{g}" for g in range(20) for i in (0, 1))
    path.write_text("doi_a,doi_b,label,group\n" + "\n".join(rows) + "\n")
    return str(path)


def test_who_knows_the_held_out_pairs_is_no_opponent_and_no_parent(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    knowing = desk.json("train", *QUICK)
    first = knowing["evaluation"][0]["held_out"]
    desk.run("pairs", "hold-out", "--share", "0.5", "--corpus", "200", "--from", "none")
    version = knowing["version"]
    with pytest.raises(TrainerError, match="was trained on DOIs or groups of") as caught:
        desk.run("compare", "base", version)
    assert f"`doi-trainer pairs hold-out --from {first[:12]}`" in str(caught.value)
    runs = list((desk.path / "trainer" / "runs").iterdir())
    with pytest.raises(TrainerError, match="can be judged on them"):
        desk.run("train", "--from", version, *QUICK)
    assert list((desk.path / "trainer" / "runs").iterdir()) == runs, "nothing was trained"
    assert desk.json("compare", "base", version, "--on", first[:12])["held_out"] == first
    assert desk.json("evaluate", version)[0]["seen"] > 0
    desk.run(*HOLD_OUT, "--from", first[:12])  # the way out that it names
    assert desk.json("train", *QUICK, "--from", version)["evaluation"][0]["seen"] == 0


def test_a_set_frozen_again_after_new_pairs_judges_what_was_trained_before(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    desk.run("pairs", "import", *write_reviews(tmp_path, 3))
    trained = desk.json("train", *QUICK)
    first = trained["evaluation"][0]["held_out"]
    desk.run("pairs", "import", write_more(tmp_path))
    again = desk.json(*HOLD_OUT)
    assert again["id"] != first
    assert again["sources"]["more"] == {"held_out": 4, "groups": 20}
    assert desk.json("compare", "base", trained["version"])["held_out"] == again["id"]
    assert desk.json("evaluate", trained["version"])[0]["seen"] == 0
    child = desk.json("train", *QUICK, "--from", trained["version"])
    assert child["evaluation"][0]["seen"] == 0
    wider = desk.run("pairs", "hold-out", "--share", "0.5").stdout
    assert "fewer than asked" in wider


def test_reviews_in_files_of_their_own_are_held_out_by_group(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.run("pairs", "import", *write_reviews(tmp_path, 5))
    said = desk.run("train", *QUICK)
    assert "review0 " in said.stderr
    assert said.stderr.count(" 1 of 1 groups") == 1
    assert "48 pairs" in said.stderr
    one = Desk(tmp_path / "one")
    one.run("pairs", "import", *write_reviews(tmp_path, 1))
    with pytest.raises(TrainerError, match="no pair can be held out"):
        one.run("train", *QUICK)


def test_titles_that_came_after_the_held_out_set_serve(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.run("pairs", "import", str(write_pairs(tmp_path / "pairs.csv")))
    first = desk.json(*HOLD_OUT)["id"]
    with pytest.raises(TrainerError, match=r"can't judge a model that reads \{title\}"):
        desk.run("train", "--recipe", "title", *QUICK)
    titled = DOIS[:240]
    desk.run("metadata", "import", str(write_metadata(tmp_path / "metadata.jsonl", titled)))
    said = desk.run("train", "--recipe", "title", *QUICK)
    assert f"were not known when {first[:12]} was frozen" in said.stderr
    assert re.search(r"titles of \d+ DOIs: \d+ given, 0 from the live collection, 0", said.stderr)
    assert re.search(r"\n(\d+) of the (\d+) others have a text on both sides: \d\d%", said.stderr)
    trained = desk.json("train", "--recipe", "title", *QUICK)
    report = trained["evaluation"][0]
    assert report["held_out"] != first
    assert report["unread"] == 0, "what has no title is read by its DOI"
    shown = desk.json("show", trained["version"])
    assert shown["templates"] == ["{title}", "{doi}"]
    assert shown["training"]["pairs"]["unread"] > 100, "but no pair without titles is trained on"
    assert "is read by its DOI string" in (Path(trained["path"]) / "README.md").read_text()
    assert desk.json("evaluate", "base", "--on", first[:12])[0]["held_out"] == first


def test_nothing_to_train_on_is_said_before_the_training(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    more = tmp_path / "more.csv"
    more.write_text("doi_a,doi_b,label\n10.1016/x,10.1016/y,0\n")
    shard = desk.json("pairs", "import", str(more))["shard"]
    ranking = ("--set=loss=multiple_negatives_ranking", "--set=batch_sampler=no_duplicates")
    with pytest.raises(TrainerError, match="no pair is left to train on"):
        desk.run("train", *ranking, "--pairs", shard)
    assert not (desk.path / "trainer" / "runs").exists()


def test_a_version_that_comes_out_twice_shows_each_of_its_runs(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    still = (*QUICK, "--set=learning_rate=1e-300")  # the weights stay the base model's
    first = desk.json("train", *still)
    (shard,) = desk.json("pairs", "stats")["shards"]
    desk.run("pairs", "import", write_more(tmp_path))
    desk.run(*HOLD_OUT, "--from", "none", "--keep", shard["id"])
    second = desk.json("train", *still, "--set=name=another", "--set=save_steps=77")
    assert second["version"] == first["version"]
    shown = desk.json("show", first["version"])
    assert shown["training"]["name"] == "another"
    assert [run["name"] for run in shown["earlier"]] == ["seed"]
    assert "name: seed" in desk.run("show", first["version"]).stdout
    card = (Path(first["path"]) / "README.md").read_text()
    assert card.count("# another") == 1
    assert "### Other runs" in card
    assert "`arguments.save_steps=500`" in card
    known = first["evaluation"][0]["held_out"]  # the second run trained on it
    assert desk.json("evaluate", first["version"], "--on", known)[0]["seen"] > 0
    with pytest.raises(TrainerError, match="was trained on DOIs or groups of"):
        desk.run("compare", "base", first["version"], "--on", known)


@pytest.mark.parametrize("cut", [0, 100, -100])
def test_scores_that_were_torn_are_computed_again(
    desk: Desk, trained: dict[str, Any], cut: int
) -> None:
    before = desk.json("evaluate", trained["version"])
    scores = list((desk.path / "trainer" / "scores").rglob("*.npz"))
    own = [path for path in scores if path.stem == trained["version"]]
    whole = [path.stat().st_size for path in own]
    for path in scores:
        path.write_bytes(path.read_bytes()[:cut])
    assert desk.json("evaluate", trained["version"]) == before
    assert desk.json("compare", "base", trained["version"])["differences"]
    assert [path.stat().st_size for path in own] == whole != []


def test_half_precision_on_a_cpu_is_refused_before_the_training(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    for name in ("fp16", "bf16"):
        with pytest.raises(TrainerError, match=f"{name} needs CUDA"):
            desk.run("train", *QUICK, f"--set={name}=true")


def test_a_full_disk_is_told_in_a_line_and_leaves_nothing_half(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    limited = ("bash", "-c", 'ulimit -f 20000; exec "$0" "$@"', str(SCRIPTS / TRAINER))
    done = subprocess.run(
        [*limited, "train", *QUICK],
        env=desk.shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("doi-trainer: what is trained can't be kept in "), done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (desk.path / "trainer" / "runs").iterdir()
    assert sorted(path.name for path in run.iterdir()) == [".lock", "started.json"]
    assert desk.json("train", *QUICK)["version"]


def test_rejects_that_could_not_be_written_stop_the_import(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    source = str(write_pairs(tmp_path / "pairs.csv"))
    before = tree(desk.path)
    with pytest.raises(UsageError, match="there is no folder /missing"):
        desk.run("pairs", "import", source, "--rejects", "/missing/x")
    assert tree(desk.path) == before


def test_names_from_outside_are_printed_as_they_are(tmp_path: Path) -> None:
    desk, source = Desk(tmp_path), tmp_path / "pairs.csv"
    source.write_text(f"doi_a,doi_b,label,source\n{DOIS[0]},{DOIS[1]},1,odd[/b]\n")
    assert "odd[/b]" in desk.run("pairs", "import", str(source)).stdout
    assert "odd[/b]" in desk.run("pairs", "stats").stdout


def test_a_version_that_is_gone_is_trained_again(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    words = ("--set=max_steps=2", "--set=per_device_train_batch_size=4")
    made = desk.json("train", *words)
    shutil.rmtree(made["path"])
    assert desk.json("train", *words)["version"] == made["version"]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    desk = furnished(tmp_path)
    made = desk.json("train", "--set=max_steps=1", "--set=per_device_train_batch_size=2")
    weights = Path(made["path"]) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors .* was changed"):
        desk.run("show", made["version"])


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for words in (("train",), ("train", "--recipe", "nosuch"), ("evaluate", "base")):
        with pytest.raises(TrainerError) as caught:
            desk.run(*words)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM], ids=lambda blow: blow.name)
def test_a_run_cut_off_goes_on_and_makes_the_same_version(
    desk: Desk, trained: dict[str, Any], tmp_path: Path, blow: signal.Signals
) -> None:
    other = furnished(tmp_path)
    process = other.shell.start(TRAINER, "train", *SHORT)
    checkpoint = wait_for(other.path / "trainer" / "runs", "*/checkpoint-2/doivec.json", process)
    process.send_signal(blow)
    _, said = process.communicate(timeout=120)
    assert process.returncode in ({-9} if blow is signal.SIGKILL else {130, 0}), said
    assert checkpoint.exists() or process.returncode == 0
    assert other.json("train", *SHORT)["version"] == trained["version"]


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> Path:
    while process.poll() is None:
        for found in folder.glob(pattern):
            return found
        time.sleep(0.02)
    pytest.fail(f"ended before: {process.communicate()}")
