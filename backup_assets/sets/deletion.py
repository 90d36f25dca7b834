"""How is a set removed from a store so that no half of one is ever taken for a set?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_assets.errors import BackupError, Refused, TransientFault
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import FOLDERS, META, DeletableStore, Place, set_id_of


@dataclass(frozen=True)
class Deleted:
    """A set that was to go: its id, how many files went, and their size in bytes.

    With ``error`` it is not gone. With ``left`` as well it is, because its manifest went: those are the keys of files
    that could not be removed and belong to no set any more.
    """

    set_id: str
    files: int
    size: int
    error: BackupError | None = None
    left: tuple[str, ...] = ()

    @property
    def is_gone(self) -> bool:
        """Whether there is no such set any more."""
        return self.error is None or bool(self.left)


def delete_sets(
    store: DeletableStore, place: Place, chosen: Sequence[BackupSet], *, now: datetime, go_on: bool = False
) -> tuple[Deleted, ...]:
    """Delete the chosen sets, those that need others first; either none is refused or nothing is changed.

    Of each set the manifest goes first (without it there is no set), then its records, then its artifacts: what a
    crash leaves is swept later. Raises Refused when a set that stays needs one of them, when a set with a damaged
    manifest may need one, or when one is held at ``now``; looks at the store anew for that.

    Raises as `Store.delete` does at the first file that cannot be deleted. With ``go_on`` that set is among the
    results with its error, and the others go; unless its manifest went, the sets that it needs stay.
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
        if one.id in still_needed:
            error = Refused(f"the set {one.id} stays", why=f"{still_needed[one.id]}, which needs it, was not deleted")
            deleted.append(Deleted(one.id, 0, 0, error))
            continue
        done = _deleted(store, one.id, keys, manifest_key, go_on=go_on)
        if not done.is_gone:
            still_needed |= dict.fromkeys(catalog.closure_ids(one), one.id)
        deleted.append(done)
    return tuple(deleted)


def _deleted(
    store: DeletableStore, set_id: str, files: Sequence[tuple[str, int]], manifest_key: str, *, go_on: bool
) -> Deleted:
    """Delete ``files`` (keys and sizes) of a set, the manifest among them first; raises unless it is to ``go_on``."""
    count = freed = 0
    left: list[str] = []
    error: BackupError | None = None
    for place, (key, size) in enumerate(files):
        try:
            store.delete(key)
        except BackupError as failure:
            if not go_on:
                raise
            error = error or failure
            if key == manifest_key:  # the whole set is still there
                return Deleted(set_id, 0, 0, error)
            left.append(key)
            if isinstance(failure, TransientFault):  # the store is at fault, not this file
                left += [other for other, _ in files[place + 1 :]]
                break
        else:
            count, freed = count + 1, freed + size
    return Deleted(set_id, count, freed, error, tuple(left))


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
