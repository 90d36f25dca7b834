"""Where the sets of a configured database are captured: its place in the store below BACKUP_DIR."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from backup_assets.files import make_private_directory
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import Place
from backup_assets.stores.folder import FolderStore

WORK_DIRECTORY = ".work"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def local_store(settings: Settings) -> FolderStore:
    """Return the store below BACKUP_DIR, in which every set is captured."""
    return FolderStore(settings.backup_dir, name="local")


def place_of(database: DatabaseSettings, settings: Settings) -> Place:
    """Return where the sets of a database lie in every store."""
    return Place(database.store_prefix, settings.env)


@contextmanager
def work_directory(settings: Settings, purpose: str) -> Iterator[Path]:
    """Yield a fresh private directory on the local store's disk, removed at the end.

    What killed runs left there more than a day ago is removed as well; a run that lives has a lock on its own.
    """
    parent = make_private_directory(settings.backup_dir.absolute() / WORK_DIRECTORY)
    yesterday = time.time() - timedelta(days=1).total_seconds()
    for directory in parent.iterdir():
        # Another run has just ended, and removed its own; or somebody left a file.
        with suppress(FileNotFoundError, NotADirectoryError):
            if directory.stat().st_mtime < yesterday:
                _remove_left(directory)
    directory = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=parent))
    descriptor = os.open(directory, _DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def _remove_left(directory: Path) -> None:
    descriptor = os.open(directory, _DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # a restore of days
        return
    else:
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)
