"""Who is at work on this folder, so that no second one starts beside it?"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.errors import Refused
from backup_assets.files import make_private_directory
from backup_assets.stores.disk_faults import explained

LOCKS_FOLDER = ".locks"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@contextmanager
def folder_lock(root: Path, name: str, run: str = "") -> Iterator[None]:
    """Hold the lock ``name`` of the folder ``root`` for the block; ``run`` says who, for a second one's message.

    The lock is flock(2) on a file that stays: it ends with the process, however that ends. Raises Refused when
    another process or thread holds it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name for a lock: {name!r}")
    path = root / LOCKS_FOLDER / f"{name}.lock"
    with explained(f"lock {name}", root):
        make_private_directory(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with explained(f"lock {name}", root):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _held(name, path, os.pread(descriptor, 4096, 0)) from None
            since = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "run": run, "since": since}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _held(name: str, path: Path, content: bytes) -> Refused:
    try:
        holder = json.loads(content)
        # Workers on several hosts share a store; one of an older version has not said where it is.
        where = f" on {holder['host']}" if "host" in holder else ""
        who = f"process {holder['pid']}{where}" + (f" (run {holder['run']})" if holder["run"] else "")
        why = f"{who} holds {path} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it is just being written: who holds it is not known yet
        why = f"another process has just taken {path}"
    return Refused(
        f"another run is at work on {name}",
        why=why,
        remedy="wait for it to end; the lock ends with that process, so do not delete the file",
    )
