"""A secret in every setting that can hold one, and none in what is printed, logged or listed."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from unittest.mock import patch
from urllib.parse import quote

import pytest

from tests.support.deployment import Deployment
from tests.support.paths import EXAMPLES
from tests.support.servers import QdrantServer, RedisServer, free_port, wait_until
from tests.support.shell import TRAINER, WORKER, Shell
from tests.support.tiny_model import make_tiny_model
from worker.cli.commands import main
from worker.settings.environment import variables

# Wherever a parser cuts it, a piece is found.
SECRET = "s3cr"
PASSWORD = "/".join([SECRET] * 2) + "".join(sign + SECRET for sign in "#@%?;:+")
KEY = f"{SECRET}-key"
HOLDING_SECRETS = {
    *("DOIVEC_REDIS__URL", "DOIVEC_QDRANT__URL", "DOIVEC_QDRANT__API_KEY"),
    # What the registries are told, tests/integration/worker/metadata/test_who_asks.py looks at.
    *("DOIVEC_METADATA__CROSSREF_TOKEN", "DOIVEC_METADATA__OPENALEX_KEY"),
    *(f"DOIVEC_METADATA__{name}_URL" for name in ("CROSSREF", "OPENALEX", "DATACITE", "DOI")),
}
pytestmark = pytest.mark.timeout(600)


class Everything:
    """What commands have printed, and how often they ended well or badly."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.text = ""
        self.codes: set[int] = set()

    def run(self, program: str, *words: str, **more: str) -> int:
        """A command, whatever comes of it."""
        process = self._shell.start(program, *words, **more)
        out, err = process.communicate(timeout=240)
        self.text += f"\n$ {program} {' '.join(words)} {sorted(more)}\n{out}{err}"
        self.codes.add(process.returncode)
        return process.returncode

    def call(self, *words: str, **more: str) -> int:
        """A command of the worker in this process, where it has its modules already."""
        environment, code = {**self._shell.environment, **more}, 0
        with TemporaryFile("w+") as said:
            with patch.dict(os.environ, environment), redirect_stdout(said), redirect_stderr(said):
                try:
                    main(words)
                except SystemExit as end:
                    code = int(end.code or 0)
            said.seek(0)
            self.text += f"\n$ {' '.join(words)} {sorted(more)}\n{said.read()}"
        self.codes.add(code)
        return code


@pytest.fixture
def deployment(tmp_path: Path, redis_server: RedisServer) -> Iterator[Deployment]:
    socket = ("--unixsocket", str(tmp_path / "redis.sock"))
    redis = RedisServer(tmp_path / "redis", "--requirepass", PASSWORD, *socket)
    qdrant = QdrantServer(tmp_path / "qdrant", api_key=KEY)
    redis.start()
    qdrant.start()
    made = Deployment(
        tmp_path,
        redis=redis,
        qdrant=qdrant,
        model=make_tiny_model(tmp_path / "model"),
        DOIVEC_REDIS__URL=f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{redis.port}/0",
        DOIVEC_QDRANT__API_KEY=KEY,
        DOIVEC_TRACE=str(tmp_path / "trace.json"),
    )
    yield made
    made.close()
    redis.stop()
    qdrant.stop()


def test_the_settings_that_can_hold_a_secret_are_these() -> None:
    named = re.compile("URL|KEY|PASSWORD|TOKEN|SECRET|USER")
    assert {name for name, _ in variables() if named.search(name)} == HOLDING_SECRETS


def test_no_secret_shows_in_a_wide_run(deployment: Deployment, tmp_path: Path) -> None:
    shell = Shell(tmp_path, **deployment.environment)
    told = Everything(shell)
    socket = f"unix://:{quote(PASSWORD, safe='')}@{tmp_path}/redis.sock"
    logs = [tmp_path / f"{name}.log" for name in ("worker", "on socket", "trainer", "beat")]
    programs = [(WORKER, "run"), (WORKER, "run"), (TRAINER, "run"), (TRAINER, "schedule")]
    urls = [deployment.environment["DOIVEC_REDIS__URL"], socket] * 2
    commands = []
    for log, words, url in zip(logs, programs, urls, strict=True):
        with log.open("w") as output:
            debug = (*words, "--loglevel", "DEBUG")
            commands.append(shell.start(*debug, output=output, DOIVEC_REDIS__URL=url))
    try:
        well(told, socket)
        listed = process_list([command.pid for command in commands])
        badly(told, deployment)
        servers_go_and_come_back(deployment, told, logs[0])
    finally:
        for command in commands:
            command.terminate()
            command.wait(60)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and not kept_by_servers(p, tmp_path)]
    assert {log.name for log in logs} | {"trace.json"} <= {path.name for path in files}
    assert told.codes >= {0, 1, 2}
    for where, text in {"commands": told.text, "processes": listed}.items():
        assert SECRET not in text, (where, lines_with_it(text))
    for path in files:
        text = path.read_bytes().decode(errors="replace")
        assert SECRET not in text, (path, lines_with_it(text))


