"""Where is written down what a verification or a restore has found?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from backup_assets.errors import BackupError
from backup_assets.local import local_store
from backup_assets.named_stores import LOCAL
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.envelope import disclosed
from backup_assets.sets.place import META, Place, record_kind_of, set_id_of
from backup_assets.sets.records import DrillRecord, Record, VerificationRecord, parse_record, record_key
from backup_assets.settings import Settings
from backup_assets.stores.contract import Store


def store_record(
    store: Store,
    settings: Settings,
    place: Place,
    record: Record,
    log: Callable[[str], None],
    *,
    withheld: bool = False,
) -> str:
    """Store a record beside the set in ``store`` and return the name of the store that has it now.

    Who may only read there has it in the local store: a finding is not lost because it could not be written where it
    belongs. ``withheld`` is for a set that lies there encrypted: the store is told the outcome alone, and what was
    found goes to the local store. Raises as `Store.put` does when the local store takes it neither.
    """
    if withheld and disclosed(record) != record:
        store_record(local_store(settings), settings, place, record, log)
        record = disclosed(record)
    body = record.to_json()
    key = record_key(place, record)
    digest = hashlib.sha256(body).hexdigest()
    try:
        store.put(key, body, sha256=digest, size=len(body))
    except BackupError as error:
        if store.name == LOCAL:
            raise
        log(f"the {record.kind} is recorded in the local store, because {store.name} did not take it: {error.what}")
        local_store(settings).put(key, body, sha256=digest, size=len(body))
        return LOCAL
    return store.name


def verifications_of(settings: Settings, place: Place, chosen: BackupSet) -> tuple[VerificationRecord, ...]:
    """Return the verifications of a set: those where it was found, and those that the local store has of any copy.

    What is damaged there tells nothing. Raises as `Store.list` of the local store does.
    """
    return tuple(
        one for one in _records_of(settings, place, chosen, "verification") if isinstance(one, VerificationRecord)
    )


def drills_of(settings: Settings, place: Place, chosen: BackupSet) -> tuple[DrillRecord, ...]:
    """Return the drills of a set, as :func:`verifications_of` does its verifications."""
    return tuple(one for one in _records_of(settings, place, chosen, "drill") if isinstance(one, DrillRecord))


def _records_of(settings: Settings, place: Place, chosen: BackupSet, kind: str) -> Iterator[Record]:
    yield from chosen.records
    store = local_store(settings)
    for stored in store.list(place.key(META)):
        name = place.name(stored.key)
        if set_id_of(name) != chosen.id or record_kind_of(name) != kind:
            continue
        try:
            with store.open(stored.key) as handle:
                yield parse_record(handle.read(), stored.key)
        except BackupError:
            continue


def clock_note(set_id: str, ordered_at: datetime, what: str = "verification") -> str:
    """Return what is to be said of a verification that counts as of ``ordered_at`` and not as of its own time."""
    return (
        f"a {what} of {set_id} bears the time {ordered_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC and was made "
        "before this one began: a clock was wrong. This one counts as the later of the two; look at the clocks of all "
        "hosts that verify, drill or take backups"
    )


def put_record(store: Store, place: Place, record: Record) -> None:
    """Store a record in ``store`` and nowhere else; raises as `Store.put` does."""
    body = record.to_json()
    store.put(record_key(place, record), body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
