"""The retention as Dagster shows it: one asset of a database, its check, its job."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError, CheckFailed
from backup_assets.faults import as_failure, failure_of
from backup_assets.progress import human_bytes
from backup_assets.queueing import UPKEEP_POOL, job_tags
from backup_assets.retention.pruning import Pruned, halved_text, prune_all
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading

ASSET = "retention"
CHECK = "carried_out"
#: Of more sets the UI would be slow; those that go are always shown first.
MOST_LINES = 300


def build_retention(database: DatabaseSettings, settings: Settings) -> dg.AssetsDefinition:
    """Return the asset `retention`: which sets every store keeps, deleted what may go unless `retention.apply` is off.

    Every store is pruned, whatever happened in another; the run fails afterwards when anything could not be done.
    """
    key = dg.AssetKey([database.name, ASSET])
    apply = database.retention.apply
    spec = dg.AssetSpec(
        key,
        # Of all slots: what may go is decided about every set.
        deps=[dg.AssetDep([database.name, "metadata"], partition_mapping=dg.AllPartitionMapping())],
        group_name=database.name,
        kinds={"file"},
        owners=OWNERS,
        metadata=reading("docs/retention.md"),
        description="Which sets stay in every store and which may go, each with its reasons. "
        + ("What may go is deleted." if apply else "Nothing is deleted (`retention.apply` is off)."),
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="The plan of every store could be made, nothing stood against it, and everything in it was done.",
        blocking=True,
    )

    @dg.multi_asset(name=f"{database.name}_{ASSET}", specs=[spec], check_specs=[check], pool=UPKEEP_POOL)
    def retention(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_failure():
            done = list(prune_all(database, settings, apply=apply))
        yield from outcome_of(context, key, done)

    return retention


def outcome_of(
    context: dg.AssetExecutionContext, key: dg.AssetKey, done: Sequence[Pruned]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Yield what became of a retention, with its check; raises the Failure of everything that could not be done."""
    for one in done:
        for line in _told(one):
            context.log.info(line)
    unwell = [one for one in done if not one.is_well]
    figures = figures_of(done)
    result = dg.AssetCheckResult(
        passed=not unwell,
        asset_key=key,
        check_name=CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        # A paragraph each: the UI takes it for Markdown, where a line's end is none.
        description="\n\n".join(line for one in done for line in _told(one)),
        metadata={"problem_count": len(unwell), **({} if not unwell else figures)},
    )
    if unwell:
        yield result
        raise failure_of(error_of(unwell))
    yield dg.MaterializeResult(asset_key=key, metadata=figures, check_results=[result])


def build_retention_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_retention_job`."""
    return define_database_job(
        database.name,
        f"{database.name}_retention_job",
        selection=dg.AssetSelection.assets([database.name, ASSET]),
        page="docs/retention.md",
        tags=job_tags("retention", database),
        description=f"Decide about every set of `{database.database}` in every store"
        + (", and delete what may go." if database.retention.apply else "; nothing is deleted."),
    )


def _told(one: Pruned) -> list[str]:
    """Return what was decided and done in one store, a sentence a line."""
    lines = [f"{one.store}: {one.skipped}"] if one.skipped else []
    if one.plan is not None:
        kept = f"{len(one.plan.kept)} sets stay ({human_bytes(one.plan.kept_bytes)})"
        freed = sum(deleted.size for deleted in one.deleted)
        going = f"{len(one.deleted)} deleted ({human_bytes(freed)} freed)"
        if not one.applied:
            going = f"{len(one.plan.deleted)} would go ({human_bytes(one.plan.freed_bytes)})"
        lines.append(f"{one.store}: {kept}, {going}")
        lines += [f"{one.store}: nothing is deleted: {reason.text}" for reason in one.plan.blocked]
        lines += [f"{one.store}: the manifest of {set_id} is damaged" for set_id in one.plan.damaged]
    lines += [f"{one.store}: {set_id} is held there too now, as in another store" for set_id in one.carried]
    lines += [f"{one.store}: {halved_text(one.store, halved)}" for halved in one.halved]
    lines += [f"{one.store}: {failed.set_id} was not deleted: {failed.error}" for failed in one.failed]
    return lines + ([f"{one.store}: {one.error}"] if one.error is not None else [])


def error_of(unwell: Sequence[Pruned]) -> BackupError:
    """Return the one error that stands for everything that could not be done, every store's cause in it."""
    errors = [one.error for one in unwell if one.error is not None]
    if len(unwell) == len(errors) == 1 and not (unwell[0].failed or unwell[0].halved):
        return errors[0]
    causes = [line for one in unwell for line in _told(one)[1 if one.plan is not None else 0 :]]
    return CheckFailed(
        f"the retention was not carried out in {', '.join(one.store for one in unwell)}",
        why="; ".join(" ".join(cause.split()) for cause in causes[:10]),
        remedy="docs/retention.md says what to do about each; the next run tries again",
    )


def figures_of(done: Sequence[Pruned]) -> dict[str, Any]:
    """Return the metadata of one run: numbers that plot, for all stores and for each, and the table of decisions."""
    planned = [one for one in done if one.plan is not None]
    figures: dict[str, Any] = {
        "kept_count": sum(len(one.plan.kept) for one in planned if one.plan),
        "kept_bytes": sum(one.plan.kept_bytes for one in planned if one.plan),
        "due_count": sum(len(one.plan.deleted) for one in planned if one.plan),
        "deleted_count": sum(len(one.deleted) for one in done),
        "freed_bytes": sum(deleted.size for one in done for deleted in one.deleted),
        "failed_count": sum(len(one.failed) for one in done),
        "applied": all(one.applied for one in planned),
        "decisions": dg.MetadataValue.md(_table(planned)),
    }
    for one in planned:
        if one.plan is not None:
            figures[f"{one.store}_kept_count"] = len(one.plan.kept)
            figures[f"{one.store}_kept_bytes"] = one.plan.kept_bytes
    return figures


def _table(planned: Sequence[Pruned]) -> str:
    lines = [(one.store, line) for one in planned if one.plan for line in one.plan.lines]
    going_first = sorted(lines, key=lambda of_store: of_store[1].decision != "delete")
    shown = [
        f"| {line.set.id} | {store} | {line.decision} | {human_bytes(line.set.manifest.size_bytes)} | "
        f"{'; '.join(reason.text for reason in line.reasons)} |"
        for store, line in going_first[:MOST_LINES]
    ]
    more = [f"\n… and {len(lines) - len(shown)} more that stay."] if len(lines) > len(shown) else []
    return "\n".join(["| set | store | decision | size | why |", "|---|---|---|---:|---|", *shown, *more])
