"""Which figures does Dagster show of a captured set?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from backup_assets.local import local_store, place_of
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import DatabaseSettings, Settings


def figures_of(manifest: Manifest, settings: Settings, database: DatabaseSettings) -> dict[str, Mapping[str, Any]]:
    """Return the figures of each asset of the set, by its name and in the order in which they come about."""
    common = _common(manifest)
    if manifest.kind == "important_tables":
        return {"important_tables": {**common, **_dump_figures(manifest, settings, database)}}
    figures: dict[str, Mapping[str, Any]] = {
        "db_dump": _dump_figures(manifest, settings, database),
        "globals": _file_figures(manifest, settings, database, "globals", "globals"),
    }
    if manifest.attachments is not None:
        figures["pdf_archive"] = _attachment_figures(manifest, settings, database)
    if manifest.secrets is not None:
        figures["secrets"] = _secrets_figures(manifest, settings, database)
    figures["metadata"] = _set_figures(manifest, settings, database)
    return {asset: {**common, **own} for asset, own in figures.items()}


def _common(manifest: Manifest) -> dict[str, Any]:
    common: dict[str, Any] = {"set_id": manifest.id, "env": manifest.env}
    if manifest.label:
        common["label"] = manifest.label
    if manifest.hold:
        common["hold"] = manifest.hold.reason
    return common


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
