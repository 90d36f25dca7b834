"""The promises as Dagster shows them: two checks on the set's manifest, and the job that evaluates them."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.database_jobs import define_database_job
from backup_assets.faults import as_failure
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS
from backup_assets.slots import Slots
from backup_assets.watch.figures import DatabaseFigures, Objective, ObjectiveName
from backup_assets.watch.measuring import measure

ASSET = "metadata"
RPO, COPIES = "rpo_met", "copies_3_2_1"
#: What each check looks at: the worst of these objectives is its outcome.
CHECKS: dict[str, tuple[ObjectiveName, ...]] = {
    RPO: ("rpo", "off_site"),
    COPIES: ("three_copies", "two_media", "one_off_site"),
}
_DESCRIPTIONS = {
    RPO: "The newest complete set, and the newest off-site, are no older than the recovery point objective. Measured "
    "from the stores every six hours, whatever Dagster remembers.",
    COPIES: "Three copies of the data on two media, one of them off-site, all of them young enough to count. Measured "
    "from the stores every six hours.",
}
#: What their numbers are called where that is not the name with its unit.
_FIGURES = {"three_copies": "copy_count", "two_media": "medium_count", "one_off_site": "off_site_count"}
#: A run leaves 170 kB in Dagster's own database: every hour would be more than a gigabyte a year. What must be known
#: sooner is told by alerts and freshness, which need no run.
EVERY_6_HOURS = "20 3,9,15,21 * * *"
#: The tag by which Dagster knows the partition of a run, also of one that only evaluates checks.
_PARTITION = "dagster/partition"


def watch_check_keys(database: DatabaseSettings) -> list[dg.AssetCheckKey]:
    """Return the keys of the checks, which a backup's own run must not evaluate: it is before the copies."""
    return [dg.AssetCheckKey(dg.AssetKey([database.name, ASSET]), name) for name in CHECKS]


def build_watch_checks(database: DatabaseSettings, settings: Settings, slots: Slots) -> dg.AssetChecksDefinition:
    """Return the checks `rpo_met` and `copies_3_2_1`, partitioned like the asset: their history is told by slot.

    They are measured from the stores, whatever Dagster remembers. An objective that is broken fails its check, one
    that is not known or soon broken is a warning; no run fails by it.
    """
    specs = [
        dg.AssetCheckSpec(
            name, asset=[database.name, ASSET], description=_DESCRIPTIONS[name], partitions_def=slots.definition
        )
        for name in CHECKS
    ]

    @dg.multi_asset_check(name=f"{database.name}_watch", specs=specs)
    def watch(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with as_failure():
            figures = measure(database, settings, datetime.now(UTC))
        for broken in figures.broken:
            context.log.warning(f"{broken.name}: {broken.text}")
        for name, objectives in CHECKS.items():
            yield _result(database, figures, name, objectives)

    return watch


def _result(
    database: DatabaseSettings, figures: DatabaseFigures, name: str, objectives: Sequence[ObjectiveName]
) -> dg.AssetCheckResult:
    found = [one for objective in objectives if (one := figures.objective(objective)) is not None]
    broken = any(one.state == "broken" for one in found)
    return dg.AssetCheckResult(
        passed=all(one.state == "met" for one in found),
        asset_key=[database.name, ASSET],
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
        # A paragraph each: the UI takes it for Markdown, where a line's end is none.
        description="\n\n".join(f"{one.name} {one.state}: {one.text}" for one in found),
        metadata=_metadata(figures, found),
    )


def _metadata(figures: DatabaseFigures, found: Sequence[Objective]) -> dict[str, dg.MetadataValue]:
    """Return numbers, which the UI plots, and every objective as a table."""
    numbers = {
        _FIGURES.get(one.name, f"{one.name}_{one.unit}"): one.measured for one in found if one.measured is not None
    }
    numbers |= {"missed_slot_count": float(len(figures.missed_slots))}
    rows = ["| objective | state | measured | wanted | unit | |", "|---|---|---:|---:|---|---|"]
    rows += [
        f"| {one.name} | {one.state} | {'' if one.measured is None else one.measured} | {one.wanted} | {one.unit} | "
        f"{one.text.replace('|', ' ')} |"
        for one in figures.objectives
    ]
    metadata: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.float(value) for name, value in numbers.items()}
    return metadata | {"objectives": dg.MetadataValue.md("\n".join(rows))}


def build_watch_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_watch_job`; by hand give it the tag `dagster/partition` of the current slot."""
    return define_database_job(
        database.name,
        f"{database.name}_watch_job",
        selection=dg.AssetSelection.checks(*watch_check_keys(database)),
        page="docs/watch.md",
        description=f"Measure whether the promises about `{database.database}` are kept, from the stores alone.",
    )


def build_watch_schedule(
    database: DatabaseSettings, job: UnresolvedAssetJobDefinition, slots: Slots, *, running: bool
) -> dg.ScheduleDefinition:
    """Return the schedule, every six hours; `running` is its first state."""

    @dg.schedule(
        name=f"{database.name}_watch_schedule",
        job=job,
        cron_schedule=EVERY_6_HOURS,
        execution_timezone=slots.cron_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        owners=OWNERS,
        description=f"Launches {job.name} every six hours, into the slot that is current then.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        # A job of checks alone has no partitions for Dagster, and refuses a partition key: the tag does the same.
        key = slots.current_key(context.scheduled_execution_time)
        return dg.RunRequest(tags={_PARTITION: key})

    return schedule
