"""What does an error of the operating system mean to the operator of a folder?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_assets.errors import EnvironmentFault

_FULL = "free some space there or choose a larger disk; nothing that was stored before is affected"
_REMEDIES = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("the quota is used up", _FULL),
    errno.EFBIG: ("the file system or a limit of the process allows no file that large", "choose another file system"),
    errno.EROFS: ("the file system is read-only", "mount it writable; after a disk error, look into the kernel's log"),
    errno.EACCES: ("permission denied", "let the user that runs this program own the directory"),
    errno.EPERM: ("permission denied", "let the user that runs this program own the directory"),
    errno.EIO: ("the disk reports an input/output error", "look into the kernel's log: the disk may be failing"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another directory, or move that file away"),
}


def meaning_in(text: str) -> tuple[str, str]:
    """Return meaning and remedy of the system error that a program's message (in the locale C) tells, or nothing."""
    for code, meaning in _REMEDIES.items():
        if os.strerror(code) in text:
            return meaning
    return "", ""


@contextmanager
def explained(doing: str, directory: Path) -> Iterator[None]:
    """Turn an OSError of the block into an EnvironmentFault that names ``directory`` and what to do.

    ``doing`` completes the sentence "could not …", for example "store db/ID.dump".
    """
    try:
        yield
    except OSError as error:
        meaning, remedy = _REMEDIES.get(error.errno or 0, ("", "check that directory and its disk"))
        raise EnvironmentFault(
            f"could not {doing} in {directory}" + (f": {meaning}" if meaning else ""),
            why=str(error),
            remedy=remedy,
        ) from error
