"""doi-worker as a person types it, without servers."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import DOIS, EXAMPLES
from tests.support.servers import wait_until
from tests.support.shell import TRAINER, WORKER, Shell
from tests.support.tiny_model import make_tiny_model

# Two DOIs at a time, each pair when the one before has settled: it takes half a minute.
SLOWLY = {"DOIVEC_INGEST__BATCH_RECORDS": "2", "DOIVEC_INGEST__OUTSTANDING_BATCHES": "1"}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(
        tmp_path,
        DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")),
        DOIVEC_INGEST__SWEEP_S="1",
        DOIVEC_INGEST__LEASE_S="4",
    )


def test_ingest_search_delete(shell: Shell) -> None:
    first = shell.worker("ingest", str(EXAMPLES))
    assert f"accepted {len(DOIS)} = stored {len(DOIS)}, unchanged 0" in first
    again = shell.worker("ingest", str(EXAMPLES))
    assert f"all {len(DOIS)} were there already" in again
    hits = shell.worker("search", DOIS[0].upper(), "-k", "3").splitlines()
    assert len(hits) == 3
    neighbour = hits[0].split()[1]
    assert neighbour != DOIS[0].lower()
    shell.worker("delete", neighbour)
    assert neighbour not in shell.worker("search", DOIS[0], "-k", "3")
    asked = ["--text", DOIS[5].lower(), "--all", "-k", "1", "--json"]
    found = json.loads(shell.worker("search", *asked))
    assert (found[0]["doi"], round(found[0]["score"], 3)) == (DOIS[5].lower(), 1.0)
    counts = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert (counts["stored"], counts["unchanged"]) == (1, len(DOIS) - 1)


def test_commands_say_where_they_work(shell: Shell) -> None:
    for words in (["ingest", str(EXAMPLES)], ["queue", str(EXAMPLES), "--json"]):
        done = shell.run(WORKER, *words, HOME=str(shell.folder))
        assert done.stderr.splitlines()[0] == "Qdrant Edge in ~/data"
        assert "Edge" not in done.stdout
    done = shell.run(WORKER, "status", DOIVEC_QDRANT__URL="http://localhost:6333")
    assert f"a private Redis in {shell.data}\n" in done.stdout
    assert "http://localhost:6333: Qdrant" in done.stdout


def test_what_is_no_setting_is_told_before_anything_is_done(shell: Shell) -> None:
    for name, value, words in (
        ("DOIVEC_QDRANT_URL", "http://h", "no setting; the nearest is DOIVEC_QDRANT__URL"),
        ("DOIVEC_REDIS__URL", "", "is empty"),
        ("DOIVEC_REDIS__URL", "localhost:6379", "begins with redis://"),
        ("DOIVEC_QDRANT__URL", "localhost:6333", "begins with http://"),
    ):
        for program, command in ((WORKER, ["status"]), (WORKER, ["run"]), (TRAINER, ["history"])):
            error = shell.run(program, *command, expect=1, **{name: value}).stderr
            assert error.startswith(f"{program}: {name}"), error
            assert words in error
            assert error.count("\n") == 1
    assert not shell.data.exists()


def test_bad_lines_are_told_and_hurt_only_themselves(shell: Shell) -> None:
    source = shell.folder / "messy.csv"
    source.write_text(
        "doi,title,year\n"
        "https://doi.org/10.1038/S41586-020-2649-2,Array programming with NumPy,2020\n"
        "doi:10.1038/s41586-020-2649-2.,again,2020\n"
        "not a doi,,\n"
        "10.1038/nphys1170,,\n"
    )
    rejects = shell.folder / "rejects.jsonl"
    job = shell.json(WORKER, "ingest", str(source), "--rejects", str(rejects), expect=3)
    assert [job[n] for n in ("read", "accepted", "repeated", "invalid")] == [4, 2, 1, 1]
    (line,) = rejects.read_text().splitlines()
    assert json.loads(line)["line"] == 4
    assert json.loads(line)["raw"].startswith("not a doi")
    hit = json.loads(shell.worker("search", "10.1038/nphys1170", "--all", "--json"))[0]
    assert hit["metadata"] == {"title": "again", "year": 2020}, "what was given last"


@pytest.mark.parametrize("command", ["ingest", "queue"])
def test_rejects_that_could_not_be_written_are_told_before_the_work(
    tmp_path: Path, command: str
) -> None:
    shell, source = Shell(tmp_path), tmp_path / "dois.txt"
    source.write_text(f"{DOIS[0]}\n")
    done = shell.run(WORKER, command, str(source), "--rejects", "/missing/x", expect=2)
    assert "there is no folder /missing that can be written" in done.stderr
    assert not shell.data.exists()


def test_wrong_usage_and_failures_are_one_clear_line(shell: Shell) -> None:
    shell.worker("ingest", expect=2)
    shell.worker("search", expect=2)
    for words in (
        ["ingest", "absent.txt"],
        ["status", "never"],
        ["search", "10.1038/nphys1170"],
        ["search", "nonsense"],
    ):
        assert len(shell.worker(*words, expect=1).strip().splitlines()) == 1, words
    error = shell.worker("status", expect=1, DOIVEC_REDIS__TIMEOUT_S="-1")
    assert error.startswith("doi-worker: DOIVEC_REDIS__TIMEOUT_S: ")
    error = shell.worker("ingest", str(EXAMPLES), expect=1, DOIVEC_MODEL__NAME="/nowhere")
    assert "/nowhere" in error


def test_a_source_that_cannot_be_read_costs_no_other(shell: Shell) -> None:
    (shell.folder / "a.csv").write_text("10.1038/nphys1170,x\n")
    (shell.folder / "b.txt").write_text("10.1000/b\n")
    (shell.folder / "c.csv").write_text("name\nx\n")
    error = shell.worker("ingest", "a.csv", "b.txt", "c.csv", expect=1)
    assert "a.csv: no header line" in error
    assert "c.csv: no column `doi` among `name`" in error
    (job,) = json.loads(shell.worker("status", "--json"))
    assert job["stored"] == job["accepted"] == 1


def test_a_source_that_breaks_off_settles_what_came_before(shell: Shell) -> None:
    source = shell.folder / "cut.txt.gz"
    import gzip  # noqa: PLC0415

    whole = gzip.compress(("\n".join(DOIS) + "\n").encode())
    source.write_bytes(whole[: len(whole) // 2])
    error = shell.worker("ingest", str(source), expect=1)
    assert "cut.txt.gz" in error
    (job,) = json.loads(shell.worker("status", "--json"))
    assert job["state"] == "settled"
    assert 0 < job["stored"] == job["accepted"] < len(DOIS)


def test_an_interrupted_job_goes_on_with_the_same_command(shell: Shell) -> None:
    process = shell.start(WORKER, "ingest", str(EXAMPLES), **SLOWLY)

    def settled() -> int:
        jobs = json.loads(shell.worker("status", "--json"))
        return int(jobs[0]["stored"]) if jobs else 0

    wait_until(lambda: settled() > 0, while_true=lambda: process.poll() is None)
    busy = shell.worker("ingest", str(EXAMPLES), expect=1)
    assert f"process {process.pid}" in busy
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (job,) = json.loads(shell.worker("status", "--json"))
    assert 0 < job["stored"] < len(DOIS)
    whole = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert whole["id"] == job["id"]
    assert whole["stored"] == whole["accepted"] == len(DOIS)


def test_a_short_command_does_not_turn_an_ingest_away(shell: Shell) -> None:
    for _ in range(5):
        asking = [shell.start(WORKER, "status") for _ in range(3)]
        shell.worker("cancel", shell.worker("queue", str(EXAMPLES)).strip())
        for process in asking:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err


def test_a_killed_command_leaves_nothing_behind_that_stops_the_next(shell: Shell) -> None:
    process = shell.start(WORKER, "ingest", str(EXAMPLES), **SLOWLY)
    log = shell.folder / "data" / "worker.log"
    wait_until(lambda: log.exists() and "records/s" in log.read_text())
    process.kill()
    process.communicate()
    whole = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert whole["settled_batches"] == whole["batches"]
    assert whole["stored"] == len(DOIS)


def test_queue_status_cancel(shell: Shell) -> None:
    job = shell.worker("queue", str(EXAMPLES)).strip()
    assert shell.json(WORKER, "status", job)["state"] == "sealed"
    assert shell.json(WORKER, "cancel", job) == {"job": job, "cancelled": len(DOIS)}
    assert shell.json(WORKER, "status", job, expect=3)["state"] == "settled"
    assert "no dead letters" in shell.worker("dead", "list")


def test_a_worker_that_runs_takes_what_others_queue(shell: Shell) -> None:
    worker = shell.start(WORKER, "run")
    lock = shell.folder / "data" / "redis" / "owner.lock"
    wait_until(lambda: lock.exists() and '"run"' in lock.read_text())
    counts = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert counts["stored"] == len(DOIS)
    assert "in use by process" in shell.worker("search", DOIS[0], expect=1)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=60)
    assert len(shell.worker("search", DOIS[0], "-k", "2").splitlines()) == 2


def test_a_worker_says_which_settings_the_live_collection_does_not_heed(shell: Shell) -> None:
    source = shell.folder / "one.txt"
    source.write_text(DOIS[0])
    shell.worker("ingest", str(source))
    log = shell.folder / "run.log"
    with log.open("w") as output:
        worker = shell.start(WORKER, "run", output=output, DOIVEC_MODEL__TEMPLATES='["{title}"]')
    wait_until(lambda: 'DOIVEC_MODEL__TEMPLATES=["{title}"] without' in log.read_text())
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    assert log.read_text().count("without effect") == 1


def test_dead_letters_are_listed_and_replayed(shell: Shell) -> None:
    shell.environment["DOIVEC_MODEL__TEMPLATES"] = '["{title}"]'
    source = shell.folder / "two.jsonl"
    source.write_text('{"doi": "10.1038/nphys1170", "title": "A title"}\n{"doi": "10.1000/bare"}\n')
    job = shell.json(WORKER, "ingest", str(source), expect=3)
    assert (job["stored"], job["dead"]) == (1, 1)
    assert "10.1000/bare  render: missing_metadata" in shell.worker("dead", "list", str(job["id"]))
    replayed = json.loads(shell.worker("dead", "replay", "--json", expect=3))
    assert replayed[0]["dead"] == 1


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM], ids=lambda blow: blow.name)
def test_standard_input_that_is_interrupted_is_cancelled_not_left_open(
    shell: Shell, blow: signal.Signals
) -> None:
    process = shell.start(
        WORKER, "queue", "-", stdin=subprocess.PIPE, DOIVEC_INGEST__BATCH_RECORDS="100"
    )
    assert process.stdin
    # More than a pipe and a buffer hold, so that batches are accepted while the input is open.
    process.stdin.write("\n".join(f"10.1103/physrevlett.{n}" for n in range(20_000)))
    process.stdin.flush()

    def accepted() -> int:
        jobs = json.loads(shell.worker("status", "--json"))
        return int(jobs[0]["accepted"]) if jobs else 0

    wait_until(lambda: accepted() > 0)
    process.send_signal(blow)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "standard input can't be read again" in err
    (job,) = json.loads(shell.worker("status", "--json"))
    assert job["state"] == "settled"
    assert job["cancelled"] == job["accepted"] > 0
