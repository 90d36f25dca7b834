"""What is in the attachments directory: one ordered walk that never follows a symbolic link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from backup_assets.capture.attachments_index import escape
from backup_assets.errors import EnvironmentFault

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: A name that was listed and is now gone, or is no longer what it was listed as.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Found(NamedTuple):
    """One entry: its path beginning with ``./``, and its ``name`` in the directory that ``parent`` is open on.

    ``kind`` is f, d, l as in the index; ``skipped`` for a socket, pipe or device; ``vanished`` when it was listed and
    then gone (``status`` is None only then). ``parent`` stays open only until the next entry is asked for.
    """

    path: bytes
    name: bytes
    parent: int
    kind: Literal["f", "d", "l", "skipped", "vanished"]
    status: os.stat_result | None


def walk(directory: Path) -> Iterator[Found]:
    """Yield everything below ``directory``, parents first, each directory sorted by the bytes of its names.

    ``directory`` itself may be a symbolic link and is not yielded; a mount point below it is entered. Memory grows
    with the names of the directories between the root and the current entry only. Raises EnvironmentFault when
    the directory is missing or anything below it may not be read.
    """
    stack: list[tuple[int, bytes, list[bytes]]] = []
    try:
        descriptor = _open_root(directory)
        stack.append((descriptor, b".", []))
        stack[-1][2].extend(_names(descriptor, directory, b"."))
        while stack:
            parent, prefix, names = stack[-1]
            if not names:
                os.close(stack.pop()[0])
                continue
            name = names.pop()
            path = prefix + b"/" + name
            found = _look(directory, path, name, parent)
            if found.kind != "d":
                yield found
                continue
            try:
                descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            except OSError as error:
                if error.errno not in GONE:
                    raise unreadable(directory, path, error) from error
                yield found._replace(kind="vanished", status=None)
                continue
            stack.append((descriptor, path, []))
            yield found._replace(status=os.fstat(descriptor))
            stack[-1][2].extend(_names(descriptor, directory, path))
    finally:
        for descriptor, _, _ in stack:
            os.close(descriptor)


def require_directory(directory: Path) -> None:
    """Raise EnvironmentFault unless the directory is there and may be read."""
    os.close(_open_root(directory))


def _open_root(directory: Path) -> int:
    try:
        return os.open(directory, _DIRECTORY)
    except OSError as error:
        raise EnvironmentFault(
            f"the attachments directory {directory} cannot be opened",
            why=error.strerror or str(error),
            remedy="create or mount it, or correct ASSET_DIR (attachments.directory in backup.yaml)",
        ) from error


def _names(descriptor: int, directory: Path, path: bytes) -> list[bytes]:
    """Names in an open directory, last one first, so that they can be taken off the end."""
    try:
        return sorted(map(os.fsencode, os.listdir(descriptor)), reverse=True)
    except OSError as error:
        raise unreadable(directory, path, error) from error


def _look(directory: Path, path: bytes, name: bytes, parent: int) -> Found:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in GONE:
            raise unreadable(directory, path, error) from error
        return Found(path, name, parent, "vanished", None)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind = "f"
    elif stat.S_ISDIR(mode):
        kind = "d"
    elif stat.S_ISLNK(mode):
        kind = "l"
    else:
        kind = "skipped"
    return Found(path, name, parent, kind, status)


def unreadable(directory: Path, path: bytes, error: OSError) -> EnvironmentFault:
    """Return the error for an attachment that is there and cannot be read: a backup without it would be false."""
    return EnvironmentFault(
        f"the attachment {directory}/{escape(path)[2:]} cannot be read",
        why=error.strerror or str(error),
        remedy="let the user that runs the backups read it, or repair the disk; the backup is not complete without it",
    )
