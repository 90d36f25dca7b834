"""How do the restored database and its attachments take the place of the present ones, both or neither?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup_assets.errors import BackupError
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import open_session
from backup_assets.restore.database import oid_of
from backup_assets.restore.half_swapped import SwapNote, forget, remove_note, write_note
from backup_assets.restore.swap import SwapInDoubt, maintenance_database, side_name, swap_database, swap_directory
from backup_assets.settings import Settings


@dataclass(frozen=True)
class Swapped:
    """The names under which what was replaced is kept."""

    database: str | None = None
    attachments: Path | None = None

    def listed(self) -> tuple[str, ...]:
        """Return them as an operator reads them."""
        kept = (self.database and f"database {self.database}", self.attachments and f"attachments {self.attachments}")
        return tuple(item for item in kept if item)


def replace_database(server: Server, new: str, live: str, at: datetime) -> Swapped:
    """Let the database ``new`` take the place of ``live``, and nothing else; raises as `swap_database` does."""
    kept = side_name(live, "before", at)
    return Swapped(kept if swap_database(server, new, live, kept) else None)


def replace_both(
    settings: Settings,
    server: Server,
    set_id: str,
    databases: tuple[str, str],
    directories: tuple[Path, Path],
    at: datetime,
    log: Callable[[str], None],
) -> Swapped:
    """Let the new database and directory take the place of the live ones, or neither: both are of one generation.

    ``databases`` and ``directories`` are each the new and the live one. What has ended this process between the two
    is told later: see `half_swapped`. Raises EnvironmentFault, nothing replaced and the new directory gone;
    SwapInDoubt, that and the note left for who looks later.
    """
    (new, live), (directory, attachments) = databases, directories
    kept = side_name(live, "before", at)
    try:
        with open_session(server, maintenance_database(live)) as session:
            restored = oid_of(session, new) or ""
        note = SwapNote(
            set_id=set_id,
            begun_at=at,
            target=server.place,
            database=live,
            restored=restored,
            kept_database=kept,
            attachments=attachments,
            beside=directory,
        )
        write_note(settings, note)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        database = kept if swap_database(server, new, live, kept) else None
    except SwapInDoubt:
        raise
    except BackupError:
        shutil.rmtree(directory, ignore_errors=True)
        remove_note(settings, note)
        raise
    kept_directory = attachments.with_name(side_name(attachments.name, "before", at))
    try:
        existed = swap_directory(directory, attachments, kept_directory)
    except BaseException:  # also an interruption: the files of one generation, the rows of another
        if database is None:
            swap_database(server, live, new, side_name(new, "unused", at))
        else:
            swap_database(server, database, live, new)
        shutil.rmtree(directory, ignore_errors=True)
        remove_note(settings, note)
        raise
    try:
        forget(settings, note)
    except BackupError as error:  # what is there shows that both were replaced
        log(str(error))
    return Swapped(database, kept_directory if existed else None)
