"""Was a restore ended between replacing the database and replacing its attachments?

The server renames the one and the file system the other: both cannot be one step. So it is written down before the
first what will be renamed, and the note goes after the second. Whether it happened, what is there tells: which database
has the live one's name, and which directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from backup_assets.errors import EnvironmentFault
from backup_assets.files import fsync_directory, make_private_directory, replace_durably
from backup_assets.postgres.session import Session
from backup_assets.restore.database import oid_of
from backup_assets.restore.shown import identity_of
from backup_assets.settings import Settings
from backup_assets.stores.disk_faults import explained

NOTES = ".restores"
REMEDY = (
    "restore the set again; or finish it by hand: stop the programs that use the files, and rename the two directories"
)


class SwapNote(BaseModel):
    """What one restore is about to rename.

    ``restored`` is the oid of the database that takes the live one's name, ``files`` the identity of the directory
    ``beside``, which takes that of ``attachments``. Earlier versions have not written the latter.
    """

    model_config = ConfigDict(frozen=True)

    set_id: str
    begun_at: datetime
    target: str
    database: str
    restored: str
    kept_database: str
    attachments: Path
    kept_attachments: Path | None = None
    beside: Path
    files: tuple[int, int] | None = None

    @property
    def what(self) -> str:
        """One sentence about what is mixed now."""
        begins = "a restore was ended between the database and its attachments: "
        if self._has_files:
            return (
                f"{begins}{self.attachments} has the files of the set {self.set_id}, and {self.database} at "
                f"{self.target} is as it was; the files of before are in {self.kept_attachments}"
            )
        if not self.attachments.exists():
            return (
                f"{begins}{self.attachments} is missing; its files are in {self.kept_attachments}, and those of the "
                f"set {self.set_id} in {self.beside}"
            )
        return (
            f"{begins}{self.database} at {self.target} shows the set {self.set_id}, and {self.attachments} has other "
            f"files; those of the set are in {self.beside}, the database of before is {self.kept_database}, where "
            "there was one"
        )

    def is_half(self, live: str | None) -> bool:
        """Tell whether the one was replaced and not the other, where ``live`` is the oid of the live database now."""
        if live == self.restored:
            return self.beside.exists()
        lost = self.kept_attachments is not None and self.kept_attachments.exists() and not self.attachments.exists()
        return lost or self._has_files

    @property
    def _has_files(self) -> bool:
        return self.files is not None and self.attachments.exists() and identity_of(self.attachments) == self.files


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
    """Yield every note that can be read; whether something is mixed, its ``is_half`` tells."""
    for path in sorted((settings.backup_dir.absolute() / NOTES).glob("*.json")):
        try:
            yield SwapNote.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):  # not one of ours, or gone by now
            continue


def half_swapped(settings: Settings, session: Session, target: str) -> list[SwapNote]:
    """Return the notes of restores into the server at ``target`` that have replaced one of the two and not the other.

    ``session``: with that server. A restore that is at work just now may be among them for a moment. The notes of those
    that have replaced both go: a later database of that name says nothing about them.
    """
    half = []
    for note in [*notes(settings)]:
        if note.target != target:
            continue
        live = oid_of(session, note.database)
        if note.is_half(live):
            half.append(note)
        elif live == note.restored:
            with suppress(EnvironmentFault):
                remove_note(settings, note)
    return half


def _path(settings: Settings, note: SwapNote) -> Path:
    tag = hashlib.sha256(f"{note.target}\n{note.database}\n{note.restored}".encode()).hexdigest()[:16]
    return settings.backup_dir.absolute() / NOTES / f"{tag}.json"
