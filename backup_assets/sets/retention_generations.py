"""Which sets stand for the days, weeks and months that are kept?

A day is kept by its newest verified set: it holds the most of that day's work, and it is proven. The first one would
lose the day that it stands for. For the same reason weeks and months are kept by their newest. Where nothing of a day
is verified, the newest complete set is kept all the same, or the newest at all, but the day does not count: fourteen
daily sets are fourteen that can be restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import IntEnum

from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.retention_plan import Code, Reason
from backup_assets.sets.retention_policy import DAY, RetentionPolicy

Kept = tuple["Candidate", Reason]


class Quality(IntEnum):
    """How good a set is, from worst to best."""

    INCOMPLETE = 0
    FAILED = 1
    COMPLETE = 2
    VERIFIED = 3

    @property
    def text(self) -> str:
        """The word for it."""
        return {0: "incomplete", 1: "failed its verification", 2: "not verified", 3: "verified"}[self.value]

    @property
    def is_complete(self) -> bool:
        """Whether every file is there."""
        return self is not Quality.INCOMPLETE

    @property
    def is_good(self) -> bool:
        """Whether nothing is known against it."""
        return self in (Quality.COMPLETE, Quality.VERIFIED)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A set with what deciding about it takes; ``day`` is its local one."""

    set: BackupSet
    id: str
    taken_at: datetime
    kind: str
    quality: Quality
    day: date
    in_future: bool


def local_day(moment: datetime, zone: tzinfo) -> date:
    """Return the day of ``moment`` in ``zone``; at the ends of the calendar, where that is none, the one in UTC."""
    try:
        return moment.astimezone(zone).date()
    except OverflowError:
        return moment.astimezone(UTC).date()


def by_age(past: Sequence[Candidate], policy: RetentionPolicy, now: datetime) -> Iterator[Kept]:
    """Yield what is younger than the days that the store keeps."""
    days = policy.keep_days or 0
    reason = Reason("young", f"not older than the {days} days that this store keeps")
    for candidate in past:
        if (now - candidate.taken_at) / DAY <= days:
            yield candidate, reason


def by_generation(past: Sequence[Candidate], policy: RetentionPolicy, now: datetime) -> Iterator[Kept]:
    """Yield what is kept of sets of one kind, none of them from the future, as recent, daily, weekly or monthly."""
    reason = Reason("recent", f"taken in the last {duration(policy.all_for)}")
    for candidate in past:
        if now - candidate.taken_at <= policy.all_for:
            yield candidate, reason
    # The important tables are taken once a week, beside the daily sets that hold them too.
    if any(candidate.kind == "full" for candidate in past):
        yield from _periods(past, "daily", policy.daily, lambda day: day.toordinal(), lambda day: f"day {day}")
    # Day 1 of the calendar was a Monday, as every ISO week begins.
    yield from _periods(past, "weekly", policy.weekly, lambda day: (day.toordinal() - 1) // 7, _week)
    yield from _periods(
        past, "monthly", policy.monthly, lambda day: day.year * 12 + day.month, lambda day: f"month {day:%Y-%m}"
    )


def duration(time: timedelta) -> str:
    """Return a duration in days, or in hours where it is shorter than two days and no whole number of them."""
    days = time / DAY
    if days < 2 and days != int(days):
        return f"{days * 24:g} hours"
    return "day" if days == 1 else f"{days:g} days"


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"week {year}-W{week:02d}"


def _periods(
    past: Sequence[Candidate], code: Code, count: int, period_of: Callable[[date], int], name: Callable[[date], str]
) -> Iterator[Kept]:
    best: dict[int, Candidate] = {}
    for candidate in past:
        period = period_of(candidate.day)
        known = best.get(period)
        # What is newest comes first, and an equally good one does not take its place.
        if known is None or candidate.quality > known.quality:
            best[period] = candidate
    counted = 0
    for _, candidate in sorted(best.items(), reverse=True):
        if counted == count:
            return
        if candidate.quality is Quality.VERIFIED:
            counted += 1
            text = f"of the {name(candidate.day)}, {counted} of {count} {code}"
        else:
            text = f"of the {name(candidate.day)}, not counted as {code}: {candidate.quality.text}"
        yield candidate, Reason(code, text)
