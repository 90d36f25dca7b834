"""What do sets that the retention deleted still tell: when the oldest was taken, and what was drilled and restored?"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from backup_assets.errors import CheckFailed
from backup_assets.retention.gone import GoneSet, note_keys, read_note
from backup_assets.settings import DatabaseSettings, Settings

#: A drill is due every month: what was deleted longer ago than two of them decides nothing any more.
LOOK_BACK = timedelta(days=70)
#: Notes that are remembered in this process, of all databases: one look reads only those that are new.
_MOST_NOTES = 50_000


@dataclass(frozen=True)
class Remains:
    """Of the full sets that were deleted: when the oldest was taken, and those that were drilled or restored."""

    oldest: datetime | None = None
    tried: tuple[GoneSet, ...] = ()


NOTHING_GONE = Remains()
_known: OrderedDict[tuple[Path, str], Remains] = OrderedDict()
_guard = threading.Lock()


def remains_of(database: DatabaseSettings, settings: Settings, now: datetime) -> Remains:
    """Return what the notes of the last :data:`LOOK_BACK` tell; raises as `Store.list` does.

    A note that is damaged tells nothing; the monthly report names it.
    """
    found = [_of_note(settings, key) for key in note_keys(database, settings, since=now - LOOK_BACK)]
    return Remains(
        min((one.oldest for one in found if one.oldest is not None), default=None),
        tuple(gone for one in found for gone in one.tried),
    )


def _of_note(settings: Settings, key: str) -> Remains:
    with _guard:
        known = _known.get((settings.backup_dir.absolute(), key))
    if known is not None:
        return known
    try:
        full = [one for one in read_note(settings, key).sets if one.kind == "full"]
    except CheckFailed:
        return NOTHING_GONE
    remains = Remains(
        min((one.taken_at for one in full), default=None), tuple(one for one in full if one.drills or one.restores)
    )
    with _guard:
        _known[settings.backup_dir.absolute(), key] = remains
        while len(_known) > _MOST_NOTES:
            _known.popitem(last=False)
    return remains
