"""How does a store come to know of holds that only another store knows of, before anything is deleted from it?

A hold reaches every store that answers when it is placed. Where one did not, or where it was placed from another host,
the stores disagree; and the next time the one that knows may not answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_assets import __version__
from backup_assets.errors import BackupError
from backup_assets.local import place_of
from backup_assets.named_stores import store_named
from backup_assets.restore.recording import put_record
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.place import Place
from backup_assets.sets.records import HoldRecord, record_key
from backup_assets.settings import DatabaseSettings, Settings


@dataclass(frozen=True)
class Carried:
    """The ids of the sets whose holds were written into a store, and why one could not be."""

    set_ids: tuple[str, ...] = ()
    error: BackupError | None = None


def carry_holds(
    database: DatabaseSettings,
    settings: Settings,
    store_name: str,
    stores: Mapping[str, Sequence[BackupSet]],
    now: datetime,
) -> Carried:
    """Write into a store the holds in force at ``now`` that other ``stores`` know of its sets, and it does not.

    Releases are not carried: what is held in one store stays there until it is released there.
    """
    place = place_of(database, settings)
    own = {one.id: one for one in stores.get(store_name, ())}
    carried: list[str] = []
    try:
        for other in (one for name, sets in stores.items() if name != store_name for one in sets):
            known = own.get(other.id)
            if known is None or other.hold_at(now) is None:
                continue
            for record in _missing(place, other, known, now):
                put_record(store_named(settings, store_name, writing=True), place, record)
                carried.append(other.id)
    except BackupError as error:
        return Carried(tuple(dict.fromkeys(carried)), error)
    return Carried(tuple(dict.fromkeys(carried)))


def _missing(place: Place, other: BackupSet, known: BackupSet, now: datetime) -> Iterator[HoldRecord]:
    """Yield the holds of ``other`` that ``known``, the same set in the store, does not have."""
    yield from (record for record in other.hold_records_at(now) if record not in known.records)
    keys = {record_key(place, record) for record in known.records}
    damaged = [damage for damage in other.damaged_records if damage.kind == "hold" and damage.key not in keys]
    if damaged and known.hold_at(now) is None:
        # How long it was meant to last nobody knows: here too it holds until it is released.
        reason = f"a hold that is damaged in another store: {damaged[0].key}"
        yield HoldRecord(set_id=known.id, tool_version=__version__, placed_at=now, reason=reason)
