"""How is a set held against the retention in every store that has it, and released again?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from backup_assets import __version__
from backup_assets.errors import BackupError, Refused
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.restore.recording import put_record
from backup_assets.retention.bucket_holds import Ending, keep_held, removes_by_class
from backup_assets.sets.catalog import NoSuchSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import HoldRecord, Record, ReleaseRecord
from backup_assets.settings import DatabaseSettings, Settings


@dataclass(frozen=True)
class Placed:
    """What one store did with a hold or release: ``absent`` means that it does not have the set.

    ``endings`` is what the store removes by itself although this set is held, or needs it; ``error`` may be why.
    """

    store: str
    state: Literal["recorded", "absent", "failed"]
    error: BackupError | None = None
    endings: tuple[Ending, ...] = ()


@dataclass(frozen=True)
class Held:
    """A set that was held or released: what every store did, and the hold that is in force now where it was found."""

    set_id: str
    stores: tuple[Placed, ...]
    hold: Hold | None

    @property
    def is_well(self) -> bool:
        """Whether every store that has the set knows of it, and keeps it."""
        return all(one.error is None and not one.endings for one in self.stores)


def place_hold(
    database: DatabaseSettings, settings: Settings, selector: str, hold: Hold, *, now: datetime | None = None
) -> Held:
    """Hold the set that ``selector`` means in every store that has it, from now until ``hold.until``.

    Raises Refused for an end that has passed, NoSuchSet when no store has the set. A store that does not answer, or
    whose role may not write, is among the results with its error.
    """
    moment = now or datetime.now(UTC)
    if hold.until is not None and hold.until <= moment:
        raise Refused(
            "the hold would be over already",
            why=f"it ends {hold.until.isoformat()}",
            remedy="give a later --until, or leave it out",
        )

    def record(set_id: str) -> Record:
        return HoldRecord(
            set_id=set_id, tool_version=__version__, placed_at=moment, reason=hold.reason, until=hold.until
        )

    return _recorded(database, settings, selector, record, moment)


def release_holds(
    database: DatabaseSettings, settings: Settings, selector: str, reason: str, *, now: datetime | None = None
) -> Held:
    """End every hold of the set that ``selector`` means, its own included, in every store that has it.

    Raises NoSuchSet when no store has the set. A hold whose record is damaged cannot be released: it stays in force.
    """
    moment = now or datetime.now(UTC)

    def record(set_id: str) -> Record:
        return ReleaseRecord(set_id=set_id, tool_version=__version__, released_at=moment, reason=reason)

    return _recorded(database, settings, selector, record, moment)


def _recorded(
    database: DatabaseSettings,
    settings: Settings,
    selector: str,
    record: Callable[[str], Record],
    now: datetime,
) -> Held:
    place = place_of(database, settings)
    set_id, found_in = _found(database, settings, selector)
    placed: list[Placed] = []
    for name in _names(settings):
        try:
            if store_named(settings, name).stat(place.manifest_key(set_id)) is None:
                placed.append(Placed(name, "absent"))
                continue
            put_record(store_named(settings, name, writing=True), place, record(set_id))
            placed.append(_recorded_in(database, settings, name, (set_id, found_in), now))
        except BackupError as error:
            placed.append(Placed(name, "failed", error))
    one = catalog_in(store_named(settings, found_in), place).find(set_id)
    return Held(set_id, tuple(placed), one.hold_at(now) if one else None)


def _recorded_in(
    database: DatabaseSettings, settings: Settings, store_name: str, found: tuple[str, str], now: datetime
) -> Placed:
    """Return what came of a record that was just put, the bucket's own rules considered.

    ``found`` is the set's id, and a store that could be read: of a bucket into which this role may only write it tells
    what lies there.
    """
    if not removes_by_class(settings, store_name):
        return Placed(store_name, "recorded")
    place, (set_id, found_in) = place_of(database, settings), found
    store = store_named(settings, store_name)
    sets = {one.id: one for one in catalog_in(store, place).sets()}
    readable = catalog_in(store_named(settings, found_in), place)
    chosen = readable.find(set_id)
    for needed in () if chosen is None else (chosen.id, *readable.closure_ids(chosen)):
        known = readable.find(needed)
        if needed not in sets and known is not None and store.stat(place.manifest_key(needed)) is not None:
            sets[needed] = known
    kept = keep_held(database, settings, store_name, list(sets.values()), now)
    return Placed(store_name, "recorded", kept.error, tuple(one for one in kept.endings if one.set_id == set_id))


def _found(database: DatabaseSettings, settings: Settings, selector: str) -> tuple[str, str]:
    """Return the set's id and the first store that knows what ``selector`` means."""
    place = place_of(database, settings)
    missing: BackupError | None = None
    for name in _names(settings):
        try:
            return catalog_in(store_named(settings, name), place).resolve(selector, complete_only=False).id, name
        except NoSuchSet as error:
            missing = missing or error
        except BackupError:
            # A local store that cannot be read is told; a further one is only asked for what the others do not have.
            if name == LOCAL:
                raise
    raise missing or NoSuchSet(f"there is no set {selector!r}")


def _names(settings: Settings) -> tuple[str, ...]:
    return (LOCAL, *(store.name for store in settings.stores))
