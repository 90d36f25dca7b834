"""How is a set removed from a store so that no half of one is ever taken for a set?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_assets.errors import BackupError, Refused
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import FOLDERS, META, DeletableStore, Place, set_id_of


@dataclass(frozen=True)
class Deleted:
    """A set that is gone: its id, how many files that were, and their size in bytes; with ``error`` it is not gone."""

    set_id: str
    files: int
    size: int
    error: BackupError | None = None


def delete_sets(
    store: DeletableStore, place: Place, chosen: Sequence[BackupSet], *, now: datetime, go_on: bool = False
) -> tuple[Deleted, ...]:
    """Delete the chosen sets, those that need others first; either none is refused or nothing is changed.

    Of each set the manifest goes first (without it there is no set), then its records, then its artifacts: what a
    crash leaves is swept later. Raises Refused when a set that stays needs one of them, when a set with a damaged
    manifest may need one, or when one is held at ``now``; looks at the store anew for that.

    Raises as `Store.delete` does at the first file that cannot be deleted. With ``go_on`` that set is among the
    results with its error, the sets that it needs stay, and the others go.
    """
    catalog = Catalog(store, place)
    going = {one.id for one in chosen}
    present = [one for set_id in going if (one := catalog.find(set_id)) is not None]
    dependants: dict[str, list[str]] = {}
    for other in catalog.sets():
        for set_id in catalog.closure_ids(other) if other.id not in going else ():
            dependants.setdefault(set_id, []).append(other.id)
    for one in present:
        _refuse_if_needed(catalog, one, dependants.get(one.id, []), now)
    files: dict[str, list[tuple[str, int]]] = {}
    for folder in (META, *(folder for folder in FOLDERS if folder != META)):
        for stored in store.list(place.key(folder)):
            set_id = set_id_of(place.name(stored.key))
            if set_id in going:
                files.setdefault(set_id, []).append((stored.key, stored.size))
    deleted: list[Deleted] = []
    still_needed: dict[str, str] = {}
    for one in sorted(present, key=lambda one: (-len(catalog.closure_ids(one)), one.id)):
        manifest_key = place.manifest_key(one.id)
        keys = sorted(files.get(one.id, ()), key=lambda file: file[0] != manifest_key)
        error: BackupError | None = None
        if one.id in still_needed:
            error = Refused(f"the set {one.id} stays", why=f"{still_needed[one.id]}, which needs it, was not deleted")
        try:
            for key, _ in keys if error is None else ():
                store.delete(key)
        except BackupError as failure:
            if not go_on:
                raise
            error = failure
            still_needed |= dict.fromkeys(catalog.closure_ids(one), one.id)
        deleted.append(Deleted(one.id, len(keys), sum(size for _, size in keys), error))
    return tuple(deleted)


def delete_set(store: DeletableStore, place: Place, chosen: BackupSet, *, now: datetime) -> Deleted | None:
    """Delete one set as :func:`delete_sets` does; None when it is not there any more."""
    return next(iter(delete_sets(store, place, [chosen], now=now)), None)


def _refuse_if_needed(catalog: Catalog, one: BackupSet, dependants: Sequence[str], now: datetime) -> None:
    hold = one.hold_at(now)
    if hold is not None:
        raise Refused(
            f"the set {one.id} is held and is not deleted",
            why=hold.reason,
            remedy="release the hold first",
        )
    if dependants:
        raise Refused(
            f"the set {one.id} is not deleted: {dependants[0]} cannot be restored without it",
            why=f"{len(dependants)} sets need its full attachment archive",
            remedy="delete those first, or together with it",
        )
    attachments = one.manifest.attachments
    unreadable = [damage.set_id for damage in catalog.problems if damage.kind == "manifest" and damage.set_id != one.id]
    if unreadable and attachments is not None and attachments.mode == "full":
        raise Refused(
            f"the set {one.id} is not deleted: the set {unreadable[0]} may need it",
            why="the manifest of that set is damaged, so that nobody knows",
            remedy="fetch that manifest again from another store, or remove the damaged set by hand",
        )
