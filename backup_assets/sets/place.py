"""Where do the files of a set lie in a store, and what does a store say of one of them?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Protocol, runtime_checkable

from backup_assets.sets.backup_id import BackupId, id_in_name

META = "meta"
ARTIFACT_FOLDERS = ("db", "globals", "assets", "secrets")
FOLDERS = (*ARTIFACT_FOLDERS, META)
MANIFEST_SUFFIX = ".manifest.json"
_RECORD = re.compile(r"meta/[^./]+\.(?P<kind>[a-z_]+)\.(?P<at>[0-9]{8}T[0-9]{6}Z)-(?P<tag>[0-9a-f]{8})\.json")


@dataclass(frozen=True, order=True, slots=True)
class StoredObject:
    """One complete object of a store.

    ``size`` is in bytes, ``stored_at`` in UTC; ``sha256`` only where the store knows it without reading the object.
    """

    key: str
    size: int
    stored_at: datetime
    sha256: str | None = None


class ReadableStore(Protocol):
    """As much of a store as reading a catalog needs; `stores/contract.py` has the whole contract."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the complete objects below ``prefix``, sorted by key."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Yield the content of ``key`` as a stream."""
        ...


@runtime_checkable
class QuickStore(ReadableStore, Protocol):
    """A store that has a quicker way to read a small object whole than opening it."""

    def read_small(self, listed: StoredObject) -> bytes:
        """Return the content of an object that was just listed."""
        ...


class DeletableStore(ReadableStore, Protocol):
    """As much of a store as deleting sets needs."""

    def delete(self, key: str) -> None:
        """Remove ``key``; one that is missing is fine."""
        ...


@dataclass(frozen=True)
class Place:
    """The part of a store that holds the sets of one database in one environment: ``<prefix>/<env>``."""

    prefix: str
    env: str

    @property
    def root(self) -> str:
        """The common start of all keys, without a slash at the end."""
        return f"{self.prefix}/{self.env}" if self.prefix else self.env

    def key(self, name: str) -> str:
        """Return the key of a name such as ``db/ID.dump``, which is how a manifest names its artifacts."""
        return f"{self.root}/{name}"

    def name(self, key: str) -> str:
        """Return what :meth:`key` was given; raises ValueError for a key of another place."""
        start = f"{self.root}/"
        if not key.startswith(start):
            raise ValueError(f"{key} does not lie in {self.root}")
        return key[len(start) :]

    def manifest_key(self, set_id: str | BackupId) -> str:
        """Return the key of a set's manifest."""
        return self.key(f"{META}/{set_id}{MANIFEST_SUFFIX}")

    def record_key(self, set_id: str | BackupId, kind: str, at: datetime, tag: str) -> str:
        """Return the key of a record of ``kind`` made at the time ``at``; ``tag`` is eight hexadecimal digits."""
        time = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return self.key(f"{META}/{set_id}.{kind}.{time}-{tag}.json")


def split_key(key: str) -> tuple[str, str] | None:
    """Return the place's root and the name (``db/ID.dump``) of a key, or None when it is no key of a place."""
    root, _, file = key.rpartition("/")
    root, _, folder = root.rpartition("/")
    return (root, f"{folder}/{file}") if root and file and folder in FOLDERS else None


def set_id_of(name: str) -> str | None:
    """Return the id of the set that the file ``name`` (``db/ID.dump``) belongs to, or None."""
    return id_in_name(name.rpartition("/")[2])


def is_manifest(name: str) -> bool:
    """Tell whether ``name`` (``meta/ID.manifest.json``) is that of a manifest."""
    if not name.endswith(MANIFEST_SUFFIX):  # so says a look at the end of most names
        return False
    set_id = set_id_of(name)
    return set_id is not None and name == f"{META}/{set_id}{MANIFEST_SUFFIX}"


def record_kind_of(name: str) -> str | None:
    """Return the kind of the record that ``name`` says, or None when it is no record's name."""
    match = _RECORD.fullmatch(name)
    return match["kind"] if match and set_id_of(name) else None
