"""A database with a local store and folders of copies, as the watch finds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backup_assets.named_stores import store_named
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.sets.records import CopyRecord, DrillRecord, Problem
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.watch.figures import DatabaseFigures, Objective, ObjectiveName
from backup_assets.watch.measuring import measure
from backup_assets_tests.sets.examples import ERP4, a_manifest, a_verification, put_record, put_set, sha256

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def a_database(**fields: Any) -> DatabaseSettings:
    schedule = fields.pop("schedule", ScheduleSettings(at="02:00", timezone="UTC"))
    return DatabaseSettings(name="erp4", database="erp4", schedule=schedule, **fields)


def a_folder(tmp_path: Path, name: str, **fields: Any) -> StoreSettings:
    """Return a store whose folder exists; off-site, and so on another medium, because its settings say so."""
    directory = tmp_path / name
    directory.mkdir(exist_ok=True)
    return StoreSettings(name=name, kind="folder", directory=directory, **{"off_site": True, **fields})


def settings_of(tmp_path: Path, *stores: StoreSettings, **fields: Any) -> Settings:
    return Settings(env="prod", backup_dir=tmp_path / "local", databases=(a_database(**fields),), stores=stores)


def taken(
    settings: Settings, at: datetime, *, stores: tuple[str, ...] = ("local",), size: int | None = None, **fields: Any
) -> Manifest:
    """Put a whole set that shows ``at`` into stores; ``size`` is that of the database, in bytes."""
    manifest = a_manifest(at, run=f"{int(at.timestamp()) % 2**32:08x}", **fields)
    if size is not None:
        server = manifest.server.model_copy(update={"database_bytes": size})
        manifest = manifest.model_copy(update={"server": server})
    for name in stores:
        put_set(store_named(settings, name), manifest)
    return manifest


def with_slot(manifest: Manifest, slot: str) -> Manifest:
    """Return the same set as one of another slot."""
    own = BackupId.parse(manifest.id)
    set_id = str(BackupId(own.taken_at, slot, own.run))
    artifacts: list[Artifact] = []
    for artifact in manifest.artifacts:
        content = f"the dump of {set_id}".encode()
        update: dict[str, object] = {"name": artifact.name.replace(manifest.id, set_id)}
        if artifact.role == "dump":
            update |= {"size_bytes": len(content), "sha256": sha256(content)}
        artifacts.append(artifact.model_copy(update=update))
    return manifest.model_copy(update={"id": set_id, "slot": slot, "artifacts": tuple(artifacts), "attachments": None})


def proven(settings: Settings, manifest: Manifest, *, at: datetime, store: str = "local", **fields: Any) -> None:
    """Record a verification of a set beside it."""
    put_record(store_named(settings, store), a_verification(manifest.id, at=at, store=store, **fields))


def drilled(
    settings: Settings,
    manifest: Manifest,
    *,
    at: datetime,
    seconds: float = 60.0,
    passed: bool = True,
    after: tuple[datetime, ...] | None = None,
) -> None:
    """Record a drill in the local store; one that fails is one that took too long.

    ``after`` are the times of drills that bore a later one and were there when it began.
    """
    rto = settings.databases[0].rto_hours
    put_record(
        store_named(settings, "local"),
        DrillRecord(
            set_id=manifest.id,
            tool_version="0.1.0",
            passed=passed,
            started_at=at,
            problems=() if passed else (Problem(what="the restore took longer than promised"),),
            store="usb",
            total_seconds=seconds,
            rto_hours=rto,
            within_rto=seconds <= rto * 3600,
            taken_at=manifest.snapshot.taken_at,
            age_hours=1.0,
            fetched_bytes=manifest.size_bytes,
            after=after,
        ),
    )


def copy_recorded(settings: Settings, manifest: Manifest, store: str) -> None:
    """Record in the local store that a set was copied."""
    record = CopyRecord(
        set_id=manifest.id,
        tool_version="0.1.0",
        store=store,
        copied_at=manifest.snapshot.taken_at,
        bytes=1,
        seconds=1.0,
        artifacts=(),
    )
    put_record(store_named(settings, "local"), record)


def damage_manifest(settings: Settings, manifest: Manifest, store: str = "local") -> None:
    """Overwrite a manifest in a folder with what is none."""
    path = store_named(settings, store).path_of(ERP4.manifest_key(manifest.id))  # type: ignore[attr-defined]
    path.write_bytes(b"not a manifest")


def measured(settings: Settings, now: datetime = NOW, **options: Any) -> DatabaseFigures:
    return measure(settings.databases[0], settings, now, **options)


def objective(settings: Settings, name: ObjectiveName, now: datetime = NOW) -> Objective:
    found = measured(settings, now).objective(name)
    assert found is not None
    return found
