"""Which sets lie in a store whose documents this role may not read, as far as another store tells?

Who only stores copies in a bucket may list names there and read nothing. The local manifests and records of the same
sets say what they are and who holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from backup_assets.errors import CheckFailed
from backup_assets.named_stores import catalog_in
from backup_assets.offsite.copied import is_whole, names_in
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.envelope import envelope_of
from backup_assets.sets.place import Place
from backup_assets.stores.contract import AccessDenied, Store


def sets_as_known(store: Store, place: Place, known: Sequence[BackupSet]) -> list[BackupSet]:
    """Return the sets of a store: as it has them, and where they cannot be read there as they are among ``known``.

    Raises as `Store.list` does.
    """
    try:
        read = catalog_in(store, place).sets()
    except AccessDenied:
        read = []
    return [*read, *unread_in(store, place, known, {one.id for one in read})]


def unread_in(store: Store, place: Place, known: Sequence[BackupSet], read: Collection[str]) -> list[BackupSet]:
    """Return those of ``known`` that a store lists and that are not among the ids ``read``; reads names only."""
    wanted = [one for one in known if one.id not in read]
    names = names_in(store, place) if wanted else {}
    there = [one for one in wanted if place.name(place.manifest_key(one.id)) in names]
    sealed = [(one, _sealed(one)) for one in there]
    return [form if form.envelope and is_whole(form.envelope, place, names) else one for one, form in sealed]


def _sealed(one: BackupSet) -> BackupSet:
    """Return a set as it looks where it lies encrypted; unchanged when it was never encrypted whole."""
    if one.encryption is None:
        return one
    try:
        return replace(one, envelope=envelope_of(one.manifest, one.encryption))
    except CheckFailed:
        return one
