"""How is a set held against the retention in every store that has it, and released again?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from backup_assets import __version__
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.restore.recording import put_record
from backup_assets.retention.bucket_holds import Ending, keep_held, removes_by_class, with_needs
from backup_assets.retention.meant import Meant, meant_by, store_names
from backup_assets.retention.unread import sets_as_known
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.place import META, Place, record_kind_of, set_id_of
from backup_assets.sets.record_order import moment_after
from backup_assets.sets.records import HoldRecord, Record, ReleaseRecord, parse_record
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import AccessDenied, Store


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

    Raises Refused for an end that has passed, and as :func:`meant_by` does when it is not one set that is meant. A
    store that does not answer, or whose role may not write, is among the results with its error.
    """
    moment = now or datetime.now(UTC)
    if hold.until is not None and hold.until <= moment:
        raise Refused(
            "the hold would be over already",
            why=f"it ends {hold.until.isoformat()}",
            remedy="give a later --until, or leave it out",
        )

    def record(one: BackupSet, known: Sequence[Record]) -> Record:
        releases = (record.order for record in known if isinstance(record, ReleaseRecord))
        return HoldRecord(
            set_id=one.id,
            tool_version=__version__,
            placed_at=moment,
            ordered_at=moment_after(releases, moment),
            reason=hold.reason,
            until=hold.until,
        )

    return _recorded(database, settings, selector, record, moment)


def release_holds(
    database: DatabaseSettings, settings: Settings, selector: str, reason: str, *, now: datetime | None = None
) -> Held:
    """End every hold of the set that ``selector`` means, its own included, in every store that has it.

    Raises as :func:`meant_by` does when it is not one set that is meant. A hold whose record is damaged cannot be
    released: it stays in force.
    """
    moment = now or datetime.now(UTC)

    def record(one: BackupSet, known: Sequence[Record]) -> Record:
        holds = [record.order for record in known if isinstance(record, HoldRecord)]
        own = [one.manifest.generated_at] if one.manifest.hold else []
        return ReleaseRecord(
            set_id=one.id,
            tool_version=__version__,
            released_at=moment,
            ordered_at=moment_after((*holds, *own), moment),
            reason=reason,
        )

    return _recorded(database, settings, selector, record, moment)


def _recorded(
    database: DatabaseSettings,
    settings: Settings,
    selector: str,
    record: Callable[[BackupSet, Sequence[Record]], Record],
    now: datetime,
) -> Held:
    place = place_of(database, settings)
    meant = meant_by(database, settings, selector)
    set_id = meant.one.id
    placed: list[Placed] = []
    for name in store_names(settings):
        try:
            store = store_named(settings, name)
            if store.stat(place.manifest_key(set_id)) is None:
                placed.append(Placed(name, "absent"))
                continue
            known = (*meant.one.records, *_wishes_in(store, place, set_id))
            put_record(store_named(settings, name, writing=True), place, record(meant.one, known))
            placed.append(_recorded_in(database, settings, name, meant, now))
        except BackupError as error:
            placed.append(Placed(name, "failed", error))
    one = catalog_in(store_named(settings, meant.store), place).find(set_id)
    return Held(set_id, tuple(placed), one.hold_at(now) if one else None)


def _wishes_in(store: Store, place: Place, set_id: str) -> Iterator[Record]:
    """Yield the holds and releases of a set that a store has and that can be read there: the new one counts after."""
    for stored in store.list(place.key(META)):
        name = place.name(stored.key)
        if set_id_of(name) == set_id and record_kind_of(name) in {"hold", "release"}:
            # What cannot be read, or may not be, has no order; a damaged hold holds whatever comes after it.
            with suppress(CheckFailed, AccessDenied), store.open(stored.key) as handle:
                yield parse_record(handle.read(), stored.key)


def _recorded_in(
    database: DatabaseSettings, settings: Settings, store_name: str, meant: Meant, now: datetime
) -> Placed:
    """Return what came of a record that was just put, the bucket's own rules considered.

    ``meant`` is the set in a store that could be read: of a bucket into which this role may only write it tells what
    lies there.
    """
    if not removes_by_class(settings, store_name):
        return Placed(store_name, "recorded")
    place, set_id = place_of(database, settings), meant.one.id
    store = store_named(settings, store_name)
    sets = sets_as_known(store, place, catalog_in(store_named(settings, meant.store), place).sets())
    kept = keep_held(database, settings, store_name, sets, now)
    parts = [part.id for part in with_needs(meant.one, {one.id: one for one in sets})]
    left = tuple(one for one in kept.endings if one.set_id == set_id)
    return Placed(store_name, "recorded", kept.error_of(parts), left)
