"""The drill of RDS as Dagster shows it: one asset by month, its check, its job and its schedule."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.aws.rds.assets import AUTOMATED_BACKUPS, SNAPSHOT, SNAPSHOT_COPY, has_no_outcome
from backup_assets.aws.rds.drill.report import RdsDrilled, report_of
from backup_assets.aws.rds.work import Waiting
from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.faults import failure_of, failure_or_retry
from backup_assets.queueing import job_tags, scheduled_tags
from backup_assets.restore.drill_assets import KEY_FORMAT, months_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsDrillSettings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

ASSET = "rds_restore_drill"
CHECK = "restores_within_rto"
_SOURCES = {"snapshot": SNAPSHOT, "copy": SNAPSHOT_COPY, "point_in_time": AUTOMATED_BACKUPS}
#: A server that has just been made may not answer yet, and its name may not be known everywhere.
RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)
#: Runs that a sensor requested bear it: they go on with a drill, and never begin one.
BY_SENSOR = "dagster/sensor_name"
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Months:
    """The months that have a drill, asked as slots are."""

    definition: dg.MonthlyPartitionsDefinition

    def window(self, key: str) -> tuple[datetime, datetime]:
        """Return start and end (exclusive) of a month in UTC; raises Refused for what is none of ours."""
        if not self.definition.has_partition_key(key):
            raise Refused(f"there is no month {key!r}", remedy="take one that Dagster shows (`schedule.since`)")
        window = self.definition.time_window_for_partition_key(key)
        return window.start.astimezone(UTC), window.end.astimezone(UTC)


def build_rds_drill(
    database: DatabaseSettings, settings: Settings, drill: RdsDrillSettings, slots: Slots, *, clock: Clock
) -> dg.AssetsDefinition:
    """Return the asset `rds_restore_drill` with its check.

    While AWS is at work the step succeeds without materializing, and the sensor launches it again. The run fails when
    the drill does; the check is stored first. A past month takes the newest that shows a moment of it or before.
    """
    key = dg.AssetKey([database.name, ASSET])
    months = months_of(slots, database)
    upstream = _SOURCES[drill.source]
    mapping = None if upstream == AUTOMATED_BACKUPS else dg.AllPartitionMapping()
    spec = dg.AssetSpec(
        key,
        deps=[dg.AssetDep([database.name, upstream], partition_mapping=mapping)],
        skippable=True,
        group_name=database.name,
        kinds={"aws", "postgres"},
        owners=OWNERS,
        metadata=reading("docs/aws.md#what-each-asset-shows"),
        description=f"What RDS keeps ({drill.source.replace('_', ' ')}), restored into a server of its own, read to "
        "the last row, compared with the source, timed against the RTO, and removed again.",
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="What was restored is right as far as a moving source lets that be said, it took no longer than "
        "the recovery time objective, and its server is removed.",
        blocking=True,
        partitions_def=months,
    )

    # `can_subset`: while AWS is at work there is no outcome for the check either.
    @dg.multi_asset(
        name=f"{database.name}_{ASSET}",
        specs=[spec],
        check_specs=[check],
        partitions_def=months,
        can_subset=True,
        pool=f"rds_drill_{database.name}",
    )
    def rds_restore_drill(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        # boto3 costs a third of a second: only who asks AWS pays it.
        from backup_assets.aws.rds.drill.drill import advance_drill

        if key not in context.selected_asset_keys:
            raise failure_of(Refused("the check is the outcome of a drill", remedy=f"materialize `{ASSET}`"))
        end = months.time_window_for_partition_key(context.partition_key).end.astimezone(UTC)
        try:
            done = advance_drill(
                database,
                settings,
                context.partition_key,
                before=end if end <= clock() else None,
                begin=BY_SENSOR not in context.run.tags,
                last_attempt=context.op_execution_context.retry_number >= RETRIES.max_retries,
                log=context.log.info,
                now=clock,
            )
        except BackupError as error:
            raise failure_or_retry(context, error, RETRIES) from None
        if done is None:
            has_no_outcome(context, "the drill of this month is over already")
            return
        if isinstance(done, Waiting):
            has_no_outcome(context, f"not yet: {done}")
            return
        result = dg.AssetCheckResult(
            passed=done.passed,
            asset_key=key,
            check_name=CHECK,
            severity=dg.AssetCheckSeverity.ERROR,
            description=_summary(done),
            metadata=_figures(done),
        )
        if not done.passed:
            yield result
            raise failure_of(_error_of(done))
        yield dg.MaterializeResult(asset_key=key, metadata=_figures(done), check_results=[result])

    return rds_restore_drill


def build_rds_drill_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_rds_drill_job`."""
    return define_database_job(
        database.name,
        f"{database.name}_rds_drill_job",
        selection=dg.AssetSelection.assets([database.name, ASSET]),
        page="docs/aws.md#what-each-asset-shows",
        tags=job_tags("drill", database),
        description="Restore what RDS keeps into a server of its own, compare it, and remove it. While AWS is at work "
        "the run ends, and the sensor launches it again.",
    )


def build_rds_drill_schedule(
    database: DatabaseSettings, drill: RdsDrillSettings, job: UnresolvedAssetJobDefinition, *, running: bool
) -> dg.ScheduleDefinition:
    """Return the monthly schedule, which requests the month that its tick is in; `running` is its first state."""
    zone, at = database.schedule.timezone, time.fromisoformat(drill.at)
    cron = f"{at.minute} {at.hour} {drill.day_of_month} * *"

    @dg.schedule(
        name=f"{database.name}_rds_drill_schedule",
        job=job,
        cron_schedule=cron,
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        owners=OWNERS,
        description=f"Launches {job.name} for the month that is current at the tick ({zone}).",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        month = context.scheduled_execution_time.astimezone(ZoneInfo(zone)).strftime(KEY_FORMAT)
        return dg.RunRequest(run_key=month, partition_key=month, tags=scheduled_tags("drill", database))

    return schedule


def _summary(done: RdsDrilled) -> str:
    if done.passed:
        return f"{done.what} in {done.region} is back after {done.total_seconds:.0f} s, and its server removed"
    lines = [f"the drill of {done.what} in {done.region} failed; report: {done.report_path}"]
    return "\n\n".join([*lines, *(f"{problem}\n  next: {problem.remedy}" for problem in done.problems)])


def _error_of(done: RdsDrilled) -> CheckFailed:
    return CheckFailed(
        f"the drill of {done.database} from {done.what} in {done.region} failed",
        why="; ".join(str(problem) for problem in done.problems[:5]),
        remedy=f"{done.problems[0].remedy}; the whole report is {done.report_path}",
    )


def _figures(done: RdsDrilled) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "duration_seconds": done.total_seconds,
        "rto_hours": done.rto_hours,
        "problem_count": len(done.problems),
        "row_count": sum(one.restored or 0 for one in done.tables),
        "row_difference": done.row_difference,
        "table_count": len(done.tables),
        "equal_table_count": done.equal_content,
        "region": done.region,
        "restored_from": done.what,
        "report": dg.MetadataValue.md(report_of(done)),
        "report_path": dg.MetadataValue.path(str(done.report_path)),
        **{f"{name}_seconds": taken for name, taken in done.stages.items()},
    }
    if done.age_hours is not None:
        figures["age_hours"] = done.age_hours
    return figures
