"""Which files of a folder are objects, and which are partials?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.files import PARTIAL_SUFFIX
from backup_assets.sets.place import StoredObject, split_key
from backup_assets.stores.contract import is_key
from backup_assets.stores.disk_faults import explained


def stored_file(key: str, facts: os.stat_result, sha256: str | None = None) -> StoredObject | None:
    """Return the object that a file with these facts is, or None when it is no regular file."""
    if not stat.S_ISREG(facts.st_mode):
        return None
    return StoredObject(key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC), sha256)


def walk(root: Path, prefix: str, *, sweeping: bool = False) -> Iterator[StoredObject]:
    """Yield the objects below ``prefix`` in no order; with ``sweeping`` the partials of every place as well.

    A partial may be a directory (a dump in directory format): its size is that of its files, its time the newest. With
    ``sweeping`` the time of an object is when it came there, although whoever brought it gave it the time of its origin
    (``rsync -a``, ``cp -a``): its manifest may be still on the way.
    Files that vanish meanwhile are left out; raises EnvironmentFault when a directory cannot be read.
    """
    top = root / prefix if prefix else root
    with explained("list the stored files", root):
        try:
            facts = top.lstat() if prefix else top.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        single = stored_file(prefix, facts) if prefix else None
        if single is not None:
            yield single
            return
        waiting = [(top, prefix)] if stat.S_ISDIR(facts.st_mode) else []
        while waiting:
            directory, key = waiting.pop()
            for entry in _entries(directory):
                below = f"{key}/{entry.name}" if key else entry.name
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.name.endswith(PARTIAL_SUFFIX):
                    if sweeping and split_key(below):
                        yield _partial(below, Path(entry.path), facts)
                elif not is_key(below):
                    continue
                elif stat.S_ISDIR(facts.st_mode):
                    waiting.append((Path(entry.path), below))
                elif (stored := stored_file(below, facts)) is not None:
                    changed = datetime.fromtimestamp(facts.st_ctime, UTC)
                    yield replace(stored, stored_at=max(stored.stored_at, changed)) if sweeping else stored


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _partial(key: str, path: Path, facts: os.stat_result) -> StoredObject:
    size, newest = facts.st_size, facts.st_mtime
    if stat.S_ISDIR(facts.st_mode):
        size = 0
        for directory, _, files in os.walk(path):
            for name in (".", *files):
                try:
                    inner = (Path(directory) / name).lstat()
                except FileNotFoundError:
                    continue
                newest = max(newest, inner.st_mtime)
                size += inner.st_size if stat.S_ISREG(inner.st_mode) else 0
    return StoredObject(key, size, datetime.fromtimestamp(newest, UTC))
