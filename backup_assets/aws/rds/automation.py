"""When does what is done in RDS run, and who asks whether it is over?"""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.aws.rds.assets import (
    AUTOMATED_BACKUPS,
    RETENTION,
    SNAPSHOT,
    SNAPSHOT_COPY,
    Clock,
    build_automated_backups,
    build_rds_retention,
    build_snapshot,
    build_snapshot_copy,
    utc_now,
)
from backup_assets.aws.rds.checks import build_protection_checks, protection_check_keys
from backup_assets.aws.rds.drill.assets import (
    Months,
    build_rds_drill,
    build_rds_drill_job,
    build_rds_drill_schedule,
    look_at_drills,
)
from backup_assets.aws.rds.work import Pending
from backup_assets.capture.automation import build_daily_schedule, build_schedule, slots_of
from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError, Refused
from backup_assets.faults import failure_of
from backup_assets.queueing import Purpose, job_tags, scheduled_tags
from backup_assets.restore.drill_assets import months_of
from backup_assets.settings import DatabaseSettings, ScheduleSettings, Settings
from backup_assets.settings_aws import RdsSettings
from backup_assets.slots import Slots

POLL_SECONDS = 60
#: A problem is to be noticed within 30 minutes: that leaves some for a queue.
_EVERY_20_MINUTES = "*/20 * * * *"


@dataclass(frozen=True)
class Polled:
    """Work that AWS takes long over: ``look`` asks AWS which slots have something to be told, and ``job`` tells it.

    ``look`` may also put things right that no run is needed for. It raises a BackupError when AWS cannot be asked;
    then whatever else is polled is asked all the same.
    """

    job: UnresolvedAssetJobDefinition
    look: Callable[[datetime], Sequence[Pending]]
    slots: Slots | Months
    purpose: Purpose = "backup"


def rds_slots(database: DatabaseSettings, settings: Settings, rds: RdsSettings, now: datetime) -> Slots:
    """Return the daily slots of the snapshots, from the first day of the database's own slots on."""
    since = slots_of(database, settings, now).since
    zone = database.schedule.timezone
    return Slots(ScheduleSettings(every="day", at=rds.snapshot_at, timezone=zone), since)


def rds_definitions(
    database: DatabaseSettings, settings: Settings, now: datetime, *, running: bool, clock: Clock = utc_now
) -> dg.Definitions:
    """Return what a database on RDS adds; nothing for one that is not. ``clock`` is what runs take for now."""
    rds = database.rds
    if rds is None:
        return dg.Definitions()
    slots = rds_slots(database, settings, rds, now)
    snapshot_job, watch_job = build_snapshot_job(database, rds), build_watch_job(database, settings)
    retention_job = build_retention_job(database)
    assets = [
        build_automated_backups(database, settings, rds, clock=clock),
        build_snapshot(database, settings, rds, slots, promised=running, clock=clock),
        build_rds_retention(database, settings, rds, clock=clock),
    ]
    jobs = [snapshot_job, watch_job, retention_job]
    polled = [Polled(snapshot_job, _look_at_snapshots(database, settings, rds), slots)]
    if rds.copies is not None:
        copy_job = build_copy_job(database)
        jobs.append(copy_job)
        assets.append(build_snapshot_copy(database, settings, rds, rds.copies, slots, promised=running, clock=clock))
        polled.append(Polled(copy_job, _look_at_copies(database, settings, rds), slots))
    schedules: list[dg.ScheduleDefinition] = []
    if rds.drill is not None:
        drill_job = build_rds_drill_job(database)
        jobs.append(drill_job)
        assets.append(build_rds_drill(database, settings, rds.drill, slots, clock=clock))
        schedules.append(build_rds_drill_schedule(database, rds.drill, drill_job, running=running))
        months = Months(months_of(slots, database))
        polled.append(Polled(drill_job, look_at_drills(database, settings), months, "drill"))
    return dg.Definitions(
        assets=assets,
        asset_checks=[build_protection_checks(database, settings, clock=clock)],
        jobs=jobs,
        schedules=[
            *schedules,
            build_schedule(
                f"{database.name}_rds_snapshot_schedule",
                snapshot_job,
                slots,
                running=running,
                tags=scheduled_tags("backup", database),
                clock=clock,
            ),
            build_watch_schedule(database, watch_job, running=running),
            build_daily_schedule(
                database,
                retention_job,
                database.retention.at,
                purpose="retention",
                running=running,
                name=f"{database.name}_rds_retention_schedule",
            ),
        ],
        sensors=[build_polling_sensor(database, polled, running=running, clock=clock)],
    )


