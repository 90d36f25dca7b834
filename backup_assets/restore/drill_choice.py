"""Which store is a drill's set fetched from, and why that one?"""

from __future__ import annotations

from dataclasses import dataclass

from backup_assets.named_stores import LOCAL, configured_store
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_stores import StoreSettings


@dataclass(frozen=True)
class ChosenStore:
    """The name of a store, and the reason for it as half a sentence."""

    name: str
    reason: str


def drill_store(database: DatabaseSettings, settings: Settings, asked: str | None = None) -> ChosenStore:
    """Return the store asked for, else the configured one, else the farthest.

    Farthest is what survives most: a bucket copied from another one, then another bucket, another host, a folder on
    other media, and the local store when there is nothing else. Raises SettingsError for an unknown name.
    """
    if asked is not None:
        return ChosenStore(_known(settings, asked), "it was asked for")
    if database.drill.store is not None:
        return ChosenStore(_known(settings, database.drill.store), "drill.store (DRILL_STORE) names it")
    farthest = min(settings.stores, key=_distance, default=None)
    if farthest is None:
        return ChosenStore(LOCAL, "no further store is configured: a loss of this machine is not rehearsed")
    others = ", ".join([*(store.name for store in settings.stores if store is not farthest), LOCAL])
    return ChosenStore(farthest.name, f"it is the farthest: {_WORDS[_distance(farthest)]} (nearer: {others})")


_WORDS = (
    "a bucket that is copied from another one",
    "a bucket",
    "another host",
    "a folder on other media",
)


def _distance(store: StoreSettings) -> int:
    """Return the place in ``_WORDS``."""
    if store.copied_from is not None:
        return 0
    return {"s3": 1, "ssh": 2, "folder": 3}[store.kind]


def _known(settings: Settings, name: str) -> str:
    return LOCAL if name == LOCAL else configured_store(settings, name).name
