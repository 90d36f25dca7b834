"""Was a restore ended between replacing the database and replacing its attachments?

The server renames the one and the file system the other: both cannot be one step. So it is written down before the
first what will be renamed, and the note goes after the second. Whether it happened, what is there tells: the live
database is the one that was restored, and the restored files still lie beside the live ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from backup_assets.files import fsync_directory, make_private_directory, replace_durably
from backup_assets.postgres.session import Session
from backup_assets.restore.database import oid_of
from backup_assets.settings import Settings
from backup_assets.stores.disk_faults import explained

NOTES = ".restores"
REMEDY = (
    "restore the set again; or finish it by hand: stop the programs that use the files, and rename the two directories"
)


class SwapNote(BaseModel):
    """What one restore is about to rename: ``restored`` is the oid of the database that takes the live one's name."""

    model_config = ConfigDict(frozen=True)

    set_id: str
    begun_at: datetime
    target: str
    database: str
    restored: str
    kept_database: str
    attachments: Path
    beside: Path

    @property
    def what(self) -> str:
        """One sentence about what is mixed now."""
        return (
            f"a restore was ended between the database and its attachments: {self.database} at {self.target} shows the "
            f"set {self.set_id}, and {self.attachments} has other files; those of the set are in {self.beside}, the "
            f"database of before is {self.kept_database}, where there was one"
        )


def write_note(settings: Settings, note: SwapNote) -> None:
    """Write down durably what is about to be renamed; raises EnvironmentFault."""
    with explained("write down what a restore is about to replace", settings.backup_dir):
        make_private_directory(settings.backup_dir.absolute() / NOTES)
        replace_durably(_path(settings, note), note.model_dump_json(indent=2).encode())


def forget(settings: Settings, note: SwapNote) -> None:
    """Remove every note about the database of ``note``, now that it and the files were both replaced."""
    for one in [*notes(settings)]:
        if (one.target, one.database) == (note.target, note.database):
            remove_note(settings, one)


def remove_note(settings: Settings, note: SwapNote) -> None:
    """Remove one note: nothing was replaced. Those of earlier restores stay."""
    path = _path(settings, note)
    with explained("remove the note of a restore", settings.backup_dir):
        path.unlink(missing_ok=True)
        fsync_directory(path.parent)


def notes(settings: Settings) -> Iterator[SwapNote]:
    """Yield every note that can be read; whether something is mixed, :func:`is_half` tells."""
    for path in sorted((settings.backup_dir.absolute() / NOTES).glob("*.json")):
        try:
            yield SwapNote.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):  # not one of ours, or gone by now
            continue


def half_swapped(settings: Settings, session: Session, target: str) -> list[SwapNote]:
    """Return the notes of restores into the server at ``target`` that have replaced the database and not the files.

    ``session``: with that server. A restore that is at work just now may be among them for a moment.
    """
    found = [note for note in notes(settings) if note.target == target]
    return [note for note in found if note.beside.exists() and oid_of(session, note.database) == note.restored]


def _path(settings: Settings, note: SwapNote) -> Path:
    tag = hashlib.sha256(f"{note.target}\n{note.database}\n{note.restored}".encode()).hexdigest()[:16]
    return settings.backup_dir.absolute() / NOTES / f"{tag}.json"
