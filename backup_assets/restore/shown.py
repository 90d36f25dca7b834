"""Is what a restore has replaced the same that its plan has shown?

Hours lie between the two. Whoever agrees to lose what is shown has not agreed to lose what came there since.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backup_assets.postgres.session import Session
from backup_assets.restore.beside import holds_files
from backup_assets.restore.database import oid_of


@dataclass(frozen=True)
class Shown:
    """What was shown as replaced, by what it keeps under another name; None where nothing was."""

    database_oid: str | None = None
    attachments: tuple[int, int] | None = None

    def is_database(self, session: Session, name: str) -> bool:
        """Tell whether the database ``name`` is the one that was shown."""
        return self.database_oid is not None and oid_of(session, name) == self.database_oid

    def is_attachments(self, directory: Path) -> bool:
        """Tell whether a directory is the one that was shown, or has nothing in it that could be lost."""
        return identity_of(directory) == self.attachments or not holds_files(directory)


def identity_of(directory: Path) -> tuple[int, int]:
    """Return what a directory keeps when it is renamed."""
    status = directory.stat()
    return status.st_dev, status.st_ino


def kept_because_unseen(item: str) -> str:
    """Return why ``item`` was not removed although that was asked for."""
    return f"{item} is kept: it came there after the plan was shown; look at it, and remove it by hand"
