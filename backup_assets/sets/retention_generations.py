"""Which sets stand for the days, weeks and months that are kept?

A day is kept by its newest verified set: it holds the most of that day's work, and it is proven. The first one would
lose the day that it stands for. For the same reason weeks and months are kept by their newest. Where nothing of a day
is verified, the newest complete set is kept all the same, or the newest at all, but the day does not count: fourteen
daily sets are fourteen that can be restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple

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


class Candidate(NamedTuple):
    """A set with what deciding about it takes; ``day`` is its local one.

    Looked up once: going back to the manifests of a hundred thousand sets for every rule is slow, in memory too.
    """

    set: BackupSet
    id: str
    taken_at: datetime
    kind: str
    quality: Quality
    day: date
    in_future: bool
    may_be_held: bool


#: By which candidates are sorted: the moment that they show.
newest = attrgetter("taken_at", "id")


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
    for candidate in past:  # newest first
        if now - candidate.taken_at > policy.all_for:
            break
        yield candidate, reason
    days = _best(past, date.toordinal)
    # The important tables are taken once a week, beside the daily sets that hold them too.
    if any(candidate.kind != "important_tables" for candidate in past):
        yield from _counted(days, "daily", policy.daily, lambda day: f"day {day}")
    # The best of a week or month is the best of its best days. Day 1 of the calendar was a Monday, as every ISO week
    # begins.
    best = sorted(days, key=newest, reverse=True)
    weeks = _best(best, lambda day: (day.toordinal() - 1) // 7)
    yield from _counted(weeks, "weekly", policy.weekly, _week)
    months = _best(best, lambda day: day.year * 12 + day.month)
    yield from _counted(months, "monthly", policy.monthly, lambda day: f"month {day:%Y-%m}")


def duration(time: timedelta) -> str:
    """Return a duration in days, or in hours where it is shorter than two days and no whole number of them."""
    days = time / DAY
    if days < 2 and days != int(days):
        return f"{days * 24:g} hours"
    return "day" if days == 1 else f"{days:g} days"


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"week {year}-W{week:02d}"


def _best(newest_first: Iterable[Candidate], period_of: Callable[[date], int]) -> list[Candidate]:
    """Return the best candidate of each period, the last period first; of the equally good ones it is the newest."""
    best: dict[int, Candidate] = {}
    for candidate in newest_first:
        period = period_of(candidate.day)
        known = best.get(period)
        if known is None or candidate.quality > known.quality:
            best[period] = candidate
    return [best[period] for period in sorted(best, reverse=True)]


def _counted(best: Iterable[Candidate], code: Code, count: int, name: Callable[[date], str]) -> Iterator[Kept]:
    """Yield the best of each period, until ``count`` of them can be restored."""
    counted = 0
    for candidate in best:
        if counted == count:
            return
        if candidate.quality is Quality.VERIFIED:
            counted += 1
            text = f"of the {name(candidate.day)}, {counted} of {count} {code}"
        else:
            text = f"of the {name(candidate.day)}, not counted as {code}: {candidate.quality.text}"
        yield candidate, Reason(code, text)
