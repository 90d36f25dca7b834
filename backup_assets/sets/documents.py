"""Which manifests and records lie at a place in a store, and what do they say?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from backup_assets.errors import AccessDenied, BackupError, CheckFailed, TransientFault
from backup_assets.sets.backup_set import Damage
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import (
    ARTIFACT_FOLDERS,
    META,
    Place,
    QuickStore,
    ReadableStore,
    StoredObject,
    is_manifest,
    record_kind_of,
    set_id_of,
)
from backup_assets.sets.records import Record, parse_record
from backup_assets.sets.uncollected import uncollected
from backup_assets.sets.unlocked import unlocked_property

#: Far above any real one (10,000 tables take about 3 MB): what is larger is no document of ours.
LARGEST_DOCUMENT_BYTES = 64 << 20
#: So many documents are fetched before they are parsed together.
BATCH = 1000
Document = TypeVar("Document")


class Documents:
    """The manifests and records of one place in one store, each read once and not before it is asked for.

    Everything may raise EnvironmentFault when the store does not answer, AccessDenied when this role may read none of
    the manifests that are there; a document that is damaged, or may not be read though others may, hides no other.
    """

    def __init__(self, store: ReadableStore, place: Place, *, readers: int, where: str) -> None:
        """``readers`` threads fetch the documents; ``where`` is what messages call the store."""
        self._store = store
        self._quick = store if isinstance(store, QuickStore) else None
        self._place = place
        self._readers = readers
        self._denial: AccessDenied | None = None
        self._where = where

    @unlocked_property
    def names(self) -> dict[str, StoredObject]:
        """Every object at the place, by its name there."""
        # The manifests are listed before the artifacts: an artifact is stored before its manifest, so that a set
        # which is finished between the two listings is either not seen or seen whole.
        listed = [*self._listed(META)]
        with self._pool(len(ARTIFACT_FOLDERS)) as pool:
            for found in (pool.map if pool else map)(self._listed, ARTIFACT_FOLDERS):
                listed += found
        return {self._place.name(stored.key): stored for stored in listed}

    def _listed(self, folder: str) -> list[StoredObject]:
        return list(self._store.list(self._place.key(folder)))

    def _pool(self, work: int) -> AbstractContextManager[ThreadPoolExecutor | None]:
        """Return the threads that share ``work`` things to ask the store for; None where this one does it all."""
        return ThreadPoolExecutor(min(self._readers, work)) if self._readers > 1 and work > 1 else nullcontext()

    def _fetched(self, name: str) -> bytes | Damage:
        stored = self.names[name]
        try:
            if stored.size > LARGEST_DOCUMENT_BYTES:
                raise CheckFailed(f"{stored.key} is damaged", why=f"it has {stored.size} bytes")
            if self._quick is not None:
                return self._quick.read_small(stored)
            with self._store.open(stored.key) as handle:
                return handle.read()
        except AccessDenied as error:
            self._denial = error
            return self._damage(name, error)
        except TransientFault:  # the store is at fault, not this file: no listing is better than half of one
            raise
        except BackupError as error:
            return self._damage(name, error)

    def _parsed(self, name: str, content: bytes | Damage, parse: Callable[[bytes, str], Document]) -> Document | Damage:
        if isinstance(content, Damage):
            return content
        try:
            return parse(content, self._place.key(name))
        except BackupError as error:
            return self._damage(name, error)

    def _damage(self, name: str, error: BackupError) -> Damage:
        kind = "manifest" if is_manifest(name) else record_kind_of(name) or ""
        return Damage(self._place.key(name), set_id_of(name) or "", kind, str(error), isinstance(error, AccessDenied))

    def _read_all(
        self, names: list[str], parse: Callable[[bytes, str], Document]
    ) -> Iterator[tuple[str, Document | Damage]]:
        with self._pool(len(names)) as pool:
            for batch in self._batches(names):
                contents = [*(pool.map if pool else map)(self._fetched, batch)]
                with uncollected():
                    read = [self._parsed(*one, parse) for one in zip(batch, contents, strict=True)]
                yield from zip(batch, read, strict=True)

    def _batches(self, names: list[str]) -> Iterator[list[str]]:
        """Yield the names in groups that are read together, none of much more than one largest document."""
        batch: list[str] = []
        total = 0
        for name in names:
            batch.append(name)
            total += self.names[name].size
            if len(batch) == BATCH or total >= LARGEST_DOCUMENT_BYTES:
                yield batch
                batch, total = [], 0
        if batch:
            yield batch

    @unlocked_property
    def manifests(self) -> tuple[dict[str, Manifest], tuple[Damage, ...]]:
        """Every manifest that can be read, by its id, and those that cannot."""
        good: dict[str, Manifest] = {}
        damaged: list[Damage] = []
        for name, found in self._read_all([name for name in self.names if is_manifest(name)], Manifest.from_json):
            if isinstance(found, Damage):
                damaged.append(found)
            elif foreign := _foreign(found, name):
                damaged.append(Damage(self._place.key(name), set_id_of(name) or "", "manifest", foreign))
            else:
                good[found.id] = found
        if not good:
            self._require_access(damaged)
        return good, tuple(damaged)

    def _require_access(self, unread: list[Damage]) -> None:
        """Raise AccessDenied when manifests are there and this role may read none: that says nothing about the sets."""
        if any(one.denied for one in unread):
            said = self._denial or AccessDenied("access denied")
            raise AccessDenied(
                f"this role may not read the sets in {self._where}",
                why=f"of {len(unread)} manifests there it can read none: {said.what} ({said.why})",
                remedy=f"look with a role that may read (of a bucket `read_profile`), or {said.remedy}",
            )

    @unlocked_property
    def records(self) -> tuple[dict[str, list[Record]], dict[str, list[Damage]]]:
        """Every record that can be read, by the id of its set, and those that cannot."""
        good: dict[str, list[Record]] = {}
        damaged: dict[str, list[Damage]] = {}
        for name, found in self._read_all([name for name in self.names if record_kind_of(name)], parse_record):
            set_id = set_id_of(name) or ""
            if isinstance(found, Damage):
                damaged.setdefault(set_id, []).append(found)
            elif found.set_id != set_id or found.kind != record_kind_of(name):
                text = f"the record {name} says that it is a {found.kind} of the set {found.set_id}"
                wrong = Damage(self._place.key(name), set_id, record_kind_of(name) or "", text)
                damaged.setdefault(set_id, []).append(wrong)
            else:
                good.setdefault(set_id, []).append(found)
        return good, damaged


def _foreign(manifest: Manifest, name: str) -> str:
    """Return why a manifest that reads well does not belong under ``name``, or nothing."""
    if manifest.id != set_id_of(name):
        return f"the manifest {name} is that of another set, {manifest.id}"
    for artifact in manifest.artifacts:
        folders = (META,) if artifact.role == "manifest" else ARTIFACT_FOLDERS
        if set_id_of(artifact.name) != manifest.id or artifact.name.partition("/")[0] not in folders:
            return f"the manifest {name} names {artifact.name}, which is no file of its set"
    return ""
