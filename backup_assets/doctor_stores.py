"""Do further stores hold the sets, and would any outlive this machine's disk?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from backup_assets.errors import BackupError
from backup_assets.findings import Finding, failed
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import newest_in, whole_in
from backup_assets.progress import human_bytes
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import DatabaseSettings, Settings, StoreSettings
from backup_assets.stores.contract import Store

NAME = "off-site"
#: What the environment may wish for and nothing does yet.
WITHOUT_EFFECT = ("REMOTE_HOST", "GPG_RECIPIENT")
_OWN_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class _Held:
    """Which of the local sets a store has whole, and why it is no other medium, where it is none."""

    name: str
    ids: frozenset[str]
    not_apart: str


def examine_stores(database: DatabaseSettings, settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each further store, and one that says which sets this machine alone has."""
    place = place_of(database, settings)
    try:
        local = [one for one in catalog_in(local_store(settings), place).sets() if not one.faults]
    except BackupError:  # the finding `sets` tells it
        local = []
    held: list[_Held] = []
    unknown: list[str] = []
    for configured in settings.stores:
        name = f"store {configured.name}"
        try:
            store = store_named(settings, configured.name, writing=True)
            store.check()
            ids = whole_in(store, place, [one.manifest for one in local])
            newest = newest_in(store, place)
            yield _store(name, store, newest.taken_at if newest else None, local, ids)
        except BackupError as error:
            unknown.append(configured.name)
            yield failed(name, error)
        else:
            held.append(_Held(configured.name, ids, _not_apart(configured, settings.backup_dir)))
    yield _off_site(local, held, unknown, bool(settings.stores))


def _store(name: str, store: Store, newest: datetime | None, local: list[BackupSet], ids: frozenset[str]) -> Finding:
    free = store.free_bytes()
    found = f"{store.describe()} can be written" + (f", {human_bytes(free)} free" if free is not None else "")
    if newest is None:
        return Finding(name, "warn", f"{found}, no set yet", "take one: `backup-assets backup` copies it there")
    hours = (datetime.now(UTC) - newest).total_seconds() / 3600
    found += f", the newest set was taken {hours:.1f} h ago"
    if local and local[0].id not in ids:
        return Finding(name, "warn", f"{found}; {local[0].id} is not there", _backfill(local[0]))
    return Finding(name, "ok", found)


def _backfill(one: BackupSet) -> str:
    return f"materialize the copy of the slot {one.manifest.slot} in Dagster, or take another backup"


def _not_apart(configured: StoreSettings, backup_dir: Path) -> str:
    """Return why what happens to the local store would happen to this one too, or nothing."""
    if configured.kind == "folder" and configured.directory is not None:
        same = configured.directory.stat().st_dev == _existing(backup_dir).stat().st_dev
        return f"{configured.name} is on the same file system as BACKUP_DIR" if same else ""
    host = urlsplit(configured.endpoint_url or "").hostname
    return f"{configured.name} is a service on this machine" if host in _OWN_HOSTS else ""


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _off_site(local: list[BackupSet], held: list[_Held], unknown: list[str], configured: bool) -> Finding:
    wished = [name for name in WITHOUT_EFFECT if os.environ.get(name)]
    notes = [f"{', '.join(wished)} set here {'has' if len(wished) == 1 else 'have'} no effect yet"] if wished else []
    if not configured:
        found = "; ".join(["every set lies on this machine only, unencrypted", *notes])
        return Finding(NAME, "warn", found, "configure a further store: docs/off-site.md")
    notes = [
        *(one.not_apart for one in held if one.not_apart),
        *(f"{name} does not answer" for name in unknown),
        *notes,
    ]
    away: frozenset[str] = frozenset().union(*(one.ids for one in held if not one.not_apart))
    alone = [one for one in local if one.id not in away]
    where = ", ".join(f"{len(one.ids)} in {one.name}" for one in held if not one.not_apart) or "none"
    if not local:
        return Finding(NAME, "warn", "; ".join(["there is no set to copy yet", *notes]), "`backup-assets backup`")
    if alone:
        text = f"{len(alone)} of {len(local)} sets are on this medium only, the newest of them {alone[0].id}"
        return Finding(NAME, "warn", "; ".join([text, *notes]), _backfill(alone[0]))
    text = f"all {len(local)} sets are on another medium too ({where}), not encrypted by this program"
    return Finding(NAME, "warn" if wished or unknown else "ok", "; ".join([text, *notes]))
