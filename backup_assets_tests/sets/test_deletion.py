"""Deleting sets: the manifest first, and never one that is needed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backup_assets.errors import EnvironmentFault, Refused, TransientFault
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.deletion import delete_set, delete_sets
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.place import Place
from backup_assets_tests.sets.examples import (
    ERP4,
    NOW,
    ShelfStore,
    a_manifest,
    a_verification,
    put,
    put_record,
    put_set,
)

DAY = timedelta(days=1)


@pytest.fixture
def store() -> ShelfStore:
    return ShelfStore()


def a_full_and_a_differential(store: ShelfStore) -> tuple[Manifest, Manifest]:
    full = put_set(store, a_manifest(NOW - DAY))
    return full, put_set(store, a_manifest(NOW, full_set=full.id))


def test_the_manifest_goes_first_then_the_records_then_the_artifacts(store: ShelfStore) -> None:
    manifest = put_set(store, a_manifest())
    record = put_record(store, a_verification(manifest.id))
    size = sum(len(content) for content, _ in store.objects.values())

    deleted = delete_set(store, ERP4, Catalog(store, ERP4).resolve(), now=NOW)

    assert store.deleted[:2] == [ERP4.manifest_key(manifest.id), record]
    assert len(store.deleted) == 4
    assert store.objects == {}
    assert deleted is not None
    assert (deleted.set_id, deleted.files, deleted.size) == (manifest.id, 4, size)


def test_other_sets_and_other_places_are_not_touched(store: ShelfStore) -> None:
    manifest = put_set(store, a_manifest())
    put_set(store, a_manifest(NOW - DAY))
    put_set(store, manifest, Place("erp40", "prod"))
    put(store, "erp4/prod/db/notes.txt", b"mine")
    catalog = Catalog(store, ERP4)
    before = set(store.objects)

    delete_set(store, ERP4, catalog.resolve(), now=NOW)

    gone = before - set(store.objects)
    assert len(gone) == 3
    assert all(key.startswith("erp4/prod/") and manifest.id in key for key in gone)


def test_a_full_set_is_not_deleted_while_a_differential_needs_it(store: ShelfStore) -> None:
    full, differential = a_full_and_a_differential(store)
    before = dict(store.objects)

    with pytest.raises(Refused) as caught:
        delete_set(store, ERP4, Catalog(store, ERP4).resolve(full.id), now=NOW)

    assert differential.id in caught.value.what
    assert store.objects == before


def test_a_full_set_and_its_differential_go_together_the_differential_first(store: ShelfStore) -> None:
    full, differential = a_full_and_a_differential(store)

    deleted = delete_sets(store, ERP4, Catalog(store, ERP4).sets()[::-1], now=NOW)

    assert [one.set_id for one in deleted] == [differential.id, full.id]
    assert store.deleted[0] == ERP4.manifest_key(differential.id)
    assert store.objects == {}


def test_one_refusal_refuses_all(store: ShelfStore) -> None:
    put_set(store, a_manifest(NOW))
    put_set(store, a_manifest(NOW - DAY, hold=Hold(reason="audit")))
    before = dict(store.objects)

    with pytest.raises(Refused, match="is held"):
        delete_sets(store, ERP4, Catalog(store, ERP4).sets(), now=NOW)

    assert store.objects == before


def test_a_hold_placed_since_the_catalog_was_read_counts(store: ShelfStore) -> None:
    manifest = put_set(store, a_manifest())
    chosen = Catalog(store, ERP4).resolve()
    put_set(store, manifest.model_copy(update={"hold": Hold(reason="audit", until=NOW + DAY)}))

    with pytest.raises(Refused, match="is held"):
        delete_set(store, ERP4, chosen, now=NOW)
    assert delete_set(store, ERP4, chosen, now=NOW + DAY) is not None


def test_a_full_set_is_not_deleted_while_a_damaged_manifest_may_need_it(store: ShelfStore) -> None:
    full, differential = a_full_and_a_differential(store)
    put(store, ERP4.manifest_key(differential.id), b"{}")

    with pytest.raises(Refused, match="may need it"):
        delete_set(store, ERP4, Catalog(store, ERP4).resolve(full.id), now=NOW)


def test_a_set_that_is_gone_already_is_fine(store: ShelfStore) -> None:
    put_set(store, a_manifest())
    chosen = Catalog(store, ERP4).resolve()
    delete_set(store, ERP4, chosen, now=NOW)

    assert delete_set(store, ERP4, chosen, now=NOW) is None


class StubbornStore(ShelfStore):
    """A store in which files of one set cannot be deleted."""

    stuck = "nothing"
    fault = EnvironmentFault

    def delete(self, key: str) -> None:
        if self.stuck in key:
            raise self.fault(f"could not delete {key}")
        super().delete(key)


def test_a_file_that_cannot_be_deleted_ends_it_or_lets_the_others_go() -> None:
    store = StubbornStore()
    stuck, other = put_set(store, a_manifest(NOW)), put_set(store, a_manifest(NOW - DAY))
    store.stuck = stuck.id
    sets = Catalog(store, ERP4).sets()

    with pytest.raises(EnvironmentFault, match="could not delete"):
        delete_sets(store, ERP4, [one for one in sets if one.id == stuck.id], now=NOW)
    done = {one.set_id: one.error for one in delete_sets(store, ERP4, sets, now=NOW, go_on=True)}

    assert done[other.id] is None
    assert isinstance(done[stuck.id], EnvironmentFault)
    assert [one.id for one in Catalog(store, ERP4).sets()] == [stuck.id]
    store.stuck = "nothing"
    assert [one.error for one in delete_sets(store, ERP4, Catalog(store, ERP4).sets(), now=NOW, go_on=True)] == [None]
    assert store.objects == {}


def test_a_set_whose_manifest_went_is_gone_with_the_files_that_are_left() -> None:
    store = StubbornStore()
    full, differential = a_full_and_a_differential(store)
    archive, dump = (ERP4.key(differential.artifact(role).name) for role in ("archive", "dump"))  # type: ignore[union-attr]
    store.stuck = archive

    done = {one.set_id: one for one in delete_sets(store, ERP4, Catalog(store, ERP4).sets(), now=NOW, go_on=True)}

    assert Catalog(store, ERP4).sets() == []
    assert done[differential.id].is_gone
    assert isinstance(done[differential.id].error, EnvironmentFault)
    assert (done[differential.id].files, done[differential.id].left) == (2, (archive,))
    assert dump not in store.objects
    assert done[full.id].error is None  # nothing needs it any more


def test_a_store_that_is_away_is_not_asked_for_every_file_of_a_set() -> None:
    store = StubbornStore()
    manifest = put_set(store, a_manifest())
    store.stuck = "db/"
    store.fault = TransientFault

    (done,) = delete_sets(store, ERP4, Catalog(store, ERP4).sets(), now=NOW, go_on=True)

    assert done.is_gone
    assert set(done.left) == {ERP4.key(artifact.name) for artifact in manifest.artifacts}
    assert store.deleted == [ERP4.manifest_key(manifest.id)]


def test_what_a_set_needs_stays_when_that_set_could_not_be_deleted() -> None:
    store = StubbornStore()
    full, differential = a_full_and_a_differential(store)
    store.stuck = differential.id

    done = {one.set_id: one.error for one in delete_sets(store, ERP4, Catalog(store, ERP4).sets(), now=NOW, go_on=True)}

    assert isinstance(done[full.id], Refused)
    assert differential.id in done[full.id].why  # type: ignore[union-attr]
    assert all(one.state == "complete" for one in Catalog(store, ERP4).sets())
