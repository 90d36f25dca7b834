"""The rotation as Dagster shows it: one asset of a database, its checks, its job."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.database_jobs import define_database_job
from backup_assets.errors import CheckFailed
from backup_assets.faults import as_failure, failure_of
from backup_assets.queueing import UPKEEP_POOL, job_tags
from backup_assets.restore.rotation import Checked, Rotation, rotate
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading

ASSET = "verification"
GOOD = "copies_are_good"
IN_TIME = "within_days"


def build_rotation(database: DatabaseSettings, settings: Settings) -> dg.AssetsDefinition:
    """Return the asset `verification` with its checks.

    `copies_are_good` fails the run: a copy is damaged, or nobody could tell. `within_days` only warns: copies wait
    longer than promised, or a store did not answer.
    """
    key = dg.AssetKey([database.name, ASSET])
    wanted = database.verification
    spec = dg.AssetSpec(
        key,
        # Of all slots: the least recently verified copies come first, whichever slot they belong to.
        deps=[dg.AssetDep([database.name, "metadata"], partition_mapping=dg.AllPartitionMapping())],
        group_name=database.name,
        kinds={"postgres"},
        owners=OWNERS,
        metadata=reading("docs/schedules.md#verifying-again-what-was-good-once"),
        description="Older sets, verified again: every copy in every store within "
        f"{wanted.every_days} days, at most {wanted.nightly_limit} a night, least recently verified first.",
    )
    good = dg.AssetCheckSpec(
        GOOD,
        asset=key,
        blocking=True,
        description="Every copy whose turn it was restores to what it should hold; where it is encrypted and the "
        "private key is elsewhere, every byte is as it was stored.",
    )
    in_time = dg.AssetCheckSpec(
        IN_TIME,
        asset=key,
        description=f"Every store answers, and no copy was last verified more than {wanted.every_days} days ago.",
    )

    @dg.multi_asset(name=f"{database.name}_{ASSET}", specs=[spec], check_specs=[good, in_time], pool=UPKEEP_POOL)
    def verification(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_failure():
            done = rotate(database, settings, log=context.log.info)
        failed = [one for one in done.checked if not one.passed]
        figures = figures_of(done, datetime.now(UTC))
        results = [
            dg.AssetCheckResult(
                passed=not failed,
                asset_key=key,
                check_name=GOOD,
                severity=dg.AssetCheckSeverity.ERROR,
                description=summary_of(done.checked),
                metadata={"set_count": len(done.checked), "problem_count": len(failed), **(figures if failed else {})},
            ),
            dg.AssetCheckResult(
                passed=not done.overdue and not done.unread,
                asset_key=key,
                check_name=IN_TIME,
                severity=dg.AssetCheckSeverity.WARN,
                description=_in_time(done, database),
                metadata={"overdue_count": len(done.overdue), "unread_count": len(done.unread)},
            ),
        ]
        if failed:
            yield from results
            raise failure_of(_error_of(failed))
        yield dg.MaterializeResult(asset_key=key, metadata=figures, check_results=results)

    return verification


def build_rotation_job(database: DatabaseSettings) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_verification_job`."""
    return define_database_job(
        database.name,
        f"{database.name}_verification_job",
        selection=dg.AssetSelection.assets([database.name, ASSET]),
        page="docs/schedules.md#verifying-again-what-was-good-once",
        tags=job_tags("verification", database),
        description=f"Verify again the copies of `{database.database}` that were not looked at for the longest time.",
    )


def summary_of(checked: Sequence[Checked]) -> str:
    """Return a paragraph for each copy, the outcome of the level that was possible; the UI takes it for Markdown."""
    if not checked:
        return "no copy was due"
    return "\n\n".join(_line(one) for one in checked)


def _line(one: Checked) -> str:
    what = f"{one.copy.set.id} in {one.copy.store}"
    if one.proof is None:
        return f"{what}: not known: {one.error}"
    record = one.proof.record
    if record.passed:
        return f"{what}: good at level {record.level}"
    return f"{what}: DAMAGED: " + "; ".join(map(str, record.problems[:5]))


def _in_time(done: Rotation, database: DatabaseSettings) -> str:
    wanted = database.verification
    lines = [f"{name} did not answer: {error}" for name, error in done.unread.items()]
    if done.overdue:
        lines.append(f"{len(done.overdue)} of {done.copies} copies wait longer than {wanted.every_days} days")
        needed = -(-done.copies // wanted.every_days)
        if needed > wanted.nightly_limit:
            lines.append(f"next: raise verification.nightly_limit to {needed}, or verification.every_days")
    return "\n\n".join(lines) or f"all {done.copies} copies were verified, or made, within {wanted.every_days} days"


def _error_of(failed: Sequence[Checked]) -> CheckFailed:
    return CheckFailed(
        f"{len(failed)} copies are damaged or could not be verified",
        why="; ".join(" ".join(_line(one).split()) for one in failed),
        remedy="take a backup now if one of them is the newest; `backup-assets list --store` shows which other store "
        "has the set whole",
    )


def figures_of(done: Rotation, now: datetime) -> dict[str, Any]:
    """Return the metadata of one night: numbers that plot, and a table of what was verified."""
    rows = ["| set | store | level | passed | last verified before | seconds |", "|---|---|---|---|---|---:|"]
    seconds = 0.0
    for one in done.checked:
        record = one.proof.record if one.proof else None
        took = sum(record.durations.values()) if record else 0.0
        seconds += took
        before = f"{one.copy.looked_at:%Y-%m-%d}" if one.copy.looked_at else "never"
        level, passed = (record.level, "yes" if record.passed else "NO") if record else ("-", "not known")
        rows.append(f"| {one.copy.set.id} | {one.copy.store} | {level} | {passed} | {before} | {took:.1f} |")
    waited = [(now - one.copy.since).total_seconds() / 86400 for one in done.checked]
    return {
        "verified_count": sum(one.passed for one in done.checked),
        "problem_count": sum(not one.passed for one in done.checked),
        "copy_count": done.copies,
        "overdue_count": len(done.overdue),
        "oldest_days": round(max(waited, default=0.0), 2),
        "duration_seconds": round(seconds, 3),
        "copies": dg.MetadataValue.md("\n".join(rows)),
    }
