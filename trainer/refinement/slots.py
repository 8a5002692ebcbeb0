"""Slots: the minutes at which a schedule is due, each with a label on which all beats agree."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from celery.schedules import ParseException, crontab

from worker.errors import ConfigurationError
from worker.settings.training import ScheduleSettings

LONGEST_GAP = timedelta(days=8 * 366 + 2)  # from one 29th of February to the next, round 2100
DAYS, WEEKDAYS = 31, 7


class Slots:
    """The minutes that a crontab names in a time zone.

    Raises `ConfigurationError` for a crontab that Celery can't read or that is never due.
    """

    def __init__(self, settings: ScheduleSettings) -> None:
        self._zone = ZoneInfo(settings.time_zone)
        self.crontab = _parse(settings.refine)
        if self._last(datetime.now(UTC)) is None:
            raise ConfigurationError(f"DOIVEC_SCHEDULE__REFINE: {settings.refine!r} is never due")

    @property
    def caution(self) -> str | None:
        """What a person who knows cron might not expect of it; None where there is nothing."""
        days, weekdays = self.crontab.day_of_month, self.crontab.day_of_week
        if len(days) == DAYS or len(weekdays) == WEEKDAYS:
            return None
        return (
            "DOIVEC_SCHEDULE__REFINE names days of the month and weekdays: it is due where both "
            "apply, other than in cron, which takes either"
        )

    def latest(self, now: datetime) -> str:
        """The label of the latest slot up to `now`, such as 2026-11-22T03:00+00:00.

        A minute that the clocks skip is due as late as it would be without the change, as Celery
        has it; one that they repeat is one slot.
        """
        found = self._last(now)
        if found is None:
            raise ConfigurationError(f"nothing was due before {now}")
        return found.isoformat(timespec="minutes")

    def _last(self, now: datetime) -> datetime | None:
        local = now.astimezone(self._zone)
        # A repeated hour shows times of the clock that are past in its first run already.
        newest = (local + timedelta(days=1)).date()
        slots = (slot for day in self._days(newest) for slot in self._minutes(day))
        return next((slot for slot in slots if slot.astimezone(UTC) <= now), None)

    def _days(self, newest: date) -> Iterator[date]:
        """The days on which it is due, newest first, as far back as anything is due again."""
        for back in range(LONGEST_GAP.days):
            day = newest - timedelta(days=back)
            if (
                day.month in self.crontab.month_of_year
                and day.day in self.crontab.day_of_month
                and day.isoweekday() % 7 in self.crontab.day_of_week
            ):
                yield day

    def _minutes(self, day: date) -> Iterator[datetime]:
        for hour in sorted(self.crontab.hour, reverse=True):
            for minute in sorted(self.crontab.minute, reverse=True):
                yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone)


def latest_slot(settings: ScheduleSettings) -> str:
    """The label of the slot that is due now, by this machine's clock."""
    return Slots(settings).latest(datetime.now(UTC))


def _parse(text: str) -> crontab:
    try:
        minute, hour, day, month, weekday = text.split()
    except ValueError:
        raise ConfigurationError(
            f"DOIVEC_SCHEDULE__REFINE: {text!r} has not the five fields of a crontab"
        ) from None
    try:
        return crontab(minute, hour, weekday, day, month)
    except (ValueError, ParseException) as error:
        raise ConfigurationError(f"DOIVEC_SCHEDULE__REFINE: {text!r}: {error}") from error
