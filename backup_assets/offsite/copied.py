"""What has every way of copying sets in common: the order, the outcome, the record of it?"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Literal, Protocol, runtime_checkable

from backup_assets import __version__
from backup_assets.errors import BackupError, CheckFailed
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import Manifest, SetKind
from backup_assets.sets.place import META, Place, StoredObject, record_kind_of, set_id_of
from backup_assets.sets.records import CopiedArtifact, CopyRecord, record_key
from backup_assets.sets.retention_class import RetentionClass, retention_class
from backup_assets.stores.contract import ConflictingObject, MissingObject, Store

Kind = SetKind
State = Literal["copied", "present", "listed", "failed"]


@runtime_checkable
class KnowsRetention(Protocol):
    """A store that treats the objects of daily, weekly and monthly sets differently."""

    def with_retention(self, retention: RetentionClass) -> Store:
        """Return the same store, giving every new object what the class demands."""
        ...


@runtime_checkable
class CarriesMetadata(Protocol):
    """A store whose objects can bear a few words about their set."""

    def with_metadata(self, metadata: Mapping[str, str]) -> Store:
        """Return the same store, putting ``metadata`` onto every new object."""
        ...


@dataclass(frozen=True)
class Copied:
    """What became of one set: ``copied`` now, ``present`` already and proven equal, or ``failed`` with its error.

    ``listed``: every file is there in its size, and what they hold was not looked at this time. ``size_bytes`` is that
    of the whole set, ``sent_bytes`` what had to be sent; ``required``: another set needs it.
    """

    set_id: str
    store: str
    state: State
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
        if self.state == "listed":
            return f"{self.set_id} is in {self.store} already: listed, not compared"
        return f"{self.set_id} copied to {self.store}: {self.sent_bytes} bytes in {self.seconds:.1f} s"


class InOrder(ABC):
    """Copies sets one by one, each after those that it requires; ``done`` has what became of every one, in order."""

    def __init__(self, catalog: Catalog, log: Callable[[str], None]) -> None:
        """``catalog`` is that of the store that is copied from."""
        self._catalog = catalog
        self._log = log
        self.done: dict[str, Copied] = {}

    @abstractmethod
    def _tried(self, one: BackupSet, *, required: bool) -> Copied:
        """Copy one set; ``required`` when only another set asks for it."""

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

    def _require_needs(self, one: BackupSet) -> None:
        """Raise CheckFailed when a set that ``one`` requires did not arrive."""
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


def classed(
    target: Store,
    manifest: Manifest,
    catalog: Catalog,
    place: Place,
    there: Container[str],
    zone: tzinfo,
) -> Store:
    """Return ``target``, putting what the class of a set demands onto every new object, where it knows of classes.

    The class is that among the sets of ``catalog`` whose manifests are in the target already, ``there`` being the names
    in it: a set that never arrived is not the first of a week.
    """
    if not isinstance(target, KnowsRetention):
        return target
    known = (one for one in catalog.manifests() if place.name(place.manifest_key(one.id)) in there)
    return target.with_retention(retention_class(manifest, known, zone))


def of_slot(catalog: Catalog, slot: str, kind: Kind) -> tuple[list[BackupSet], list[Damage]]:
    """Return every set of a slot and a kind, and the manifests of that slot that are damaged."""
    wanted = [one for one in catalog.sets() if one.manifest.slot == slot and one.manifest.kind == kind]
    damaged = [
        damage
        for damage in catalog.problems
        if damage.kind == "manifest" and BackupId.parse(damage.set_id).slot == slot
    ]  # fmt: skip
    return wanted, damaged


def not_copied(damaged: Sequence[Damage], store: str) -> Iterator[Copied]:
    """Yield what becomes of sets whose manifests are damaged: they are not copied to ``store``."""
    for damage in damaged:
        error = CheckFailed(damage.text, remedy="fetch that manifest again from another store")
        yield Copied(damage.set_id, store, "failed", error=error)


def missing_records(source: Store, place: Place, there: Mapping[str, StoredObject]) -> Iterator[tuple[str, str]]:
    """Yield name and set of each record that ``source`` has and the store that lists ``there`` has not, but the set."""
    for name in names_in(source, place, META):
        set_id = set_id_of(name)
        if record_kind_of(name) is None or set_id is None or name in there:
            continue
        if place.name(place.manifest_key(set_id)) in there:
            yield name, set_id


def described(target: Store, manifest: Manifest) -> Store:
    """Return ``target``, putting onto every new object what set it belongs to, where objects can bear that."""
    if not isinstance(target, CarriesMetadata):
        return target
    words = {"env": manifest.env, "generated_at": manifest.generated_at.isoformat(), "set_id": manifest.id}
    if manifest.schema_version:
        words["schema_version"] = manifest.schema_version
    return target.with_metadata(words)


def record_copy(local: Store, place: Place, manifest: Manifest, copied: Copied, at: datetime) -> None:
    """Write beside the local set that another store holds it; ``manifest`` is the one which that store has."""
    record = CopyRecord(
        set_id=manifest.id,
        tool_version=__version__,
        store=copied.store,
        copied_at=at,
        bytes=copied.sent_bytes,
        seconds=copied.seconds,
        artifacts=tuple(
            CopiedArtifact(name=a.name, size_bytes=a.size_bytes, sha256=a.sha256) for a in manifest.artifacts
        ),
    )
    body = record.to_json()
    local.put(record_key(place, record), body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))


def is_known_equal(store: Store, key: str, *, sha256: str) -> bool:
    """Tell whether a store knows by itself, without reading, that an object is what was put; False: it cannot tell.

    Raises MissingObject, and ConflictingObject when it knows of something else.
    """
    stored = store.stat(key)
    if stored is None:
        raise MissingObject(
            f"{key} was listed in {store.describe()} and is not there", remedy="find out who removes files there"
        )
    if stored.sha256 is not None and stored.sha256 != sha256:
        raise ConflictingObject(
            f"{key} exists in {store.describe()} with other content",
            why=f"it has SHA-256 {stored.sha256} instead of {sha256}",
            remedy="nothing was changed; delete the set there, and copy it again",
        )
    return stored.sha256 is not None


def names_in(store: Store, place: Place, folder: str = "") -> dict[str, StoredObject]:
    """Return what a store lists of a place, or of one folder of it, by names such as ``db/ID.dump``."""
    prefix = place.key(folder) if folder else place.root
    return {place.name(stored.key): stored for stored in store.list(prefix)}


def is_whole(manifest: Manifest, place: Place, names: Mapping[str, StoredObject]) -> bool:
    """Tell whether the manifest and every artifact in its size are among ``names``."""
    if place.name(place.manifest_key(manifest.id)) not in names:
        return False
    return all(is_there(names, artifact.name, artifact.size_bytes) for artifact in manifest.artifacts)


def is_there(names: Mapping[str, StoredObject], name: str, size: int) -> bool:
    """Tell whether a file of that size (bytes) is among ``names``."""
    return name in names and names[name].size == size
