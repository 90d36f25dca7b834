"""Does a store list the same as the last time, so that nothing of it need be read again?"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Generic, TypeVar

from backup_assets.sets.place import ARTIFACT_FOLDERS, META, Place, QuickStore, ReadableStore, StoredObject
from backup_assets.stores.remembered import KEPT_FOR

Value = TypeVar("Value")


class Listed:
    """As much of a store as a catalog needs, with the listing that was taken when this was made."""

    def __init__(self, store: ReadableStore, place: Place) -> None:
        """List the place; raises as the store's `list` does."""
        self._store = store
        # In the order in which a catalog lists them, for the reason given there.
        self._listing = {
            prefix: tuple(store.list(prefix)) for prefix in (place.key(folder) for folder in (META, *ARTIFACT_FOLDERS))
        }

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what was listed."""
        yield from self._listing[prefix]

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object in the store, as it is now."""
        return self._store.open(key)

    def read_small(self, listed: StoredObject) -> bytes:
        """Return the content of a small object in the store, as it is now."""
        if isinstance(self._store, QuickStore):
            return self._store.read_small(listed)
        with self._store.open(listed.key) as handle:
            return handle.read()

    @property
    def fingerprint(self) -> bytes:
        """A hash of every key with its size and time."""
        digest = hashlib.blake2b()
        for listed in self._listing.values():
            for one in sorted(listed):
                digest.update(f"{one.key}\0{one.size}\0{one.stored_at.timestamp()}\0".encode())
        return digest.digest()


@dataclass(frozen=True)
class Seen(Generic[Value]):
    """What followed from a listing: ``value``, true until ``until`` (aware; None: until the listing changes)."""

    fingerprint: bytes
    value: Value
    read_at: datetime
    until: datetime | None

    def still(self, listed: Listed, now: datetime) -> bool:
        """Return whether the value still follows.

        After half a day to a day all is read again, whatever is listed: what was damaged without a trace is seen then.
        Not for all databases at the same time.
        """
        spread = 0.5 + zlib.crc32(self.fingerprint) / 2**33
        if not self.read_at <= now < self.read_at + KEPT_FOR * spread or (self.until is not None and now >= self.until):
            return False
        return self.fingerprint == listed.fingerprint
