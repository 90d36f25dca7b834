"""Where is a directory restored to, before it takes the place of another, and how does the other one go?"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.files import make_private_directory
from backup_assets.restore.leftovers import RESTORING
from backup_assets.restore.swap import side_name


def new_directory_beside(attachments: Path, at: datetime) -> Path:
    """Make and return a directory of our own: what an interrupted restore left in the same second is not.

    Raises EnvironmentFault when none can be made there.
    """
    try:
        make_private_directory(attachments.parent)
        while True:
            target = attachments.with_name(side_name(attachments.name, RESTORING, at))
            with suppress(FileExistsError):
                target.mkdir(mode=0o700)
                return target
            at += timedelta(seconds=1)
    except OSError as error:
        raise EnvironmentFault(
            f"no directory can be made beside {attachments}",
            why=str(error),
            remedy="check its parent's permissions and free space, or restore with --attachments-to DIR",
        ) from error


def holds_files(directory: Path) -> bool:
    """Tell whether there is anything in a directory; raises Refused for what is none, or cannot be read."""
    try:
        return directory.exists() and any(directory.iterdir())
    except OSError as error:
        raise Refused(
            f"attachments cannot be restored to {directory}", why=str(error), remedy="name a directory that can be read"
        ) from error


def remove_replaced(directory: Path) -> None:
    """Remove the attachments that a finished restore has replaced; raises EnvironmentFault."""
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise EnvironmentFault(
            f"the restore is done, but the old attachments {directory} could not be removed",
            why=str(error),
            remedy="remove them by hand",
        ) from error
