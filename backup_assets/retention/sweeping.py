"""Which files that no set needs does a store hold, and how do they go?"""

from __future__ import annotations

from datetime import datetime, timedelta

from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.sets.leftovers import leftovers
from backup_assets.sets.place import Place, set_id_of
from backup_assets.settings import Settings
from backup_assets.stores.folder import FolderStore, Swept

#: A copy that was interrupted goes on with the files that arrived, for as long as a bucket keeps unfinished uploads.
FINISHED_WITHIN = timedelta(days=7)


def sweep_store(settings: Settings, place: Place, store_name: str, now: datetime, *, apply: bool) -> list[Swept]:
    """Return what `sets/leftovers.py` says that nothing needs and, with ``apply``, remove it.

    That is what copies that were never finished and deletions that were interrupted have left: in the local store what
    is older than a day, in a further one older than :data:`FINISHED_WITHIN`. A folder is looked through whole, its
    partials included; of another store ``place`` is. Raises SettingsError for an unknown store, EnvironmentFault when
    it does not answer or this role may not delete there.
    """
    reading = store_named(settings, store_name)
    if isinstance(reading, FolderStore):
        return reading.sweep(now, timedelta(days=1) if store_name == LOCAL else FINISHED_WITHIN, dry_run=not apply)
    listing = [*reading.list(place.root)]
    # Read after the listing: a set that was finished in between protects its files.
    manifests = catalog_in(reading, place).manifests()
    writing = store_named(settings, store_name, writing=True)
    swept: list[Swept] = []
    for leftover in leftovers(listing, manifests, now, FINISHED_WITHIN):
        set_id = set_id_of(place.name(leftover.key))
        if set_id is not None and reading.stat(place.manifest_key(set_id)) is not None:
            continue
        if apply:
            writing.delete(leftover.key)
        swept.append(Swept(leftover.key, leftover.size, leftover.reason))
    return swept
