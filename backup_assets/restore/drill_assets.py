"""The drill as Dagster shows it: one asset by month, its check, its job and its schedule."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets.database_jobs import define_database_job
from backup_assets.errors import CheckFailed
from backup_assets.faults import as_failure, failure_of
from backup_assets.named_stores import LOCAL, configured_store
from backup_assets.offsite.assets import copy_asset_name
from backup_assets.queueing import UPKEEP_POOL, job_tags, scheduled_tags
from backup_assets.restore.drill import run_drill
from backup_assets.restore.drill_choice import drill_store
from backup_assets.restore.drill_report import Drilled, report_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

ASSET = "restore_drill"
CHECK = "restores_within_rto"
KEY_FORMAT = "%Y-%m"


def months_of(slots: Slots, database: DatabaseSettings) -> dg.MonthlyPartitionsDefinition:
    """Return the months, keyed ``2026-11`` in the database's zone, from that of the first slot to the current one."""
    return _months(slots.since.replace(day=1).strftime(KEY_FORMAT), database.schedule.timezone)


@lru_cache(maxsize=256)
def _months(first: str, timezone: str) -> dg.MonthlyPartitionsDefinition:
    return dg.MonthlyPartitionsDefinition(start_date=first, fmt=KEY_FORMAT, timezone=timezone, end_offset=1)


def drilled_asset(database: DatabaseSettings, settings: Settings) -> list[str]:
    """Return the key of the asset whose sets a drill fetches: a copy, or the local set."""
    chosen = drill_store(database, settings).name
    if chosen == LOCAL:
        return [database.name, "metadata"]
    return [database.name, copy_asset_name(settings, configured_store(settings, chosen))]


def build_drill(
    database: DatabaseSettings, settings: Settings, slots: Slots, drilled: Drilled | None = None
) -> dg.AssetsDefinition:
    """Return the asset `restore_drill` with its check; ``drilled``, if given, is only shown, and nothing is drilled.

    A past month may be drilled later, because that asks the sets and not the source: it takes the newest set that
    shows a moment of that month or before. The run fails when the drill does; the check is stored first.
    """
    key = dg.AssetKey([database.name, ASSET])
    months = months_of(slots, database)
    # Of all slots: a drill takes the newest set that is in the store, whichever slot that belongs to.
    source = dg.AssetDep(drilled_asset(database, settings), partition_mapping=dg.AllPartitionMapping())
    spec = dg.AssetSpec(
        key,
        deps=[source],
        group_name=database.name,
        kinds={"postgres"},
        owners=OWNERS,
        metadata=reading("docs/drill.md"),
        description="The newest set from the farthest store, restored whole into a separate environment, compared, "
        "tried with the application, and timed against the RTO. The report lies beside the sets of the local store.",
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="Everything of the drill is right, and it took no longer than the recovery time objective.",
        blocking=True,
        partitions_def=months,
    )

    # No backfill policy: one run for each month, because otherwise runs bear no partition of their own.
    @dg.multi_asset(
        name=f"{database.name}_{ASSET}",
        specs=[spec],
        check_specs=[check],
        partitions_def=months,
        pool=UPKEEP_POOL,
    )
    def restore_drill(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        month = context.partition_key
        end = months.time_window_for_partition_key(month).end
        is_past = end <= datetime.now(UTC)
        with as_failure():
            done = drilled or run_drill(
                database,
                settings,
                month=month if is_past else None,
                before=end.astimezone(UTC) if is_past else None,
                log=context.log.info,
            )
        for note in done.notes:
            context.log.warning(note)
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

    return restore_drill


def build_drill_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_drill_job`."""
    return define_database_job(
        database.name,
        f"{database.name}_drill_job",
        selection=dg.AssetSelection.assets([database.name, ASSET]),
        page="docs/drill.md",
        tags=job_tags("drill", database),
        description=f"Rehearse the restore of `{database.database}` from the farthest store, against the clock.",
    )


def build_drill_schedule(
    database: DatabaseSettings, job: UnresolvedAssetJobDefinition, *, running: bool
) -> dg.ScheduleDefinition:
    """Return the monthly schedule, which requests the month that its tick is in; `running` is its first state."""
    drill, zone = database.drill, database.schedule.timezone
    at = time.fromisoformat(drill.at)
    cron = f"{at.minute} {at.hour} {drill.day_of_month} * *"

    @dg.schedule(
        name=f"{database.name}_drill_schedule",
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


def show_drill(
    instance: dg.DagsterInstance,
    database: DatabaseSettings,
    settings: Settings,
    slots: Slots,
    done: Drilled,
    now: datetime,
    *,
    loggers: Mapping[str, Any] | None = None,
) -> bool:
    """Show a drill that is done as a run of the drill's job for the month of ``now``; return whether it was shown.

    One from another store than the scheduled drills take is not: it says nothing of what the asset promises. The run
    fails when the drill did. (An event without a run would do, but Dagster takes only one for each check and month.)
    """
    if done.store != drill_store(database, settings).name:
        return False
    job = build_drill_job(database)
    shown = dg.Definitions(assets=[build_drill(database, settings, slots, done)], jobs=[job])
    shown.resolve_job_def(job.name).execute_in_process(
        partition_key=now.astimezone(ZoneInfo(database.schedule.timezone)).strftime(KEY_FORMAT),
        instance=instance,
        run_config={"loggers": loggers or {}},
        tags={STARTED_BY: COMMAND_LINE},
        raise_on_error=False,
    )
    return True


def _summary(done: Drilled) -> str:
    if done.passed:
        return f"{done.set_id} from {done.store} is back after {done.total_seconds:.1f} s"
    lines = [f"the drill from {done.store} failed; report: {done.report_path}"]
    return "\n\n".join([*lines, *(f"{problem}\n  next: {problem.remedy}" for problem in done.problems)])


def _error_of(done: Drilled) -> CheckFailed:
    return CheckFailed(
        f"the drill of {done.database} from {done.store} failed",
        why="; ".join(str(problem) for problem in done.problems[:5]),
        remedy=f"{done.problems[0].remedy}; the whole report is {done.report_path}",
    )


def _figures(done: Drilled) -> dict[str, dg.MetadataValue[Any]]:
    figures: dict[str, dg.MetadataValue[Any]] = {
        "duration_seconds": dg.MetadataValue.float(done.total_seconds),
        "rto_hours": dg.MetadataValue.float(done.rto_hours),
        "size_bytes": dg.MetadataValue.int(done.fetched_bytes),
        "problem_count": dg.MetadataValue.int(len(done.problems)),
        "store": dg.MetadataValue.text(done.store),
        "report": dg.MetadataValue.md(report_of(done)),
        "report_path": dg.MetadataValue.path(str(done.report_path)),
        **{f"{name}_seconds": dg.MetadataValue.float(taken) for name, taken in done.stages.items()},
    }
    if done.set_id is not None:
        figures["set_id"] = dg.MetadataValue.text(done.set_id)
    if done.age_hours is not None:
        figures["set_age_hours"] = dg.MetadataValue.float(done.age_hours)
    return figures
