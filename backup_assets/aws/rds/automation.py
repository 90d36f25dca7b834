"""When does what is done in RDS run, and who asks whether it is over?"""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

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
    snapshot_job_name,
    utc_now,
)
from backup_assets.aws.rds.checks import FINDINGS, build_protection_checks, protection_check_keys
from backup_assets.aws.rds.drill.assets import (
    Months,
    build_rds_drill,
    build_rds_drill_job,
    build_rds_drill_schedule,
)
from backup_assets.aws.rds.rebuild.assets import build_rds_rebuild, build_rds_rebuild_job
from backup_assets.aws.rds.work import Pending
from backup_assets.capture.automation import build_daily_schedule, build_schedule, slots_of
from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError, Refused
from backup_assets.faults import failure_of
from backup_assets.queueing import Purpose, job_tags, scheduled_tags
from backup_assets.restore.drill_assets import months_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsSettings, RestoredFor
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.shown import OWNERS
from backup_assets.slots import Slots

POLL_SECONDS = 60
_PAGE = "docs/aws.md#what-each-asset-shows"
#: A problem is to be noticed within 30 minutes: that leaves some for a queue.
WATCH_SECONDS = 1200
#: What is as it was is told again after so long, for the figures.
SEEN_AGAIN_AFTER = timedelta(hours=6)
#: Dagster ends a look after 60 s. Once so many are over, nothing more is begun.
_LOOK_SECONDS = 20.0


