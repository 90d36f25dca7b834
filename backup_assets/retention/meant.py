"""Which set does an operator mean, of all that lie in any store?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backup_assets.errors import BackupError
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import AmbiguousSet, Catalog, IncompleteSet, NoSuchSet
from backup_assets.sets.place import META, Place, is_manifest, set_id_of
from backup_assets.settings import DatabaseSettings, Settings


@dataclass(frozen=True)
class Meant:
    """The set that is meant, as it is in the first store in which its manifest can be read, and all that is there."""

    one: BackupSet
    store: str
    catalog: Catalog


def meant_by(database: DatabaseSettings, settings: Settings, selector: str) -> Meant:
    """Return the set meant by ``latest``, an id, or the beginning of exactly one id of all that any store lists.

    ``latest`` is that of the first store that has any, the local one first. A set whose manifest is damaged in one
    store is taken from another. Raises AmbiguousSet when more than one is meant, in whichever stores they are;
    NoSuchSet when no store has it, IncompleteSet when none has its manifest whole; and whatever the local store raises,
    unless a whole id is given that another one lists.
    """
    place = place_of(database, settings)
    if selector == "latest":
        return _latest(settings, place)
    return _readable(settings, place, _id_of(settings, place, selector))


def store_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all stores, the local one first."""
    return (LOCAL, *(store.name for store in settings.stores))


def _latest(settings: Settings, place: Place) -> Meant:
    missing: NoSuchSet | None = None
    errors: dict[str, BackupError] = {}
    for name in store_names(settings):
        try:
            catalog = catalog_in(store_named(settings, name), place)
            one = catalog.resolve("latest", complete_only=False)
            _require_none_newer(catalog, one)
        except AmbiguousSet:
            raise
        except NoSuchSet as error:
            missing = missing or error
        except BackupError as error:
            # A local store that cannot be read is told; a further one is only asked for what the others do not have.
            if name == LOCAL:
                raise
            errors[name] = error
        else:
            return Meant(one, name, catalog)
    raise _as_far_as_asked(missing or NoSuchSet("there is no set"), errors)


def _require_none_newer(catalog: Catalog, one: BackupSet) -> None:
    """Raise AmbiguousSet when the manifest of a set that may be newer is damaged: perhaps that one is meant."""
    newest = one.manifest.backup_id.taken_at
    damaged = [damage.set_id for damage in catalog.problems if damage.kind == "manifest"]
    newer = sorted(set_id for set_id in damaged if BackupId.parse(set_id).taken_at >= newest)
    if newer:
        raise AmbiguousSet(
            f"which set is the latest in {catalog.where} is not known",
            why=f"the manifest of {newer[-1]} cannot be read there; the newest that can be is {one.id}",
            remedy="give the id of the one that is meant",
        )


def _id_of(settings: Settings, place: Place, selector: str) -> str:
    """Return the one id that ``selector`` is, or begins; by the names of manifests alone, whatever is in them."""
    listed: dict[str, set[str]] = {}
    errors: dict[str, BackupError] = {}
    for name in store_names(settings):
        try:
            listed[name] = _ids_in(settings, name, place)
        except BackupError as error:
            errors[name] = error
        if selector in listed.get(name, ()):
            return selector  # a whole id is never another's beginning: nobody else need be asked
    if LOCAL in errors:
        raise errors[LOCAL]
    where = {
        set_id: [name for name, ids in listed.items() if set_id in ids]
        for set_id in sorted(set().union(*listed.values()))
        if selector and set_id.startswith(selector)
    }
    if len(where) > 1:
        raise _ambiguous(selector, where)
    if where:
        return next(iter(where))
    try:  # nothing is meant: the local store says what is near
        return catalog_in(store_named(settings, LOCAL), place).resolve(selector, complete_only=False).id
    except NoSuchSet as error:
        raise _as_far_as_asked(error, errors) from error


def _as_far_as_asked(error: NoSuchSet, errors: Mapping[str, BackupError]) -> NoSuchSet:
    """Return ``error`` with the stores that could not be asked, by name: the set may be there."""
    if not errors:
        return error
    away = [f"{name} could not be asked: {one.what}" for name, one in errors.items()]
    return NoSuchSet(
        error.what,
        why="; ".join([error.why, *away] if error.why else away),
        remedy=f"{error.remedy}; if the set is in {' or '.join(errors)}, repeat this when that store answers",
    )


def _ambiguous(selector: str, where: Mapping[str, list[str]]) -> AmbiguousSet:
    told = [f"{set_id} ({', '.join(names)})" for set_id, names in where.items()]
    return AmbiguousSet(
        f"{selector!r} is the beginning of {len(where)} ids",
        why=", ".join(told[:5]) + (", …" if len(told) > 5 else ""),
        remedy="give more of the id",
    )


def _ids_in(settings: Settings, store_name: str, place: Place) -> set[str]:
    names = (place.name(stored.key) for stored in store_named(settings, store_name).list(place.key(META)))
    return {set_id for name in names if is_manifest(name) and (set_id := set_id_of(name))}


def _readable(settings: Settings, place: Place, set_id: str) -> Meant:
    """Return the set of that id from the first store in which its manifest can be read."""
    told: BackupError | None = None
    for name in store_names(settings):
        try:
            catalog = catalog_in(store_named(settings, name), place)
            return Meant(catalog.resolve(set_id, complete_only=False), name, catalog)
        except IncompleteSet as error:  # its manifest is damaged there
            told = error
        except NoSuchSet as error:
            told = told or error
        except BackupError as error:
            told = error if told is None or isinstance(told, NoSuchSet) else told
    raise told or NoSuchSet(f"there is no set {set_id!r}")
