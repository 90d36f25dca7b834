"""How does every set of one bucket come to a second one, in another region or account?"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from backup_assets.capture.preflight import require_free_disk
from backup_assets.errors import CheckFailed, EnvironmentFault, Refused, TransientFault
from backup_assets.local import local_store, place_of, work_directory
from backup_assets.named_stores import LOCAL, catalog_in, store_named
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
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.sets.place import StoredObject
from backup_assets.sets.records import parse_record
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.contract import Store
from backup_assets.stores.disk_faults import explained
from backup_assets.stores.read_back import read_back
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_copy import copy_object, looked_at, refuses_copies, require_same
from backup_assets.stores.s3_errors import AccessDenied
from backup_assets.stores.s3_location import S3Location
from backup_assets.stores.s3_replication import NotYetThere, replication_rule, require_arrived

#: Files of a set that a service is asked to copy at the same time: it needs minutes for a large one.
COPIES_AT_ONCE = 4


def cross_copy_slot(
    database: DatabaseSettings,
    settings: Settings,
    configured: StoreSettings,
    slot: str,
    kind: Kind = "full",
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Copied, ...]:
    """Copy every set of a slot, each after those that it requires, from the store that ``copied_from`` names.

    The sets are those that the source store lists, encrypted or not, under the same keys and byte for byte: artifacts
    first, then the manifest, then the records. Within one service and with credentials for both buckets the service
    copies by itself; otherwise, or when it refuses to, each file passes through this host. Every object is proven from
    the destination. Where the source's bucket replicates itself into the destination nothing is copied, and the same
    proof is asked of what arrived. A set that is damaged in the source, or that only the local store has, is among the
    results with its error, and the others go all the same; of a damaged one the destination may keep files, but no
    manifest. Where the local store has a set, the copy is recorded beside it.

    Raises Refused when the slot has no set at all; EnvironmentFault or TransientFault when one of the stores cannot be
    used; TransientFault when all that is missing has yet to be replicated.
    """
    with work_directory(settings, "cross-copy") as work:
        copying = _CrossCopying(database, settings, configured, work, log, now)
        results = copying.copy_slot(slot, kind)
    waiting = [one.error for one in results if isinstance(one.error, NotYetThere)]
    if waiting and len(waiting) == sum(one.error is not None for one in results):
        raise min(waiting, key=lambda error: error.since)
    return results


class _CrossCopying(InOrder):
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        configured: StoreSettings,
        work: Path,
        log: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        origin = configured.copied_from or LOCAL
        self._database = database
        self._place = place_of(database, settings)
        self._source = _bucket(store_named(settings, origin))
        super().__init__(catalog_in(self._source, self._place), log)
        self._target = _bucket(store_named(settings, configured.name, writing=True))
        #: The target again, as the role sees it that reads there.
        self._reader = _bucket(store_named(settings, configured.name))
        self._local = local_store(settings)
        self._held = catalog_in(self._local, self._place)
        self._zone = ZoneInfo(database.schedule.timezone)
        self._work = work
        self._now = now
        self._there = names_in(self._target, self._place)
        sources = (self._source.location, _bucket(store_named(settings, origin, writing=True)).location)
        self._by_service = _reach_both(sources, self._target.location)
        self._refusal = threading.Lock()
        self._rule = self._replication_rule()

    def _replication_rule(self) -> str | None:
        try:
            rule = replication_rule(self._source, self._target, self._place.root)
        except AccessDenied as error:
            self._log(f"copying, whether or not the bucket replicates itself: {error.what}")
            return None
        if rule is not None:
            self._log(f"{self._source.location.url} replicates itself (rule {rule}): what arrived is only verified")
        return rule

    # -- sets --------------------------------------------------------------------------------------------------------

    def copy_slot(self, slot: str, kind: Kind) -> tuple[Copied, ...]:
        wanted, damaged = of_slot(self._catalog, slot, kind)
        held, _ = of_slot(self._held, slot, kind)
        missing = sorted({one.id for one in held} - {one.id for one in wanted} - {one.set_id for one in damaged})
        if not wanted and not damaged and not missing:
            raise Refused(
                f"the slot {slot} of {self._database.name} has no set to copy from {self._source.name}",
                why=f"no manifest of that slot is in {self._catalog.where}",
                remedy=f"copy a set to {self._source.name} first: a past slot without one stays empty",
            )
        for one in sorted(wanted, key=lambda one: (one.taken_at, one.id)):
            self.take(one)
        if wanted and self._rule is None:
            self._copy_records()
        absent = (Copied(set_id, self._target.name, "failed", error=self._absent(set_id, slot)) for set_id in missing)
        return (*self.done.values(), *not_copied(damaged, self._target.name), *absent)

    def _absent(self, set_id: str, slot: str) -> CheckFailed:
        return CheckFailed(
            f"the set {set_id} is not in {self._source.name} and cannot be copied from there",
            why="the local store has it",
            remedy=f"materialize the copy to {self._source.name} for the slot {slot} first",
        )

    def _tried(self, one: BackupSet, *, required: bool) -> Copied:
        begun = time.monotonic()
        try:
            state, sent = self._copy(one, required=required)
        except (CheckFailed, Refused, NotYetThere) as error:
            return Copied(one.id, self._target.name, "failed", error=error)
        copied = Copied(
            one.id,
            self._target.name,
            state,
            size_bytes=one.manifest.size_bytes,
            sent_bytes=sent,
            artifacts=len(one.manifest.artifacts),
            seconds=round(time.monotonic() - begun, 3),
        )
        held = self._held.find(one.id)
        unrecorded = held is not None and self._target.name not in held.copies
        if held is not None and (state == "copied" or (state == "present" and unrecorded)):
            record_copy(self._local, self._place, one.manifest, copied, self._now())
        return copied

    def _copy(self, one: BackupSet, *, required: bool) -> tuple[State, int]:
        """Return what became of the set and the bytes that were sent; raises CheckFailed or Refused."""
        if one.faults:
            raise CheckFailed(
                f"the set {one.id} is incomplete in {self._source.name} and is not copied",
                why="; ".join(one.faults),
                remedy="materialize the copy to that store again, or take another backup",
            )
        self._require_arrived_needs(one)
        manifest = one.manifest
        key = self._place.manifest_key(one.id)
        body = self._manifest_of(manifest, key)
        target = _bucket(described(self._classed(manifest), manifest))
        listed = is_whole(manifest, self._place, self._there)
        there: State = "present"
        if not (required and listed):
            self._bring_all(target, manifest.artifacts)
        elif [artifact for artifact in manifest.artifacts if not self._is_known_equal(artifact)]:
            # A full archive is required every night until the next one: what takes reading it is not done each time.
            there = "listed"
        digest = hashlib.sha256(body).hexdigest()
        if self._rule is not None:
            self._is_brought(target, key, sha256=digest, size=len(body))
            return there, 0
        target.put(key, body, sha256=digest, size=len(body))
        missing = [a for a in manifest.artifacts if not is_there(self._there, a.name, a.size_bytes)]
        for name, size in ((self._place.name(key), len(body)), *((a.name, a.size_bytes) for a in missing)):
            self._there.setdefault(name, StoredObject(self._place.key(name), size, self._now()))
        return (there, 0) if listed else ("copied", sum(artifact.size_bytes for artifact in missing))

    def _is_known_equal(self, artifact: Artifact) -> bool:
        return is_known_equal(self._reader, self._place.key(artifact.name), sha256=artifact.sha256)

    def _require_arrived_needs(self, one: BackupSet) -> None:
        for set_id in sorted(self._catalog.closure_ids(one) & self.done.keys()):
            error = self.done[set_id].error
            if isinstance(error, NotYetThere):
                raise error
        self._require_needs(one)

    def _manifest_of(self, manifest: Manifest, key: str) -> bytes:
        with self._source.open(key) as handle:
            body = handle.read()
        if Manifest.from_json(body, key) != manifest:
            raise CheckFailed(f"the manifest of {manifest.id} was replaced while it was copied", remedy="try again")
        return body

    def _classed(self, manifest: Manifest) -> Store:
        return classed(self._target, manifest, self._catalog, self._place, self._there, self._zone)

    # -- files -------------------------------------------------------------------------------------------------------

    def _bring_all(self, target: S3Store, artifacts: Sequence[Artifact]) -> None:
        """See to it that the target holds every artifact, proven; several at a time as long as the service works."""

        def brought(artifact: Artifact) -> bool:
            key = self._place.key(artifact.name)
            return self._is_brought(target, key, sha256=artifact.sha256, size=artifact.size_bytes)

        with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
            done = list(pool.map(brought, artifacts))
        for artifact, there in zip(artifacts, done, strict=True):
            if not there:
                self._stream(target, self._place.key(artifact.name), sha256=artifact.sha256, size=artifact.size_bytes)

    def _is_brought(self, target: S3Store, key: str, *, sha256: str, size: int) -> bool:
        """Tell whether the target holds an object, proven, without this host having to carry it."""
        if self._rule is not None:
            require_arrived(self._source, self._reader, key, sha256=sha256, size=size)
            return True
        return self._is_proven(key, sha256=sha256, size=size) or self._copied_by_service(
            target, key, sha256=sha256, size=size
        )

    def _is_proven(self, key: str, *, sha256: str, size: int) -> bool:
        """Tell whether the target has the object; False too when its reader may not read, so that `put` looks at it."""
        try:
            head = looked_at(self._reader, key)
        except AccessDenied:
            return False
        if head is None:
            return False
        origin = looked_at(self._source, key)
        require_same(self._reader, key, head, sha256=sha256, size=size, origin=origin)
        return True

    def _copied_by_service(self, target: S3Store, key: str, *, sha256: str, size: int) -> bool:
        if not self._by_service:
            return False
        try:
            copy_object(self._source, target, key, sha256=sha256, size=size, reader=self._reader)
        except TransientFault:
            raise
        except EnvironmentFault as error:
            if not refuses_copies(error):
                raise
            with self._refusal:  # several are refused at a time: it is told once
                if self._by_service:
                    self._log(f"the service does not copy by itself, so that the files pass through this host: {error}")
                self._by_service = False
            return False
        return True

    def _stream(self, target: S3Store, key: str, *, sha256: str, size: int) -> None:
        path = self._work / "passing"
        require_free_disk(self._work, size, f"{key} on its way to {target.name}")
        try:
            with explained(f"keep {key}", self._work), path.open("wb") as handle:
                path.chmod(0o600)
                read_back(self._source, key, sha256=sha256, size=size, into=handle)
            target.put(key, path, sha256=sha256, size=size)
        finally:
            path.unlink(missing_ok=True)

    # -- records -----------------------------------------------------------------------------------------------------

    def _copy_records(self) -> None:
        """Copy what is missing of the records of every set that is in both buckets, whatever they tell."""
        for name, set_id in missing_records(self._source, self._place, self._there):
            key = self._place.key(name)
            with self._source.open(key) as handle:
                body = handle.read()
            try:
                parse_record(body, key)
            except CheckFailed as error:  # `list` tells it; it must not hold up what is good
                self._log(f"not copied to {self._target.name}: {error.what}")
                continue
            one = self._catalog.find(set_id)
            target = self._target if one is None else self._classed(one.manifest)
            target.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))


def _bucket(store: Store) -> S3Store:
    if isinstance(store, S3Store):
        return store
    raise AssertionError(f"{store.name} is no bucket: the settings allow `copied_from` between buckets only")


def _reach_both(sources: Iterable[S3Location], target: S3Location) -> bool:
    """Tell whether the credentials that write the target are also some of the source's, at the same service."""
    wanted = (target.endpoint_url, target.profile, target.credentials)
    return any(wanted == (one.endpoint_url, one.profile, one.credentials) for one in sources)
