"""How do the restored database and its attachments take the place of the present ones, both or neither?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import open_session
from backup_assets.restore.database import oid_of
from backup_assets.restore.half_swapped import SwapNote, forget, remove_note, write_note
from backup_assets.restore.shown import identity_of
from backup_assets.restore.swap import (
    SwapInDoubt,
    is_known_as,
    maintenance_database,
    put_back_directory,
    side_name,
    swap_database,
    swap_directory,
)
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

    ``databases`` and ``directories`` are each the new and the live one. The directory goes first, while nobody can get
    into either database: what cannot be replaced is known before anybody could write into the restored one. What has
    ended this process between the two is told later: see `half_swapped`. Raises EnvironmentFault, nothing replaced and
    the new directory gone; SwapInDoubt, the files not replaced and the note left for who looks later.
    """
    (new, live), (directory, attachments) = databases, directories
    kept = side_name(live, "before", at)
    kept_directory = attachments.with_name(side_name(attachments.name, "before", at))
    existed = attachments.exists()
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
            kept_attachments=kept_directory,
            beside=directory,
            files=identity_of(directory),
        )
        write_note(settings, note)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        database = swap_database(
            server, new, live, kept, meanwhile=lambda: swap_directory(directory, attachments, kept_directory)
        )
    except BaseException as error:
        if not directory.exists():
            if is_known_as(server, restored, live):  # interrupted when both were replaced
                raise
            try:
                put_back_directory(directory, attachments, kept_directory)
            except EnvironmentFault as fault:  # the note stays
                log(str(fault))
                raise error from fault
        if isinstance(error, BackupError) and not isinstance(error, SwapInDoubt):
            shutil.rmtree(directory, ignore_errors=True)
            remove_note(settings, note)
        raise
    try:
        forget(settings, note)
    except BackupError as error:  # what is there shows that both were replaced
        log(str(error))
    return Swapped(kept if database else None, kept_directory if existed else None)
