"""docker-compose.yml and Dockerfile: what they promise, and their commands on real servers.

No container engine is needed; what only one can show is not shown here.
"""

import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from pydantic import BaseModel
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.paths import ROOT
from tests.support.servers import RedisServer, free_port, wait_until
from worker.embedded.server import binary
from worker.settings.environment import Settings

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
PAGES = sorted((ROOT / "docs" / "operations").glob("*.md"))
DOCS = "".join(page.read_text() for page in PAGES)
QDRANT = ROOT / ".tools" / "qdrant"
SECRET = re.compile(r"\$\{(\w+):\?[^}]+\}")
DATA_DIR = SERVICES["beat"]["environment"]["DOIVEC_DATA_DIR"]
each_service = pytest.mark.parametrize("name", SERVICES)


def interpolate(text: str) -> str:
    """What Compose makes of a value when every secret is `s3cret`."""
    return SECRET.sub("s3cret", text).replace("$$", "$")


@each_service
def test_service_is_checked_and_restarted(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert service["stop_grace_period"] == "60s"


@each_service
def test_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    uid, gid = service["user"].split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is ("deploy" not in service)  # NVIDIA's hooks write as it is made
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc"}


@each_service
def test_service_is_open_to_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@each_service
def test_service_mounts_named_volumes_only(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        assert volume.split(":")[0] in COMPOSE["volumes"]


@each_service
def test_image_is_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]
    assert ("image" in service) != ("build" in service)
    assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", service.get("image", ":0.0.0"))


@each_service
def test_secrets_come_from_variables_that_must_be_set(name: str) -> None:
    for key, value in SERVICES[name]["environment"].items():
        if re.search("PASSWORD|API_KEY|_AUTH$|EXTRA_FLAGS|REDIS__URL", key):
            assert SECRET.search(value), key


def test_env_example_leaves_exactly_the_secrets_empty() -> None:
    needed = set(SECRET.findall((ROOT / "docker-compose.yml").read_text()))
    assert set(re.findall(r"^(\w+)=$", ENV_EXAMPLE, re.MULTILINE)) == needed


def started(profile: str) -> list[str]:
    return [name for name, s in SERVICES.items() if profile in s.get("profiles", [profile])]


def test_one_worker_and_one_trainer_start_by_default_and_they_have_the_gpu() -> None:
    default = re.findall(r"^COMPOSE_PROFILES=(\w+)$", ENV_EXAMPLE, re.MULTILINE)
    assert default == ["gpu"]
    assert started("gpu") == ["redis", "qdrant", "worker", "trainer", "beat"]
    assert started("cpu") == ["redis", "qdrant", "worker-cpu", "trainer-cpu", "beat"]
    assert started("monitoring") == ["redis", "qdrant", "prometheus", "grafana"]
    reserving = {name for name, service in SERVICES.items() if "deploy" in service}
    assert reserving == {"worker", "trainer"}
    for name in reserving:
        reserved = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert [d["driver"] for d in reserved] == ["nvidia"]


@pytest.mark.parametrize("role", ["worker", "trainer"])
def test_twins_differ_in_their_device_only(role: str) -> None:
    gpu, cpu = (SERVICES[name]["environment"] for name in (role, f"{role}-cpu"))
    assert {k for k in gpu | cpu if gpu.get(k) != cpu.get(k)} == {"DOIVEC_EMBED__DEVICE"}
    assert SERVICES[role]["volumes"] == SERVICES[f"{role}-cpu"]["volumes"]


@pytest.mark.parametrize("name", ["trainer", "trainer-cpu", "beat"])
def test_trainer_and_beat_are_the_workers_image_with_its_data_and_servers(name: str) -> None:
    service, worker = SERVICES[name], SERVICES["worker" if name == "trainer" else "worker-cpu"]
    for key in ("build", "user", "volumes", "environment", "env_file", "depends_on"):
        assert service[key] == worker[key]


@pytest.mark.parametrize("name", ["beat", "trainer", "trainer-cpu"])
def test_each_command_of_a_service_exists(name: str) -> None:
    from trainer.cli.commands import cli as trainer  # noqa: PLC0415 - as below
    from worker.cli.commands import cli as worker  # noqa: PLC0415

    program, *words = SERVICES[name]["command"]
    command: Any = {"doi-trainer": trainer, "doi-worker": worker}[program]
    for word in words:
        command = command.commands[word]


def setting_exists(name: str) -> bool:
    model: Any = Settings
    for part in name.removeprefix("DOIVEC_").lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return False
        if part not in model.model_fields:
            return False
        model = model.model_fields[part].annotation
    return True


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"DOIVEC_\w+", ENV_EXAMPLE + DOCS + str(SERVICES)))
    assert {name for name in named if not setting_exists(name)} <= {
        "DOIVEC_",
        "DOIVEC_REDIS_PASSWORD",  # Compose's alone
    }


