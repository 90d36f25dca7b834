"""What does a command work on: the settings, one of the databases, and its local store?"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property

from backup_assets.errors import Refused
from backup_assets.local import local_store, place_of
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import Place
from backup_assets.settings import DatabaseSettings, Settings, load_settings
from backup_assets.stores.folder import FolderStore


@dataclass(frozen=True)
class Context:
    """One database with everything around it."""

    settings: Settings
    database: DatabaseSettings

    @cached_property
    def store(self) -> FolderStore:
        """The local store."""
        return local_store(self.settings)

    @property
    def place(self) -> Place:
        """Where the database's sets lie in a store."""
        return place_of(self.database, self.settings)

    def catalog(self) -> Catalog:
        """Return the sets of the local store as they are now."""
        return Catalog(self.store, self.place)


def context_of(arguments: Namespace) -> Context:
    """Return the settings and the database that ``--database`` names, or the only one.

    Raises SettingsError for wrong settings, Refused when it is not clear which database is meant.
    """
    settings = load_settings()
    return Context(settings, _chosen(settings, arguments.database))


def _chosen(settings: Settings, name: str | None) -> DatabaseSettings:
    names = ", ".join(database.name for database in settings.databases)
    if name is None:
        if len(settings.databases) == 1:
            return settings.databases[0]
        raise Refused("several databases are configured", why=names, remedy="name one with --database")
    try:
        return settings.database(name)
    except KeyError:
        raise Refused(f"there is no database {name}", why=f"configured: {names}", remedy="correct --database") from None
