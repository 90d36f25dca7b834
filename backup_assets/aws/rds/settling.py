"""Is a snapshot or copy of ours whole, still being made, or failed?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from backup_assets.aws.rds.api import RdsApi, Snapshot
from backup_assets.aws.rds.tagging import RECORDED, STARTED, Role, is_ours, moment_of, moment_text
from backup_assets.aws.rds.work import Waiting, waiting_for
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.settings import DatabaseSettings

Log = Callable[[str], None]


@dataclass(frozen=True)
class Whole:
    """A snapshot or copy that RDS has finished: where it is, and how long that took as far as it is known.

    ``seconds`` is the time until a run first saw it whole, which is at most some minutes later than it was.
    """

    snapshot: Snapshot
    region: str
    seconds: float


def found_of_ours(api: RdsApi, database: DatabaseSettings, env: str, name: str, role: Role) -> Snapshot | None:
    """Return the snapshot of that name, or None; raises Refused when it is not ours, or not of this ``role``."""
    found = api.snapshot(name)
    if found is None:
        return None
    if is_ours(found.tags, database.name, env, role):
        _require_of_source(found, database)
        return found
    raise Refused(
        f"there is a snapshot {name} in {api.access.region} that does not bear our tags",
        why=f"it should be tagged `backup-assets:role` = {role} for the database {database.name}; a role without "
        "rds:ListTagsForResource sees no tags",
        remedy="allow rds:ListTagsForResource, or rename that snapshot if somebody else made it; nothing was changed",
    )


def _require_of_source(found: Snapshot, database: DatabaseSettings) -> None:
    """Raise Refused for the snapshot of an instance or cluster that the database was on before."""
    source = database.rds.identifier if database.rds else found.source
    if not found.is_of(source):
        raise Refused(
            f"the snapshot {found.identifier} in {found.region} is one of {found.source}, not of {source}",
            why=f"the database {database.name} was on {found.source} when the slot got it",
            remedy=f"the next slot gets one of {source}; until then, take one by hand in the RDS console",
        )


def clear_failed(api: RdsApi, found: Snapshot | None, log: Log) -> Snapshot | None:
    """Delete a failed snapshot of ours that was reported before, and return what is there afterwards."""
    if found is None or found.is_available or not found.is_over or RECORDED not in found.tags:
        return found
    log(f"{found.identifier} in {api.access.region} {found.status} before: it is deleted and begun again")
    api.delete_snapshot(found.identifier)
    return None


def settled(api: RdsApi, found: Snapshot, hours: float, now: datetime) -> Whole | Waiting:
    """Return a snapshot that is whole, or what is waited for.

    Raises EnvironmentFault when it failed, having noted that this was told, and when it takes longer than ``hours``.
    """
    region = api.access.region
    begun = moment_of(found.tags, STARTED) or found.taken_at
    if found.is_available:
        noticed = moment_of(found.tags, RECORDED) or now
        return Whole(found, region, max(0.0, (noticed - (begun or noticed)).total_seconds()))
    if not found.is_over:
        return waiting_for(f"the snapshot {found.identifier} in {region} is {found.status}", begun, hours, now)
    note_recorded(api, found, now)
    raise EnvironmentFault(
        f"the snapshot {found.identifier} in {region} {found.status}",
        why="RDS says so; its reason is among the events of the snapshot and of the database",
        remedy="read the events in the RDS console, mend what they name, and launch the slot again: that deletes the "
        "failed snapshot and begins anew",
    )


def note_recorded(api: RdsApi, snapshot: Snapshot, now: datetime) -> None:
    """Tag a snapshot as told; the first time stands."""
    if RECORDED not in snapshot.tags:
        api.tag(snapshot.arn, {RECORDED: moment_text(now)})
