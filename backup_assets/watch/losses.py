"""Which sets should be in a store, and are not there any more, or not whole?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from backup_assets.named_stores import LOCAL
from backup_assets.sets.retention_class import KEPT_DAYS
from backup_assets.watch.looking import Held, Look, RemovedBy
from backup_assets.watch.remains import LOOK_BACK

_DAY = timedelta(days=1)
#: Who removes from a store without anybody here knowing of it: what is gone there may be gone rightly.
UNKNOWN_TO_US: tuple[RemovedBy, ...] = ("hand", "own_rules")
#: As long ago as this a copy may have been made for what deleted it to be known for certain.
_KNOWN_FOR = LOOK_BACK - _DAY
#: No rule of a bucket by the classes of the sets removes one that was copied so recently.
_LEAST_KEPT = min(KEPT_DAYS.values()) * _DAY - _DAY


def lost(look: Look, now: datetime) -> tuple[str, ...]:
    """Return the ids, newest first, of the sets of a store that have lost files, and should have them.

    What a lifecycle rule removes goes file by file: by the class of the set, that is known. Where a bucket has rules of
    its own, what has lost files counts unless it is the oldest day of all that is there.
    """
    found = [one for one in look.all_sets if one.is_damaged and (one.expires_at is None or now < one.expires_at)]
    if look.removed_by == "own_rules" and found:
        whole = min((one.taken_at for one in look.all_sets if not one.faults), default=None)
        newest, oldest = max(one.taken_at for one in found), min(one.taken_at for one in found)
        if whole is not None and newest < whole and newest - oldest < _DAY:
            return ()
    return _ids(found)


def vanished(look: Look, local: Look, now: datetime) -> tuple[str, ...] | None:
    """Return the ids, newest first, of the sets that were copied to a store and that nothing known has deleted.

    None: nobody knows. What the retention deletes it writes down in the local store, which tells of the last 70 days;
    what somebody else removes, by hand or by rules that are not known here, is told by nobody.
    """
    if look.error or local.error or local.gone.deleted is None:
        return None
    if look.name == LOCAL or look.removed_by in UNKNOWN_TO_US:
        return ()
    since = now - (_LEAST_KEPT if look.removed_by == "class_rules" else _KNOWN_FOR)
    there = {one.id for one in look.all_sets} | look.damaged_ids
    gone = [
        one
        for one in local.all_sets
        if one.id not in there
        and (copied := one.copied.get(look.name)) is not None
        and copied >= since
        and (look.name, one.id) not in local.gone.deleted
    ]
    return _ids(gone)


def _ids(sets: Sequence[Held]) -> tuple[str, ...]:
    return tuple(one.id for one in sorted(sets, key=lambda one: (one.taken_at, one.id), reverse=True))
