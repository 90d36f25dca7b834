"""How does every set come to a further store, whole, proven, and only once?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Protocol, runtime_checkable

from backup_assets import __version__
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import META, Place, StoredObject, is_manifest, record_kind_of, set_id_of
from backup_assets.sets.records import CopiedArtifact, CopyRecord, parse_record, record_key
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import Store
from backup_assets.stores.read_back import read_back

#: Left free on a disk that copies are stored on, in bytes: for manifests, records and what others write meanwhile.
MARGIN_BYTES = 100_000_000
#: A copy record tells of another store: in that store itself it would say nothing.
_NOT_COPIED = "copy"
Kind = Literal["full", "important_tables"]


@runtime_checkable
class _CarriesMetadata(Protocol):
    """A store whose objects can bear a few words about their set."""

    def with_metadata(self, metadata: Mapping[str, str]) -> Store:
        """Return the same store, putting ``metadata`` onto every new object."""
        ...


@dataclass(frozen=True)
class Copied:
    """What became of one set: ``copied`` now, ``present`` already and proven equal, or ``failed`` with its error.

    ``size_bytes`` is that of the whole set, ``sent_bytes`` what had to be sent; ``required``: another set needs it.
    """

    set_id: str
    store: str
    state: Literal["copied", "present", "failed"]
    size_bytes: int = 0
    sent_bytes: int = 0
    artifacts: int = 0
    seconds: float = 0.0
    required: bool = False
    error: BackupError | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.set_id} was not copied to {self.store}: {self.error.what}"
        if self.state == "present":
            return f"{self.set_id} is in {self.store} already, and equal"
        return f"{self.set_id} copied to {self.store}: {self.sent_bytes} bytes in {self.seconds:.1f} s"


def copy_slot(
    database: DatabaseSettings,
    settings: Settings,
    target: Store,
    slot: str,
    kind: Kind = "full",
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Copied, ...]:
    """Copy every set of a slot as :func:`copy_sets` does; a damaged manifest of that slot is a failed set too.

    Raises Refused when the slot has no set at all.
    """
    catalog = catalog_in(local_store(settings), place_of(database, settings))
    wanted = [one for one in catalog.sets() if one.manifest.slot == slot and one.manifest.kind == kind]
    damaged = [
        damage
        for damage in catalog.problems
        if damage.kind == "manifest" and BackupId.parse(damage.set_id).slot == slot
    ]  # fmt: skip
    if not wanted and not damaged:
        raise Refused(
            f"the slot {slot} of {database.name} has no set to copy",
            why=f"no manifest of that slot is in {catalog.where}",
            remedy="capture a set first: a past slot without one stays empty",
        )
    copied = copy_sets(database, settings, target, wanted, log=log, now=now)
    failed = (
        Copied(
            damage.set_id,
            target.name,
            "failed",
            error=CheckFailed(damage.text, remedy="fetch that manifest again from another store"),
        )
        for damage in damaged
    )
    return (*copied, *failed)


def copy_sets(
    database: DatabaseSettings,
    settings: Settings,
    target: Store,
    wanted: Sequence[BackupSet],
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Copied, ...]:
    """Copy sets of the local store to ``target``, each after those that it requires, and their records last.

    Artifacts go first and the manifest last, so that the target lists a set only when it is whole. A set that is
    incomplete, or whose bytes are not those of its manifest, is not copied; it is among the results with its error,
    and the others go all the same. What is there already is compared and not sent again. Raises EnvironmentFault or
    TransientFault when the target cannot be used; what was copied until then stays, and is recorded.
    """
    copying = _Copying(database, settings, target, log, now)
    for one in sorted(wanted, key=lambda one: (one.taken_at, one.id)):
        copying.take(one)
    if wanted:
        copying.copy_records()
    return tuple(copying.done.values())


def whole_in(target: Store, place: Place, manifests: Sequence[Manifest]) -> frozenset[str]:
    """Return the ids of those sets that ``target`` lists with every file in its size; reads names only."""
    names = _names(target, place)
    return frozenset(manifest.id for manifest in manifests if _is_whole(manifest, place, names))


def newest_in(target: Store, place: Place) -> BackupId | None:
    """Return the id of the newest set that ``target`` lists, by its name alone, or None."""
    ids = (set_id_of(name) for name in _names(target, place, META) if is_manifest(name))
    return max((BackupId.parse(set_id) for set_id in ids if set_id), default=None)


def _names(store: Store, place: Place, folder: str = "") -> dict[str, StoredObject]:
    prefix = place.key(folder) if folder else place.root
    return {place.name(stored.key): stored for stored in store.list(prefix)}


def _is_whole(manifest: Manifest, place: Place, names: Mapping[str, StoredObject]) -> bool:
    if place.name(place.manifest_key(manifest.id)) not in names:
        return False
    return all(_is_there(names, artifact.name, artifact.size_bytes) for artifact in manifest.artifacts)


def _is_there(names: Mapping[str, StoredObject], name: str, size: int) -> bool:
    return name in names and names[name].size == size


class _Copying:
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        target: Store,
        log: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._local = local_store(settings)
        self._place = place_of(database, settings)
        self._catalog: Catalog = catalog_in(self._local, self._place)
        self._target = target
        self._log = log
        self._now = now
        self._there = _names(target, self._place)
        self.done: dict[str, Copied] = {}

    # -- sets --------------------------------------------------------------------------------------------------------

    def take(self, one: BackupSet) -> None:
        """Copy one set and, before it, whatever it requires."""
        for set_id in sorted(self._catalog.closure_ids(one), key=BackupId.parse):
            needed = self._catalog.find(set_id)
            if needed is not None and set_id not in self.done:
                self._finish(replace(self._tried(needed, required=True), required=True))
        known = self.done.get(one.id)
        if known is not None and known.state == "copied":
            self.done[one.id] = replace(known, required=False)
        elif known is None or known.required:
            self._finish(self._tried(one, required=False))

    def _finish(self, copied: Copied) -> None:
        self.done[copied.set_id] = copied
        self._log(str(copied))

    def _tried(self, one: BackupSet, *, required: bool) -> Copied:
        begun = time.monotonic()
        try:
            sent = self._copy(one, required=required)
        except (CheckFailed, Refused) as error:
            return Copied(one.id, self._target.name, "failed", error=error)
        seconds = round(time.monotonic() - begun, 3)
        manifest = one.manifest
        copied = Copied(
            one.id,
            self._target.name,
            "present" if sent is None else "copied",
            size_bytes=manifest.size_bytes,
            sent_bytes=sent or 0,
            artifacts=len(manifest.artifacts),
            seconds=seconds,
        )
        if sent is not None or self._target.name not in one.copies:
            self._record(one, copied)
        return copied

    def _copy(self, one: BackupSet, *, required: bool) -> int | None:
        """Return the bytes that were sent, None when the whole set was there; raises CheckFailed or Refused."""
        self._require_whole(one)
        key = self._place.manifest_key(one.id)
        body = self._manifest_of(one, key)
        target = self._described(one.manifest)
        listed = _is_whole(one.manifest, self._place, self._there)
        if not (required and listed):
            # A set that is only required by a wanted one, and is listed whole, was proven when it was copied.
            self._require_equal(one)
            self._require_room(one.manifest)
            for artifact in one.manifest.artifacts:
                source = self._place.key(artifact.name)
                target.put(source, self._local.path_of(source), sha256=artifact.sha256, size=artifact.size_bytes)
        target.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
        missing = [a for a in one.manifest.artifacts if not _is_there(self._there, a.name, a.size_bytes)]
        moment = self._now()
        for name, size in ((self._place.name(key), len(body)), *((a.name, a.size_bytes) for a in missing)):
            self._there.setdefault(name, StoredObject(self._place.key(name), size, moment))
        return None if listed else sum(artifact.size_bytes for artifact in missing)

    def _require_whole(self, one: BackupSet) -> None:
        if one.faults:
            raise CheckFailed(
                f"the set {one.id} is incomplete in the local store and is not copied",
                why="; ".join(one.faults),
                remedy="take another backup; `backup-assets show` tells what is missing",
            )
        failed = [
            set_id
            for set_id in sorted(self._catalog.closure_ids(one))
            if set_id not in self.done or self.done[set_id].error is not None
        ]
        if failed:
            raise CheckFailed(
                f"the set {one.id} is not copied, because one that it requires could not be",
                why=f"it cannot be restored without {', '.join(failed)}",
                remedy="look at the error of that set",
            )

    def _manifest_of(self, one: BackupSet, key: str) -> bytes:
        try:
            with self._local.open(key) as handle:
                body = handle.read()
        except EnvironmentFault as error:
            raise self._unreadable(one, error) from error
        if Manifest.from_json(body, key) != one.manifest:
            raise CheckFailed(f"the manifest of {one.id} was replaced while it was copied", remedy="try again")
        return body

    def _require_equal(self, one: BackupSet) -> None:
        """Read every local file before anything of the set is sent: a damaged set leaves nothing in the target."""
        problems: list[str] = []
        for artifact in one.manifest.artifacts:
            try:
                read_back(self._local, self._place.key(artifact.name), sha256=artifact.sha256, size=artifact.size_bytes)
            except CheckFailed as error:
                problems.append(f"{error.what}: {error.why}" if error.why else error.what)
            except EnvironmentFault as error:
                raise self._unreadable(one, error) from error
        if problems:
            raise CheckFailed(
                f"the set {one.id} is damaged in the local store and is not copied",
                why="; ".join(problems),
                remedy="take another backup, and check that disk; copies made before are not affected",
            )

    @staticmethod
    def _unreadable(one: BackupSet, error: EnvironmentFault) -> CheckFailed:
        return CheckFailed(
            f"the set {one.id} cannot be read in the local store and is not copied",
            why=f"{error.what}: {error.why}",
            remedy=error.remedy,
        )

    def _require_room(self, manifest: Manifest) -> None:
        needed = sum(a.size_bytes for a in manifest.artifacts if not _is_there(self._there, a.name, a.size_bytes))
        free = self._target.free_bytes() if needed else None
        if free is not None and free < needed + MARGIN_BYTES:
            raise EnvironmentFault(
                f"{self._target.describe()} has no room for the set {manifest.id}",
                why=f"{free} bytes are free there, {needed + MARGIN_BYTES} are needed",
                remedy="free some space there, or use a larger disk; nothing of the set was copied",
            )

    def _described(self, manifest: Manifest) -> Store:
        if not isinstance(self._target, _CarriesMetadata):
            return self._target
        words = {"env": manifest.env, "generated_at": manifest.generated_at.isoformat(), "set_id": manifest.id}
        if manifest.schema_version:
            words["schema_version"] = manifest.schema_version
        return self._target.with_metadata(words)

    def _record(self, one: BackupSet, copied: Copied) -> None:
        record = CopyRecord(
            set_id=one.id,
            tool_version=__version__,
            store=copied.store,
            copied_at=self._now(),
            bytes=copied.sent_bytes,
            seconds=copied.seconds,
            artifacts=tuple(
                CopiedArtifact(name=a.name, size_bytes=a.size_bytes, sha256=a.sha256) for a in one.manifest.artifacts
            ),
        )
        body = record.to_json()
        key = record_key(self._place, record)
        self._local.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))

    # -- records -----------------------------------------------------------------------------------------------------

    def copy_records(self) -> None:
        """Copy what is missing of the records of every set that is in both stores: proofs come after copies."""
        for name in _names(self._local, self._place, META):
            kind, set_id = record_kind_of(name), set_id_of(name)
            if kind is None or kind == _NOT_COPIED or set_id is None or name in self._there:
                continue
            if self._place.name(self._place.manifest_key(set_id)) in self._there:
                self._copy_record(self._place.key(name))

    def _copy_record(self, key: str) -> None:
        with self._local.open(key) as handle:
            body = handle.read()
        try:
            parse_record(body, key)
        except CheckFailed as error:  # `list` tells it; it must not hold up what is good
            self._log(f"not copied to {self._target.name}: {error.what}")
            return
        self._target.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
