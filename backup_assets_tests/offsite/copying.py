"""A local store with sets, further stores, and how the tests copy from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backup_assets.local import local_store
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import Copied, copy_sets, copy_slot
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.contract import Store
from backup_assets_tests.sets.examples import ERP4, put_set
from backup_assets_tests.sources import no_log

SLOT = "2026-11-22"


def folder_store(directory: Path, name: str = "usb", **fields: Any) -> StoreSettings:
    return StoreSettings(name=name, kind="folder", directory=directory, **fields)


def settings_with(directory: Path, *stores: StoreSettings) -> Settings:
    """Return settings of one database whose sets lie where `sets/examples.py` puts them."""
    database = DatabaseSettings(name="erp4", database="erp4")
    return Settings(env="prod", backup_dir=directory, databases=(database,), stores=stores)


def hold(settings: Settings, *manifests: Manifest) -> None:
    """Put sets into the local store."""
    for manifest in manifests:
        put_set(local_store(settings), manifest)


def copied(settings: Settings, *, to: Store | str = "usb", slot: str = SLOT, **options: Any) -> dict[str, Copied]:
    target = store_named(settings, to, writing=True) if isinstance(to, str) else to
    done = copy_slot(settings.databases[0], settings, target, slot, **{"log": no_log, **options})
    return {one.set_id: one for one in done}


def copied_sets(settings: Settings, *wanted: BackupSet, to: str = "usb") -> list[Copied]:
    return list(copy_sets(settings.databases[0], settings, store_named(settings, to), wanted, log=no_log))


def sets_in(settings: Settings, name: str = "usb") -> dict[str, BackupSet]:
    return {one.id: one for one in catalog_in(store_named(settings, name), ERP4).sets()}


def local_set(settings: Settings, manifest: Manifest) -> BackupSet:
    return sets_in(settings, "local")[manifest.id]


def file_in(settings: Settings, manifest: Manifest, role: str, name: str = "local") -> Path:
    artifact = manifest.artifact(role)
    assert artifact is not None
    store = settings.backup_dir if name == "local" else next(s.directory for s in settings.stores if s.name == name)
    assert store is not None
    return store / ERP4.key(artifact.name)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
