"""What does a command work on: the settings, one of the databases, and one of its stores?"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property

from backup_assets.errors import Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import LOCAL, catalog_in, catalog_to_show, store_named
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import Place
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_loading import load_settings
from backup_assets.stores.contract import Store
from backup_assets.stores.folder import FolderStore


@dataclass(frozen=True)
class Context:
    """One database with everything around it; ``store_name`` is what `--store` chose."""

    settings: Settings
    database: DatabaseSettings
    store_name: str = LOCAL

    @cached_property
    def local(self) -> FolderStore:
        """The local store."""
        return local_store(self.settings)

    @cached_property
    def store(self) -> Store:
        """The store that was chosen: the local one unless another was named."""
        return self.local if self.store_name == LOCAL else store_named(self.settings, self.store_name)

    @property
    def place(self) -> Place:
        """Where the database's sets lie in a store."""
        return place_of(self.database, self.settings)

    def catalog(self) -> Catalog:
        """Return the sets of the chosen store as they are now."""
        return catalog_in(self.store, self.place)

    def catalog_to_show(self) -> Catalog:
        """Return the same for a command that only tells of them, at smaller cost."""
        return catalog_to_show(self.settings, self.store, self.place)


def context_of(arguments: Namespace) -> Context:
    """Return the settings, the database that ``--database`` names, or the only one, and the store of ``--store``.

    Raises SettingsError for wrong settings or an unknown store, Refused when it is not clear which database is meant.
    """
    settings = load_settings()
    return Context(settings, _chosen(settings, arguments.database), getattr(arguments, "store", LOCAL))


def chosen_databases(settings: Settings, name: str | None) -> tuple[DatabaseSettings, ...]:
    """Return the database of that name, or every one; raises Refused for an unknown name."""
    return settings.databases if name is None else (_chosen(settings, name),)


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