def test_beat_writes_its_state_as_it_starts(tmp_path: Path, redis_server: RedisServer) -> None:
    command = [str(Path(sys.executable).with_name("doi-trainer")), "schedule"]
    env = {"DOIVEC_REDIS__URL": redis_server.url, "DOIVEC_DATA_DIR": str(tmp_path)}
    with running(command, cwd=tmp_path, env=env):
        wait_until(lambda: beat_is_healthy(tmp_path))


def test_what_is_measured_for_sizing_is_on_the_page() -> None:
    renewed = runpy.run_path(str(ROOT / "docs" / "generate.py"))["renewed"]
    assert "<!-- /sizing -->" in DOCS
    assert renewed(DOCS) == DOCS, "run: python docs/generate.py"


def test_every_command_in_the_docs_exists() -> None:
    from trainer.cli.commands import cli as trainer  # noqa: PLC0415 - it need not work for the rest
    from worker.cli.commands import cli as worker  # noqa: PLC0415

    for program, commands in {
        "doi-worker": worker.commands,
        "doi-trainer": trainer.commands,
    }.items():
        named = set(re.findall(rf"{program} ([a-z]+)", DOCS))
        assert named
        assert named <= commands.keys()


@pytest.mark.parametrize("name", ["worker", "worker-cpu"])
def test_a_workers_health_is_what_it_says_of_itself(name: str) -> None:
    from worker.cli.commands import cli  # noqa: PLC0415 - as above

    program, command = SERVICES[name]["healthcheck"]["test"][1:]
    assert program == "doi-worker"
    assert command in cli.commands


@pytest.mark.parametrize("name", ["trainer", "trainer-cpu"])
def test_ping_goes_to_the_application_that_the_service_runs(name: str) -> None:
    _, check = SERVICES[name]["healthcheck"]["test"]
    words = interpolate(check).split()
    application = words[words.index("-A") + 1]
    assert application == "trainer.tasks"
    assert words[-2:] == ["-d", "celery@$(hostname)"]


def beat_is_healthy(folder: Path) -> bool:
    kind, check = SERVICES["beat"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert f"{DATA_DIR}/trainer/beat" in check
    command = ["sh", "-c", interpolate(check).replace(DATA_DIR, str(folder))]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0


def test_beat_is_healthy_while_it_writes_its_state(tmp_path: Path) -> None:
    assert not beat_is_healthy(tmp_path)
    state = tmp_path / "trainer" / "beat" / "schedule"
    state.parent.mkdir(parents=True)
    assert not beat_is_healthy(tmp_path)
    state.touch()
    assert beat_is_healthy(tmp_path)
    an_hour_ago = time.time() - 3600
    os.utime(state, (an_hour_ago, an_hour_ago))
    assert not beat_is_healthy(tmp_path)


@contextmanager
def running(command: list[str], *, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"]} | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()  # a Qdrant that has just started may miss a SIGTERM
        process.wait()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


def test_redis_command_keeps_everything_and_asks_for_the_password(tmp_path: Path) -> None:
    service, port = SERVICES["redis"], free_port()
    flags = interpolate(service["environment"]["VALKEY_EXTRA_FLAGS"]).split()
    command = [str(binary()), *service["command"][1:], "--port", str(port), *flags]
    with running(command, cwd=tmp_path, env={}):
        wait_for_port(port)
        stranger = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=port, password="s3cret") as client:
            found = {k: v for name in WANTED for k, v in client.config_get(name).items()}
    assert found == WANTED
    assert (tmp_path / "appendonlydir").is_dir()


WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
}


