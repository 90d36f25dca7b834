"""Which slot a moment belongs to: the time partitions, their schedule, and the rule that a past slot stays past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from backup_assets.errors import Refused
from backup_assets.settings_schedule import ScheduleSettings

if TYPE_CHECKING:
    import dagster as dg

_DAY_FORMAT = "%Y-%m-%d"
_LOCAL_FORMAT = "%Y-%m-%dT%H%M"
_UTC_FORMAT = "%Y-%m-%dT%H%MZ"
#: How far after the first slot a zone must be without daylight saving for its local time to be used in keys.
_FIXED_FOR_YEARS = 10


class SlotOver(Refused):
    """A slot that has passed cannot get a backup of now."""


@lru_cache(maxsize=256)
def has_fixed_offset(timezone: str, since: date) -> bool:
    """Return whether local time in ``timezone`` keeps one distance from UTC from ``since`` until ten years later."""
    zone = ZoneInfo(timezone)
    first = datetime.combine(since, time(), UTC)
    # Every half day: no change of offset has ever been taken back within hours.
    steps = (first + timedelta(hours=12 * step) for step in range(2 * 366 * _FIXED_FOR_YEARS))
    return len({moment.astimezone(zone).utcoffset() for moment in steps}) == 1


def day_start(day: date, timezone: str) -> datetime:
    """Return, in UTC, when ``day`` begins in ``timezone``; where midnight is skipped, when the clocks are changed."""
    return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)


@dataclass(frozen=True)
class Slots:
    """The slots of one database: by day, by fixed hours, or (``each_week``) by week from Sunday on.

    Days and weeks are keyed ``2026-11-22`` and cut at local midnight. Slots within a day are keyed by their start:
    ``2026-11-22T0600`` local time where the zone has no daylight saving, else UTC, ``2026-11-22T0600Z``. ``since`` is
    the local day of the first slot. Every ``now`` must be aware.
    """

    schedule: ScheduleSettings
    since: date
    each_week: bool = False

    @property
    def weekly(self) -> Slots:
        """The weekly slots, from the week of ``since`` on, for the backup of the important tables."""
        return Slots(self.schedule, self.since, each_week=True)

    @cached_property
    def definition(self) -> dg.TimeWindowPartitionsDefinition:
        """The partitions as Dagster knows them; the newest is the current slot, hence ``end_offset=1``."""
        if self._hours is None:
            return _definition(self._first_day.strftime(_DAY_FORMAT), self._zone_name, None, each_week=self.each_week)
        return _definition(self._key(self._begin), self._zone_name, self.cron)

    @property
    def cron(self) -> str:
        """When a backup is due, in ``cron_timezone``."""
        if self._hours is not None:
            return f"0 {','.join(str(hour) for hour in range(0, 24, self._hours))} * * *"
        at = self._at
        return f"{at.minute} {at.hour} * * {'0' if self.each_week else '*'}"

    @property
    def cron_timezone(self) -> str:
        """The zone of ``cron``: the configured one, or UTC for slots within a day where clocks are changed."""
        return self._zone_name

    def current_key(self, now: datetime) -> str:
        """Return the key of the slot that ``now`` is in; raises Refused before the first slot."""
        _require_aware(now)
        if now < self._begin:
            raise Refused(
                f"there is no slot yet at {_text(now)}",
                why=f"the first one is {self._key(self._begin)} (`schedule.since`), from {_text(self._begin)} on",
                remedy="wait until then, set an earlier `schedule.since`, or correct this machine's clock",
            )
        return self._key(now)

    def window(self, key: str) -> tuple[datetime, datetime]:
        """Return start and end (exclusive) of the slot in UTC; raises Refused when ``key`` is no slot's."""
        if self._hours is not None:
            start = self._instant(key)
            return start, start + timedelta(hours=self._hours)
        day = self._day(key)
        return self._day_start(day), self._day_start(day + timedelta(days=self._days))

    def is_current(self, key: str, now: datetime) -> bool:
        """Return whether a capture at ``now`` belongs into the slot ``key``."""
        _require_aware(now)
        start, end = self.window(key)
        return start <= now < end

    def due_at(self, key: str) -> datetime:
        """Return, in UTC, when the backup of the slot is due: at `at` on its day, or at its start.

        Where `at` is skipped or occurs twice, this is the later reading: up to an hour after the schedule's tick, and
        never before it, so that nothing is called overdue that is not.
        """
        start, end = self.window(key)
        if self._hours is not None:
            return start
        local = datetime.combine(self._day(key), self._at, ZoneInfo(self._zone_name))
        return min(end, max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)))

    def require_current(self, key: str, now: datetime, *, instead: str = "") -> None:
        """Raise Refused, saying what can be done instead, unless a capture at ``now`` belongs into ``key``.

        ``instead`` is what else can be done for a slot that is over.
        """
        current = self.current_key(now)
        if key == current:
            return
        start, end = self.window(key)
        if start > now:
            raise Refused(
                f"the slot {key} has not begun",
                why=f"it lasts from {_text(start)} to {_text(end)}; now is {_text(now)}",
                remedy=f"take a backup now into the current slot {current}, or wait; "
                "if the time is wrong, correct this machine's clock",
            )
        raise SlotOver(
            f"the slot {key} is over, and a past slot is never filled with today's data",
            why=f"it lasted from {_text(start)} to {_text(end)}; now is {_text(now)}",
            remedy=f"take a backup now into the current slot {current}; copies, checks and drills of the sets that "
            f"{key} already has can be backfilled" + (f"; {instead}" if instead else ""),
        )

    @property
    def _hours(self) -> int | None:
        """Length of a slot within a day, in hours."""
        every = self.schedule.every
        return None if self.each_week or every == "day" else int(every.removesuffix("h"))

    @property
    def _days(self) -> int:
        return 7 if self.each_week else 1

    @property
    def _is_local(self) -> bool:
        return self._hours is None or has_fixed_offset(self.schedule.timezone, self.since)

    @property
    def _zone_name(self) -> str:
        return self.schedule.timezone if self._is_local else "UTC"

    @property
    def _format(self) -> str:
        return _LOCAL_FORMAT if self._is_local else _UTC_FORMAT

    @property
    def _at(self) -> time:
        return time.fromisoformat(self.schedule.at)

    @property
    def _first_day(self) -> date:
        return _sunday(self.since) if self.each_week else self.since

    @property
    def _begin(self) -> datetime:
        """Start of the first slot, in UTC."""
        if self._hours is None:
            return self._day_start(self._first_day)
        return self._cut(day_start(self.since, self.schedule.timezone))

    def _day_start(self, day: date) -> datetime:
        return day_start(day, self._zone_name)

    def _key(self, moment: datetime) -> str:
        if self._hours is not None:
            return self._cut(moment).astimezone(ZoneInfo(self._zone_name)).strftime(self._format)
        return max(day for day in self._days_around(moment) if self._day_start(day) <= moment).strftime(_DAY_FORMAT)

    def _days_around(self, moment: datetime) -> Iterator[date]:
        # The neighbours too: where clocks are turned back across midnight, the date alone goes back as well.
        local = moment.astimezone(ZoneInfo(self._zone_name)).date()
        first = _sunday(local) if self.each_week else local
        return (first + timedelta(days=self._days * step) for step in (-1, 0, 1))

    def _cut(self, moment: datetime) -> datetime:
        """Return the start, in UTC, of the slot within a day that ``moment`` is in."""
        local = moment.astimezone(ZoneInfo(self._zone_name))
        hours = self._hours or 24
        return local.replace(hour=local.hour - local.hour % hours, minute=0, second=0, microsecond=0).astimezone(UTC)

    def _instant(self, key: str) -> datetime:
        try:
            parsed = datetime.strptime(key, self._format).replace(tzinfo=ZoneInfo(self._zone_name)).astimezone(UTC)
        except ValueError:
            raise self._unknown(key) from None
        if self._cut(parsed) != parsed or self._key(parsed) != key or parsed < self._begin:
            raise self._unknown(key)
        return parsed

    def _day(self, key: str) -> date:
        try:
            day = date.fromisoformat(key)
        except ValueError:
            raise self._unknown(key) from None
        if day.strftime(_DAY_FORMAT) != key or day < self._first_day or (self.each_week and day != _sunday(day)):
            raise self._unknown(key)
        return day

    def _unknown(self, key: str) -> Refused:
        length = "a week" if self.each_week else "a day" if self._hours is None else f"{self._hours} h"
        return Refused(
            f"there is no slot {key!r}",
            why=f"slots of {length} are keyed like {self._key(self._begin)}, which is the first (`schedule.since`)",
            remedy="take the key of a slot that exists",
        )


@lru_cache(maxsize=256)  # hundreds of databases share a few, and each of these remembers its keys
def _definition(
    first: str, timezone: str, cron: str | None, *, each_week: bool = False
) -> dg.TimeWindowPartitionsDefinition:
    """Return days, weeks or, with ``cron``, slots within a day, from the key ``first`` on."""
    import dagster as dg  # costs a second, which who only asks for slots does not pay

    if cron is not None:
        fmt = _UTC_FORMAT if first.endswith("Z") else _LOCAL_FORMAT
        return dg.TimeWindowPartitionsDefinition(
            start=first, cron_schedule=cron, fmt=fmt, timezone=timezone, end_offset=1
        )
    kind = dg.WeeklyPartitionsDefinition if each_week else dg.DailyPartitionsDefinition
    return kind(start_date=first, timezone=timezone, end_offset=1)


def _sunday(day: date) -> date:
    """Return the Sunday that ``day`` is, or the last one before it."""
    return day - timedelta(days=day.isoweekday() % 7)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _require_aware(now: datetime) -> None:
    if now.tzinfo is None:
        raise ValueError("a moment without a time zone is ambiguous")
