"""Which sets are whole, and what those that are not lack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import StoredObject
from backup_assets_tests.sets.examples import (
    ERP4,
    ShelfStore,
    a_full_and_two_differentials,
    a_manifest,
    put,
    put_set,
    three_days,
)


@pytest.fixture
def store() -> ShelfStore:
    return ShelfStore()


def test_a_missing_and_a_cut_off_artifact_make_a_set_incomplete(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    store.delete(ERP4.key(today.artifacts[0].name))
    put(store, ERP4.key(yesterday.artifacts[1].name), b"attach")

    sets = Catalog(store, ERP4).sets()

    assert [one.state for one in sets] == ["incomplete", "incomplete", "complete"]
    assert sets[0].faults == (f"{today.artifacts[0].name} is missing",)
    assert sets[1].faults == (f"{yesterday.artifacts[1].name} has 6 bytes instead of 11",)


def test_a_checksum_that_the_store_knows_is_compared_too(store: ShelfStore) -> None:
    manifest = put_set(store, a_manifest())

    class KnowingStore(ShelfStore):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            for stored in super().list(prefix):
                yield StoredObject(stored.key, stored.size, stored.stored_at, "0" * 64)

    knowing = KnowingStore()
    knowing.objects = store.objects

    found = Catalog(knowing, ERP4).find(manifest.id)

    assert found is not None
    assert found.faults[0] == f"{manifest.artifacts[0].name} has another SHA-256 than its manifest says"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [("manifest", "is missing"), ("artifact", "is incomplete"), ("garbage", "is damaged")],
)
def test_a_differential_without_a_good_full_set_is_incomplete(store: ShelfStore, damage: str, reason: str) -> None:
    full, first, second = a_full_and_two_differentials(store)
    if damage == "garbage":
        put(store, ERP4.manifest_key(full.id), b"{}")
    else:
        store.delete(ERP4.manifest_key(full.id) if damage == "manifest" else ERP4.key(full.artifacts[1].name))

    catalog = Catalog(store, ERP4)

    for differential in (first, second):
        one = catalog.find(differential.id)
        assert one is not None
        assert one.state == "incomplete"
        assert full.id in one.faults[0]
        assert reason in one.faults[0]
    assert catalog.latest() is None
