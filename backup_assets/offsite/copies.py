"""How does every set come to a further store, whole, proven, and only once?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from backup_assets.errors import CheckFailed, EnvironmentFault, Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.offsite.copied import (
    Copied,
    InOrder,
    Kind,
    State,
    classed,
    described,
    is_known_equal,
    is_there,
    is_whole,
    missing_records,
    names_in,
    not_copied,
    of_slot,
    record_copy,
)
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.envelope import LOCAL_KINDS, disclosed, envelope_of
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.sets.place import META, Place, StoredObject, is_manifest, record_kind_of, set_id_of
from backup_assets.sets.records import parse_record, record_key
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import AccessDenied, Store, TransferDamaged
from backup_assets.stores.read_back import read_back

#: Left free on a disk that copies are stored on, in bytes: for manifests, records and what others write meanwhile.
MARGIN_BYTES = 100_000_000


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
    wanted, damaged = _of_slot(catalog, database, slot, kind)
    copied = copy_sets(database, settings, target, wanted, log=log, now=now)
    return (*copied, *not_copied(damaged, target.name))


def sets_of_slot(database: DatabaseSettings, settings: Settings, slot: str, kind: Kind = "full") -> list[BackupSet]:
    """Return every local set of a slot; raises Refused when there is none, CheckFailed when a manifest is damaged."""
    catalog = catalog_in(local_store(settings), place_of(database, settings))
    wanted, damaged = _of_slot(catalog, database, slot, kind)
    if damaged and not wanted:
        raise CheckFailed(damaged[0].text, remedy="fetch that manifest again from another store")
    return wanted


def _of_slot(
    catalog: Catalog, database: DatabaseSettings, slot: str, kind: Kind
) -> tuple[list[BackupSet], list[Damage]]:
    wanted, damaged = of_slot(catalog, slot, kind)
    if not wanted and not damaged:
        raise Refused(
            f"the slot {slot} of {database.name} has no set",
            why=f"no manifest of that slot is in {catalog.where}",
            remedy="capture a set first: a past slot without one stays empty",
        )
    return wanted, damaged


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
    and the others go all the same. What is there already is compared and not sent again; a set that is only required,
    and that the target has proven before, is as a rule just looked up (state ``listed``). Raises EnvironmentFault or
    TransientFault when the target cannot be used; what was copied until then stays, and is recorded.
    """
    copying = _Copying(database, settings, target, log, now)
    for one in sorted(wanted, key=lambda one: (one.taken_at, one.id)):
        copying.take(one)
    if wanted:
        copying.copy_records()
    return tuple(copying.done.values())


def whole_in(target: Store, place: Place, sets: Sequence[BackupSet]) -> frozenset[str]:
    """Return the ids of those local sets that ``target`` lists with every file in its size; reads names only."""
    names = names_in(target, place)
    return frozenset(one.id for one in sets if any(is_whole(form, place, names) for form in _forms(one)))


def _forms(one: BackupSet) -> tuple[Manifest, ...]:
    """Return the manifests under which a local set can be in another store: encrypted, and as it is."""
    return (*((envelope_of(one.manifest, one.encryption),) if one.encryption else ()), one.manifest)


def newest_in(target: Store, place: Place) -> BackupId | None:
    """Return the id of the newest set that ``target`` lists, by its name alone, or None."""
    ids = (set_id_of(name) for name in names_in(target, place, META) if is_manifest(name))
    return max((BackupId.parse(set_id) for set_id in ids if set_id), default=None)