def healthy(port: int) -> bool:
    _, *check = SERVICES["qdrant"]["healthcheck"]["test"]
    command = [interpolate(part).replace("6333", str(port)) for part in check]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0


@pytest.mark.skipif(
    not QDRANT.exists() and "CI" not in os.environ, reason="make .tools/qdrant brings the server"
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_qdrant_health_check_tells_up_from_down(tmp_path: Path) -> None:
    port = free_port()
    environment = SERVICES["qdrant"]["environment"] | {
        "QDRANT__SERVICE__HTTP_PORT": str(port),
        "QDRANT__SERVICE__GRPC_PORT": str(free_port()),
        "QDRANT__STORAGE__SNAPSHOTS_PATH": str(tmp_path / "storage" / "snapshots"),
        "QDRANT_INIT_FILE_PATH": str(tmp_path / "initialized"),
    }
    assert not healthy(port)
    env = {name: interpolate(value) for name, value in environment.items()}
    with running([str(QDRANT)], cwd=tmp_path, env=env):
        wait_for_port(port)
        assert healthy(port)
    assert not healthy(port)


def index_of(pattern: str) -> int:
    return next(i for i, line in enumerate(DOCKERFILE) if re.search(pattern, line))


def test_final_stage_installs_torch_before_what_changes_more_often() -> None:
    final = [i for i, line in enumerate(DOCKERFILE) if line.startswith("FROM ")][-1]
    torch = index_of(r"pip install .*-r /tmp/torch\.txt")
    others = index_of(r"pip install -r /tmp/requirements\.txt -c /tmp/constraints\.txt")
    assert final < torch < others < index_of(r"pip install --no-deps /wheels")
    copied = [line for line in DOCKERFILE[final:] if line.startswith("COPY ")]
    assert all(line.startswith("COPY --from=source /source/") for line in copied)
    before_torch = [line for line in DOCKERFILE[final:torch] if line.startswith("COPY ")]
    assert before_torch == ["COPY --from=source /source/torch.txt /tmp/"]


def test_image_is_pinned_and_its_user_is_not_root() -> None:
    bases = [line.split()[1] for line in DOCKERFILE if line.startswith("FROM ")]
    assert set(bases) == {"python:3.11-slim-bookworm"}
    users = [line.split()[1] for line in DOCKERFILE if line.startswith("USER ")]
    assert users == [SERVICES["worker"]["user"]]
    assert f"CMD {['doi-worker', 'run']}".replace("'", '"') in DOCKERFILE


def test_requirements_are_the_projects_dependencies(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for target in ("torch.txt", "requirements.txt"):
        line = DOCKERFILE[index_of(rf"^RUN .* > {target}$")].removeprefix("RUN ")
        subprocess.run(["sh", "-ec", line], cwd=tmp_path, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (tmp_path / "requirements.txt").read_text().splitlines() == project["dependencies"]
    assert re.fullmatch(r"torch==[\d.]+\n", (tmp_path / "torch.txt").read_text())


def test_build_context_is_what_the_dockerfile_copies() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copies = [line.split()[1:-1] for line in DOCKERFILE if re.match(r"COPY (?!--from)", line)]
    assert set(allowed) == {source for sources in copies for source in sources}
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.rstrip("*") for name in found["find"]["include"]} <= set(allowed)


def test_celerys_commands_run_in_a_folder_that_nobody_can_write_to() -> None:
    """They look for modules in the current folder first."""
    folders = [line.split()[1] for line in DOCKERFILE if line.startswith("WORKDIR ")]
    assert folders[-1] == "/"
    assert not any("working_dir" in service for service in SERVICES.values())
