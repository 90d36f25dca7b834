"""As whom does a server run when we are root, and where can that user reach its programs and its data?"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.server_binaries import ServerBinaries
from backup_assets.process import Identity

#: postgres refuses to run as root; these users are tried in this order.
UNPRIVILEGED_USERS = ("postgres", "nobody")
ROOT_UID = 0


def server_identity(effective_uid: int | None = None) -> Identity | None:
    """Return the user a server must run as, or None when it may run as us (we are not root).

    Raises EnvironmentFault when we are root and no unprivileged user exists.
    """
    if (os.geteuid() if effective_uid is None else effective_uid) != ROOT_UID:
        return None
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(entry.pw_uid, entry.pw_gid)
    raise EnvironmentFault(
        "there is no user that a PostgreSQL server could run as",
        why=f"PostgreSQL refuses to run as root, and none of the users {', '.join(UNPRIVILEGED_USERS)} exists",
        remedy="run this program as an ordinary user, or create the user postgres",
    )


def grants(mode: int, owner: int, group: int, identity: Identity, wanted: int) -> bool:
    """Whether permission bits let ``identity`` do what ``wanted`` says (a sum of 4 read, 2 write, 1 execute)."""
    if owner == identity.uid:
        granted = mode >> 6
    elif group == identity.gid:
        granted = mode >> 3
    else:
        granted = mode
    return granted & 7 & wanted == wanted


def may_reach(path: Path, identity: Identity | None) -> bool:
    """Whether ``identity`` may enter ``path``, a directory, and everything above it; None is ourselves: always."""
    if identity is None:
        return True
    resolved = path.resolve()
    for directory in (resolved, *resolved.parents):
        status = directory.stat()
        if not grants(status.st_mode, status.st_uid, status.st_gid, identity, 1):
            return False
    return True


def scratch_parent(wanted: Path | None, identity: Identity | None) -> Path:
    """Return a directory in which ``identity`` can reach what we make: ``wanted`` if it can, else a shared one.

    The shared ones are TMPDIR and /var/tmp, in this order: /tmp is often memory and too small for a database. Raises
    EnvironmentFault when none of them can be reached.
    """
    candidates = [wanted] if wanted is not None else []
    if os.environ.get("TMPDIR"):
        candidates.append(Path(os.environ["TMPDIR"]))
    candidates += [Path("/var/tmp"), Path(tempfile.gettempdir())]  # noqa: S108 - what goes inside is made by mkdtemp
    for candidate in candidates:
        if candidate.is_dir() and os.access(candidate, os.W_OK | os.X_OK) and may_reach(candidate, identity):
            return candidate.resolve()
    raise EnvironmentFault(
        "there is no directory in which a PostgreSQL server could keep its data",
        why=f"not writable, or not reachable for the server's user: {', '.join(map(str, candidates))}",
        remedy="set TMPDIR to a directory that the server's user may enter",
    )


def reachable_binaries(binaries: ServerBinaries, identity: Identity | None) -> ServerBinaries:
    """Return ``binaries``, or a copy of them where ``identity`` can execute them.

    Only the tree of a wheel (``pginstall``) is copied, once per version, to a root-owned directory in /var/tmp; the
    permissions of the original are never loosened. Raises EnvironmentFault for others, and for an unsafe copy.
    """
    if may_reach(binaries.directory, identity):
        return binaries
    source = binaries.directory.resolve().parent
    if source.name != "pginstall":
        raise EnvironmentFault(
            f"the PostgreSQL server in {binaries.directory} cannot be executed by the user it has to run as",
            why="PostgreSQL refuses to run as root, and a directory above it is closed to other users",
            remedy="run this program as an ordinary user, or install PostgreSQL from the distribution",
        )
    status = (source / "bin" / "postgres").stat()
    fingerprint = hashlib.sha256(f"{source}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:12]
    parent = scratch_parent(None, identity)
    copy = parent / f"backup-assets-postgres-{binaries.version}-{fingerprint}"
    if not copy.exists():
        copy_tree(source, copy)
    verify_ours(copy)
    return replace(binaries, directory=copy / "bin")


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree of programs to ``target``, readable by all and complete or not there at all."""
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent))
    try:
        shutil.copytree(source, unfinished, dirs_exist_ok=True, symlinks=True)
        for directory, _, names in os.walk(unfinished):
            Path(directory).chmod(0o755)
            for name in names:
                path = Path(directory, name)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            unfinished.rename(target)
        except OSError:
            # Another process was faster: a directory that is not empty is never replaced.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def verify_ours(directory: Path) -> None:
    """Raise EnvironmentFault unless ``directory`` is a real directory of ours that nobody else can write to.

    Its name can be guessed and its parent is shared: anybody could have put programs there for root to run.
    """
    status = directory.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
        return
    raise EnvironmentFault(
        f"the copied PostgreSQL programs in {directory} are not to be trusted",
        why="the directory belongs to another user, is a link, or can be written to by others",
        remedy="find out who made it, remove it, and try again",
    )


def give_to(path: Path, identity: Identity | None) -> None:
    """Make ``path`` the server's own; None is ourselves, whose it is already."""
    if identity is not None:
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
