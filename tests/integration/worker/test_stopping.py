"""Workers that are told to stop: once, twice, and where nobody reads what they say."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import redis as plain_redis

from tests.support.paths import DOIS
from tests.support.processes import processes_of
from tests.support.servers import RedisServer, wait_until
from tests.support.shell import SCRIPTS, TRAINER, WORKER, Shell
from tests.support.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(180)
PROGRAMS = [
    pytest.param(WORKER, "run", id="worker"),
    pytest.param(WORKER, "private run", id="private worker"),
    pytest.param(TRAINER, "run", id="trainer"),
    pytest.param(TRAINER, "schedule", id="beat"),
]
LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S|$")
each_program = pytest.mark.parametrize(("program", "command"), PROGRAMS)


class Served:
    """A program that serves until it is told to stop; what it says goes into a pipe."""

    def __init__(self, folder: Path, redis: RedisServer, program: str, command: str) -> None:
        with plain_redis.Redis.from_url(redis.url) as client:
            client.flushall()  # it knew another store
        more = (
            {}
            if "private" in command
            else {"DOIVEC_REDIS__URL": redis.url, "DOIVEC_QDRANT__EMBEDDED": "true"}
        )
        self.shell = Shell(
            folder,
            DOIVEC_MODEL__NAME=str(make_tiny_model(folder / "model")),
            DOIVEC_MODEL__TEMPLATES='["{title}"]',
            **more,
        )
        self._program = [str(SCRIPTS / program), command.rsplit(maxsplit=1)[-1]]
        self.words = b""

    def start(self, *, until: str) -> None:
        """Start it and read what it says as far as this."""
        self.process = subprocess.Popen(
            self._program,
            env=self.shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.read(until)

    def read(self, until: str) -> None:
        """Read what it says as far as this."""
        assert self.process.stdout
        while until.encode() not in self.words:
            read = os.read(self.process.stdout.fileno(), 4096)
            assert read, self.words.decode()
            self.words += read

    def ended(self) -> int:
        """The exit code; what it says until then is kept."""
        assert self.process.stdout
        if not self.process.stdout.closed:
            with self.process.stdout as rest:
                self.words += rest.read()
        code = self.process.wait(90)
        wait_until(lambda: not processes_of(self.shell.data))
        assert b"Traceback" not in self.words, self.words.decode()
        assert b"NotImplemented" not in self.words
        return code


@each_program
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_though_nobody_reads_what_it_says(
    tmp_path: Path, redis_server: RedisServer, program: str, command: str, number: signal.Signals
) -> None:
    served = Served(tmp_path, redis_server, program, command)
    served.start(until="beat: Starting" if command == "schedule" else " ready.")
    assert served.process.stdout
    served.process.stdout.close()  # as where `tee` has ended, by the same Ctrl-C
    served.process.send_signal(number)
    assert served.ended() in {0, 128 + number}


@pytest.mark.parametrize("command", ["run", "private run"])
def test_a_second_interrupt_ends_a_worker_at_once(
    tmp_path: Path, redis_server: RedisServer, command: str
) -> None:
    served = Served(tmp_path, redis_server, WORKER, command)
    source = tmp_path / "long.jsonl"  # one batch, which takes a while
    title = "On the origin of species " * 1200
    lines = (json.dumps({"doi": doi, "title": title}) + "\n" for doi in DOIS)
    source.write_text("".join(lines))
    job = served.shell.worker("queue", str(source)).strip()
    served.start(until=" ready.")
    wait_until(lambda: served.shell.json(WORKER, "status", job)["began_at"] is not None)
    served.process.send_signal(signal.SIGINT)
    served.read("shutdown")
    served.process.send_signal(signal.SIGINT)
    assert served.ended() == 130
    lines = served.words.decode().splitlines()
    assert all(LOGGED.match(line) for line in lines if not line.startswith("doi-worker: ")), lines
    assert served.shell.json(WORKER, "status", job)["settled_batches"] == 0


def test_batches_that_were_only_fetched_go_back_at_once(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    served = Served(tmp_path, redis_server, WORKER, "run")
    served.shell.environment |= {
        "DOIVEC_INGEST__BATCH_RECORDS": "20",
        "DOIVEC_INGEST__CONCURRENCY": "1",
    }
    source = tmp_path / "long.jsonl"
    title = "On the origin of species " * 1200
    rows = ({"doi": f"10.1000/{n}", "title": title} for n in range(80))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = served.shell.worker("queue", str(source)).strip()
    served.start(until=" ready.")
    with plain_redis.Redis.from_url(redis_server.url) as client:
        wait_until(lambda: client.hexists(f"doivec:job:{job}", "began_at"))
        wait_until(lambda: client.llen("ingest") < 3, what=lambda: "it fetches ahead")
        served.process.send_signal(signal.SIGINT)
        wait_until(lambda: client.llen("ingest") == 3)
        assert served.process.poll() is None, "it still finishes the one in hand"
    assert served.ended() == 0
    assert served.shell.json(WORKER, "status", job)["settled_batches"] == 1
