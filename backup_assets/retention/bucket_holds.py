"""How does a bucket that removes sets by its own lifecycle rules keep those that somebody holds?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from backup_assets.errors import AccessDenied, BackupError, CheckFailed, TransientFault
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, configured_store, store_named
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.place import META, Place, is_manifest, record_kind_of, set_id_of
from backup_assets.sets.records import HoldRecord, record_key
from backup_assets.sets.retention_class import HELD, KEPT_DAYS, retention_class
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import MissingObject

if TYPE_CHECKING:
    from backup_assets.stores.s3 import S3Store

#: As `stores/s3_location.py` names it; that module loads boto3, which only who has a bucket pays for.
_TAG = "retention"
#: As the alert `hold_expires`: so long before something held goes, somebody has to see to it.
SOON = timedelta(days=30)


@dataclass(frozen=True)
class Ending:
    """A held set that a bucket removes before its hold is over, or a set that it cannot be restored without.

    ``part`` is the set whose objects go around ``at``; ``hold`` is what is in force for ``set_id``.
    """

    set_id: str
    store: str
    part: str
    at: datetime
    hold: Hold


@dataclass(frozen=True)
class Kept:
    """What was done so that a bucket keeps what is held: how many objects got another class, and what it removes still.

    ``error`` is why nothing more could be done: the bucket does not answer. ``failed`` are, by set, why not everything
    of it could be: an object is missing, or the role may not change tags, and the set would go.
    """

    changed: int = 0
    endings: tuple[Ending, ...] = ()
    error: BackupError | None = None
    failed: Mapping[str, BackupError] = field(default_factory=dict)

    def error_of(self, set_ids: Iterable[str]) -> BackupError | None:
        """Return why not everything of these sets could be done, or None."""
        return self.error or next((self.failed[set_id] for set_id in set_ids if set_id in self.failed), None)

    def trouble(self, store_name: str, now: datetime) -> BackupError | None:
        """Return one error for what somebody has to see to by now, or None.

        That a bucket removes something held in a distant future is told by `hold`, and by `doctor` every time.
        """
        if self.error is not None:
            return self.error
        causes = [f"{e.what}: {e.why}" for e in self.failed.values() if not isinstance(e, AccessDenied)]
        causes += [
            f"{ending.set_id} is held, and the lifecycle rules remove {ending.part} around {ending.at:%Y-%m-%d}"
            for ending in self.endings
            if ending.at - now < SOON
        ]
        if not causes:
            return None
        return CheckFailed(
            f"{store_name} does not keep everything that is held",
            why="; ".join(causes),
            remedy="copy again what is missing there; repeat `backup-assets hold` with a role that may tag objects, or "
            "copy the set elsewhere before then: docs/retention.md, Holds in a bucket",
        )


def removes_by_class(settings: Settings, store_name: str) -> bool:
    """Tell whether lifecycle rules remove the sets of a store by the class that they bear."""
    if store_name == LOCAL:
        return False
    configured = configured_store(settings, store_name)
    return configured.kind == "s3" and configured.retention_tags


def keep_held(
    database: DatabaseSettings, settings: Settings, store_name: str, sets: Sequence[BackupSet], now: datetime
) -> Kept:
    """Make a bucket keep what is held among its ``sets``, and let go what is held no longer.

    Every object of a held set, and of those that it needs, gets the class `held`, which no rule removes; when no hold
    is in force any more, it gets that of its set back, unless the bucket may know of one that is not among the ``sets``
    (:class:`_Unread`). Where :func:`removes_by_class` is not true nothing is done.
    """
    if not removes_by_class(settings, store_name):
        return Kept()
    place, zone = place_of(database, settings), ZoneInfo(database.schedule.timezone)
    known = {one.id: one for one in sets}
    changed, error = 0, None
    failed: dict[str, BackupError] = {}
    left: tuple[Ending, ...] = ()
    try:
        store = _bucket(settings, store_name, writing=True)
        for one, wanted in _wanted(known, _Unread(_bucket(settings, store_name), place, known), now, zone):
            tagged, failure = _tagged(store, one, place, wanted)
            changed += tagged
            failed |= {one.id: failure} if failure is not None else {}
    except BackupError as raised:
        error = raised
    try:
        left = tuple(endings(database, settings, store_name, sets, now))
    except BackupError as raised:
        error = error or raised
    # A role that may not change tags matters only where something held would go.
    going = {ending.part for ending in left}
    failed = {part: one for part, one in failed.items() if part in going or not isinstance(one, AccessDenied)}
    return Kept(changed, left, error, failed)


def _tagged(store: S3Store, one: BackupSet, place: Place, wanted: str) -> tuple[int, BackupError | None]:
    """Give every object of a set the class that is wanted; return how many got another one, and what failed.

    One object that fails keeps no other from its class. Raises TransientFault: a bucket that is away is so for all.
    """
    changed, missing = 0, list[str]()
    failure: BackupError | None = None
    for key in _keys(one, place):
        try:
            changed += _changed(store, key, wanted)
        except TransientFault:
            raise
        except MissingObject:
            missing.append(key)
        except BackupError as raised:
            failure = failure or raised
    if missing and wanted == HELD:  # of a set that is let go nobody needs it
        failure = CheckFailed(
            f"the set {one.id}, which is held or needed by one that is, is not whole in {store.name}",
            why=f"there is no {', '.join(missing)}",
            remedy=f"materialize the copy to {store.name} for the slot {one.manifest.slot}, or hold the set elsewhere",
        )
    return changed, failure


def endings(
    database: DatabaseSettings, settings: Settings, store_name: str, sets: Sequence[BackupSet], now: datetime
) -> Iterator[Ending]:
    """Yield what a bucket removes although it is held, or a held set needs it; by the days that our own rules have.

    Where the role may not read tags, the class is the one with which the set was stored. Raises as `Store.stat` does.
    """
    if not removes_by_class(settings, store_name):
        return
    # Where roles are kept apart, it may be the other one that may read tags.
    store, tagging = _bucket(settings, store_name), _bucket(settings, store_name, writing=True)
    place = place_of(database, settings)
    zone = ZoneInfo(database.schedule.timezone)
    known = {one.id: one for one in sets}
    expires: dict[str, datetime | None] = {}
    for one in sets:
        hold = one.hold_at(now)
        if hold is None:
            continue
        for part in with_needs(one, known):
            if part.id not in expires:
                expires[part.id] = _expires_at((store, tagging), place, part, known, zone)
            at = expires[part.id]
            if at is not None and (hold.until is None or at < hold.until):
                yield Ending(one.id, store_name, part.id, at, hold)


class _Unread:
    """What a bucket lists, and is not among the sets that are ``known``: this role cannot read it, or it is damaged."""

    def __init__(self, store: S3Store, place: Place, known: Mapping[str, BackupSet]) -> None:
        self._store = store
        self._place = place
        self._known = known

    @cached_property
    def _names(self) -> Sequence[str]:
        return [self._place.name(stored.key) for stored in self._store.list(self._place.key(META))]

    @cached_property
    def _holds(self) -> Mapping[str | None, Counter[str]]:
        """How many holds of which time lie there, by set."""
        found: dict[str | None, Counter[str]] = {}
        for name in self._names:
            if record_kind_of(name) == "hold":
                found.setdefault(set_id_of(name), Counter())[_without_tag(name)] += 1
        return found

    @cached_property
    def _sets(self) -> bool:
        return any(is_manifest(name) and set_id_of(name) not in self._known for name in self._names)

    def may_hold(self, one: BackupSet) -> bool:
        """Tell whether somebody may hold a set whom nobody here knows of; raises as `Store.list` does.

        There may be a hold of it that was not read, or a set that was not read may be held and need its full archive.
        """
        names = (self._place.name(record_key(self._place, record)) for record in _hold_records(one))
        read = Counter(_without_tag(name) for name in names)
        attachments = one.manifest.attachments
        needed = attachments is not None and attachments.mode == "full"
        return not self._holds.get(one.id, Counter()) <= read or (needed and self._sets)


def _without_tag(name: str) -> str:
    # An older version may have written the same record in another form, with another tag.
    return name.rpartition("-")[0]


def _wanted(
    known: Mapping[str, BackupSet], unread: _Unread, now: datetime, zone: tzinfo
) -> Iterator[tuple[BackupSet, str]]:
    """Yield each set that is or was held, or is needed by one, with the class that it should bear.

    None of which ``unread`` says that it may be held: it stays as it is, and so does what it needs.
    """
    held = {part.id for one in known.values() if one.hold_at(now) is not None for part in with_needs(one, known)}
    was_held = [one for one in known.values() if one.manifest.hold or _hold_records(one)]
    yield from ((known[set_id], HELD) for set_id in sorted(held))
    let_go = {part.id: part for one in was_held for part in with_needs(one, known) if part.id not in held}
    if let_go:
        stay = {part.id for one in known.values() if unread.may_hold(one) for part in with_needs(one, known)}
        let_go = {set_id: one for set_id, one in let_go.items() if set_id not in stay}
    manifests = [one.manifest for one in known.values()]
    # Those that others need go last, as everywhere: they are known only through those that need them.
    for one in sorted(let_go.values(), key=lambda one: (bool(one.manifest.needs), one.id)):
        yield one, retention_class(one.manifest, manifests, zone)


def _changed(store: S3Store, key: str, wanted: str) -> bool:
    """Give an object the class that is wanted; never one that is removed sooner, unless it was held."""
    tags = store.tags_of(key)
    found = tags.get(_TAG)
    # Without a class no rule removes it; with one that nobody held it stays as it was stored.
    if found is None or found == wanted or (wanted != HELD and found != HELD):
        return False
    store.put_tags(key, {**tags, _TAG: wanted})
    return True


def _expires_at(
    stores: tuple[S3Store, S3Store], place: Place, one: BackupSet, known: Mapping[str, BackupSet], zone: tzinfo
) -> datetime | None:
    found: list[datetime] = []
    for key in _keys(one, place):
        stored = stores[0].stat(key)
        if stored is None:
            continue
        retention, may_read = _tag_of(stores, key)
        if not may_read:
            retention = retention_class(one.manifest, [other.manifest for other in known.values()], zone)
        days = next((days for name, days in KEPT_DAYS.items() if name == retention), None)
        if days is not None:
            found.append(stored.stored_at + timedelta(days=days))
    return min(found, default=None)


def _tag_of(stores: tuple[S3Store, S3Store], key: str) -> tuple[str | None, bool]:
    """Return the class that an object bears, and whether one of the roles may read it."""
    for store in stores:
        try:
            return store.tags_of(key).get(_TAG), True
        except AccessDenied:
            continue
    return None, False


def _keys(one: BackupSet, place: Place) -> Iterator[str]:
    stored = one.envelope or one.manifest
    yield place.manifest_key(one.id)
    yield from (place.key(artifact.name) for artifact in stored.artifacts)


def with_needs(one: BackupSet, known: Mapping[str, BackupSet]) -> list[BackupSet]:
    """Return a set and every one that it cannot be restored without, as far as they are there."""
    found = {one.id: one}
    waiting = [one]
    while waiting:
        for set_id in waiting.pop().manifest.needs:
            if set_id in known and set_id not in found:
                found[set_id] = known[set_id]
                waiting.append(known[set_id])
    return list(found.values())


def _hold_records(one: BackupSet) -> list[HoldRecord]:
    return [record for record in one.records if isinstance(record, HoldRecord)]


def _bucket(settings: Settings, store_name: str, *, writing: bool = False) -> S3Store:
    from backup_assets.stores.s3 import S3Store

    store = store_named(settings, store_name, writing=writing)
    assert isinstance(store, S3Store), f"{store_name} is no bucket"  # noqa: S101 - its settings say so
    return store
