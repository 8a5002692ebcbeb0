"""Which slot is due: by the clock of a place, across its changes, and the same for every beat."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery

from trainer.refinement.slots import Slots, latest_slot
from worker.errors import ConfigurationError
from worker.settings.environment import Settings, read_settings
from worker.settings.training import ScheduleSettings


def slots(crontab: str, time_zone: str = "UTC") -> Slots:
    return Slots(ScheduleSettings(refine=crontab, time_zone=time_zone))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("crontab", "time_zone", "now", "label"),
    [
        ("0 3 * * sun", "UTC", "2026-11-22T03:00:00Z", "2026-11-22T03:00+00:00"),
        ("0 3 * * sun", "UTC", "2026-11-22T02:59:59Z", "2026-11-15T03:00+00:00"),
        ("0 3 * * sun", "UTC", "2026-11-28T23:00:00Z", "2026-11-22T03:00+00:00"),
        ("0  3 * *  0", "UTC", "2026-11-22T03:00:59Z", "2026-11-22T03:00+00:00"),
        ("0 3 * * sun", "Asia/Kolkata", "2026-11-21T21:30:00Z", "2026-11-22T03:00+05:30"),
        ("0 3 * * sun", "Pacific/Auckland", "2026-11-21T14:00:00Z", "2026-11-22T03:00+13:00"),
        ("*/15 * * * *", "UTC", "2026-11-22T03:44:10Z", "2026-11-22T03:30+00:00"),
        ("0 0 29 2 *", "UTC", "2027-11-22T00:00:00Z", "2024-02-29T00:00+00:00"),
        ("0 0 29 2 *", "UTC", "2104-02-28T23:59:00Z", "2096-02-29T00:00+00:00"),
        ("30 23 31 12 *", "UTC", "2027-01-01T00:00:00Z", "2026-12-31T23:30+00:00"),
    ],
)
def test_the_latest_slot(crontab: str, time_zone: str, now: str, label: str) -> None:
    assert slots(crontab, time_zone).latest(at(now)) == label


def test_a_minute_that_the_clocks_skip_is_due_an_hour_later() -> None:
    nightly = slots("30 2 * * *", "Europe/Berlin")
    assert nightly.latest(at("2026-03-29T03:29:00+02:00")) == "2026-03-28T02:30+01:00"
    assert nightly.latest(at("2026-03-29T03:30:00+02:00")).startswith("2026-03-29T02:30")


def test_a_minute_that_the_clocks_repeat_is_one_slot() -> None:
    nightly = slots("30 2 * * *", "Europe/Berlin")
    labels = {
        nightly.latest(at(now))
        for now in (
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:10:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T23:00:00+01:00",
        )
    }
    assert labels == {"2026-10-25T02:30+02:00"}


@pytest.mark.parametrize("start", ["2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z"])
@pytest.mark.parametrize(
    "crontab", ["30 2 * * *", "0 2,3 * * *", "20 1-4 * * *", "0 3 * * sun", "15 */6 * * *"]
)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"])
def test_whenever_celery_finds_it_due_the_slot_is_a_new_one(
    zone: str, crontab: str, start: str
) -> None:
    found = slots(crontab, zone)
    labels = [found.latest(moment) for moment in _due(found, zone, start=at(start))]
    assert len(labels) > 0
    assert len(set(labels)) == len(labels)


def _due(found: Slots, zone: str, *, start: datetime) -> Iterator[datetime]:
    """The minutes of some days at which Celery's own crontab is due."""
    application = Celery(set_as_current=False)
    application.conf.timezone = zone
    schedule, now = found.crontab, start
    schedule.app, schedule.nowfun = application, lambda: now.astimezone(application.timezone)
    last = schedule.nowfun()
    for _ in range(14 * 24 * 12):
        now += timedelta(minutes=5)
        if schedule.is_due(last).is_due:
            yield now
            last = schedule.nowfun()
    application.close()


def test_two_beats_whose_clocks_differ_by_less_than_a_slot_say_the_same() -> None:
    nightly = slots("0 3 * * *")
    late, early = at("2026-11-22T03:00:00Z"), at("2026-11-22T03:04:59Z")
    assert nightly.latest(late) == nightly.latest(early)


@pytest.mark.parametrize(
    "crontab", ["", "0 3 * *", "0 3 * * sun 2026", "61 3 * * *", "0 3 31 2 *", "a b c d e"]
)
def test_a_crontab_that_is_none_is_refused_in_a_line(crontab: str) -> None:
    with pytest.raises(ConfigurationError, match="DOIVEC_SCHEDULE__REFINE") as caught:
        slots(crontab)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe"])
def test_a_time_zone_that_is_none_is_refused_in_a_line(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOIVEC_SCHEDULE__TIME_ZONE", zone)
    with pytest.raises(ConfigurationError, match="DOIVEC_SCHEDULE__TIME_ZONE") as caught:
        read_settings()
    assert "\n" not in str(caught.value)


def test_the_default_is_due_once_a_week() -> None:
    assert latest_slot(Settings().schedule).endswith("T03:00+00:00")


@pytest.mark.parametrize(
    ("crontab", "is_told"),
    [("0 3 * * sun", False), ("0 3 1 * *", False), ("0 3 1-7 * sun", True), ("0 3 * 2 *", False)],
)
def test_days_of_the_month_and_weekdays_together_are_told(crontab: str, is_told: bool) -> None:
    slots = Slots(ScheduleSettings(refine=crontab))
    assert (slots.caution is not None) == is_told
    latest = datetime.fromisoformat(slots.latest(datetime(2026, 11, 26, tzinfo=UTC)))
    assert not is_told or (latest.day <= 7 and latest.isoweekday() == 7), "both apply"
