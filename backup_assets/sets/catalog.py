"""Which sets does a store hold, are they whole, and which one is meant?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from backup_assets.errors import AccessDenied, BackupError, CheckFailed, Refused, TransientFault
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet, Damage
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
from backup_assets.sets.record_order import CLOCK_TOLERANCE
from backup_assets.sets.records import EncryptionRecord, Record, parse_record
from backup_assets.sets.uncollected import uncollected

#: Far above any real one (10,000 tables take about 3 MB): what is larger is no document of ours.
LARGEST_DOCUMENT_BYTES = 64 << 20
#: So many documents are fetched before they are parsed together.
BATCH = 1000
Document = TypeVar("Document")


Value = TypeVar("Value")


class _unlocked_property(cached_property[Value]):  # noqa: N801 - used like the one that it stands for
    """`cached_property` without the lock that Python 3.11 holds for all instances together while one is computed.

    With it a store that hangs would stop the catalogs of all others.
    """

    def __init__(self, func: Callable[..., Value]) -> None:
        super().__init__(func)
        self.lock = nullcontext()


class NoSuchSet(Refused):
    """No set is meant by what was asked for, or more than one."""


class AmbiguousSet(NoSuchSet):
    """More than one set is meant by what was asked for: to ask another store does not make it one."""


class IncompleteSet(CheckFailed):
    """The set that was asked for cannot be restored from this store."""


class Catalog:
    """The sets of one place in one store, as they were at the first look; make a new one to look again.

    Made from the manifests and records alone. Every method may raise EnvironmentFault when the store does not
    answer, AccessDenied when this role may read none of the manifests that are there; a document that is damaged, or
    may not be read though others may, is told in ``problems`` and hides no other.
    """

    def __init__(self, store: ReadableStore, place: Place, *, readers: int = 1, where: str = "") -> None:
        """``readers`` threads fetch the documents: 1 is right for a local disk, more for a store far away.

        ``where`` is what messages call the store; left out, the place alone.
        """
        self._store = store
        self._quick = store if isinstance(store, QuickStore) else None
        self.place = place
        self._readers = readers
        self._denial: AccessDenied | None = None
        self.where = where or place.root

    # -- reading ---------------------------------------------------------------------------------------------------

    @_unlocked_property
    def _names(self) -> dict[str, StoredObject]:
        # The manifests are listed before the artifacts: an artifact is stored before its manifest, so that a set
        # which is finished between the two listings is either not seen or seen whole.
        listed = [*self._listed(META)]
        with self._pool(len(ARTIFACT_FOLDERS)) as pool:
            for found in (pool.map if pool else map)(self._listed, ARTIFACT_FOLDERS):
                listed += found
        return {self.place.name(stored.key): stored for stored in listed}

    def _listed(self, folder: str) -> list[StoredObject]:
        return list(self._store.list(self.place.key(folder)))

    def _pool(self, work: int) -> AbstractContextManager[ThreadPoolExecutor | None]:
        """Return the threads that share ``work`` things to ask the store for; None where this one does it all."""
        return ThreadPoolExecutor(min(self._readers, work)) if self._readers > 1 and work > 1 else nullcontext()

    def _fetched(self, name: str) -> bytes | Damage:
        stored = self._names[name]
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
            return parse(content, self.place.key(name))
        except BackupError as error:
            return self._damage(name, error)

    def _damage(self, name: str, error: BackupError) -> Damage:
        kind = "manifest" if is_manifest(name) else record_kind_of(name) or ""
        return Damage(self.place.key(name), set_id_of(name) or "", kind, str(error), isinstance(error, AccessDenied))

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
            total += self._names[name].size
            if len(batch) == BATCH or total >= LARGEST_DOCUMENT_BYTES:
                yield batch
                batch, total = [], 0
        if batch:
            yield batch

    @_unlocked_property
    def _manifests(self) -> tuple[dict[str, Manifest], tuple[Damage, ...]]:
        good: dict[str, Manifest] = {}
        damaged: list[Damage] = []
        for name, found in self._read_all([name for name in self._names if is_manifest(name)], Manifest.from_json):
            if isinstance(found, Damage):
                damaged.append(found)
            elif foreign := _foreign(found, name):
                damaged.append(Damage(self.place.key(name), set_id_of(name) or "", "manifest", foreign))
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
                f"this role may not read the sets in {self.where}",
                why=f"of {len(unread)} manifests there it can read none: {said.what} ({said.why})",
                remedy=f"look with a role that may read (of a bucket `read_profile`), or {said.remedy}",
            )

    @_unlocked_property
    def _records(self) -> tuple[dict[str, list[Record]], dict[str, list[Damage]]]:
        good: dict[str, list[Record]] = {}
        damaged: dict[str, list[Damage]] = {}
        for name, found in self._read_all([name for name in self._names if record_kind_of(name)], parse_record):
            set_id = set_id_of(name) or ""
            if isinstance(found, Damage):
                damaged.setdefault(set_id, []).append(found)
            elif found.set_id != set_id or found.kind != record_kind_of(name):
                text = f"the record {name} says that it is a {found.kind} of the set {found.set_id}"
                wrong = Damage(self.place.key(name), set_id, record_kind_of(name) or "", text)
                damaged.setdefault(set_id, []).append(wrong)
            else:
                good.setdefault(set_id, []).append(found)
        return good, damaged

    @_unlocked_property
    def _sets(self) -> dict[str, BackupSet]:
        manifests, _ = self._manifests
        records, damaged = self._records
        with uncollected():
            return self._put_together(manifests, records, damaged)

    def _put_together(
        self, manifests: dict[str, Manifest], records: dict[str, list[Record]], damaged: dict[str, list[Damage]]
    ) -> dict[str, BackupSet]:
        found = {
            set_id: BackupSet(
                manifest,
                tuple(sorted(records.get(set_id, ()), key=lambda record: record.order)),
                self._faults(manifest, records.get(set_id, ())),
                tuple(damaged.get(set_id, ())),
            )
            for set_id, manifest in manifests.items()
        }
        lacking = ((one, self._faults_of_needs(one, found)) for one in found.values())
        whole = [replace(one, faults=one.faults + faults) if faults else one for one, faults in lacking]
        newest_first = sorted(whole, key=lambda one: (one.taken_at, one.id), reverse=True)
        return {one.id: one for one in newest_first}

    def _faults(self, manifest: Manifest, records: Sequence[Record]) -> tuple[str, ...]:
        sealed = {file.name: file for one in records if isinstance(one, EncryptionRecord) for file in one.files}
        faults: list[str] = []
        for artifact in manifest.artifacts:
            stored = self._names.get(artifact.name)
            file = sealed.get(artifact.name)
            if stored is None and file is not None:
                # The plain file was removed after it had been encrypted.
                encrypted = self._names.get(file.encrypted_name)
                fault = _fault(file.encrypted_name, encrypted, file.encrypted_size_bytes, file.encrypted_sha256)
            else:
                fault = _fault(artifact.name, stored, artifact.size_bytes, artifact.sha256)
            faults += [fault] if fault else []
        return tuple(faults)

    def _faults_of_needs(self, one: BackupSet, found: dict[str, BackupSet]) -> tuple[str, ...]:
        if not one.manifest.needs:
            return ()
        faults: list[str] = []
        for needed in sorted(self.closure_ids(one)):
            if needed not in found:
                damaged = any(damage.set_id == needed for damage in self._manifests[1])
                faults.append(f"it needs the set {needed}, which is {'damaged' if damaged else 'missing'}")
            elif found[needed].faults:
                faults.append(f"it needs the set {needed}, which is incomplete: {found[needed].faults[0]}")
        return tuple(faults)

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def problems(self) -> tuple[Damage, ...]:
        """Every manifest and record that cannot be read."""
        return (*self._manifests[1], *(damage for damages in self._records[1].values() for damage in damages))

    def manifests(self) -> tuple[Manifest, ...]:
        """Return every manifest that can be read, without reading records."""
        return tuple(self._manifests[0].values())

    def manifests_newest_first(self) -> list[Manifest]:
        """Return every manifest that can be read, newest first, without reading records."""
        return sorted(self._manifests[0].values(), key=lambda one: (one.snapshot.taken_at, one.id), reverse=True)

    def sets(self) -> list[BackupSet]:
        """Return every set whose manifest can be read, newest first by the moment that it shows."""
        return list(self._sets.values())

    def find(self, set_id: str) -> BackupSet | None:
        """Return the set of that id, complete or not, or None."""
        return self._sets.get(set_id)

    def latest(
        self, before: datetime | None = None, *, kind: str = "full", complete_only: bool = True
    ) -> BackupSet | None:
        """Return the newest set that shows a moment not after ``before`` (aware; left out: now), or None.

        A set that was taken under a clock far ahead is none of now: it would be the newest until that time has come.
        """
        limit = _limit(before)
        for one in self._sets.values():
            if one.manifest.kind != kind or (complete_only and one.faults):
                continue
            if one.taken_at <= limit:
                return one
        return None

    def passed_over(self, chosen: BackupSet, before: datetime | None = None) -> tuple[str, ...]:
        """Return one sentence for each newer set that could not be chosen, for whoever is given an older one.

        ``before`` is as it was for :meth:`latest`. A damaged manifest counts by the time in its id.
        """
        limit = _limit(before)
        found: list[str] = []
        for one in self._sets.values():
            if one.taken_at <= chosen.taken_at or one.manifest.kind != chosen.manifest.kind:
                continue
            if one.taken_at > limit:
                found += [_to_come(one)] if before is None else []
            elif one.faults:
                found.append(f"the newer set {one.id} is incomplete: {one.faults[0]}")
        for damage in self._manifests[1]:
            taken_at = BackupId.parse(damage.set_id).taken_at
            # The id's time is that of the capture's start, in whole seconds; the snapshot comes a little later.
            if taken_at >= chosen.manifest.backup_id.taken_at and (before is None or taken_at <= limit):
                found.append(f"the manifest of the newer set {damage.set_id} is damaged")
        return tuple(found)

    def resolve(
        self,
        selector: str = "latest",
        *,
        before: datetime | None = None,
        kind: str = "full",
        complete_only: bool = True,
    ) -> BackupSet:
        """Return the set meant by ``latest``, an id, or the beginning of exactly one id.

        ``before`` and ``kind`` are for ``latest`` only. Raises NoSuchSet when nothing or more than one is meant,
        IncompleteSet when what is meant cannot be restored (unless ``complete_only`` is off).
        """
        chosen = self._newest(before, kind, complete_only) if selector == "latest" else self._by_id(selector)
        if complete_only and chosen.faults:
            raise IncompleteSet(
                f"the set {chosen.id} is incomplete in {self.where}",
                why="; ".join(chosen.faults),
                remedy="choose another set, or fetch this one again from another store",
            )
        return chosen

    def closure_ids(self, one: BackupSet) -> frozenset[str]:
        """Return the ids of all sets that ``one`` needs, directly or through another, present or not."""
        return frozenset(_all_needs(one.manifest, self._manifests[0]))

    def closure(self, chosen: BackupSet) -> tuple[BackupSet, ...]:
        """Return every set that restoring ``chosen`` takes, those it needs first; raises IncompleteSet."""
        needed = self.closure_ids(chosen)
        missing = sorted(needed - self._sets.keys())
        if missing:
            raise IncompleteSet(
                f"the set {chosen.id} cannot be restored from {self.where}",
                why=f"it needs {', '.join(missing)}, not found there",
                remedy="fetch the missing set from another store, or choose another set",
            )
        return (*sorted((self._sets[set_id] for set_id in needed), key=lambda one: (one.taken_at, one.id)), chosen)

    # -- explaining ------------------------------------------------------------------------------------------------

    def _newest(self, before: datetime | None, kind: str, complete_only: bool) -> BackupSet:
        chosen = self.latest(before, kind=kind, complete_only=complete_only)
        if chosen is not None:
            return chosen
        of_kind = [one for one in self._sets.values() if one.manifest.kind == kind]
        if not of_kind:
            raise self._nothing_at_all(kind)
        whole = [one for one in of_kind if not (complete_only and one.faults)]
        if not whole:
            newest = of_kind[0]
            raise IncompleteSet(
                f"none of the {len(of_kind)} sets in {self.where} is complete",
                why=f"{newest.id}: {'; '.join(newest.faults)}",
                remedy="fetch a set from another store",
            )
        oldest = whole[-1]
        if before is None:
            raise NoSuchSet(
                f"every set in {self.where} shows a moment that is still to come",
                why=_to_come(oldest),
                remedy="check the clocks of this machine and of the server; to use that set nevertheless, give its id",
            )
        raise NoSuchSet(
            f"no set in {self.where} shows {before} or an earlier moment",
            why=f"the oldest is {oldest.id}, taken at {oldest.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            remedy="ask for a later moment, or look into another store",
        )

    def _nothing_at_all(self, kind: str) -> BackupError:
        damaged = self._manifests[1]
        if damaged:
            return IncompleteSet(
                f"no manifest in {self.where} can be read",
                why=damaged[0].text,
                remedy="fetch a set from another store",
            )
        what = "no backup set" if kind == "full" else f"no set of kind {kind}"
        return NoSuchSet(
            f"there is {what} in {self.where}",
            remedy="take a backup, or check the prefix, the environment's name and the store",
        )

    def _by_id(self, selector: str) -> BackupSet:
        if selector in self._sets:
            return self._sets[selector]
        matching = [set_id for set_id in self._sets if selector and set_id.startswith(selector)]
        damaged = [one for one in self._manifests[1] if selector and one.set_id.startswith(selector)]
        if len(matching) + len(damaged) > 1:
            matching += [one.set_id for one in damaged]
            raise AmbiguousSet(
                f"{selector!r} is the beginning of {len(matching)} ids",
                why=", ".join(matching[:5]) + (", …" if len(matching) > 5 else ""),
                remedy="give more of the id",
            )
        if matching:
            return self._sets[matching[0]]
        if damaged:
            fault = "may not be read by this role" if damaged[0].denied else "is damaged"
            raise IncompleteSet(
                f"the manifest of the set {damaged[0].set_id} {fault}",
                why=damaged[0].text,
                remedy="choose another set, or fetch this one again from another store",
            )
        if not self._sets:
            raise self._nothing_at_all("full")
        files = [name for name in self._names if selector and set_id_of(name) == selector]
        if files:
            raise IncompleteSet(
                f"the set {selector} was never finished or is half deleted",
                why=f"there is {files[0]}, but no manifest",
                remedy="choose another set: `backup-assets list` shows them",
            )
        close = difflib.get_close_matches(selector, self._sets, n=3, cutoff=0.5) or list(self._sets)[:3]
        raise NoSuchSet(
            f"there is no set {selector!r} in {self.where}",
            why=f"the closest ids are {', '.join(close)}",
            remedy="take an id from `backup-assets list`",
        )


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Refused(f"the time {moment} has no time zone", remedy="add one, for example 2026-11-22T02:00+09:00")
    return moment


def _limit(before: datetime | None) -> datetime:
    return datetime.now(UTC) + CLOCK_TOLERANCE if (aware := _aware(before)) is None else aware


def _to_come(one: BackupSet) -> str:
    shown = f"{one.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"the set {one.id} says that it shows {shown}, which is still to come: a clock was wrong when it was taken"


def _all_needs(manifest: Manifest, manifests: dict[str, Manifest]) -> set[str]:
    """Return the ids of all sets that ``manifest`` needs, directly or through another, present or not."""
    needed: set[str] = set()
    waiting = list(manifest.needs)
    while waiting:
        set_id = waiting.pop()
        if set_id in needed or set_id == manifest.id:
            continue
        needed.add(set_id)
        if set_id in manifests:
            waiting.extend(manifests[set_id].needs)
    return needed


def _fault(name: str, stored: StoredObject | None, size: int, sha256: str) -> str:
    if stored is None:
        return f"{name} is missing"
    if stored.size != size:
        return f"{name} has {stored.size} bytes instead of {size}"
    if stored.sha256 is not None and stored.sha256 != sha256:
        return f"{name} has another SHA-256 than its manifest says"
    return ""


def _foreign(manifest: Manifest, name: str) -> str:
    """Return why a manifest that reads well does not belong under ``name``, or nothing."""
    if manifest.id != set_id_of(name):
        return f"the manifest {name} is that of another set, {manifest.id}"
    for artifact in manifest.artifacts:
        folders = (META,) if artifact.role == "manifest" else ARTIFACT_FOLDERS
        if set_id_of(artifact.name) != manifest.id or artifact.name.partition("/")[0] not in folders:
            return f"the manifest {name} names {artifact.name}, which is no file of its set"
    return ""