@dataclass(frozen=True)
class Polled:
    """Work that AWS takes long over: ``look`` asks AWS which slots have something to be told, and ``job`` tells it.

    ``look`` raises a BackupError when AWS cannot be asked; then whatever else is polled is asked all the same.
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
    upkeep = [_sweep_of_servers(database, settings)]
    if rds.copies is not None:
        copy_job = build_copy_job(database)
        jobs.append(copy_job)
        assets.append(build_snapshot_copy(database, settings, rds, rds.copies, slots, promised=running, clock=clock))
        polled.append(Polled(copy_job, _look_at_copies(database, settings, rds), slots))
        # By the job that should have copied it: what it failed by is then told once, and over once it succeeds.
        polled.append(Polled(snapshot_job, _look_for_uncopied(database, settings, rds), slots))
    schedules: list[dg.ScheduleDefinition] = []
    if rds.drill is not None:
        drill_job = build_rds_drill_job(database)
        jobs.append(drill_job)
        assets.append(build_rds_drill(database, settings, rds.drill, slots, clock=clock))
        schedules.append(build_rds_drill_schedule(database, rds.drill, drill_job, running=running))
        months = Months(months_of(slots, database))
        polled.append(Polled(drill_job, _look_at_servers("drill", database, settings), months, "drill"))
    if rds.rebuild is not None:
        own_slots, rebuild_job = slots_of(database, settings, now), build_rds_rebuild_job(database)
        jobs.append(rebuild_job)
        assets.append(build_rds_rebuild(database, settings, own_slots, clock=clock))
        polled.append(Polled(rebuild_job, _look_at_servers("rebuild", database, settings), own_slots))
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
            build_daily_schedule(
                database,
                retention_job,
                database.retention.at,
                purpose="retention",
                running=running,
                name=f"{database.name}_rds_retention_schedule",
            ),
        ],
        sensors=[
            build_polling_sensor(database, polled, upkeep, running=running, clock=clock),
            build_watch_sensor(database, settings, watch_job, running=running, clock=clock),
        ],
    )


def build_snapshot_job(database: DatabaseSettings, rds: RdsSettings) -> UnresolvedAssetJobDefinition:
    """Return the job that takes the snapshot of a slot and begins its copies."""
    keys = [[database.name, SNAPSHOT], *([[database.name, SNAPSHOT_COPY]] if rds.copies is not None else [])]
    return define_database_job(
        database.name,
        snapshot_job_name(database),
        selection=dg.AssetSelection.assets(*keys).without_checks(),
        page=_PAGE,
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
        page=_PAGE,
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
        page="docs/retention.md#snapshots-of-rds",
        tags=job_tags("retention", database),
        description="Decide about every snapshot and copy of ours"
        + (", and delete what may go." if database.retention.apply else "; nothing is deleted."),
    )


def build_watch_job(database: DatabaseSettings, settings: Settings) -> UnresolvedAssetJobDefinition:
    """Return the job that looks at the automated backups and evaluates every check of the protection."""
    return define_database_job(
        database.name,
        f"{database.name}_rds_watch_job",
        page=_PAGE,
        selection=dg.AssetSelection.assets([database.name, AUTOMATED_BACKUPS])
        | dg.AssetSelection.checks(*protection_check_keys(database, settings)),
        description="Look at what RDS backs up by itself, and check whether it is protected as it should be.",
    )


def build_watch_sensor(
    database: DatabaseSettings,
    settings: Settings,
    job: UnresolvedAssetJobDefinition,
    *,
    running: bool,
    clock: Clock = utc_now,
) -> dg.SensorDefinition:
    """Return the sensor that examines the protection, and launches that job when something else is found than before.

    What was found before is a tag of the job's last run. Without one, as in a new Dagster, there is one run more.
    """

    @dg.sensor(
        name=f"{database.name}_rds_watch_sensor",
        job=job,
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        owners=OWNERS,
        description="Examines the protection every 20 minutes, and launches the run that tells it when something else "
        "is found than by the last one, or that is six hours ago.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from backup_assets.aws.access import briefly
        from backup_assets.aws.rds.examining import examine_protection, signature_of

        last = next(iter(context.instance.get_run_records(dg.RunsFilter(job_name=job.name), limit=1)), None)
        if last is not None and not last.dagster_run.is_finished:
            return dg.SkipReason("a run that tells it is under way")
        now = clock()
        with briefly():
            found = signature_of(examine_protection(database, settings, now), seconds=_LOOK_SECONDS)
        if last is None or last.dagster_run.tags.get(FINDINGS) != found:
            why = "something else is found than before"
        elif now - _utc(last.create_timestamp) >= SEEN_AGAIN_AFTER:
            why = "the last run is six hours ago"
        else:
            return dg.SkipReason("all is as it was")
        context.log.info(why)
        return dg.RunRequest(tags={FINDINGS: found})

    return sensor


def build_polling_sensor(
    database: DatabaseSettings,
    polled: Sequence[Polled],
    upkeep: Sequence[Callable[[datetime], object]] = (),
    *,
    running: bool,
    clock: Clock = utc_now,
) -> dg.SensorDefinition:
    """Return the sensor that asks AWS what is over, and launches the job of that slot again, once for each event.

    What it finds is in AWS alone: a sensor that was off for a day, or a new Dagster, goes on where AWS is. ``upkeep``
    puts things right that no run is needed for; what it cannot do, the next look tries again.
    """

    @dg.sensor(
        name=f"{database.name}_rds_sensor",
        jobs=[one.job for one in polled],
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        owners=OWNERS,
        description="Asks AWS every minute which snapshots, copies, drills and rebuilds are over, failed or "
        "overdue, and launches the run that tells it.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from backup_assets.aws.access import briefly

        now, begun = clock(), monotonic()
        requests: list[dg.RunRequest] = []
        errors: list[BackupError] = []
        for one in (*polled, *upkeep):
            if errors and monotonic() - begun > _LOOK_SECONDS:
                break
            try:
                with briefly():
                    if not isinstance(one, Polled):
                        one(now)
                        continue
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


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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


def _look_for_uncopied(
    database: DatabaseSettings, settings: Settings, rds: RdsSettings
) -> Callable[[datetime], Sequence[Pending]]:
    def look(now: datetime) -> Sequence[Pending]:
        from backup_assets.aws.access import access_of
        from backup_assets.aws.rds.api import api_of
        from backup_assets.aws.rds.pending import uncopied_snapshot

        return uncopied_snapshot(api_of(access_of(settings.aws), rds), database, rds, settings.env, now)

    return look


def _look_at_servers(
    role: RestoredFor, database: DatabaseSettings, settings: Settings
) -> Callable[[datetime], Sequence[Pending]]:
    def look(now: datetime) -> Sequence[Pending]:
        from backup_assets.aws.rds.sweeping import pending_servers

        return pending_servers(role, database, settings, now)

    return look


def _sweep_of_servers(database: DatabaseSettings, settings: Settings) -> Callable[[datetime], object]:
    """Return what removes every minute what drills and rebuilds left, also where none is configured any more."""

    def sweep(now: datetime) -> object:
        from backup_assets.aws.rds.sweeping import sweep_servers

        return sweep_servers(database, settings, now, log=lambda _: None)

    return sweep
