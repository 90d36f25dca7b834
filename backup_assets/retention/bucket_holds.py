"""How does a bucket that removes sets by its own lifecycle rules keep those that somebody holds?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from backup_assets.errors import BackupError
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, configured_store, store_named
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.place import Place
from backup_assets.sets.records import HoldRecord
from backup_assets.sets.retention_class import HELD, KEPT_DAYS, retention_class
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import AccessDenied

if TYPE_CHECKING:
    from backup_assets.stores.s3 import S3Store

#: As `stores/s3_location.py` names it; that module loads boto3, which only who has a bucket pays for.
_TAG = "retention"


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

    ``error`` is why not everything could be done: the role may not change tags, or the bucket does not answer.
    """

    changed: int = 0
    endings: tuple[Ending, ...] = ()
    error: BackupError | None = None


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
    is in force any more, it gets that of its set back. Where :func:`removes_by_class` is not true nothing is done.
    """
    if not removes_by_class(settings, store_name):
        return Kept()
    place, zone = place_of(database, settings), ZoneInfo(database.schedule.timezone)
    known = {one.id: one for one in sets}
    changed, error = 0, None
    try:
        store = _bucket(settings, store_name, writing=True)
        for one, wanted in _wanted(known, now, zone):
            for key in _keys(one, place):
                changed += _changed(store, key, wanted)
    except BackupError as raised:
        error = raised
    try:
        left = tuple(endings(database, settings, store_name, sets, now))
    except BackupError as raised:
        left, error = (), error or raised
    # A role that may not change tags matters only where something held would go.
    denied = isinstance(error, AccessDenied) and not left
    return Kept(changed, left, None if denied else error)


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
        for part in _with_needs(one, known):
            if part.id not in expires:
                expires[part.id] = _expires_at((store, tagging), place, part, known, zone)
            at = expires[part.id]
            if at is not None and (hold.until is None or at < hold.until):
                yield Ending(one.id, store_name, part.id, at, hold)


def _wanted(known: Mapping[str, BackupSet], now: datetime, zone: tzinfo) -> Iterator[tuple[BackupSet, str]]:
    """Yield each set that is or was held, or is needed by one, with the class that it should bear."""
    held = {part.id for one in known.values() if one.hold_at(now) is not None for part in _with_needs(one, known)}
    was_held = [one for one in known.values() if one.manifest.hold or _hold_records(one)]
    let_go = {part.id: part for one in was_held for part in _with_needs(one, known) if part.id not in held}
    yield from ((known[set_id], HELD) for set_id in sorted(held))
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


def _with_needs(one: BackupSet, known: Mapping[str, BackupSet]) -> list[BackupSet]:
    """Return a set and every one that it cannot be restored without, as far as they are there."""
    found = {one.id: one}
    waiting = [one]
    while waiting:
        for set_id in waiting.pop().manifest.needs:
            if set_id in known and set_id not in found:
                found[set_id] = known[set_id]
                waiting.append(known[set_id])
    return list(found.values())


def _hold_records(one: BackupSet) -> bool:
    return any(isinstance(record, HoldRecord) for record in one.records)


def _bucket(settings: Settings, store_name: str, *, writing: bool = False) -> S3Store:
    from backup_assets.stores.s3 import S3Store

    store = store_named(settings, store_name, writing=writing)
    assert isinstance(store, S3Store), f"{store_name} is no bucket"  # noqa: S101 - its settings say so
    return store
