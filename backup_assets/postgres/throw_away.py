"""How is it made sure that a throw-away cluster is gone afterwards, even when its owner was killed?"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from backup_assets.errors import BackupError
from backup_assets.postgres.cluster import Cluster, remove_tree
from backup_assets.postgres.server_binaries import ServerBinaries
from backup_assets.postgres.unprivileged import scratch_parent, server_identity

_log = logging.getLogger(__name__)

PREFIX = "backup-assets-scratch-"
#: Held locked as long as the owner lives; the kernel lets go of it however the owner ends. Unlike a process id it
#: cannot be taken over by another process, and it is right across containers that share the directory.
OWNER_FILE = "owner.lock"
UNOWNED_SECONDS = 24 * 3600


@contextmanager
def throw_away_cluster(
    parent_dir: Path | None,
    binaries: ServerBinaries,
    *,
    superuser: str = "postgres",
    locale: str = "C",
    settings: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Yield a started cluster without durability in a fresh directory below ``parent_dir`` (None: TMPDIR or /var/tmp).

    It is stopped and removed when the block ends, whatever ends it. ``parent_dir`` is not used when the server's user
    cannot reach it. Raises EnvironmentFault when no server can be started.
    """
    directory, owner = _claim_directory(scratch_parent(parent_dir, server_identity()))
    try:
        cluster = Cluster.create(
            directory, binaries, superuser=superuser, throw_away=True, locale=locale, settings=settings
        )
        cluster.start()
        yield cluster
    finally:
        try:
            Cluster.remove_left_behind(directory)
        finally:
            os.close(owner)


def sweep_stale_clusters(parent_dir: Path | None = None) -> tuple[Path, ...]:
    """Remove the throw-away clusters whose owner is dead, below ``parent_dir`` and the default; return what went.

    One that cannot be removed stays, with a warning, and stops neither the others nor the caller's own work.
    """
    identity = server_identity()
    parents = {scratch_parent(parent_dir, identity), scratch_parent(None, identity)}
    swept: list[Path] = []
    for parent in sorted(parents):
        for directory in sorted(parent.glob(f"{PREFIX}*")):
            try:
                gone = _sweep(directory)
            except (BackupError, OSError) as error:
                _log.warning("the left throw-away cluster %s could not be removed: %s", directory, error)
                continue
            if gone:
                _log.info("removed the throw-away cluster %s that its owner had left behind", directory)
                swept.append(directory)
    return tuple(swept)


def _claim_directory(parent: Path) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        path = directory / OWNER_FILE
        owner = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(owner).st_nlink > 0:
                os.write(owner, f"{os.getpid()}\n".encode())  # for people; the lock is what counts
                return directory, owner
        except BlockingIOError:
            pass
        os.close(owner)  # a sweep came between the making and the locking: its directory is gone


def _sweep(directory: Path) -> bool:
    try:  # one look only: its owner may be removing it
        status = directory.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    try:
        owner = os.open(directory / OWNER_FILE, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if time.time() - status.st_mtime < UNOWNED_SECONDS:
            return False  # it is being made
        remove_tree(directory)
        return True
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        Cluster.remove_left_behind(directory)
        return True
    finally:
        os.close(owner)
