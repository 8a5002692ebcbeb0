"""What the log of a worker looks like."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from worker.logs import set_up
from worker.settings.watching import LogSettings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def logged(capsys: pytest.CaptureFixture[str], **settings: str) -> list[str]:
    set_up(LogSettings.model_validate(settings))
    log = logging.getLogger("worker.x")
    log.info("two\nlines of %d", 2)
    log.info("batch", extra={"told": {"job": "3f2a", "stored": 10}})
    log.error("failed", exc_info=ValueError("why"))
    return capsys.readouterr().err.splitlines()


def test_time_and_level_are_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = logged(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO two lines of 2", first)


def test_json_is_an_object_a_line_with_what_a_batch_came_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, batch, failed = map(json.loads, logged(capsys, format="json"))
    assert plain.items() >= {"level": "INFO", "message": "two lines of 2"}.items()
    assert plain["time"].endswith("+00:00")
    assert batch.items() >= {"job": "3f2a", "stored": 10}.items()
    assert failed["exception"].endswith("ValueError: why")


def test_the_level_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert len([line for line in logged(capsys, level="warning") if " INFO " in line]) == 0


def test_celerys_lines_for_each_message_are_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings())
    logging.getLogger("celery.app.trace").info("Task succeeded")
    assert capsys.readouterr().err == ""


def test_what_celery_repeats_while_its_broker_is_away_is_said_once_without_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up(LogSettings())
    log = logging.getLogger("celery.worker.consumer.consumer")
    for tries in range(3):
        log.warning("Cannot connect: try %d", tries, exc_info=ConnectionError("refused"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING Cannot connect: try 0")
