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
#: Most slots whose copy is made later, once what stood in its way is gone.
_MADE_LATER = 7


def pending_snapshots(
    api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, now: datetime
) -> tuple[Pending, ...]:
    """Return the slots whose snapshot is over or overdue without any run having seen it so."""
    return tuple(_events(api, _ours(api, database, rds, env, "snapshot"), rds, now))


def pending_copies(
    api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, now: datetime
) -> tuple[Pending, ...]:
    """Return the slots of which a copy is over or overdue without any run having seen it so.

    And those that have no whole copy, although one of a later slot is whole: what stood in the way is gone. Of as many
    days only as the retention keeps one by one, for it would delete an older copy again.
    """
    if rds.copies is None:
        return ()
    found: list[Pending] = []
    snapshots = _ours(api, database, rds, env, "snapshot")[: min(_MADE_LATER, database.retention.daily)]
    for target in (in_copies(api, rds.copies), in_account(api, rds.copies)):
        if target is None:
            continue
        copies = _ours(target, database, rds, env, "copy")
        found += _events(target, copies, rds, now)
        found += _gaps(snapshots, copies, target)
    return tuple(found)


def _gaps(snapshots: Iterable[Snapshot], copies: Iterable[Snapshot], target: RdsApi) -> Iterator[Pending]:
    has = {one.tags.get(SLOT) for one in copies if one.is_available or not one.is_over}
    whole = max((one.tags.get(SLOT, "") for one in copies if one.is_available), default="")
    for one in snapshots:
        slot = one.tags.get(SLOT, "")
        if one.is_available and RECORDED in one.tags and slot not in has and slot < whole:
            text = f"{one.identifier} has no copy in {target.access.region}, and that of {whole} is whole"
            # Once for each later copy: where it still cannot be made, it is tried again tomorrow.
            yield Pending(slot, f"{one.identifier}/{_where(target)}/not-copied/{whole}", text)


def uncopied_snapshot(
    api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, now: datetime
) -> tuple[Pending, ...]:
    """Return the newest slot when its snapshot is whole and no copy was begun: the run that should have is gone."""
    if rds.copies is None:
        return ()
    for newest in _ours(api, database, rds, env, "snapshot")[:1]:
        told, slot = moment_of(newest.tags, RECORDED), newest.tags.get(SLOT, "")
        if not newest.is_available or told is None or now - told <= COPY_BEGINS_WITHIN:
            continue
        if slot not in {one.tags.get(SLOT) for one in _ours(in_copies(api, rds.copies), database, rds, env, "copy")}:
            text = f"{newest.identifier} is not copied to {rds.copies.region} yet"
            return (Pending(slot, f"{newest.identifier}/not-copied", text),)
    return ()


def _ours(api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, role: Role) -> tuple[Snapshot, ...]:
    """Return those of the instance or cluster that the database is on now: a run refuses all others."""
    found = (one for one in api.manual_snapshots() if is_ours(one.tags, database.name, env, role))
    return tuple(one for one in found if one.is_of(rds.identifier))


def _events(api: RdsApi, found: Iterable[Snapshot], rds: RdsSettings, now: datetime) -> Iterator[Pending]:
    where = _where(api)
    for one in found:
        event = _event(one, rds, now)
        slot = one.tags.get(SLOT)
        if event is None or slot is None:
            continue
        begun = one.tags.get(STARTED, "")
        what = f"{one.identifier} in {api.access.region} is {event}"
        yield Pending(slot, f"{one.identifier}/{where}/{begun}/{event}", what)


def _where(api: RdsApi) -> str:
    return f"{api.access.profile}/{api.access.region}" if api.access.profile else api.access.region


def _event(one: Snapshot, rds: RdsSettings, now: datetime) -> str | None:
    if one.is_over:
        return None if RECORDED in one.tags else one.status
    begun = moment_of(one.tags, STARTED) or one.taken_at
    overdue = begun is not None and now - begun >= timedelta(hours=rds.snapshot_timeout_hours)
    return "overdue" if overdue else None
