"""Durable, private files: written under another name, forced to disk, then renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
PARTIAL_SUFFIX = ".partial"
#: How file systems without hard links (exFAT on external disks, some network shares) answer link().
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def make_private_directory(path: Path) -> Path:
    """Create ``path`` and its missing parents with mode 0700, each made durable; return it."""
    missing: list[Path] = []
    current = path
    while not current.exists():
        missing.append(current)
        current = current.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        fsync_directory(directory.parent)
    return path


def fsync_directory(path: Path) -> None:
    """Force a directory's entries to disk, so that a rename inside it survives a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Force the content of a file that another program wrote to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def partial_path(final: Path) -> Path:
    """Return a fresh name beside ``final`` for content that is not complete yet."""
    return final.with_name(f"{final.name}.{uuid.uuid4().hex[:8]}{PARTIAL_SUFFIX}")


def commit_partial(partial: Path, final: Path) -> None:
    """Give ``partial`` its final name, durably, without ever replacing an existing file.

    Raises FileExistsError when ``final`` exists: the caller decides what that means.
    """
    partial.chmod(0o600)
    fsync_file(partial)
    try:
        os.link(partial, final)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        _rename_to_new_name(partial, final)
    else:
        partial.unlink()
    fsync_directory(final.parent)


def _rename_to_new_name(partial: Path, final: Path) -> None:
    """Rename without replacing, where hard links do not exist: safe among those who come this way."""
    descriptor = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        partial.rename(final)
    finally:
        os.close(descriptor)


@contextmanager
def partial_file(final: Path) -> Iterator[BinaryIO]:
    """Yield a 0600 file that becomes ``final`` only when the block ends without an error.

    Raises FileExistsError at the end when ``final`` appeared meanwhile. On any error the partial is removed.
    """
    partial = partial_path(final)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
        commit_partial(partial, final)
    finally:
        partial.unlink(missing_ok=True)


def write_durably(final: Path, content: bytes) -> None:
    """Write a small file as :func:`partial_file` does."""
    with partial_file(final) as handle:
        handle.write(content)


def replace_durably(final: Path, content: bytes) -> None:
    """Write a small 0600 file, in place of one of that name: a reader sees the old content or the new one, whole."""
    partial = partial_path(final)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(final)
        fsync_directory(final.parent)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hexadecimal digits, reading it in bounded memory."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
