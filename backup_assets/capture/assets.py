"""The assets of a capture: what Dagster shows of one set, all or nothing."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from backup_assets.capture.capture import Capture
from backup_assets.capture.figures import figures_of
from backup_assets.capture.quick_checks import CheckOutcome, QuickCheckFailed
from backup_assets.capture.request import Captured, CaptureRequest
from backup_assets.capture.specs import QUICK_CHECKS, capture_specs, check_specs
from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets.errors import BackupError
from backup_assets.faults import as_failure, failure_of, failure_or_retry
from backup_assets.progress import progress_for
from backup_assets.queueing import pool_of
from backup_assets.sets.holds import hold_from
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

#: After 1, 3 and 7 minutes: a server that restarts, a network that is away for a moment. A refusal, a failed check and
#: every fault that stays are not tried again. It is asked for by hand and not given to the step, because Dagster then
#: tries again what was interrupted too: a run that somebody ended would begin anew.
RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult
#: The artifact that an asset is, whose content is its version.
_ARTIFACT_ROLES = {
    "db_dump": "dump",
    "globals": "globals",
    "pdf_archive": "archive",
    "secrets": "secrets",
    "important_tables": "dump",
}


class ContentHashes(Enum):
    """Which tables' contents are hashed."""

    ALWAYS = "always"
    IMPORTANT = "important"
    NEVER = "never"


class CaptureConfig(dg.Config):
    """What a backup taken by hand may say of itself."""

    # Empty and not None: only what has a default is written into the launchpad, for a person to fill in.
    label: str | None = Field(default="", description="Why it was taken, for example: before release 4.2")
    hold: str | None = Field(
        default="",
        description="A reason to keep the set whatever the retention says, for example: release 4.2. Empty: no hold.",
    )
    hold_until: str | None = Field(
        default="",
        description="Day or time until which it holds, for example 2027-01-31 (to its end) or "
        "2027-01-31T18:00+09:00. Empty: until it is released.",
    )
    content_hashes: ContentHashes | None = Field(
        default=None,
        description="Which tables' contents are hashed and compared after a restore, for this set in the place of the "
        "settings: ALWAYS, IMPORTANT or NEVER.",
    )


#: Made once: where a function takes the class itself, Dagster makes it anew for each of hundreds of databases.
_CAPTURE_CONFIG = CaptureConfig.to_fields_dict()


def build_capture(database: DatabaseSettings, settings: Settings, slots: Slots) -> dg.AssetsDefinition:
    """Return the capture of one database: one step, because a set is taken whole or not at all.

    Its assets are materialized together after the commit, so that a green partition means that a set is there.
    """

    @dg.multi_asset(
        name=f"{database.name}_capture",
        specs=capture_specs(database),
        check_specs=check_specs(database, slots),
        partitions_def=slots.definition,
        can_subset=False,
        config_schema=_CAPTURE_CONFIG,
        pool=pool_of(database),
    )
    def capture(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from _capture(context, database, settings, slots, "full")

    return capture


def build_important_tables(database: DatabaseSettings, settings: Settings, slots: Slots) -> dg.AssetsDefinition:
    """Return the weekly capture of the important tables, a set of its own."""
    name = database.name
    tables = ", ".join(f"`{table}`" for table in database.important_tables)

    @dg.multi_asset(
        name=f"{name}_important_tables",
        specs=[
            dg.AssetSpec(
                [name, "important_tables"],
                deps=[[name, "postgres"]],
                group_name=name,
                kinds={"postgres", "zstandard"},
                owners=OWNERS,
                metadata=reading("docs/architecture.md"),
                description=f"All definitions and roles, with the rows of {tables} only; a set of its own, weekly.",
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                check,
                asset=[name, "important_tables"],
                description=QUICK_CHECKS[check][1],
                blocking=True,
                partitions_def=slots.definition,
            )
            for check in ("readable", "roles_present")
        ],
        partitions_def=slots.definition,
        config_schema=_CAPTURE_CONFIG,
        pool=pool_of(database),
    )
    def important_tables(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from _capture(context, database, settings, slots, "important_tables")

    return important_tables


def _capture(
    context: dg.AssetExecutionContext,
    database: DatabaseSettings,
    settings: Settings,
    slots: Slots,
    kind: Literal["full", "important_tables"],
) -> Iterator[Event]:
    config = CaptureConfig(**context.op_execution_context.op_config)
    with as_failure():
        slots.require_current(context.partition_key, datetime.now(UTC), instead=_instead(database, kind))
        request = CaptureRequest(
            slot=context.partition_key,
            run_id=context.run.run_id,
            kind=kind,
            label=config.label or None,
            hold=hold_from(config.hold or None, config.hold_until or None, ZoneInfo(database.schedule.timezone)),
            content_hashes=config.content_hashes and config.content_hashes.value,
        )
        capture = Capture(database, settings, request, progress=progress_for(context.log.info), log=context.log.info)
    try:
        captured = capture.run()
    except QuickCheckFailed as error:
        yield from (_check_result(database, kind, outcome) for outcome in error.outcomes)
        raise failure_of(error) from None
    except BackupError as error:
        raise _failure_or_retry(context, error) from None
    for warning in captured.manifest.warnings:
        context.log.warning(warning)
    context.log.info(f"committed the set {captured.manifest.id}")
    yield from _results(database, settings, captured)


def _instead(database: DatabaseSettings, kind: str) -> str:
    if kind != "full" or database.rds is None or database.rds.rebuild is None:
        return ""
    return "RDS may still have the data of that time: materialize `rds_rebuild` for the slot"


def _failure_or_retry(context: dg.AssetExecutionContext, error: BackupError) -> dg.Failure | dg.RetryRequested:
    # On the command line somebody sits there, and sees at once what is wrong.
    if context.run.tags.get(STARTED_BY) == COMMAND_LINE:
        return failure_of(error)
    return failure_or_retry(context, error, RETRIES)


def _check_result(database: DatabaseSettings, kind: str, outcome: CheckOutcome) -> dg.AssetCheckResult:
    asset = "important_tables" if kind == "important_tables" else QUICK_CHECKS[outcome.name][0]
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=[database.name, asset],
        check_name=outcome.name,
        severity=dg.AssetCheckSeverity.ERROR,
        description=outcome.summary,
        metadata=dict(outcome.figures),
    )


def _results(database: DatabaseSettings, settings: Settings, captured: Captured) -> Iterator[Event]:
    manifest = captured.manifest
    checks = [_check_result(database, manifest.kind, outcome) for outcome in captured.checks]
    for asset, metadata in figures_of(manifest, settings, database).items():
        artifact = manifest.artifact(_ARTIFACT_ROLES[asset]) if asset in _ARTIFACT_ROLES else None
        yield dg.MaterializeResult(
            asset_key=[database.name, asset],
            metadata=metadata,
            check_results=[check for check in checks if check.asset_key == dg.AssetKey([database.name, asset])],
            data_version=dg.DataVersion(artifact.sha256) if artifact else None,
        )
