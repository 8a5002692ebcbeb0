"""The environment becomes settings, or one line that says what is wrong with it, and no secret."""

import re
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.support.paths import ROOT
from worker.errors import ConfigurationError
from worker.settings.environment import Settings, read_settings, variables
from worker.settings.servers import QdrantSettings, RedisSettings

S3CRET = "s3cr3t"


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    told = "".join(traceback.format_exception(caught.value))
    assert S3CRET not in told
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DOIVEC_QDRANT_URL", "DOIVEC_QDRANT__URL"),
        ("DOIVEC_REDIS_URL", "DOIVEC_REDIS__URL"),
        ("DOIVEC_QDRANT__APIKEY", "DOIVEC_QDRANT__API_KEY"),
        ("DOIVEC_COLLECTIONS", "DOIVEC_COLLECTION"),
        ("DOIVEC__DATA_DIR", "DOIVEC_DATA_DIR"),
        ("doivec_modell__name", "DOIVEC_MODEL__NAME"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    words = refusal(monkeypatch, **{name: S3CRET})
    assert words == f"{name} is no setting; the nearest is {nearest}"


@pytest.mark.parametrize("name", ["DOIVEC_QDRANT", "DOIVEC_QDRANT__COLLECTION__VECTORS", "DOIVEC_"])
def test_only_the_variables_of_the_readme_are_settings(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert refusal(monkeypatch, **{name: "{}"}).startswith(f"{name} is no setting; the nearest is ")


@pytest.mark.parametrize("name", [name for name, _ in variables()])
def test_every_setting_is_refused_empty(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for value in ("", " "):
        words = refusal(monkeypatch, **{name: value})
        assert words == f"{name} is empty: give it a value, or leave it out"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DOIVEC_REDIS__URL", f"h:{S3CRET}", "begins with redis://"),
        ("DOIVEC_REDIS__URL", f"redis://:a{S3CRET}/b@h:6379/0", "%2F"),
        ("DOIVEC_REDIS__URL", f"redis://h?password={S3CRET}", "only db"),
        ("DOIVEC_QDRANT__URL", f"{S3CRET}:6333", "begins with http://"),
        ("DOIVEC_QDRANT__URL", f"http://u:{S3CRET}@h:6333", "DOIVEC_QDRANT__API_KEY"),
        ("DOIVEC_QDRANT__API_KEY", f"{S3CRET}\n", "without a line break"),
        ("DOIVEC_QDRANT__API_KEY", f"{S3CRET}é", "ASCII"),
        ("DOIVEC_QDRANT__GRPC_PORT", "66000", "65535"),
        ("DOIVEC_GATE__GUARDS", "{", "gate"),
        ("DOIVEC_SCHEDULE__TIME_ZONE", "Berlin", "there is no time zone"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    told = refusal(monkeypatch, **{name: value})
    assert words in told
    assert "Value error" not in told
    if name != "DOIVEC_GATE__GUARDS":  # pydantic-settings has its own words for broken JSON
        assert told.startswith(f"{name}: ")


def test_a_file_of_certificates_must_be_one_and_have_a_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for room, url in (("REDIS", "rediss://h"), ("QDRANT", "https://h")):
        monkeypatch.setenv(f"DOIVEC_{room}__URL", url)
        for path in (empty, tmp_path / "absent.pem"):
            name = f"DOIVEC_{room}__CA_FILE"
            words = refusal(monkeypatch, **{name: str(path)})
            assert words.startswith(f"{name}: no certificates in {path}")
            monkeypatch.delenv(name)
        monkeypatch.delenv(f"DOIVEC_{room}__URL")
    for url in (None, "redis://h", "unix:///run/redis.sock"):
        with pytest.raises(ValidationError, match="only a rediss:// URL"):
            RedisSettings(url=url, verify_certificate=False)


def test_settings_in_python_are_as_strict() -> None:
    with pytest.raises(ValidationError, match="rediss"):
        Settings(rediss={"url": "redis://h"})
    for slice_, url in ((RedisSettings, f"redis://:{S3CRET}@h?x=1"), (QdrantSettings, "h:6333")):
        with pytest.raises(ValidationError) as caught:
            slice_(url=url)
        assert S3CRET not in str(caught.value)


def test_settings_show_no_secret() -> None:
    made = Settings(redis={"url": f"redis://:{S3CRET}@h"}, qdrant={"api_key": S3CRET})
    for text in (repr(made), str(made), made.model_dump_json(), str(made.model_dump())):
        assert S3CRET not in text


def test_a_worker_in_compose_understands_its_whole_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = (ROOT / ".env.example").read_text()
    for name, value in re.findall(r"^(?:# )?(\w+)=(.*)$", example, re.MULTILINE):
        monkeypatch.setenv(name, value.strip("'") or "s3cret")
    assert read_settings().collection == "dois"


def test_a_number_without_end_and_bytes_that_are_no_text_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("inf", "nan", "1e999"):
        assert "finite" in refusal(monkeypatch, DOIVEC_INGEST__LEASE_S=value)
    monkeypatch.delenv("DOIVEC_INGEST__LEASE_S")
    told = refusal(monkeypatch, DOIVEC_REDIS__CA_FILE="a\udcff")
    assert told == "DOIVEC_REDIS__CA_FILE is not UTF-8 text"
    told = refusal(monkeypatch, DOIVEC_REDIS__URL="rediss://h", DOIVEC_REDIS__CA_FILE="no\nsuch")
    assert "no certificates in no such" in told
