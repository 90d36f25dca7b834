"""The infrastructure as Dagster shows it: the daily document, its checks, and what is kept of it."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_assets.aws.infrastructure.diff import markdown
from backup_assets.aws.infrastructure.place import infrastructure_place
from backup_assets.capture.assets import RETRIES
from backup_assets.errors import BackupError
from backup_assets.faults import as_failure, failure_of, failure_or_retry
from backup_assets.local import place_of
from backup_assets.queueing import UPKEEP_POOL
from backup_assets.retention.assets import error_of, figures_of
from backup_assets.retention.pruning import prune_all
from backup_assets.settings import Settings
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

if TYPE_CHECKING:
    from backup_assets.aws.infrastructure.capture import CapturedInfrastructure

ASSET = "infrastructure"
RETENTION = "infrastructure_retention"
#: Nothing differs from the document before.
UNCHANGED = "unchanged"
#: Everything that is configured is in the document.
COMPLETE = "complete"
_MOST_TOLD = 20

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult


def build_infrastructure(
    settings: Settings,
    wanted: InfrastructureSettings,
    slots: Slots,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dg.AssetsDefinition:
    """Return the asset `<first database>/infrastructure`: the settings in AWS, a set a day."""
    database = infrastructure_place(settings, wanted)
    key = dg.AssetKey([database.name, ASSET])
    values = (
        "The whole document is encrypted at capture, with the values of environment variables in it."
        if wanted.values
        else "Of environment variables it says the names, and a hash of each value that is keyed anew every day."
    )
    spec = dg.AssetSpec(
        key,
        group_name=database.name,
        kinds={"aws", "json"},
        owners=OWNERS,
        metadata=reading("docs/aws.md#the-infrastructure-written-down"),
        description="The settings of RDS, security groups, Lambda functions, AWS Backup and buckets, as JSON, and what "
        f"changed since the day before. {values}",
    )
    checks = [
        dg.AssetCheckSpec(
            UNCHANGED,
            asset=key,
            description="Nothing changed since the document before. A change is told once, by the document that first "
            "shows it.",
            partitions_def=slots.definition,
        ),
        dg.AssetCheckSpec(
            COMPLETE,
            asset=key,
            description="Everything that is configured could be read; what is missing or denied is named.",
            partitions_def=slots.definition,
        ),
    ]

    # No backfill policy: one run for each slot, because otherwise runs bear no partition of their own.
    @dg.multi_asset(
        name=f"{database.name}_{ASSET}",
        specs=[spec],
        check_specs=checks,
        partitions_def=slots.definition,
    )
    def infrastructure(context: dg.AssetExecutionContext) -> Iterator[Event]:
        # boto3 costs a third of a second: only who has to do with AWS pays it.
        from backup_assets.aws.infrastructure.capture import capture_infrastructure

        try:
            slots.require_current(context.partition_key, clock())
            done = capture_infrastructure(
                settings,
                wanted,
                context.partition_key,
                context.run.run_id,
                log=context.log.info,
                now=clock,
                told=_told(context.instance, key),
            )
        except BackupError as error:
            raise failure_or_retry(context, error, RETRIES) from None
        where = f"{settings.backup_dir.absolute()}/{place_of(database, settings).key(done.manifest.artifacts[0].name)}"
        yield _unchanged(done, key)
        yield _complete(done, key)
        # The last of the three: where it is on record, what changed was told.
        yield dg.MaterializeResult(asset_key=key, metadata=_figures(done, where))

    return infrastructure


def build_infrastructure_retention(settings: Settings, wanted: InfrastructureSettings) -> dg.AssetsDefinition:
    """Return the asset `infrastructure_retention`: which documents stay in every store, as of the first database."""
    database = infrastructure_place(settings, wanted)
    key = dg.AssetKey([database.name, RETENTION])
    apply = database.retention.apply
    spec = dg.AssetSpec(
        key,
        deps=[dg.AssetDep([database.name, ASSET], partition_mapping=dg.AllPartitionMapping())],
        group_name=database.name,
        kinds={"file"},
        owners=OWNERS,
        metadata=reading("docs/retention.md"),
        description="Which documents of the infrastructure stay in every store and which may go, by the retention of "
        f"`{database.name}`. " + ("What may go is deleted." if apply else "Nothing is deleted."),
    )

    @dg.multi_asset(name=f"{database.name}_{RETENTION}", specs=[spec], pool=UPKEEP_POOL)
    def infrastructure_retention(context: dg.AssetExecutionContext) -> Iterator[Event]:
        with as_failure():
            done = list(prune_all(database, settings, apply=apply))
        unwell = [one for one in done if not one.is_well]
        if unwell:
            raise failure_of(error_of(unwell))
        context.log.info(f"{sum(len(one.deleted) for one in done)} documents deleted")
        yield dg.MaterializeResult(asset_key=key, metadata=figures_of(done))

    return infrastructure_retention


def _told(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """Return the id of the last set whose checks Dagster has on record, or None."""
    event = instance.get_latest_materialization_event(key)
    made = event.asset_materialization if event is not None else None
    set_id = made.metadata.get("set_id") if made is not None else None
    return None if set_id is None else str(set_id.value)


def _unchanged(done: "CapturedInfrastructure", key: dg.AssetKey) -> dg.AssetCheckResult:
    found, missing = done.comparison.changes, done.comparison.incomplete
    lines = [str(change) for change in found[:_MOST_TOLD]]
    lines += [f"… and {len(found) - _MOST_TOLD} more"] if len(found) > _MOST_TOLD else []
    lines += [missing] if missing else []
    if done.comparison.previous is None:
        lines = ["the first document: there is nothing to compare it with"]
    return dg.AssetCheckResult(
        passed=not found and not missing,
        asset_key=key,
        check_name=UNCHANGED,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n\n".join(lines) or f"as in {done.comparison.previous}",
        metadata={"change_count": len(found)},
    )


def _complete(done: "CapturedInfrastructure", key: dg.AssetKey) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not done.not_captured,
        asset_key=key,
        check_name=COMPLETE,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n\n".join(done.not_captured) or f"{done.resources} resources were read",
        metadata={"problem_count": len(done.not_captured)},
    )


def _figures(done: "CapturedInfrastructure", where: str) -> dict[str, Any]:
    return {
        "size_bytes": done.manifest.size_bytes,
        "duration_seconds": sum(done.manifest.durations.values()),
        "resource_count": done.resources,
        "not_captured_count": len(done.not_captured),
        "change_count": len(done.comparison.changes),
        "changes": dg.MetadataValue.md(markdown(done.comparison.changes)),
        "compared_with": done.comparison.previous or "nothing before",
        "set_id": done.manifest.id,
        "sha256": done.manifest.artifacts[0].sha256,
        "path": dg.MetadataValue.path(where),
        "dagster/uri": where,
    }
