"""Which documents of a store far away were read before, so that looking again costs little?

Ten thousand sets are twenty thousand documents, and fetching them takes minutes; their listing takes seconds.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from backup_assets.files import make_private_directory, partial_path
from backup_assets.sets.place import META, QuickStore, ReadableStore, StoredObject

LARGEST_DOCUMENT_BYTES = 1 << 20
#: So old a document is read again: what changed it without changing its size and time is then seen.
KEPT_FOR = timedelta(days=1)


class Documents:
    """Copies of one store's documents in a directory, each in a file (0600) that proves itself.

    Only to save time: what cannot be read, does not fit its SHA-256 or cannot be written is as if it were not there.
    Several processes may use a directory at the same time.
    """

    def __init__(self, directory: Path) -> None:
        """``directory`` is made when something is kept."""
        self._directory = directory

    def get(self, listed: StoredObject, now: datetime) -> bytes | None:
        """Return the content of an object that is listed as it was when it was kept, or None."""
        try:
            kept = self._path(listed.key).read_bytes()
        except OSError:
            return None
        head, _, content = kept.partition(b"\n")
        told = head.decode("ascii", "replace").split(" ")
        if told[:2] != _told(listed) or told[3:] != [hashlib.sha256(content).hexdigest()] or not told[2].isdecimal():
            return None
        read_at = datetime.fromtimestamp(int(told[2]), UTC)
        # Not all on the same day.
        spread = 0.5 + zlib.crc32(listed.key.encode()) / 2**33
        return content if read_at <= now <= read_at + KEPT_FOR * spread else None

    def keep(self, listed: StoredObject, content: bytes, now: datetime) -> None:
        """Keep the content of a small object."""
        if len(content) != listed.size or len(content) > LARGEST_DOCUMENT_BYTES:
            return
        path = self._path(listed.key)
        told = [*_told(listed), str(int(now.timestamp())), hashlib.sha256(content).hexdigest()]
        partial = partial_path(path)
        try:
            make_private_directory(path.parent)
            with os.fdopen(
                os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
            ) as handle:
                handle.write(" ".join(told).encode() + b"\n" + content)
            partial.replace(path)
        except OSError:  # a full disk, or one that may only be read
            with suppress(OSError):
                partial.unlink()

    def keep_only(self, prefix: str, keys: Iterable[str]) -> None:
        """Forget every document directly below ``prefix`` that is not among ``keys``."""
        listed = {key.rpartition("/")[2] for key in keys}
        try:
            for path in self._path(prefix).iterdir():
                if path.name not in listed:
                    path.unlink(missing_ok=True)
        except OSError:  # nothing is kept there, or nothing may be changed
            return

    def _path(self, key: str) -> Path:
        return self._directory / key


def _told(listed: StoredObject) -> list[str]:
    return [str(listed.size), listed.stored_at.astimezone(UTC).isoformat()]


class RememberingStore:
    """As much of a store as a catalog needs; manifests and records, which never change, are fetched once.

    The listing always comes from the store, and decides: what is not listed is not there, and what is listed with
    another size or time is read again.
    """

    def __init__(self, store: ReadableStore, documents: Documents) -> None:
        self._store = store
        self._documents = documents

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what the store lists."""
        found = list(self._store.list(prefix))
        if prefix.rpartition("/")[2] == META:
            self._documents.keep_only(prefix, (one.key for one in found))
        return iter(found)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the content of ``key`` as it is in the store now; raises as the store's own `open` does."""
        with self._store.open(key) as handle:
            yield handle

    def read_small(self, listed: StoredObject) -> bytes:
        """Return the content of an object that was just listed; raises as the store's own `open` does."""
        if listed.size > LARGEST_DOCUMENT_BYTES:
            return self._read(listed)
        now = datetime.now(UTC)
        content = self._documents.get(listed, now)
        if content is None:
            content = self._read(listed)
            self._documents.keep(listed, content, now)
        return content

    def _read(self, listed: StoredObject) -> bytes:
        if isinstance(self._store, QuickStore):
            return self._store.read_small(listed)
        with self._store.open(listed.key) as handle:
            return handle.read()
