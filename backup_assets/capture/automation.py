"""When captures run: the jobs of one database and their schedules."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.capture.capture import local_store, place_of
from backup_assets.errors import BackupError
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.place import META, set_id_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.slots import Slots


def slots_of(database: DatabaseSettings, settings: Settings, now: datetime) -> Slots:
    """Return the slots of a database: from the configured day, else from its oldest set in the local store, else today.

    Only names are read, because this runs whenever Dagster loads the definitions.
    """
    schedule = database.schedule
    today = now.astimezone(ZoneInfo(schedule.timezone)).date()
    return Slots(schedule, schedule.since or _oldest_day(database, settings) or today)


def _oldest_day(database: DatabaseSettings, settings: Settings) -> date | None:
    if not settings.backup_dir.exists():
        return None
    place = place_of(database, settings)
    days = []
    try:
        for stored in local_store(settings).list(place.key(META)):
            set_id = set_id_of(place.name(stored.key))
            if set_id is not None:
                days.append(date.fromisoformat(BackupId.parse(set_id).slot[:10]))
    except BackupError:
        # Definitions load without a store; the capture itself says what is wrong with it.
        return None
    return min(days, default=None)


def build_backup_job(database: DatabaseSettings, copies: Sequence[Sequence[str]] = ()) -> UnresolvedAssetJobDefinition:
    """Return the job that takes a set, copies it (``copies`` are the keys of those assets) and proves it."""
    name = database.name
    assets = [[name, "db_dump"], [name, "globals"], [name, "metadata"]]
    if database.attachments is not None:
        assets.append([name, "pdf_archive"])
    if database.secrets is not None:
        assets.append([name, "secrets"])
    return dg.define_asset_job(
        f"{name}_backup_job",
        selection=dg.AssetSelection.assets(*assets, *copies),
        description=f"Take a backup set of `{database.database}` into the current slot, "
        + ("copy it to every further store, " if copies else "")
        + "and prove it by a restore.",
    )


def build_important_tables_job(
    database: DatabaseSettings, copies: Sequence[Sequence[str]] = ()
) -> UnresolvedAssetJobDefinition:
    """Return the job that takes, copies and proves the weekly set of the important tables."""
    return dg.define_asset_job(
        f"{database.name}_important_tables_job",
        selection=dg.AssetSelection.assets([database.name, "important_tables"], *copies),
        description="Take the weekly set of the important tables, "
        + ("copy it to every further store, " if copies else "")
        + "and prove it by a restore.",
    )


def build_schedule(
    name: str, job: UnresolvedAssetJobDefinition, slots: Slots, *, running: bool
) -> dg.ScheduleDefinition:
    """Return the schedule that requests the slot which is current at its tick; `running` is its first state."""
    status = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=slots.cron,
        execution_timezone=slots.cron_timezone,
        default_status=status,
        description=f"Into the slot that is current at `{slots.cron}` ({slots.cron_timezone}).",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        key = slots.current_key(context.scheduled_execution_time)
        return dg.RunRequest(run_key=key, partition_key=key)

    return schedule
