"""For which snapshots and copies is something to be told that no run has told yet?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from backup_assets.aws.rds.api import RdsApi, Snapshot
from backup_assets.aws.rds.copies import in_account, in_copies
from backup_assets.aws.rds.tagging import RECORDED, SLOT, STARTED, Role, is_ours, moment_of
from backup_assets.aws.rds.work import Pending
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings

#: A run that told of a snapshot begins its copy within seconds; if none is there by then, that run did not get so far.
COPY_BEGINS_WITHIN = timedelta(minutes=10)


def pending_snapshots(
    api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, now: datetime
) -> tuple[Pending, ...]:
    """Return the slots whose snapshot is over or overdue without any run having seen it so."""
    return tuple(_events(api, _ours(api, database, env, "snapshot"), rds, now))


def pending_copies(
    api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, now: datetime
) -> tuple[Pending, ...]:
    """Return the slots of which a copy is over or overdue without any run having seen it so.

    And the newest, when its snapshot is whole and no copy was begun: the run that should have is gone.
    """
    if rds.copies is None:
        return ()
    target, other = in_copies(api, rds.copies), in_account(api, rds.copies)
    copies = _ours(target, database, env, "copy")
    found = [*_events(target, copies, rds, now)]
    if other is not None:
        found += _events(other, _ours(other, database, env, "copy"), rds, now)
    copied = {one.tags.get(SLOT) for one in copies}
    for newest in _ours(api, database, env, "snapshot")[:1]:
        told = moment_of(newest.tags, RECORDED)
        late = told is not None and now - told > COPY_BEGINS_WITHIN
        if newest.is_available and late and newest.tags.get(SLOT) not in copied:
            text = f"{newest.identifier} is not copied to {rds.copies.region} yet"
            found.append(Pending(newest.tags.get(SLOT, ""), f"{newest.identifier}/not-copied", text))
    return tuple(found)


def _ours(api: RdsApi, database: DatabaseSettings, env: str, role: Role) -> tuple[Snapshot, ...]:
    return tuple(one for one in api.manual_snapshots() if is_ours(one.tags, database.name, env, role))


def _events(api: RdsApi, found: Iterable[Snapshot], rds: RdsSettings, now: datetime) -> Iterator[Pending]:
    where = f"{api.access.profile}/{api.access.region}" if api.access.profile else api.access.region
    for one in found:
        event = _event(one, rds, now)
        slot = one.tags.get(SLOT)
        if event is None or slot is None:
            continue
        begun = one.tags.get(STARTED, "")
        what = f"{one.identifier} in {api.access.region} is {event}"
        yield Pending(slot, f"{one.identifier}/{where}/{begun}/{event}", what)


def _event(one: Snapshot, rds: RdsSettings, now: datetime) -> str | None:
    if one.is_over:
        return None if RECORDED in one.tags else one.status
    begun = moment_of(one.tags, STARTED) or one.taken_at
    overdue = begun is not None and now - begun >= timedelta(hours=rds.snapshot_timeout_hours)
    return "overdue" if overdue else None
