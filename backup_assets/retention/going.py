"""Which sets is a run of the retention deleting, or was it when it was killed?

What is deleted is written down when a store is through (`retention/gone.py`), which can be hours after the first set
went, and never comes where the process is killed. So what is to go is written down before: nobody takes it for lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from backup_assets import __version__
from backup_assets.errors import BackupError, CheckFailed
from backup_assets.local import local_store
from backup_assets.retention.gone import GoneNote, gone_set, note_keys, put_note, read_note
from backup_assets.sets.retention_plan import Line
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import MissingObject

#: Folder of these notes beside `gone`; listing, copying and sweeping leave it alone.
GOING = "going"
#: No run deletes for so long: what is written down longer ago is of one that was killed.
_UNDER_WAY = timedelta(days=1)
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


def note_going(
    database: DatabaseSettings, settings: Settings, store: str, lines: Iterable[Line], now: datetime
) -> str | None:
    """Write down, in the local store, what is about to be deleted from a store; ``lines`` are the plan's.

    Returns the key of the note. None: it could not be written; where the disk is full, the deletion makes room.
    """
    sets = tuple(gone_set(line, now) for line in lines if line.decision == "delete")
    note = GoneNote(store=store, deleted_at=now, sets=sets, tool_version=__version__)
    try:
        return put_note(database, settings, note, GOING)
    except BackupError:
        return None


def going_keys(database: DatabaseSettings, settings: Settings, *, since: datetime = _EVER) -> tuple[str, ...]:
    """Return the keys of these notes of ``since`` or later; raises as `Store.list` does."""
    return note_keys(database, settings, since=since, folder=GOING)


def forget_going(settings: Settings, key: str | None) -> None:
    """Remove a note after the deletion is written down; raises as `Store.delete` does."""
    if key is not None:
        local_store(settings).delete(key)


def settle_killed(
    database: DatabaseSettings, settings: Settings, store: str, there: Collection[str], now: datetime
) -> BackupError | None:
    """Write down what runs that were killed have deleted from a store, where the sets with the ids ``there`` still are.

    From then on a set that such a run left there is missed when it vanishes. Returns why that could not be done.
    """
    damaged: CheckFailed | None = None
    try:
        for key in going_keys(database, settings):
            try:
                note = read_note(settings, key)
            except MissingObject:  # its run has just ended
                continue
            except CheckFailed as error:
                damaged = CheckFailed(
                    error.what, why=error.why, remedy="remove it: while it is there, nobody is told of sets that vanish"
                )
                continue
            # Either way: with a time yet to come it was written while a clock was ahead.
            if note.store != store or abs(now - note.deleted_at) < _UNDER_WAY:
                continue
            deleted = tuple(one for one in note.sets if one.id not in there)
            if deleted:
                put_note(database, settings, note.model_copy(update={"sets": deleted}))
            forget_going(settings, key)
    except BackupError as error:
        return error
    return damaged
