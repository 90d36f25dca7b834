"""Which slots are over and have no complete set?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from backup_assets.sets.backup_id import BackupId
from backup_assets.settings import DatabaseSettings
from backup_assets.slots import Slots
from backup_assets.watch.looking import Held

LOOK_BACK = timedelta(days=14)
_TICK = timedelta(microseconds=1)


def slots_since(database: DatabaseSettings, sets: Sequence[Held], now: datetime) -> Slots:
    """Return the slots of a database from its configured day, else from that of its oldest set, else from today."""
    days = (date.fromisoformat(BackupId.parse(one.id).slot[:10]) for one in sets)
    today = now.astimezone(ZoneInfo(database.schedule.timezone)).date()
    return Slots(database.schedule, database.schedule.since or min(days, default=today))


def missed_slots(database: DatabaseSettings, slots: Slots, good: Sequence[Held], now: datetime) -> tuple[str, ...]:
    """Return the keys of the slots that were missed, newest first; none before the first set.

    Of the last 14 days, or of as many as the retention keeps a set of each slot: what it has deleted was not missed.
    """
    if not good:
        return ()
    retention = database.retention
    kept_days = retention.all_for_days
    if database.schedule.every == "day":
        kept_days = max(kept_days, float(retention.daily))
    since = max(now - min(LOOK_BACK, timedelta(days=kept_days)), min(one.taken_at for one in good))
    keys = {one.slot for one in good}
    moments = [one.taken_at for one in good]
    missed = []
    for key, start, end in _over(slots, since, now):
        # By the moment too: a set from before a change of the schedule has a key of another form.
        if key not in keys and not any(start <= moment < end for moment in moments):
            missed.append(key)
    return tuple(missed)


def is_filled(slots: Slots, key: str, good: Sequence[Held]) -> bool:
    """Return whether a slot has a good set."""
    start, end = slots.window(key)
    return any(one.slot == key or start <= one.taken_at < end for one in good)


def _over(slots: Slots, since: datetime, now: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield key, start and end of the slots that began after ``since`` and are over, newest first."""
    start, _ = slots.window(slots.current_key(now))
    while True:
        before = start - _TICK
        if before < since:
            return
        key = slots.current_key(before)
        start, end = slots.window(key)
        if start < since:
            return
        yield key, start, end