def build_snapshot_job(database: DatabaseSettings, rds: RdsSettings) -> UnresolvedAssetJobDefinition:
    """Return the job that takes the snapshot of a slot and begins its copies."""
    keys = [[database.name, SNAPSHOT], *([[database.name, SNAPSHOT_COPY]] if rds.copies is not None else [])]
    return define_database_job(
        database.name,
        f"{database.name}_rds_snapshot_job",
        selection=dg.AssetSelection.assets(*keys).without_checks(),
        tags=job_tags("backup", database),
        description=f"Take the RDS snapshot of a slot of `{rds.identifier}`"
        + (", and copy it" if rds.copies is not None else "")
        + ". While AWS is at work the run ends, and the sensor launches it again.",
    )


def build_copy_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job that copies the snapshot of a slot."""
    return define_database_job(
        database.name,
        f"{database.name}_rds_copy_job",
        selection=dg.AssetSelection.assets([database.name, SNAPSHOT_COPY]).without_checks(),
        tags=job_tags("backup", database),
        description="Copy the RDS snapshot of a slot to the other region. While AWS is at work the run ends, and the "
        "sensor launches it again.",
    )


def build_retention_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job that decides which snapshots and copies stay."""
    return define_database_job(
        database.name,
        f"{database.name}_rds_retention_job",
        selection=dg.AssetSelection.assets([database.name, RETENTION]),
        tags=job_tags("retention", database),
        description="Decide about every snapshot and copy of ours"
        + (", and delete what may go." if database.retention.apply else "; nothing is deleted."),
    )


def build_watch_job(database: DatabaseSettings, settings: Settings) -> UnresolvedAssetJobDefinition:
    """Return the job that looks at the automated backups and evaluates every check of the protection."""
    return define_database_job(
        database.name,
        f"{database.name}_rds_watch_job",
        selection=dg.AssetSelection.assets([database.name, AUTOMATED_BACKUPS])
        | dg.AssetSelection.checks(*protection_check_keys(database, settings)),
        description="Look at what RDS backs up by itself, and check whether it is protected as it should be.",
    )


def build_watch_schedule(
    database: DatabaseSettings, job: UnresolvedAssetJobDefinition, *, running: bool
) -> dg.ScheduleDefinition:
    """Return the schedule of that job."""
    return dg.ScheduleDefinition(
        name=f"{database.name}_rds_watch_schedule",
        job=job,
        cron_schedule=_EVERY_20_MINUTES,
        execution_timezone=database.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description="Every 20 minutes.",
    )


def build_polling_sensor(
    database: DatabaseSettings, polled: Sequence[Polled], *, running: bool, clock: Clock = utc_now
) -> dg.SensorDefinition:
    """Return the sensor that asks AWS what is over, and launches the job of that slot again, once for each event.

    What it finds is in AWS alone: a sensor that was off for a day, or a new Dagster, goes on where AWS is.
    """

    @dg.sensor(
        name=f"{database.name}_rds_sensor",
        jobs=[one.job for one in polled],
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Asks AWS every minute which snapshots, copies and drills are over, failed or overdue, and "
        "launches the run that tells it.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = clock()
        requests: list[dg.RunRequest] = []
        errors: list[BackupError] = []
        for one in polled:
            try:
                found = one.look(now)
            except BackupError as error:
                context.log.warning(str(error))
                errors.append(error)
                continue
            requests += [request for pending in found if (request := _request(context, database, one, pending))]
        if errors and not requests:
            # The tick is shown as failed; what could not be asked is asked again in a minute.
            raise failure_of(errors[0])
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("AWS has nothing new to tell")

    return sensor


def _request(
    context: dg.SensorEvaluationContext, database: DatabaseSettings, polled: Polled, pending: Pending
) -> dg.RunRequest | None:
    try:
        polled.slots.window(pending.partition_key)
    except Refused as error:
        context.log.warning(f"{pending.what}, of which no run can be launched: {error}")
        return None
    context.log.info(pending.what)
    return dg.RunRequest(
        run_key=pending.run_key,
        partition_key=pending.partition_key,
        job_name=polled.job.name,
        tags=scheduled_tags(polled.purpose, database),
    )


def _look_at_snapshots(
    database: DatabaseSettings, settings: Settings, rds: RdsSettings
) -> Callable[[datetime], Sequence[Pending]]:
    def look(now: datetime) -> Sequence[Pending]:
        # boto3 costs a third of a second: only who asks AWS pays it.
        from backup_assets.aws.access import access_of
        from backup_assets.aws.rds.api import api_of
        from backup_assets.aws.rds.pending import pending_snapshots

        return pending_snapshots(api_of(access_of(settings.aws), rds), database, rds, settings.env, now)

    return look


def _look_at_copies(
    database: DatabaseSettings, settings: Settings, rds: RdsSettings
) -> Callable[[datetime], Sequence[Pending]]:
    def look(now: datetime) -> Sequence[Pending]:
        from backup_assets.aws.access import access_of
        from backup_assets.aws.rds.api import api_of
        from backup_assets.aws.rds.pending import pending_copies

        return pending_copies(api_of(access_of(settings.aws), rds), database, rds, settings.env, now)

    return look
