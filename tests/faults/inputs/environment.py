"""Settings: values of all kinds under the names of variables, and under names that are none."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, SecretStr

from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from worker.errors import ConfigurationError
from worker.settings.environment import Settings, read_settings, variables

VALUES = (
    *(
        "1",
        "0",
        "-1",
        "0.5",
        "1.5",
        "1e3",
        "1e308",
        "1e400",
        "inf",
        "-inf",
        "nan",
        "65536",
        "9" * 30,
    ),
    *("true", "false", "yes", "on", "[]", "{}", '["{title}"]', '["{doi}", "{year!r}"]', "[" * 700),
    *(
        "redis://h:6379/0",
        "rediss://u:p@h/1",
        "unix:///tmp/s?db=2",
        "redis://h/x",
        "redis://:@/",
        "http://h:6333",
        "https://h/x/",
        "http://u:p@h",
        "http://[::1",
        "http://h:99999",
        "ftp://h",
    ),
    *(
        "a@b.cd",
        "crossref",
        "crossref,openalex",
        '["datacite"]',
        "title",
        "abstract",
        "base",
        "live",
    ),
    *(
        "auto",
        "cpu",
        "float32",
        "json",
        "text",
        "info",
        "DEBUG",
        "UTC",
        "Europe/Berlin",
        "../x",
        "/",
    ),
    *(
        "0 3 * * sun",
        "* * * *",
        '{"shard_number": 2}',
        '{"roc_auc": 0.1}',
        '{"roc_auc": -1}',
        "dois",
    ),
    *('{"mrr": 1e999}', '{"mrr": NaN}', "/etc/passwd", "/dev/null", "a/b.toml", "x" * 200),
)


@contextmanager
def _open(_: Path) -> Iterator[Case]:
    names = [name for name, _ in variables()]

    def case(rng: Random) -> bool:
        made = dict(_variable(rng, names) for _ in range(rng.choice((1, 1, 2, 3))))
        with _environment(made):
            try:
                found = read_settings()
            except ConfigurationError as error:
                told = str(error)
                assert told, "refused without a reason"
                assert "\n" not in told, f"not in one line: {told!r}"
                assert "s3cret" not in told, f"quotes a secret: {told!r}"
                return False
        check(found)
        return True

    yield case


def _variable(rng: Random, names: list[str]) -> tuple[str, str]:
    name = rng.choice(names)
    if rng.random() < 0.05:
        name = rng.choice(
            (name.lower(), f"{name}S", name[:-1], f"{name}__X", "DOIVEC_", name.title())
        )
    act = rng.random()
    if act < 0.75:
        value = rng.choice(VALUES)
    elif act < 0.85:
        value = noise.text(rng)
    elif act < 0.92:
        value = json.dumps(noise.value(rng))
    else:
        value = noise.damaged(rng, rng.choice(VALUES).encode(), most=2).decode(
            errors="surrogateescape"
        )
    if "API_KEY" in name or "TOKEN" in name or name.endswith("_KEY"):
        value = f"{value}s3cret"
    clean = value.encode(errors="surrogatepass").decode(errors="surrogateescape")
    return name, clean.replace("\0", "")


@contextmanager
def _environment(made: dict[str, str]) -> Iterator[None]:
    before = {
        name: value for name, value in os.environ.items() if name.upper().startswith("DOIVEC")
    }
    for name in before:
        del os.environ[name]
    os.environ.update(made)
    try:
        yield
    finally:
        for name in made:
            os.environ.pop(name, None)
        os.environ.update(before)


def check(found: BaseModel) -> None:
    """Raise AssertionError for a setting beyond its bounds, and for a number that is none."""
    for name, field in type(found).model_fields.items():
        value = getattr(found, name)
        if isinstance(value, BaseModel):
            check(value)
            continue
        _check_numbers(name, value)
        for bound in field.metadata:
            _check_bound(name, value, bound)
    if isinstance(found, Settings):
        assert found.collection.replace("-", "_").replace("_", "").isalnum() or set(
            found.collection
        ) <= set("-_"), f"a collection {found.collection!r}"
        assert found.collection.isascii(), f"a collection {found.collection!r}"


def _check_numbers(name: str, value: Any) -> None:
    values = value.values() if isinstance(value, dict) and name == "guards" else [value]
    for one in values:
        assert not isinstance(one, float) or math.isfinite(one), f"{name} is {one}"
        if isinstance(one, SecretStr):
            assert one.get_secret_value().isprintable(), f"{name} is no key"


def _check_bound(name: str, value: Any, bound: Any) -> None:
    if value is None:
        return
    if isinstance(bound, Ge):
        assert value >= bound.ge, f"{name} is {value}"
    elif isinstance(bound, Gt):
        assert value > bound.gt, f"{name} is {value}"
    elif isinstance(bound, Le):
        assert value <= bound.le, f"{name} is {value}"
    elif isinstance(bound, Lt):
        assert value < bound.lt, f"{name} is {value}"
    elif isinstance(bound, MinLen):
        assert len(value) >= bound.min_length, f"{name} is {value!r}"


TARGETS = (Target("settings", 40, _open),)
