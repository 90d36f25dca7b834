"""How does a slot get its RDS snapshot?"""

from __future__ import annotations

from datetime import datetime

from backup_assets.aws.answers import Busy, Exists
from backup_assets.aws.rds.api import RdsApi, Source
from backup_assets.aws.rds.backup_window import backup_window, move
from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.settling import Log, Whole, clear_failed, found_of_ours, settled
from backup_assets.aws.rds.tagging import tags_of
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import SettingsError
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings
from backup_assets.slots import Slots

#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
_BACKING_UP = "backing-up"


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
        source = api.source(rds.identifier)
        require_whole_source(source)
        log(f"the snapshot {name} of the {api.kind} {rds.identifier} is begun")
        try:
            found = api.create_snapshot(rds.identifier, name, tags_of(database.name, env, slot, "snapshot", now))
        except Exists:
            # Another run of the slot was quicker.
            found = found_of_ours(api, database, env, name, "snapshot")
            if found is None:
                raise
        except Busy as error:
            # What it says of the state is the same for every state: RDS says it where it describes the source.
            if source.status != _BACKING_UP and _BACKING_UP not in error.why:
                raise
            raise _busy_with_a_backup(api, name, source, database, rds, now, error.why) from error
    return settled(api, found, rds.snapshot_timeout_hours, now)


def _busy_with_a_backup(
    api: RdsApi, name: str, source: Source, database: DatabaseSettings, rds: RdsSettings, now: datetime, said: str
) -> Busy:
    """Return the error about a snapshot that RDS refuses because another backup of the source is under way."""
    zone = database.schedule.timezone
    window = backup_window(source, rds, zone, now)
    own = "its automated backup" + (f", which begins in its backup window, {window.shown}" if window else "")
    return Busy(
        f"could not take the snapshot {name} in {api.access.region}: {source.identifier} is {_BACKING_UP}",
        why=f"{said}; another backup of it is under way: {own}; or a snapshot that AWS Backup or somebody else takes",
        remedy=f"launch the slot again once {source.identifier} is available; where it happens again, move "
        f"`rds.snapshot_at` ({rds.snapshot_at} in {zone}) an hour and more behind that backup, or the window away from "
        f"it: {move(source)}",
    )


def require_whole_source(source: Source) -> None:
    """Raise SettingsError for a member of a cluster: RDS takes snapshots of the cluster only."""
    cluster = source.raw.get("DBClusterIdentifier") if source.kind == "instance" else None
    if cluster:
        raise SettingsError(
            f"{source.identifier} is a member of the cluster {cluster}",
            why="RDS takes snapshots of the whole cluster only",
            remedy=f"set `rds.cluster: {cluster}` in the place of `rds.instance`",
        )
