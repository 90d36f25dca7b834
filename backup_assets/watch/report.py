"""What happened to the backups of one database in one month, as far as it is still known?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from backup_assets.errors import Refused
from backup_assets.named_stores import LOCAL
from backup_assets.retention.gone import GoneNotes, read_gone
from backup_assets.sets.records import DrillRecord, RestoreRecord, VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.slots import day_start
from backup_assets.watch.figures import DatabaseFigures, StoreKind
from backup_assets.watch.known import HOUR, LEAST_ALLOWANCE
from backup_assets.watch.known_sets import KnownSet, known_sets
from backup_assets.watch.looking import Look
from backup_assets.watch.measuring import Looks, figures_of, look_at_all
from backup_assets.watch.month_slots import SlotLine, SlotState, slots_of_month

#: A report of an older month does not speak of today.
RECENT = timedelta(days=10)
PromiseName = Literal["rpo", "verified", "drill", "rto"]


@dataclass(frozen=True)
class StoreLine:
    """One store: how many of the month's complete sets it got, and what it holds today.

    ``lost`` of those are not there any more (or not whole) although nothing was written down that deleted them; where
    a bucket expires sets by itself, that is not told.
    """

    name: str
    kind: StoreKind
    off_site: bool
    error: str
    got: int
    wanted: int
    still_there: int
    lost: int
    latest_hours: float | None
    sets_today: int
    bytes_today: int
    free_bytes: int | None
    damaged: int


@dataclass(frozen=True)
class Gap:
    """The longest time between two things that should follow each other; ``until`` may be the end of the month."""

    since: datetime
    until: datetime

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.until - self.since) / HOUR


@dataclass(frozen=True)
class Promise:
    """What was promised and what was measured, both in hours (drills: counts); None: nothing was measured."""

    name: PromiseName
    state: Literal["met", "broken", "unknown"]
    measured: float | None
    wanted: float


@dataclass(frozen=True)
class Deletion:
    """A set that the retention deleted from a store in the month, and the codes of its reasons."""

    set_id: str
    store: str
    at: datetime
    size_bytes: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class MonthReport:
    """Everything that the report says; ``end`` is the end of the month, or now while it lasts.

    ``sets`` are those that show a moment of the month, ``figures`` what is true when the report is made.
    """

    database: str
    source: str
    env: str
    tier: Literal["important", "ordinary"]
    month: str
    timezone: str
    start: datetime
    end: datetime
    made_at: datetime
    is_over: bool
    slots: tuple[SlotLine, ...]
    sets: tuple[KnownSet, ...]
    all_sets: tuple[KnownSet, ...]
    stores: tuple[StoreLine, ...]
    gap: Gap | None
    promises: tuple[Promise, ...]
    drills: tuple[DrillRecord, ...]
    restores: tuple[RestoreRecord, ...]
    verifications: tuple[VerificationRecord, ...]
    deletions: tuple[Deletion, ...]
    held: tuple[KnownSet, ...]
    damaged_notes: tuple[str, ...]
    figures: DatabaseFigures

    def count(self, *states: SlotState) -> int:
        """Return how many slots are in one of the states."""
        return sum(slot.state in states for slot in self.slots)

    def promise(self, name: PromiseName) -> Promise:
        """Return the promise of that name."""
        return next(one for one in self.promises if one.name == name)

    @property
    def is_recent(self) -> bool:
        """Whether what is true today still says something of the month: it lasts, or ended less than ten days ago."""
        return self.made_at - self.end < RECENT

    @property
    def further(self) -> tuple[StoreLine, ...]:
        """The stores other than the local one."""
        return tuple(store for store in self.stores if store.name != LOCAL)


def month_report(database: DatabaseSettings, settings: Settings, month: str, now: datetime) -> MonthReport:
    """Return the report of a month (``2026-10``, in the zone of the schedule) from stores and notes alone.

    A store that does not answer is told in its line. Raises Refused for a month that is none or has not begun, and
    as `Store.list` does when the notes cannot be listed.
    """
    start, _ = month_bounds(month, database, now)
    looks = look_at_all(database, settings, now)
    return report_from(database, settings, month, now, looks, _notes(database, settings, start, looks[0][1]))


def month_bounds(month: str, database: DatabaseSettings, now: datetime) -> tuple[datetime, datetime]:
    """Return begin and end (exclusive) of a month in UTC; raises Refused when it is none or has not begun."""
    try:
        first = datetime.strptime(month, "%Y-%m").date()  # noqa: DTZ007 - a day in the schedule's zone
    except ValueError:
        raise Refused(f"{month!r} is no month", remedy="write 2026-10") from None
    zone = database.schedule.timezone
    start, end = day_start(first, zone), day_start((first + timedelta(days=31)).replace(day=1), zone)
    if start > now:
        raise Refused(f"the month {month} has not begun", remedy="ask for a past month, or for the current one")
    return start, end


def report_from(
    database: DatabaseSettings, settings: Settings, month: str, now: datetime, looks_at: Looks, gone: GoneNotes
) -> MonthReport:
    """Return what :func:`month_report` does, of stores that were looked at already."""
    looks = looks_at[0][1]
    start, month_end = month_bounds(month, database, now)
    end = min(now, month_end)
    known = known_sets(looks, gone.notes, now)
    sets = tuple(one for one in known if start <= one.taken_at < end)
    # Since when a set that is not there any more was either written down or should be there.
    always_kept = now - timedelta(days=database.retention.all_for_days)
    noting = {note.store: start for note in gone.notes if not gone.damaged}
    drills = tuple(sorted((r for one in known for r in one.drills if start <= r.at < end), key=lambda r: r.at))
    gap = longest_gap([one.taken_at for one in known if one.is_good], start, end)
    return MonthReport(
        database=database.name,
        source=database.database,
        env=settings.env,
        tier=database.tier,
        month=month,
        timezone=database.schedule.timezone,
        start=start,
        end=end,
        made_at=now,
        is_over=month_end <= now,
        slots=slots_of_month(database, known, looks, gone, (start, month_end), now),
        sets=sets,
        all_sets=known,
        stores=tuple(_store(look, known, sets, noting.get(look.name, always_kept)) for look in looks),
        gap=gap,
        promises=_promises(database, known, sets, drills, gap, (start, end), has_further=len(looks) > 1),
        drills=drills,
        restores=tuple(r for one in known for r in one.restores if start <= r.at < end),
        verifications=tuple(r for one in known for r in one.verifications if start <= r.at < end),
        deletions=tuple(
            Deletion(one.id, note.store, note.deleted_at, one.size_bytes, one.reasons)
            for note in gone.notes
            for one in note.sets
            if start <= note.deleted_at < end
        ),
        held=tuple(one for one in known if one.hold is not None),
        damaged_notes=gone.damaged,
        figures=figures_of(looks_at, now),
    )


def longest_gap(moments: Sequence[datetime], start: datetime, end: datetime) -> Gap | None:
    """Return the longest time without a new moment between ``start`` and ``end``; ``moments`` in their order.

    The last moment before the start counts: who lost the data on the first would have gone back to it. Without one,
    time counts from the first moment of the month; without any at all there is nothing to tell.
    """
    before = [moment for moment in moments if moment <= start][-1:]
    within = [moment for moment in moments if start < moment < end]
    points = [*before, *within, end]
    gaps = [Gap(since, until) for since, until in pairwise(points)]
    return max(gaps, key=lambda gap: gap.hours, default=None)


def oldest_proof_age(sets: Sequence[KnownSet], start: datetime, end: datetime) -> float | None:
    """Return how old, in hours, the newest proven set was at its oldest; None when none was proven by the end."""
    proofs = sorted((one.proven_at, one.taken_at) for one in sets if one.proven_at is not None and one.proven_at < end)
    if not proofs:
        return None
    earlier = [taken for at, taken in proofs if at <= start]
    newest = max(earlier, default=None)
    # Without a proof before the month, time counts from its first set.
    newest = newest or max(start, min((one.taken_at for one in sets), default=start))
    oldest = 0.0
    for at, taken in (*((at, taken) for at, taken in proofs if at > start), (end, end)):
        oldest = max(oldest, (at - newest) / HOUR)
        newest = max(newest, taken)
    return oldest


def _notes(database: DatabaseSettings, settings: Settings, start: datetime, looks: Sequence[Look]) -> GoneNotes:
    # From half a year before, for the growth; the sets of the month themselves cannot have been deleted before it.
    if any(look.name == LOCAL and look.error for look in looks) or not settings.backup_dir.exists():
        return GoneNotes((), ())
    return read_gone(database, settings, since=start - timedelta(days=183))


def _store(look: Look, known: Sequence[KnownSet], sets: Sequence[KnownSet], told_since: datetime) -> StoreLine:
    wanted = [one for one in sets if one.complete]
    if look.name == LOCAL:
        got = wanted  # every set was captured there
        delays: list[float] = []
    else:
        got = [one for one in wanted if look.name in one.copied]
        delays = [(at - one.taken_at) / HOUR for one in got if (at := one.copied[look.name]) is not None]
    there = [one for one in wanted if look.name in one.stores]
    lost = [one for one in got if look.name not in (*one.stores, *one.gone) and one.taken_at >= told_since]
    today = [one for one in known if look.name in one.stores]
    return StoreLine(
        name=look.name,
        kind=look.kind,
        off_site=look.off_site,
        error=look.error,
        got=len(got),
        wanted=len(wanted),
        still_there=len(there),
        lost=0 if look.error or look.kind == "s3" else len(lost),
        latest_hours=max(delays, default=None),
        sets_today=len(today),
        bytes_today=sum(one.size_bytes for one in look.sets),
        free_bytes=look.free_bytes,
        damaged=look.damaged,
    )


def _promises(
    database: DatabaseSettings,
    known: Sequence[KnownSet],
    sets: Sequence[KnownSet],
    drills: Sequence[DrillRecord],
    gap: Gap | None,
    month: tuple[datetime, datetime],
    *,
    has_further: bool,
) -> tuple[Promise, ...]:
    # While a capture runs, the set before it is still the newest: as the watch allows for it.
    slack = max(LEAST_ALLOWANCE / HOUR, max((2 * one.capture_seconds / 3600 for one in sets), default=0.0))
    proof = oldest_proof_age(known, *month)
    ended = [drill for drill in drills if drill.within_rto is not None]
    slowest = max((drill.total_seconds / 3600 for drill in ended), default=None)
    passed = sum(drill.passed for drill in drills)
    drilled: Literal["met", "broken", "unknown"] = "met" if passed and drills[-1].passed else "broken"
    return (
        _within("rpo", gap.hours if gap else None, database.rpo_hours, slack=slack),
        _within("verified", proof, database.verified_within_hours, slack=0.0),
        Promise("drill", drilled if drills or has_further else "unknown", float(passed), 1.0),
        _within("rto", slowest, database.rto_hours, slack=0.0),
    )


def _within(name: PromiseName, measured: float | None, wanted: float, *, slack: float) -> Promise:
    if measured is None:
        return Promise(name, "unknown", None, wanted)
    return Promise(name, "met" if measured <= wanted + slack else "broken", measured, wanted)
