"""When captures run: the jobs of one database and their schedules."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError
from backup_assets.local import local_store, place_of
from backup_assets.queueing import Purpose, job_tags, scheduled_tags
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.place import META, set_id_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS
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


def backup_assets_of(database: DatabaseSettings) -> list[list[str]]:
    """Return the keys of the assets that one capture materializes."""
    name = database.name
    assets = [[name, "db_dump"], [name, "globals"], [name, "metadata"]]
    if database.attachments is not None:
        assets.append([name, "pdf_archive"])
    if database.secrets is not None:
        assets.append([name, "secrets"])
    return assets


def capture_selection(database: DatabaseSettings, *others: Sequence[str]) -> dg.AssetSelection:
    """Return one capture with its checks, and the assets of the keys ``others`` with theirs.

    Without the checks of `metadata`: they are about all sets and stores, and the watch measures them when the copies
    are there.
    """
    last = [database.name, "metadata"]
    selected = dg.AssetSelection.assets(*(key for key in backup_assets_of(database) if key != last), *others)
    return selected | dg.AssetSelection.assets(last).without_checks()


def build_backup_job(database: DatabaseSettings, copies: Sequence[Sequence[str]] = ()) -> UnresolvedAssetJobDefinition:
    """Return the job that takes a set, copies it (``copies`` are the keys of those assets) and proves it."""
    return define_database_job(
        database.name,
        f"{database.name}_backup_job",
        page="docs/schedules.md",
        selection=capture_selection(database, *copies),
        tags=job_tags("backup", database),
        description=f"Take a backup set of `{database.database}` into the current slot, "
        + ("copy it to every further store, " if copies else "")
        + "and prove it by a restore. A backup is of now: a past slot stays as it is. By hand, in the launchpad: "
        "`label` says why it was taken, `hold` keeps it whatever the retention says, `hold_until` says until when.",
    )


def build_important_tables_job(
    database: DatabaseSettings, copies: Sequence[Sequence[str]] = ()
) -> UnresolvedAssetJobDefinition:
    """Return the job that takes, copies and proves the weekly set of the important tables."""
    return define_database_job(
        database.name,
        f"{database.name}_important_tables_job",
        page="docs/schedules.md",
        selection=dg.AssetSelection.assets([database.name, "important_tables"], *copies),
        tags=job_tags("backup", database),
        description="Take the weekly set of the important tables, "
        + ("copy it to every further store, " if copies else "")
        + "and prove it by a restore.",
    )


def build_schedule(
    name: str,
    job: UnresolvedAssetJobDefinition,
    slots: Slots,
    *,
    running: bool,
    tags: Mapping[str, str] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dg.ScheduleDefinition:
    """Return the schedule that requests the slot which is current at its tick; `running` is its first state.

    After an outage Dagster evaluates the newest tick that was missed, and only that. Where its slot still lasts, the
    backup is taken late; where the slot is over, nothing is started, because it could only be refused.
    """
    status = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=slots.cron,
        execution_timezone=slots.cron_timezone,
        default_status=status,
        owners=OWNERS,
        description=f"Launches {job.name} for the slot that is current at the tick ({slots.cron_timezone}). After an "
        "outage a slot that still lasts is filled late, and one that is over stays empty.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        key, now = slots.current_key(context.scheduled_execution_time), clock()
        if slots.window(key)[1] <= now:
            return dg.SkipReason(
                f"the slot {key} was missed: nobody was at work before it was over, and a past slot is never filled "
                f"with today's data. The slot {slots.current_key(now)} has its own time; to have a backup now, launch "
                f"{job.name} for it"
            )
        # The same key again is the same run: a slot is never asked for twice, however often the tick is evaluated.
        return dg.RunRequest(run_key=key, partition_key=key, tags=tags)

    return schedule


def build_daily_schedule(
    database: DatabaseSettings,
    job: UnresolvedAssetJobDefinition,
    at: str,
    *,
    purpose: Purpose,
    running: bool,
    name: str | None = None,
) -> dg.ScheduleDefinition:
    """Return a schedule for what is due once a day at ``at`` (local time), whichever slots there are.

    It is named after ``purpose`` where no ``name`` is given.

    After an outage of any length it runs once: what it does is about the sets that are there now.
    """
    moment, zone = time.fromisoformat(at), database.schedule.timezone
    cron = f"{moment.minute} {moment.hour} * * *"

    @dg.schedule(
        name=name or f"{database.name}_{purpose}_schedule",
        job=job,
        cron_schedule=cron,
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        owners=OWNERS,
        description=f"Launches {job.name} every day at {at} ({zone}); after an outage of any length once.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = context.scheduled_execution_time.astimezone(ZoneInfo(zone)).date()
        return dg.RunRequest(run_key=f"{day}", tags=scheduled_tags(purpose, database))

    return schedule
