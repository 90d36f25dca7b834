"""How does a slot get its RDS snapshot?"""

from __future__ import annotations

from datetime import datetime

from backup_assets.aws.answers import Exists
from backup_assets.aws.rds.api import RdsApi, Source
from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.settling import Log, Whole, clear_failed, found_of_ours, settled
from backup_assets.aws.rds.tagging import tags_of
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import SettingsError
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings
from backup_assets.slots import Slots


def take_snapshot(
    api: RdsApi,
    database: DatabaseSettings,
    rds: RdsSettings,
    env: str,
    slots: Slots,
    slot: str,
    now: datetime,
    log: Log,
) -> Whole | Waiting:
    """Begin the snapshot of a slot, or find the one that it has; return it once it is whole, else what is waited for.

    Raises Refused for a slot that is over and has none, Missing without the source, EnvironmentFault when the snapshot
    failed or takes too long, and the other errors of `answers.explained`.
    """
    name = snapshot_name(database.name, env, slot)
    found = found_of_ours(api, database, env, name, "snapshot")
    if not slots.is_current(slot, now) and found is not None:
        # Nothing could take the place of a failed one: it stays until the retention removes it.
        return settled(api, found, rds.snapshot_timeout_hours, now)
    slots.require_current(slot, now)
    found = clear_failed(api, found, log)
    if found is None:
        require_whole_source(api.source(rds.identifier))
        log(f"the snapshot {name} of the {api.kind} {rds.identifier} is begun")
        try:
            found = api.create_snapshot(rds.identifier, name, tags_of(database.name, env, slot, "snapshot", now))
        except Exists:
            # Another run of the slot was quicker.
            found = found_of_ours(api, database, env, name, "snapshot")
            if found is None:
                raise
    return settled(api, found, rds.snapshot_timeout_hours, now)


def require_whole_source(source: Source) -> None:
    """Raise SettingsError for a member of a cluster: RDS takes snapshots of the cluster only."""
    cluster = source.raw.get("DBClusterIdentifier") if source.kind == "instance" else None
    if cluster:
        raise SettingsError(
            f"{source.identifier} is a member of the cluster {cluster}",
            why="RDS takes snapshots of the whole cluster only",
            remedy=f"set `rds.cluster: {cluster}` in the place of `rds.instance`",
        )
