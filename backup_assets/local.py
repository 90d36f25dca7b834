"""Where the sets of a configured database are captured: its place in the store below BACKUP_DIR."""

from __future__ import annotations

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import Place
from backup_assets.stores.folder import FolderStore


def local_store(settings: Settings) -> FolderStore:
    """Return the store below BACKUP_DIR, in which every set is captured."""
    return FolderStore(settings.backup_dir, name="local")


def place_of(database: DatabaseSettings, settings: Settings) -> Place:
    """Return where the sets of a database lie in every store."""
    return Place(database.store_prefix, settings.env)
