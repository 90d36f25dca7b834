"""RDS as Dagster shows it: its own backups, our daily snapshots, and their copies."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from backup_assets.errors import BackupError
from backup_assets.faults import as_failure, failure_or_retry
from backup_assets.offsite.assets import CROSS_COPY_RETRIES
from backup_assets.progress import human_bytes
from backup_assets.queueing import NO_OUTCOME, UPKEEP_POOL
from backup_assets.retention.assets import CHECK, outcome_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsCopySettings, RdsSettings
from backup_assets.shown import OWNERS, rds_console, reading
from backup_assets.slots import Slots

AUTOMATED_BACKUPS = "rds_automated_backups"
SNAPSHOT = "rds_snapshot"
SNAPSHOT_COPY = "rds_snapshot_copy"
RETENTION = "rds_retention"
_KINDS = {"aws", "postgres"}
_DAY_HOURS = 24.0
_PAGE = "docs/aws.md#what-each-asset-shows"
_GIB = 1 << 30
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


def rds_pool(database: DatabaseSettings) -> str:
    """Return the pool in which the steps on the snapshots of a database wait for each other."""
    return f"rds_{database.name}"


def snapshot_job_name(database: DatabaseSettings) -> str:
    """Return the name of the job that takes the snapshot of a slot and begins its copies."""
    return f"{database.name}_rds_snapshot_job"


def has_no_outcome(context: dg.AssetExecutionContext, why: str) -> None:
    """Note that a run ends without an outcome: its success must not be taken for the end of an earlier failure."""
    context.log.info(why)
    context.instance.add_run_tags(context.run.run_id, {NO_OUTCOME: "true"})


def _since(hours: float, *, promised: bool) -> dg.FreshnessPolicy | None:
    """Return the policy that turns a daily asset red which is older than a day and ``hours``."""
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=_DAY_HOURS + hours)) if promised else None


def build_automated_backups(
    database: DatabaseSettings, settings: Settings, rds: RdsSettings, *, clock: Clock = utc_now
) -> dg.AssetsDefinition:
    """Return the asset `rds_automated_backups`: what RDS keeps by itself, seen anew at each materialization."""
    key = dg.AssetKey([database.name, AUTOMATED_BACKUPS])
    spec = dg.AssetSpec(
        key,
        deps=[[database.name, "postgres"]],
        group_name=database.name,
        kinds=_KINDS,
        owners=OWNERS,
        metadata={**reading(_PAGE), **rds_console(rds, settings.aws)},
        description=f"The automated backups of `{rds.identifier}`, which RDS takes by itself: between which moments "
        "each one can be restored, and how much would be lost now. Looked at every 20 minutes; what is as it was is "
        "shown again every six hours.",
    )

    @dg.multi_asset(name=f"{database.name}_{AUTOMATED_BACKUPS}", specs=[spec])
    def automated_backups(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        # boto3 costs a third of a second: only who asks AWS pays it.
        from backup_assets.aws.access import access_of
        from backup_assets.aws.rds.api import api_of

        try:
            source = api_of(access_of(settings.aws), rds).source(rds.identifier)
        except BackupError as error:
            raise failure_or_retry(context, error, CROSS_COPY_RETRIES) from None
        figures: dict[str, Any] = {
            "status": source.status,
            "retention_days": source.retention_days,
            "deletion_protection": source.deletion_protection,
            "encrypted": source.encrypted,
            "multi_az": source.multi_az,
            "engine_version": source.engine_version,
            "arn": source.arn,
            "dagster/uri": source.arn,
        }
        now = clock()
        if source.latest_restorable is not None:
            figures["latest_restorable"] = dg.MetadataValue.timestamp(source.latest_restorable)
            figures["rpo_minutes"] = round((now - source.latest_restorable) / timedelta(minutes=1), 1)
        if source.earliest_restorable is not None:
            figures["earliest_restorable"] = dg.MetadataValue.timestamp(source.earliest_restorable)
            figures["reach_days"] = round((now - source.earliest_restorable) / timedelta(days=1), 2)
        yield dg.MaterializeResult(asset_key=key, metadata=figures)

    return automated_backups


def build_snapshot(
    database: DatabaseSettings,
    settings: Settings,
    rds: RdsSettings,
    slots: Slots,
    *,
    promised: bool,
    clock: Clock = utc_now,
) -> dg.AssetsDefinition:
    """Return the asset `rds_snapshot`; ``promised``: it turns red when none was whole for a day and the time allowed.

    While RDS is at work the step succeeds without materializing, and what follows is skipped: the sensor asks again.
    """
    key = dg.AssetKey([database.name, SNAPSHOT])
    spec = dg.AssetSpec(
        key,
        deps=[[database.name, "postgres"]],
        skippable=True,
        group_name=database.name,
        kinds=_KINDS,
        owners=OWNERS,
        metadata={**reading(_PAGE), **rds_console(rds, settings.aws)},
        freshness_policy=_since(rds.snapshot_timeout_hours, promised=promised),
        description=f"A snapshot of `{rds.identifier}` for each day, whole. A slot keeps the one that it has; a past "
        "slot without any stays so. One that failed is told, and the next run of the slot takes another.",
    )

    @dg.multi_asset(
        name=f"{database.name}_{SNAPSHOT}", specs=[spec], partitions_def=slots.definition, pool=rds_pool(database)
    )
    def snapshot(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from backup_assets.aws.access import access_of
        from backup_assets.aws.rds.api import api_of
        from backup_assets.aws.rds.settling import Whole, note_recorded
        from backup_assets.aws.rds.snapshots import take_snapshot

        now, slot = clock(), context.partition_key
        try:
            api = api_of(access_of(settings.aws), rds)
            done = take_snapshot(api, database, rds, settings.env, slots, slot, now, context.log.info)
            if not isinstance(done, Whole):
                has_no_outcome(context, f"not yet: {done}")
                return
            yield dg.MaterializeResult(asset_key=key, metadata=_figures(done))
            # After the event: until then the sensor would ask again.
            note_recorded(api, done.snapshot, now)
        except BackupError as error:
            raise failure_or_retry(context, error, CROSS_COPY_RETRIES) from None

    return snapshot


def build_snapshot_copy(
    database: DatabaseSettings,
    settings: Settings,
    rds: RdsSettings,
    copies: RdsCopySettings,
    slots: Slots,
    *,
    promised: bool,
    clock: Clock = utc_now,
) -> dg.AssetsDefinition:
    """Return the asset `rds_snapshot_copy`, which waits as `rds_snapshot` does."""
    key = dg.AssetKey([database.name, SNAPSHOT_COPY])
    where = f"`{copies.region}`" + (" and in another account" if copies.account_profile else "")
    spec = dg.AssetSpec(
        key,
        deps=[[database.name, SNAPSHOT]],
        skippable=True,
        group_name=database.name,
        kinds=_KINDS,
        owners=OWNERS,
        metadata=reading(_PAGE),
        freshness_policy=_since(2 * rds.snapshot_timeout_hours, promised=promised),
        description=f"The snapshot of the slot in {where}, whole and, where the snapshot is, encrypted with the key "
        "there. Old slots can be backfilled as long as they have their snapshot.",
    )

    @dg.multi_asset(
        name=f"{database.name}_{SNAPSHOT_COPY}", specs=[spec], partitions_def=slots.definition, pool=rds_pool(database)
    )
    def snapshot_copy(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from backup_assets.aws.access import access_of
        from backup_assets.aws.rds.api import api_of
        from backup_assets.aws.rds.copies import Copied, copy_snapshot, in_account, in_copies
        from backup_assets.aws.rds.settling import note_recorded

        now, slot = clock(), context.partition_key
        try:
            api = api_of(access_of(settings.aws), rds)
            done = copy_snapshot(api, database, rds, copies, settings.env, slot, now, context.log.info)
            if not isinstance(done, Copied):
                if context.run.job_name == snapshot_job_name(database):
                    # Its outcome is the snapshot; that of a copy which was begun is told by the copy's own job.
                    context.log.info(f"not yet: {done}")
                else:
                    has_no_outcome(context, f"not yet: {done}")
                return
            figures = _figures(done.copy)
            if done.in_account is not None:
                figures["account_uri"] = done.in_account.snapshot.arn
                figures["account_duration_seconds"] = round(done.in_account.seconds, 3)
            yield dg.MaterializeResult(asset_key=key, metadata=figures)
            note_recorded(in_copies(api, copies), done.copy.snapshot, now)
            other = in_account(api, copies)
            if other is not None and done.in_account is not None:
                note_recorded(other, done.in_account.snapshot, now)
        except BackupError as error:
            raise failure_or_retry(context, error, CROSS_COPY_RETRIES) from None

    return snapshot_copy


def build_rds_retention(
    database: DatabaseSettings, settings: Settings, rds: RdsSettings, *, clock: Clock = utc_now
) -> dg.AssetsDefinition:
    """Return the asset `rds_retention`: which snapshots and copies stay, by the same rules as sets."""
    key = dg.AssetKey([database.name, RETENTION])
    apply = database.retention.apply
    last = SNAPSHOT_COPY if rds.copies is not None else SNAPSHOT
    spec = dg.AssetSpec(
        key,
        deps=[dg.AssetDep([database.name, last], partition_mapping=dg.AllPartitionMapping())],
        group_name=database.name,
        kinds=_KINDS,
        owners=OWNERS,
        metadata=reading("docs/retention.md#snapshots-of-rds"),
        description="Which of our snapshots and copies stay and which may go, each with its reasons; those that others "
        "made are left alone. " + ("What may go is deleted." if apply else "Nothing is deleted (`retention.apply`)."),
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="The plan of every region could be made, nothing stood against it, and everything in it was done.",
        blocking=True,
    )

    @dg.multi_asset(name=f"{database.name}_{RETENTION}", specs=[spec], check_specs=[check], pool=UPKEEP_POOL)
    def retention(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from backup_assets.aws.rds.pruning import prune_snapshots

        with as_failure():
            done = list(prune_snapshots(database, settings, apply=apply, now=clock()))
        yield from outcome_of(context, key, done)

    return retention


def _figures(done: Any) -> dict[str, Any]:
    """Return the metadata of a snapshot or copy (`settling.Whole`, which is not imported where nothing runs)."""
    one = done.snapshot
    figures: dict[str, Any] = {
        "arn": one.arn,
        "dagster/uri": one.arn,
        "region": done.region,
        "encrypted": one.encrypted,
        "kms_key_id": one.kms_key_id or "",
        "allocated_bytes": one.size_gib * _GIB,
        "allocated": human_bytes(one.size_gib * _GIB),
        "duration_seconds": round(done.seconds, 3),
    }
    if one.size_bytes is not None:
        figures["size_bytes"] = one.size_bytes
    if one.taken_at is not None:
        figures["taken_at"] = dg.MetadataValue.timestamp(one.taken_at)
    return figures