class _Copying(InOrder):
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        target: Store,
        log: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._local = local_store(settings)
        self._encrypts = settings.encryption.encrypts
        self._place = place_of(database, settings)
        super().__init__(catalog_in(self._local, self._place), log)
        self._target = target
        self._now = now
        self._there = names_in(target, self._place)
        self._zone = ZoneInfo(database.schedule.timezone)

    # -- sets --------------------------------------------------------------------------------------------------------

    def _tried(self, one: BackupSet, *, required: bool) -> Copied:
        begun = time.monotonic()
        try:
            manifest = self._form(one)
            state, sent = self._copy(one, manifest, required=required)
        except (CheckFailed, Refused) as error:
            return Copied(one.id, self._target.name, "failed", error=error)
        seconds = round(time.monotonic() - begun, 3)
        copied = Copied(
            one.id,
            self._target.name,
            state,
            size_bytes=manifest.size_bytes,
            sent_bytes=sent,
            artifacts=len(manifest.artifacts),
            seconds=seconds,
        )
        if state == "copied" or (state == "present" and self._target.name not in one.copies):
            record_copy(self._local, self._place, manifest, copied, self._now())
        return copied

    def _form(self, one: BackupSet) -> Manifest:
        """Return the manifest under which a set goes to the target: the envelope of one that was encrypted.

        What lay there in plain before encryption was configured stays as it is. Raises CheckFailed for a set that
        must not leave this host as it is.
        """
        self._require_whole(one)
        if is_whole(one.manifest, self._place, self._there):
            if self._encrypts:
                self._log(f"{one.id} lies unencrypted in {self._target.name}: it was copied before encryption was set")
            return one.manifest
        if one.encryption is not None:
            return envelope_of(one.manifest, one.encryption)
        if self._encrypts:
            raise CheckFailed(
                f"the set {one.id} is not encrypted yet and is not copied",
                why="encryption is configured: nothing unencrypted leaves this host",
                remedy=f"materialize `encrypted` for the slot {one.manifest.slot} first",
            )
        return one.manifest

    def _copy(self, one: BackupSet, manifest: Manifest, *, required: bool) -> tuple[State, int]:
        """Return what became of the set and the bytes that were sent; raises CheckFailed or Refused."""
        key = self._place.manifest_key(one.id)
        body = manifest.to_json() if manifest.encryption else self._manifest_of(one, key)
        target = described(self._classed(manifest), manifest)
        listed = is_whole(manifest, self._place, self._there)
        if listed and required and self._was_proven(one, manifest):
            # A full archive is required every night until the next one: it is not read again each time.
            unknown = [a for a in manifest.artifacts if not self._is_equal_there(a, reading=False)]
        else:
            largest = self._largest_new(manifest)
            gone = self._gone_here(one, manifest)
            self._require_equal(manifest, but=(largest, *gone))
            self._require_room(manifest)
            if largest is not None:
                self._put_unread(target, manifest, largest)
            for artifact in manifest.artifacts:
                if artifact != largest and artifact not in gone:
                    self._put(target, artifact)
            unknown = [artifact for artifact in gone if not self._is_equal_there(artifact, reading=True)]
        target.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
        missing = [a for a in manifest.artifacts if not is_there(self._there, a.name, a.size_bytes)]
        moment = self._now()
        for name, size in ((self._place.name(key), len(body)), *((a.name, a.size_bytes) for a in missing)):
            self._there.setdefault(name, StoredObject(self._place.key(name), size, moment))
        if not listed:
            return "copied", sum(artifact.size_bytes for artifact in missing)
        return ("listed" if unknown else "present"), 0

    def _was_proven(self, one: BackupSet, manifest: Manifest) -> bool:
        """Tell whether it is on record that the target proved every file of ``manifest`` when it was copied."""
        record = one.copies.get(self._target.name)
        proven = {(file.name, file.sha256) for file in record.artifacts} if record else set()
        return {(artifact.name, artifact.sha256) for artifact in manifest.artifacts} <= proven

    def _gone_here(self, one: BackupSet, manifest: Manifest) -> list[Artifact]:
        """Return the files of a set which was copied in plain that were removed here since, after encryption."""
        if one.encryption is None or manifest.encryption is not None:
            return []
        return [a for a in manifest.artifacts if self._local.stat(self._place.key(a.name)) is None]

    def _is_equal_there(self, artifact: Artifact, *, reading: bool) -> bool:
        """Tell whether the target is known to hold a file; raises CheckFailed or Refused when it holds another.

        What the store does not know by itself is read from it, with ``reading`` and where this role may.
        """
        key = self._place.key(artifact.name)
        if is_known_equal(self._target, key, sha256=artifact.sha256):
            return True
        if not reading:
            return False
        try:
            read_back(self._target, key, sha256=artifact.sha256, size=artifact.size_bytes)
        except AccessDenied:
            return False
        return True

    def _require_whole(self, one: BackupSet) -> None:
        if one.faults:
            raise CheckFailed(
                f"the set {one.id} is incomplete in the local store and is not copied",
                why="; ".join(one.faults),
                remedy="take another backup; `backup-assets show` tells what is missing",
            )
        self._require_needs(one)

    def _manifest_of(self, one: BackupSet, key: str) -> bytes:
        try:
            with self._local.open(key) as handle:
                body = handle.read()
        except EnvironmentFault as error:
            raise self._unreadable(one, error) from error
        if Manifest.from_json(body, key) != one.manifest:
            raise CheckFailed(f"the manifest of {one.id} was replaced while it was copied", remedy="try again")
        return body

    def _largest_new(self, manifest: Manifest) -> Artifact | None:
        """Return the largest file that the target has not, if any: it is proven while it is sent, as the first."""
        new = [a for a in manifest.artifacts if a.name not in self._there]
        return max(new, key=lambda artifact: artifact.size_bytes, default=None)

    def _put(self, target: Store, artifact: Artifact) -> None:
        key = self._place.key(artifact.name)
        target.put(key, self._local.path_of(key), sha256=artifact.sha256, size=artifact.size_bytes)

    def _put_unread(self, target: Store, manifest: Manifest, artifact: Artifact) -> None:
        """Store a file that was not read before: the store lets it appear only when it is what the manifest says."""
        try:
            self._put(target, artifact)
        except (TransferDamaged, EnvironmentFault):
            # The fault may be on either side: one that is here is told as such, and the other sets go on.
            self._require_equal(manifest)
            raise

    def _require_equal(self, manifest: Manifest, but: Sequence[Artifact | None] = ()) -> None:
        """Read the local files before anything of the set is stored: a damaged set leaves nothing in the target.

        ``but`` the one that :meth:`_put_unread` then stores before any other, and those that are here no longer.
        """
        problems: list[str] = []
        for artifact in manifest.artifacts:
            if artifact in but:
                continue
            try:
                read_back(self._local, self._place.key(artifact.name), sha256=artifact.sha256, size=artifact.size_bytes)
            except CheckFailed as error:
                problems.append(f"{error.what}: {error.why}" if error.why else error.what)
            except EnvironmentFault as error:
                raise self._unreadable(manifest, error) from error
        if problems:
            raise CheckFailed(
                f"the set {manifest.id} is damaged in the local store and is not copied",
                why="; ".join(problems),
                remedy="take another backup, and check that disk; copies made before are not affected",
            )

    @staticmethod
    def _unreadable(one: BackupSet | Manifest, error: EnvironmentFault) -> CheckFailed:
        return CheckFailed(
            f"the set {one.id} cannot be read in the local store and is not copied",
            why=f"{error.what}: {error.why}",
            remedy=error.remedy,
        )

    def _require_room(self, manifest: Manifest) -> None:
        needed = sum(a.size_bytes for a in manifest.artifacts if not is_there(self._there, a.name, a.size_bytes))
        free = self._target.free_bytes() if needed else None
        if free is not None and free < needed + MARGIN_BYTES:
            raise EnvironmentFault(
                f"{self._target.describe()} has no room for the set {manifest.id}",
                why=f"{free} bytes are free there, {needed + MARGIN_BYTES} are needed",
                remedy="free some space there, or use a larger disk; nothing of the set was copied",
            )

    def _classed(self, manifest: Manifest) -> Store:
        return classed(self._target, manifest, self._catalog, self._place, self._there, self._zone)

    # -- records -----------------------------------------------------------------------------------------------------

    def copy_records(self) -> None:
        """Copy what is missing of the records of every set that is in both stores: proofs come after copies."""
        for name, set_id in missing_records(self._local, self._place, self._there):
            if record_kind_of(name) not in LOCAL_KINDS:
                self._copy_record(self._place.key(name), set_id)

    def _copy_record(self, key: str, set_id: str) -> None:
        with self._local.open(key) as handle:
            body = handle.read()
        try:
            record = parse_record(body, key)
        except CheckFailed as error:  # `list` tells it; it must not hold up what is good
            self._log(f"not copied to {self._target.name}: {error.what}")
            return
        one = self._catalog.find(set_id)
        if one is not None and one.encryption is not None and not is_whole(one.manifest, self._place, self._there):
            record = disclosed(record)
            key, body = record_key(self._place, record), record.to_json()
            if self._place.name(key) in self._there:
                return
        target = self._target if one is None else self._classed(one.manifest)
        target.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
