"""Rebuilds as Dagster shows them: one asset by slot, its check, and its job; a person or a backfill launches it."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.aws.rds.assets import has_no_outcome
from backup_assets.aws.rds.drill.assets import BY_SENSOR, RETRIES
from backup_assets.aws.rds.work import Waiting
from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.faults import failure_of, failure_or_retry
from backup_assets.progress import progress_for
from backup_assets.queueing import job_tags, pool_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

if TYPE_CHECKING:
    from backup_assets.aws.rds.rebuild.rebuild import RdsRebuilt

ASSET = "rds_rebuild"
CHECK = "rebuilt_set_restores"
_PAGE = "docs/aws.md#a-slot-that-was-missed"
Clock = Callable[[], datetime]


def build_rds_rebuild(
    database: DatabaseSettings, settings: Settings, slots: Slots, *, clock: Clock
) -> dg.AssetsDefinition:
    """Return the asset `rds_rebuild` with its check: sets of slots that are over, as of their own time.

    A slot that has a set is left as it is. While AWS is at work the step succeeds without materializing, and the
    sensor launches it again. Nothing is materialized but this asset: that of a capture counts for its freshness, which
    looks at when something was done and not at the slot that it was done for.
    """
    key = dg.AssetKey([database.name, ASSET])
    spec = dg.AssetSpec(
        key,
        # Not on the automated backups: they are looked at all day, and every older slot would show as out of date.
        deps=[[database.name, "postgres"]],
        skippable=True,
        group_name=database.name,
        kinds={"aws", "postgres"},
        owners=OWNERS,
        metadata=reading(_PAGE),
        description="The set of a slot that was missed: RDS restores the moment at which it was due into a server of "
        "its own, which is dumped, proven like any other set, and removed. Attachments and secrets are not in it.",
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="The rebuilt set is restored on a scratch server and equals what was dumped, and the server that "
        "RDS restored is removed.",
        blocking=True,
        partitions_def=slots.definition,
    )

    # `can_subset`: while AWS is at work there is no outcome for the check either.
    @dg.multi_asset(
        name=f"{database.name}_{ASSET}",
        specs=[spec],
        check_specs=[check],
        partitions_def=slots.definition,
        can_subset=True,
        pool=pool_of(database),
    )
    def rds_rebuild(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        # boto3 costs a third of a second: only who asks AWS pays it.
        from backup_assets.aws.rds.rebuild.rebuild import advance_rebuild

        if key not in context.selected_asset_keys:
            raise failure_of(Refused("the check is the outcome of a rebuild", remedy=f"materialize `{ASSET}`"))
        try:
            done = advance_rebuild(
                database,
                settings,
                slots,
                context.partition_key,
                run_id=context.run.run_id,
                progress=progress_for(context.log.info),
                log=context.log.info,
                begin=BY_SENSOR not in context.run.tags,
                last_attempt=context.op_execution_context.retry_number >= RETRIES.max_retries,
                now=clock,
            )
        except BackupError as error:
            raise failure_or_retry(context, error, RETRIES) from None
        if done is None:
            has_no_outcome(context, f"nothing is to be rebuilt for the slot {context.partition_key}")
            return
        if isinstance(done, Waiting):
            has_no_outcome(context, f"not yet: {done}")
            return
        figures = _figures(done)
        result = dg.AssetCheckResult(
            passed=done.passed,
            asset_key=key,
            check_name=CHECK,
            severity=dg.AssetCheckSeverity.ERROR,
            description=_summary(done),
            metadata=figures,
        )
        if not done.passed:
            yield result
            raise failure_of(_error_of(done))
        context.log_event(
            dg.AssetObservation(
                [database.name, "metadata"],
                partition=context.partition_key,
                description=f"The slot was rebuilt later; its set is {figures['set_id']}.",
                metadata={name: figures[name] for name in ("set_id", "shows", "dumped_at")},
            )
        )
        yield dg.MaterializeResult(asset_key=key, metadata=figures, check_results=[result])

    return rds_rebuild


def build_rds_rebuild_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_rds_rebuild_job`."""
    return define_database_job(
        database.name,
        f"{database.name}_rds_rebuild_job",
        selection=dg.AssetSelection.assets([database.name, ASSET]),
        page=_PAGE,
        tags=job_tags("backup", database),
        description="Rebuild the set of a slot that was missed, as of its own time. While AWS is at work the run ends, "
        "and the sensor launches it again.",
    )


def _summary(done: "RdsRebuilt") -> str:
    if done.passed and done.set is not None:
        return f"{done.set.id} is restored and equal; the server of the rebuild is removed"
    there = f"; its set {done.set.id} is there" if done.set is not None else ""
    lines = [f"the rebuild of the slot {done.slot} failed{there}"]
    return "\n\n".join([*lines, *(f"{problem}\n  next: {problem.remedy}" for problem in done.problems)])


def _error_of(done: "RdsRebuilt") -> CheckFailed:
    there = f"; its set {done.set.id} is there" if done.set is not None else ", and the slot stays empty"
    return CheckFailed(
        f"the rebuild of the slot {done.slot} failed{there}",
        why="; ".join(str(problem) for problem in done.problems[:5]),
        remedy=next((one.remedy for one in done.problems if one.remedy), "look at the check's metadata"),
    )


def _figures(done: "RdsRebuilt") -> dict[str, Any]:
    figures: dict[str, Any] = {
        "duration_seconds": done.total_seconds,
        "problem_count": len(done.problems),
        "region": done.region,
        "restored_server": done.server,
        **{f"{name}_seconds": taken for name, taken in done.stages.items()},
    }
    if done.set is not None:
        manifest = done.set.manifest
        figures |= {
            "set_id": manifest.id,
            "shows": dg.MetadataValue.timestamp(manifest.snapshot.taken_at),
            "size_bytes": manifest.size_bytes,
            "row_count": manifest.fingerprints.total_rows,
            "table_count": len(manifest.fingerprints.tables),
            "warnings": dg.MetadataValue.md("\n".join(f"- {one}" for one in manifest.warnings)),
        }
        if manifest.rebuilt is not None:
            figures["dumped_at"] = dg.MetadataValue.timestamp(manifest.rebuilt.dumped_at)
    return figures
