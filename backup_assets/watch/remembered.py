"""Which documents of a store far away were read before, so that looking again every few minutes costs little?"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, NamedTuple

from backup_assets.sets.place import QuickStore, StoredObject
from backup_assets.stores.contract import Store

LARGEST_DOCUMENT_BYTES = 1 << 20
#: So old a document is read again: what changed it without changing its size and time is then seen.
KEPT_FOR = timedelta(days=1)


class _Kept(NamedTuple):
    size: int
    stored_at: datetime
    read_at: datetime
    content: bytes


class Memory:
    """The documents of one store, ``most_bytes`` in all; those not asked for the longest are forgotten first."""

    def __init__(self, most_bytes: int = 32 << 20) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, listed: StoredObject, now: datetime) -> bytes | None:
        """Return the content of an object that is listed as it was when it was kept, or None."""
        with self._lock:
            kept = self._kept.get(listed.key)
            if kept is None:
                return None
            if (kept.size, kept.stored_at) != (listed.size, listed.stored_at) or now - kept.read_at > KEPT_FOR:
                self._forget(listed.key)
                return None
            self._kept.move_to_end(listed.key)
            return kept.content

    def keep(self, listed: StoredObject, content: bytes, now: datetime) -> None:
        """Keep the content of a small object."""
        if len(content) != listed.size or len(content) > LARGEST_DOCUMENT_BYTES:
            return
        with self._lock:
            self._forget(listed.key)
            self._kept[listed.key] = _Kept(listed.size, listed.stored_at, now, content)
            self._bytes += len(content)
            while self._bytes > self._most_bytes:
                self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        self._bytes -= len(kept.content) if kept else 0


class RememberingStore:
    """As much of a store as a catalog needs; manifests and records, which never change, are fetched once.

    The listing always comes from the store, and decides: what is not listed is not there, and what is listed with
    another size or time is read again.
    """

    def __init__(self, store: Store, memory: Memory) -> None:
        self._store = store
        self._memory = memory
        self._listed: dict[str, StoredObject] = {}

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what the store lists."""
        for stored in self._store.list(prefix):
            self._listed[stored.key] = stored
            yield stored

    def _read(self, listed: StoredObject) -> bytes:
        if isinstance(self._store, QuickStore):
            return self._store.read_small(listed)
        with self._store.open(listed.key) as handle:
            return handle.read()

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the content of ``key``; raises as the store's own `open` does."""
        listed, now = self._listed.get(key), datetime.now(UTC)
        content = self._memory.get(listed, now) if listed else None
        if content is None:
            if listed is None or listed.size > LARGEST_DOCUMENT_BYTES:
                with self._store.open(key) as handle:
                    yield handle
                return
            content = self._read(listed)
            self._memory.keep(listed, content, now)
        yield io.BytesIO(content)
