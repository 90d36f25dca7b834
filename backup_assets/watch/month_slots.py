"""What became of every slot of a month?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from backup_assets.named_stores import LOCAL
from backup_assets.retention.gone import GoneNotes
from backup_assets.settings import DatabaseSettings
from backup_assets.slots import Slots, day_start
from backup_assets.watch.known_sets import KnownSet
from backup_assets.watch.looking import Look

SlotState = Literal["verified", "taken", "failed", "missed", "unknown", "due"]
_WORST_FIRST: tuple[SlotState, ...] = ("failed", "taken", "verified")


@dataclass(frozen=True)
class SlotLine:
    """What became of one slot: moments in UTC, ``day`` local, size and seconds those of its best set.

    ``verified``: proven by a restore. ``taken``: complete, without a proof that stands. ``failed``: there is a set, but
    it is incomplete or failed its check. ``missed``: there never was one. ``unknown``: there is none, and one that was
    deleted would not be remembered. ``due``: it is not over.
    """

    key: str
    day: date
    due_at: datetime
    state: SlotState
    sets: int = 0
    best: KnownSet | None = None


def slots_of_month(
    database: DatabaseSettings,
    known: Sequence[KnownSet],
    looks: Sequence[Look],
    gone: GoneNotes,
    month: tuple[datetime, datetime],
    now: datetime,
) -> tuple[SlotLine, ...]:
    """Return a line for every slot that is due in the month, in their order; none before the first slot."""
    zone = ZoneInfo(database.schedule.timezone)
    since = database.schedule.since or min(
        (date.fromisoformat(one.slot[:10]) for one in known), default=now.astimezone(zone).date()
    )
    slots = Slots(database.schedule, since)
    finding = _Finding(known)
    certain = _certain_since(database, known, looks, gone, now)
    lines: list[SlotLine] = []
    moment, end = max(month[0], day_start(since, database.schedule.timezone)), month[1]
    while moment < end:
        key = slots.current_key(moment)
        start, slot_end = slots.window(key)
        found = finding.of(key, start, slot_end)
        absent: SlotState = "due" if slot_end > now else "missed" if certain and slot_end > certain else "unknown"
        best = max(found, key=lambda one: (_WORST_FIRST.index(state_of(one)), one.taken_at), default=None)
        due_at = slots.due_at(key)
        state = absent if best is None else state_of(best)
        lines.append(SlotLine(key, start.astimezone(zone).date(), due_at, state, len(found), best))
        moment = slot_end
    return tuple(lines)


def state_of(one: KnownSet) -> SlotState:
    """Return what a set makes of its slot."""
    if not one.is_good:
        return "failed"
    return "taken" if one.proven_at is None else "verified"


class _Finding:
    """The sets of a slot, by its key or, from before a change of the schedule, by their moments."""

    def __init__(self, known: Sequence[KnownSet]) -> None:
        self._by_key: dict[str, list[KnownSet]] = {}
        self._by_day: dict[date, list[KnownSet]] = {}
        for one in known:
            self._by_key.setdefault(one.slot, []).append(one)
            self._by_day.setdefault(one.taken_at.astimezone(UTC).date(), []).append(one)

    def of(self, key: str, start: datetime, end: datetime) -> list[KnownSet]:
        if key in self._by_key:
            return self._by_key[key]
        days = {start.date(), end.date()}
        near = (one for day in days for one in self._by_day.get(day, ()))
        return [one for one in near if start <= one.taken_at < end]


def _certain_since(
    database: DatabaseSettings, known: Sequence[KnownSet], looks: Sequence[Look], gone: GoneNotes, now: datetime
) -> datetime | None:
    """Return from when on a slot without a set was missed; before, its set may have been deleted. None: never."""
    retention = database.retention
    kept = retention.all_for_days
    if database.schedule.every == "day":
        # Each of the newest days keeps a set.
        kept = max(kept, float(retention.daily))
    since = now - timedelta(days=kept)
    local = [one.taken_at for one in known if LOCAL in one.stores or LOCAL in one.gone]
    silent = {look.name for look in looks if look.error}
    if LOCAL in silent or not local:
        return None
    if silent:
        # The set of a time before may lie where nobody answers.
        return max(since, min(local))
    written_down = any(note.store == LOCAL for note in gone.notes) and not gone.damaged
    return min(since, *local) if written_down else since
