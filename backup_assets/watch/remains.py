"""What do sets that the retention deleted still tell: when the oldest was taken, and what was drilled and restored?"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from backup_assets.errors import CheckFailed
from backup_assets.retention.going import going_keys
from backup_assets.retention.gone import GoneSet, note_keys, read_note
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import MissingObject

#: A drill is due every month: what was deleted longer ago than two of them decides nothing any more.
LOOK_BACK = timedelta(days=70)
#: Notes that are remembered in this process, of all databases: one look reads only those that are new.
_MOST_NOTES = 50_000


@dataclass(frozen=True)
class Remains:
    """Of the full sets that were deleted: when the oldest was taken, and those that were drilled or restored.

    ``deleted`` are store and id of all that were deleted, or are being deleted now, of any kind; None: some notes are
    damaged, and so are not known to be all.
    """

    oldest: datetime | None = None
    tried: tuple[GoneSet, ...] = ()
    deleted: frozenset[tuple[str, str]] | None = frozenset()


NOTHING_GONE = Remains()
_DAMAGED = Remains(deleted=None)
_known: OrderedDict[tuple[Path, str], Remains] = OrderedDict()
_guard = threading.Lock()


def remains_of(database: DatabaseSettings, settings: Settings, now: datetime) -> Remains:
    """Return what the notes of the last :data:`LOOK_BACK` tell; raises as `Store.list` does.

    What is being deleted counts as deleted. A note that is damaged tells nothing; the monthly report names it.
    """
    since = now - LOOK_BACK
    # First: what is through in between is among the others then, and its note is there no more.
    found = [_of_note(settings, key, missing=NOTHING_GONE) for key in going_keys(database, settings, since=since)]
    found += [_of_note(settings, key) for key in note_keys(database, settings, since=since)]
    return Remains(
        min((one.oldest for one in found if one.oldest is not None), default=None),
        tuple(gone for one in found for gone in one.tried),
        None
        if any(one.deleted is None for one in found)
        else frozenset(gone for one in found for gone in one.deleted or ()),
    )


def _of_note(settings: Settings, key: str, *, missing: Remains = _DAMAGED) -> Remains:
    with _guard:
        known = _known.get((settings.backup_dir.absolute(), key))
    if known is not None:
        return known
    try:
        note = read_note(settings, key)
    except MissingObject:
        return missing
    except CheckFailed:
        return _DAMAGED
    full = [one for one in note.sets if one.kind == "full"]
    remains = Remains(
        min((one.taken_at for one in full), default=None),
        tuple(one for one in full if one.drills or one.restores),
        frozenset((note.store, one.id) for one in note.sets),
    )
    with _guard:
        _known[settings.backup_dir.absolute(), key] = remains
        while len(_known) > _MOST_NOTES:
            _known.popitem(last=False)
    return remains
