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
from backup_assets.sets.catalog import NoSuchSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import HoldRecord, Record, ReleaseRecord
from backup_assets.settings import DatabaseSettings, Settings


@dataclass(frozen=True)
class Placed:
    """What one store did with a hold or release: ``absent`` means that it does not have the set."""

    store: str
    state: Literal["recorded", "absent", "failed"]
    error: BackupError | None = None


@dataclass(frozen=True)
class Held:
    """A set that was held or released: what every store did, and the hold that is in force now where it was found."""

    set_id: str
    stores: tuple[Placed, ...]
    hold: Hold | None

    @property
    def is_well(self) -> bool:
        """Whether every store that has the set knows of it."""
        return all(one.error is None for one in self.stores)


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
            placed.append(Placed(name, "recorded"))
        except BackupError as error:
            placed.append(Placed(name, "failed", error))
    one = catalog_in(store_named(settings, found_in), place).find(set_id)
    return Held(set_id, tuple(placed), one.hold_at(now) if one else None)


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