def well(told: Everything, socket: str) -> None:
    """Commands on a deployment that is as it should be."""
    assert told.run(WORKER, "ingest", str(EXAMPLES)) == 0
    assert "redis://127.0.0.1:" in told.text
    assert told.run(WORKER, "status", DOIVEC_REDIS__URL=socket) == 0
    for words in ("search 10.1038/s41586-020-2649-2", "dead list", "delete 10.1038/nphys1170"):
        assert told.run(WORKER, *words.split()) == 0
    assert told.run(WORKER, "doctor") in {0, 3}
    told.run(TRAINER, "history")
    told.run(TRAINER, "refine")
    for program in (WORKER, TRAINER):
        for words in ("--help", "run --help", "nonsense"):
            told.run(program, *words.split())
    for url in (None, socket):
        more = {"DOIVEC_REDIS__URL": url} if url else {}
        for words in ("inspect stats", "inspect conf", "report") if url is None else ("report",):
            assert told.run("celery", "-A", "worker.app", *words.split(), **more) == 0


def badly(told: Everything, deployment: Deployment) -> None:
    """Commands whose settings are wrong, each with a secret in it."""
    host = f"127.0.0.1:{deployment.redis.port}"
    urls = [
        *(
            f"redis://:{PASSWORD}@{host}/0",
            f"redis://:1{PASSWORD[4:]}@{host}",
            f":{PASSWORD}@{host}",
        ),
        *(f"redis://{host}/{SECRET}", f"redis://{host}?password={SECRET}", f":{PASSWORD}@{host}"),
        *(f"redis://:{SECRET}-wrong@{host}/0", f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"),
        *(f"rediss://:{SECRET}@127.0.0.1:{free_port()}/0", f"unix://:{SECRET}@/nowhere.sock"),
        f"redis://:{quote(PASSWORD, safe='')}@{host}/99",
    ]
    for url in urls:
        assert told.call("status", DOIVEC_REDIS__URL=url, DOIVEC_REDIS__TIMEOUT_S="1") == 1
    told.run("celery", "-A", "worker.app", "inspect", "ping", DOIVEC_REDIS__URL=urls[0])
    told.run(WORKER, "run", DOIVEC_REDIS__URL=urls[6])
    for url in (urls[1], urls[6]):
        assert told.call("doctor", DOIVEC_REDIS__URL=url) == 1
    assert told.call("doctor", DOIVEC_QDRANT__API_KEY=f"{SECRET}-wrong") == 1
    for more in (
        {"DOIVEC_QDRANT__URL": f"http://user:{SECRET}@h:6333"},
        {"DOIVEC_QDRANT__URL": f"http://h:6333?api-key={SECRET}"},
        {"DOIVEC_QDRANT__URL": f"http://127.0.0.1:{free_port()}"},
        {"DOIVEC_QDRANT__API_KEY": f"{SECRET}-wrong"},
        {"DOIVEC_QDRANT__API_KEY": f"{SECRET}\n"},
        {"DOIVEC_QDRANT__API_KEY": f"{SECRET}é"},
        {"DOIVEC_QDRANT_API_KEY": SECRET},
        {"DOIVEC_METADATA__CROSSREF_TOKEN": f"{SECRET}\n"},
        {"DOIVEC_METADATA__OPENALEX_KEY": f"{SECRET}é"},
        {"DOIVEC_METADATA__MAILTO": f"{SECRET} at nowhere"},
        {"DOIVEC_METADATA__DOI_URL": f"https://user:{SECRET}@h"},
        {"DOIVEC_METADATA__CROSSREF_URL": f"https://h?mailto={SECRET}@h"},
        {"DOIVEC_QDRANT": f'{{"api_key": "{SECRET}"'},
    ):
        assert told.call("search", "10.1038/s41586-020-2649-2", **more) == 1
    script = deployment.folder / "program.py"
    script.write_text(
        "import os\nfrom doivec import Settings\nSettings(redis={'url': os.environ['THEIRS']})\n"
    )
    assert told.run("python", str(script), THEIRS=urls[0]) == 1


def servers_go_and_come_back(deployment: Deployment, told: Everything, log: Path) -> None:
    """Workers lose their servers, say so, and go on."""
    deployment.redis.stop()
    wait_until(lambda: "onnection to broker lost" in log.read_text())
    told.run(WORKER, "status", DOIVEC_REDIS__TIMEOUT_S="1")
    told.run(TRAINER, "refine", DOIVEC_REDIS__TIMEOUT_S="1")
    deployment.redis.start()
    deployment.qdrant.stop()
    told.run(WORKER, "search", "10.1038/s41586-020-2649-2", DOIVEC_QDRANT__TIMEOUT_S="1")
    deployment.qdrant.start()
    assert told.run(WORKER, "ingest", str(EXAMPLES)) == 0


def process_list(parents: list[int]) -> str:
    """The command lines of processes and of their children, as everybody can read them."""
    table = subprocess.run(
        ["ps", "-eo", "pid,ppid,args", "-ww"], check=True, capture_output=True, text=True
    ).stdout
    ours = [line for line in table.splitlines() if set(map(str, parents)) & set(line.split()[:2])]
    assert len(ours) >= len(parents)
    return "\n".join(ours)


def kept_by_servers(path: Path, folder: Path) -> bool:
    return path.relative_to(folder).parts[0] in {"redis", "qdrant", "model"}


def lines_with_it(text: str) -> list[str]:
    return [line for line in text.splitlines() if SECRET in line][:20]
