"""The assets of a capture: what Dagster shows of one set, all or nothing."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from backup_assets.capture.capture import (
    Capture,
    Captured,
    CaptureRequest,
    CheckOutcome,
    QuickCheckFailed,
    local_store,
    place_of,
)
from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets.errors import BackupError
from backup_assets.faults import as_failure, failure_of, failure_or_retry
from backup_assets.progress import progress_for
from backup_assets.sets.holds import hold_from
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

#: What each quick check proves, and whether a set is committed without it.
QUICK_CHECKS: dict[str, tuple[str, str, bool]] = {
    "readable": (
        "db_dump",
        "The whole archive is read to its end, not only its table of contents. Where that fails there is no set.",
        True,
    ),
    "roles_present": (
        "globals",
        "Every role that owns or may use something in the database is there. Where one is missing there is no set.",
        True,
    ),
    "matches_index": (
        "pdf_archive",
        "Every archived file equals its line in the index, content included. Where one does not there is no set.",
        True,
    ),
    "rows_and_files_agree": (
        "pdf_archive",
        "Every file that a row of the database names is archived. One that the source lacks is told; the set is taken.",
        False,
    ),
    "encrypted": (
        "secrets",
        "The file is one whole encrypted message to exactly the recipients. Where it is not there is no set.",
        True,
    ),
}

#: After 1, 3 and 7 minutes: a server that restarts, a network that is away for a moment. A refusal, a failed check and
#: every fault that stays are not tried again. It is asked for by hand and not given to the step, because Dagster then
#: tries again what was interrupted too: a run that somebody ended would begin anew.
RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult


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


def pool_of(database: DatabaseSettings) -> str:
    """Return the name of the pool that bounds the work on one source server."""
    server = database.server
    place = server.container.name if server.container else "demo" if server.embedded else f"{server.host}_{server.port}"
    return "postgres_" + "".join(c if c.isalnum() else "_" for c in place).strip("_").lower()


def external_assets(database: DatabaseSettings) -> list[dg.AssetSpec]:
    """Return what is backed up, as Dagster shows it upstream of everything."""
    name = database.name
    specs = [
        dg.AssetSpec(
            [name, "postgres"],
            group_name=name,
            kinds={"postgres"},
            owners=OWNERS,
            metadata=reading("docs/architecture.md"),
            description=f"The live database `{database.database}`. It is only read.",
        )
    ]
    if database.attachments is not None:
        specs.append(
            dg.AssetSpec(
                [name, "attachments"],
                group_name=name,
                kinds={"file"},
                owners=OWNERS,
                metadata=reading("docs/architecture.md"),
                description=f"The live folder `{database.attachments.directory}`. It is only read.",
            )
        )
    if database.secrets is not None:
        secrets = database.secrets
        names = [*map(str, secrets.files), *secrets.secrets_manager, *secrets.ssm_parameters]
        specs.append(
            dg.AssetSpec(
                [name, "environment"],
                group_name=name,
                kinds={"file"} if not (secrets.secrets_manager or secrets.ssm_parameters) else {"file", "aws"},
                owners=OWNERS,
                metadata=reading("docs/secrets.md"),
                description="The live settings and secrets: "
                + ", ".join(f"`{one}`" for one in names)
                + ". They are only read, and shown nowhere.",
            )
        )
    return specs


def capture_specs(database: DatabaseSettings) -> list[dg.AssetSpec]:
    """Return the assets of one capture, in the order in which they come about."""
    name = database.name

    def spec(asset: str, deps: list[str], kinds: set[str], description: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            [name, asset],
            deps=[[name, dep] for dep in deps],
            group_name=name,
            kinds=kinds,
            owners=OWNERS,
            metadata=reading("docs/secrets.md" if asset == "secrets" else "docs/architecture.md"),
            description=description,
        )

    specs = [
        spec(
            "db_dump",
            ["postgres"],
            {"postgres", "zstandard"},
            "`pg_dump --create` of one exported snapshot, with exact counts, content hashes and the integrity queries "
            "taken in that same snapshot. Restores with stock `pg_restore`.",
        ),
        spec(
            "globals",
            ["postgres"],
            {"postgres", "sql"},
            "`pg_dumpall --globals-only`: roles, their settings and memberships. Restores with stock `psql`.",
        ),
    ]
    parts = ["db_dump", "globals"]
    if database.attachments is not None:
        specs.append(
            spec(
                "pdf_archive",
                # After the snapshot, so that every file which a row names is there.
                ["attachments", "db_dump"],
                {"file", "zstandard"},
                "The attachments as `tar.zst` with an index of path, size, time and SHA-256: in full every "
                f"{database.attachments.full_every_days} days, between as a differential against the last full.",
            )
        )
        parts.append("pdf_archive")
    if database.secrets is not None:
        specs.append(
            spec(
                "secrets",
                ["environment"],
                {"file"},
                "Settings and secrets as one archive that was encrypted before it touched a disk. Opens with stock "
                "`gpg` or `age`, and `tar`.",
            )
        )
        parts.append("secrets")
    specs.append(
        spec(
            "metadata",
            parts,
            {"json"},
            "The manifest, written last: the commit point of the set. A set without one does not exist.",
        )
    )
    return specs


def build_capture(database: DatabaseSettings, settings: Settings, slots: Slots) -> dg.AssetsDefinition:
    """Return the capture of one database: one step, because a set is taken whole or not at all.

    Its assets are materialized together after the commit, so that a green partition means that a set is there.
    """
    name = database.name
    checks = [
        dg.AssetCheckSpec(
            check,
            asset=[name, asset],
            description=description,
            blocking=blocking,
            partitions_def=slots.definition,
        )
        for check, (asset, description, blocking) in QUICK_CHECKS.items()
        if _applies(check, database)
    ]

    @dg.multi_asset(
        name=f"{name}_capture",
        specs=capture_specs(database),
        check_specs=checks,
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


def _applies(check: str, database: DatabaseSettings) -> bool:
    if check == "rows_and_files_agree":
        return database.attachments is not None and bool(database.attachments.files)
    if check == "encrypted":
        return database.secrets is not None
    return check != "matches_index" or database.attachments is not None


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
    if manifest.kind == "important_tables":
        metadata = {**_common(manifest), **_dump_figures(manifest, settings, database)}
        yield _materialization(database, "important_tables", metadata, manifest.artifact("dump"), checks)
        return
    figures: dict[str, Mapping[str, Any]] = {
        "db_dump": _dump_figures(manifest, settings, database),
        "globals": _file_figures(manifest, settings, database, "globals", "globals"),
    }
    if manifest.attachments is not None:
        figures["pdf_archive"] = _attachment_figures(manifest, settings, database)
    if manifest.secrets is not None:
        figures["secrets"] = _secrets_figures(manifest, settings, database)
    figures["metadata"] = _set_figures(manifest, settings, database)
    roles = {"db_dump": "dump", "globals": "globals", "pdf_archive": "archive", "secrets": "secrets"}
    for asset, metadata in figures.items():
        artifact = manifest.artifact(roles[asset]) if asset in roles else None
        own = [check for check in checks if check.asset_key == dg.AssetKey([database.name, asset])]
        yield _materialization(database, asset, {**_common(manifest), **metadata}, artifact, own)


def _materialization(
    database: DatabaseSettings,
    asset: str,
    metadata: Mapping[str, Any],
    artifact: Artifact | None,
    checks: list[dg.AssetCheckResult],
) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=[database.name, asset],
        metadata=metadata,
        check_results=checks,
        data_version=dg.DataVersion(artifact.sha256) if artifact else None,
    )


def _common(manifest: Manifest) -> dict[str, Any]:
    common: dict[str, Any] = {"set_id": manifest.id, "env": manifest.env}
    if manifest.label:
        common["label"] = manifest.label
    if manifest.hold:
        common["hold"] = manifest.hold.reason
    return common


def _file_figures(
    manifest: Manifest, settings: Settings, database: DatabaseSettings, role: str, stage: str
) -> dict[str, Any]:
    artifact = manifest.artifact(role)
    if artifact is None:
        raise AssertionError(f"the set has no {role}")
    seconds = manifest.durations.get(stage, 0.0)
    path = local_store(settings).path_of(place_of(database, settings).key(artifact.name))
    return {
        "size_bytes": artifact.size_bytes,
        "duration_seconds": seconds,
        "throughput_bytes_per_second": int(artifact.size_bytes / seconds) if seconds else 0,
        "sha256": artifact.sha256,
        "format": artifact.format,
        "path": dg.MetadataValue.path(str(path.absolute())),
        "dagster/uri": path.absolute().as_uri(),
    }


def _dump_figures(manifest: Manifest, settings: Settings, database: DatabaseSettings) -> dict[str, Any]:
    tables = manifest.fingerprints.tables
    largest = sorted(tables, key=lambda table: table.rows, reverse=True)[:20]
    lines = ["| table | rows |", "|---|---:|", *(f"| {t.table_schema}.{t.name} | {t.rows:,} |" for t in largest)]
    figures = {
        **_file_figures(manifest, settings, database, "dump", "dump"),
        "dagster/row_count": manifest.fingerprints.total_rows,
        "table_count": len(tables),
        "database_bytes": manifest.server.database_bytes,
        "fingerprint_seconds": manifest.durations.get("fingerprints", 0.0),
        "snapshot_lsn": manifest.snapshot.lsn,
        "snapshot_at": dg.MetadataValue.timestamp(manifest.snapshot.taken_at),
        "server_version": manifest.server.version,
        "pg_dump": f"{manifest.client.version} ({manifest.client.directory})",
        "largest_tables": dg.MetadataValue.md("\n".join(lines)),
    }
    if manifest.schema_version:
        figures["schema_version"] = manifest.schema_version
    return figures


def _attachment_figures(manifest: Manifest, settings: Settings, database: DatabaseSettings) -> dict[str, Any]:
    facts = manifest.attachments
    if facts is None:
        raise AssertionError("the set has no attachments")
    return {
        **_file_figures(manifest, settings, database, "archive", "attachments"),
        "mode": facts.mode,
        "full_set": facts.full_set,
        "file_count": facts.files,
        "file_bytes": facts.bytes,
        "archived_file_count": facts.archived_files,
        "archived_bytes": facts.archived_bytes,
        "vanished_count": len(facts.vanished),
        "changing_count": len(facts.changing),
        "skipped_count": len(facts.skipped),
    }


def _secrets_figures(manifest: Manifest, settings: Settings, database: DatabaseSettings) -> dict[str, Any]:
    facts = manifest.secrets
    if facts is None:
        raise AssertionError("the set has no secrets")
    rows = [f"| {e.kind} | {e.name} | {e.size_bytes:,} | {e.version_id or ''} |" for e in facts.entries]
    return {
        **_file_figures(manifest, settings, database, "secrets", "secrets"),
        "secret_count": len(facts.entries),
        "recipients": ", ".join(facts.recipients),
        "captured": dg.MetadataValue.md("\n".join(["| kind | name | bytes | version |", "|---|---|---:|---|", *rows])),
    }


def _set_figures(manifest: Manifest, settings: Settings, database: DatabaseSettings) -> dict[str, Any]:
    path = local_store(settings).path_of(place_of(database, settings).manifest_key(manifest.id)).absolute()
    stages = ["| stage | seconds |", "|---|---:|", *(f"| {k} | {v:.2f} |" for k, v in manifest.durations.items())]
    return {
        "size_bytes": manifest.size_bytes,
        "duration_seconds": round(sum(manifest.durations.values()), 3),
        "artifact_count": len(manifest.artifacts),
        "path": dg.MetadataValue.path(str(path)),
        "dagster/uri": path.as_uri(),
        "stages": dg.MetadataValue.md("\n".join(stages)),
        "warnings": dg.MetadataValue.md("\n".join(f"- {warning}" for warning in manifest.warnings) or "none"),
    }
