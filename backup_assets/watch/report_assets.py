"""The monthly report as Dagster shows it: one asset by month, its job and its schedule."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.database_jobs import define_database_job
from backup_assets.faults import as_failure
from backup_assets.restore.drill_assets import KEY_FORMAT, months_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots
from backup_assets.watch.report_verdict import size_line
from backup_assets.watch.report_words import Words
from backup_assets.watch.reporting import Written, write_report

ASSET = "monthly_report"
#: After the drill of the first day, so that the report of the month before knows what it found today.
CRON = "0 8 1 * *"


def report_definitions(
    database: DatabaseSettings, settings: Settings, slots: Slots, *, running: bool
) -> dg.Definitions:
    """Return the asset with its job and its schedule; `running` is the first state of that."""
    job = build_report_job(database)
    return dg.Definitions(
        assets=[build_monthly_report(database, settings, slots)],
        jobs=[job],
        schedules=[build_report_schedule(database, job, slots, running=running)],
    )


def build_monthly_report(database: DatabaseSettings, settings: Settings, slots: Slots) -> dg.AssetsDefinition:
    """Return the asset `monthly_report`, which makes the page of a month, a past one too, from what is still known.

    It succeeds whatever the report says: whoever must act on it is told by the watch, at once.
    """

    # No backfill policy: one run for each month, because otherwise runs bear no partition of their own.
    @dg.asset(
        key=[database.name, ASSET],
        # Of all slots: the report asks the stores, and Dagster need not know of a single set.
        deps=[dg.AssetDep([database.name, "metadata"], partition_mapping=dg.AllPartitionMapping())],
        group_name=database.name,
        kinds={"html"},
        owners=OWNERS,
        metadata=reading("docs/report.md"),
        partitions_def=months_of(slots, database),
        description="A page for people: which backups of the month are there and proven, what was promised and kept, "
        "rehearsals, copies, growth, and what to do next. It lies below `reports` of the local store.",
    )
    def monthly_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with as_failure():
            written = write_report(database, settings, context.partition_key, datetime.now(UTC))
        context.log.info(f"{written.page.sentence}\n{written.path}")
        return dg.MaterializeResult(metadata=_metadata(written, settings))

    return monthly_report


def build_report_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_report_job`."""
    return define_database_job(
        database.name,
        f"{database.name}_report_job",
        selection=dg.AssetSelection.assets([database.name, ASSET]),
        page="docs/report.md",
        description=f"Make the monthly report on the backups of `{database.database}`.",
    )


def build_report_schedule(
    database: DatabaseSettings, job: UnresolvedAssetJobDefinition, slots: Slots, *, running: bool
) -> dg.ScheduleDefinition:
    """Return the schedule that asks on the first for the month before; `running` is its first state."""
    zone = database.schedule.timezone

    @dg.schedule(
        name=f"{database.name}_report_schedule",
        job=job,
        cron_schedule=CRON,
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        owners=OWNERS,
        description=f"Launches {job.name} for the month before, after the drill of the first day ({zone}).",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = context.scheduled_execution_time.astimezone(ZoneInfo(zone)).date()
        month = (today.replace(day=1) - timedelta(days=1)).strftime(KEY_FORMAT)
        if month < slots.since.strftime(KEY_FORMAT):
            return dg.SkipReason(f"nothing was due in {month}: the first slot came later")
        return dg.RunRequest(run_key=month, partition_key=month)

    return schedule


def _metadata(written: Written, settings: Settings) -> dict[str, dg.MetadataValue[Any]]:
    report, made = written.report, written.page
    words = Words(settings.watch.language, report.timezone)
    figures: dict[str, dg.MetadataValue[Any]] = {
        "verdict": dg.MetadataValue.text(words.say(f"verdict.{made.outcome}")),
        "sentence": dg.MetadataValue.text(made.sentence),
        "report": dg.MetadataValue.url(written.path.as_uri()),
        "report_path": dg.MetadataValue.path(str(written.path)),
        "slot_count": dg.MetadataValue.int(len(report.slots)),
        "finding_count": dg.MetadataValue.int(len(made.findings)),
        "drill_count": dg.MetadataValue.int(len(report.drills)),
        "deleted_count": dg.MetadataValue.int(len(report.deletions)),
        **{
            f"{state}_count": dg.MetadataValue.int(report.count(state))
            for state in ("verified", "taken", "failed", "missed", "unknown")
        },
    }
    for promise in report.promises:
        if promise.measured is not None and promise.name != "drill":
            figures[f"{promise.name}_hours"] = dg.MetadataValue.float(promise.measured)
    line = size_line(report)
    if line is not None:
        figures["growth_bytes_per_day"] = dg.MetadataValue.float(line.slope.likely)
    return figures
