"""Which full archive of attachments may the next differential build on?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from backup_assets.files import sha256_of
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import Artifact
from backup_assets.sets.record_order import is_in_future
from backup_assets.sets.retention_policy import has_failed
from backup_assets.stores.folder import FolderStore


@dataclass(frozen=True)
class FullArchive:
    """The newest full archive: its set, and its ``index`` where a differential may build on it.

    ``damage`` is a sentence about why it may not, where it is young enough and is not what it was any more.
    """

    set_id: str
    index: Path | None = None
    damage: str = ""


def newest_full_archive(store: FolderStore, catalog: Catalog, age: timedelta, now: datetime) -> FullArchive | None:
    """Return the newest full archive of the local store, None where there is none or it is older than ``age``.

    The index is read each time. The archive may be very large: it is read where the newest verification of its set, or
    of one that was built on it, has failed. Whatever was wrong with that set, the archive may be it.
    """
    sets = catalog.sets()
    for found in sets:
        facts = found.manifest.attachments
        index, archive = found.manifest.artifact("index"), found.manifest.artifact("archive")
        if facts is None or facts.mode != "full" or index is None or archive is None or found.state != "complete":
            continue
        if is_in_future(found.taken_at, now):
            continue  # taken under a wrong clock: it would be young for ever
        if found.taken_at < now - age:
            return None
        unread = next((damage.key for damage in found.damaged_records if damage.kind == "encryption"), None)
        if unread is not None:  # it can neither be encrypted again nor copied, nor what is built on it
            return FullArchive(found.id, damage=f"{unread}, the record of its encryption, cannot be read")
        # Where plain files are removed once encrypted, those of the newest full archive stay.
        looked_at = [index]
        built_on_it = [one for one in sets if one is found or found.id in one.manifest.requires]
        if any(has_failed(one.verifications, store.name, now) for one in built_on_it):
            looked_at.append(archive)
        for artifact in looked_at:
            if not _is_whole(store.path_of(catalog.place.key(artifact.name)), artifact):
                return FullArchive(found.id, damage=f"{artifact.name} is not what was written any more")
        return FullArchive(found.id, store.path_of(catalog.place.key(index.name)))
    return None


def _is_whole(path: Path, artifact: Artifact) -> bool:
    try:
        return path.is_file() and sha256_of(path) == artifact.sha256
    except OSError:  # a file that cannot be read is no base, and no reason to take no backup
        return False
