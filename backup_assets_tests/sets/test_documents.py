"""The documents: what the manifests and records say, and what becomes of those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest

from backup_assets.errors import AccessDenied, EnvironmentFault, TransientFault
from backup_assets.sets import documents
from backup_assets.sets.catalog import Catalog, IncompleteSet
from backup_assets.sets.manifest import Artifact
from backup_assets.sets.place import StoredObject
from backup_assets.sets.records import HoldRecord, record_key
from backup_assets.sets.sealed import seal
from backup_assets_tests.sets.examples import (
    DAY,
    ERP4,
    NOW,
    ShelfStore,
    a_manifest,
    a_verification,
    proof_of,
    put,
    put_record,
    put_set,
    three_days,
)


@pytest.fixture
def store() -> ShelfStore:
    return ShelfStore()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, a_manifest().to_json()[:-1]])
def test_a_damaged_manifest_is_reported_and_hides_no_other(store: ShelfStore, content: bytes) -> None:
    today, yesterday, before = three_days(store)
    put(store, ERP4.manifest_key(today.id), content)

    catalog = Catalog(store, ERP4)

    assert [one.id for one in catalog.sets()] == [yesterday.id, before.id]
    assert [(problem.set_id, problem.kind) for problem in catalog.problems] == [(today.id, "manifest")]
    assert catalog.latest() == catalog.find(yesterday.id)
    assert catalog.passed_over(catalog.sets()[0]) == (f"the manifest of the newer set {today.id} is damaged",)


def test_a_manifest_under_the_name_of_another_set_is_damage(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    put(store, ERP4.manifest_key(today.id), yesterday.to_json())

    catalog = Catalog(store, ERP4)

    assert catalog.find(today.id) is None
    assert "is that of another set" in catalog.problems[0].text


@pytest.mark.parametrize("name", ["db/2026-11-20-20261120T120000Z-1a2b3c4d.dump", "db/x.dump", "meta/{id}.dump"])
def test_a_manifest_that_names_a_file_of_another_set_is_damage(store: ShelfStore, name: str) -> None:
    manifest = a_manifest()
    foreign: Artifact = manifest.artifacts[0].model_copy(update={"name": name.format(id=manifest.id)})
    put(store, ERP4.manifest_key(manifest.id), seal(manifest.model_copy(update={"artifacts": (foreign,)})))

    catalog = Catalog(store, ERP4)

    assert catalog.sets() == []
    assert "no file of its set" in catalog.problems[0].text


def test_a_damaged_record_is_reported_and_its_set_stays_listed(store: ShelfStore) -> None:
    today = put_set(store, a_manifest())
    good = a_verification(today.id, at=NOW)
    put_record(store, good)
    key = put_record(store, a_verification(today.id, at=NOW + DAY))
    put(store, key, store.objects[key][0].replace(b"restored", b"restorec"))

    catalog = Catalog(store, ERP4)
    one = catalog.sets()[0]

    assert one.records == (good,)
    assert [damage.key for damage in one.damaged_records] == [key]
    assert catalog.problems == one.damaged_records


def test_a_record_under_the_name_of_another_set_does_not_count(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    record = a_verification(yesterday.id)
    stolen = record_key(ERP4, record).replace(yesterday.id, today.id)
    put(store, stolen, record.to_json())

    one = Catalog(store, ERP4).find(today.id)

    assert one is not None
    assert proof_of(one) is None
    assert one.damaged_records[0].key == stolen


def test_a_damaged_hold_keeps_its_set(store: ShelfStore) -> None:
    today = put_set(store, a_manifest())
    hold = HoldRecord(set_id=today.id, placed_at=NOW, reason="audit", tool_version="0.1.0")
    put(store, record_key(ERP4, hold), b"{}")

    assert Catalog(store, ERP4).sets()[0].hold_at(NOW + 999 * DAY) is not None


def test_a_store_that_is_away_gives_an_error_and_not_half_a_listing(store: ShelfStore) -> None:
    today, *_ = three_days(store)

    class AwayStore(ShelfStore):
        @contextmanager
        def open(self, key: str) -> Iterator[BinaryIO]:
            if key == ERP4.manifest_key(today.id):
                raise TransientFault("the network is away")
            with super().open(key) as handle:
                yield handle

    away = AwayStore()
    away.objects = store.objects

    with pytest.raises(TransientFault):
        Catalog(away, ERP4).sets()


def test_a_file_that_cannot_be_read_is_a_problem_of_its_own_set(store: ShelfStore) -> None:
    today, yesterday, before = three_days(store)

    class BadSectorStore(ShelfStore):
        @contextmanager
        def open(self, key: str) -> Iterator[BinaryIO]:
            if key == ERP4.manifest_key(yesterday.id):
                raise EnvironmentFault("input/output error")
            with super().open(key) as handle:
                yield handle

    bad = BadSectorStore()
    bad.objects = store.objects
    catalog = Catalog(bad, ERP4)

    assert [one.id for one in catalog.sets()] == [today.id, before.id]
    assert "input/output error" in catalog.problems[0].text


def refusing(store: ShelfStore, *keys: str) -> ShelfStore:
    """Return the same store before a role that may not read the objects of these keys."""

    class RefusingStore(ShelfStore):
        @contextmanager
        def open(self, key: str) -> Iterator[BinaryIO]:
            if key in keys:
                raise AccessDenied("could not read it: access denied to GetObject", why="a policy", remedy="allow it")
            with super().open(key) as handle:
                yield handle

    refuses = RefusingStore()
    refuses.objects = store.objects
    return refuses


@pytest.mark.parametrize("readers", [1, 4])
def test_a_role_that_may_read_no_manifest_is_told_so_and_the_sets_are_not_called_damaged(
    store: ShelfStore, readers: int
) -> None:
    sets = three_days(store)
    catalog = Catalog(refusing(store, *(ERP4.manifest_key(one.id) for one in sets)), ERP4, readers=readers)

    for asked in (catalog.sets, catalog.manifests, catalog.resolve, lambda: catalog.problems):
        with pytest.raises(AccessDenied, match="this role may not read the sets in") as told:
            asked()
        assert "of 3 manifests there it can read none" in told.value.why
        assert "allow it" in told.value.remedy


def test_one_manifest_that_may_not_be_read_hides_no_other_and_is_not_called_damaged(store: ShelfStore) -> None:
    today, yesterday, before = three_days(store)
    catalog = Catalog(refusing(store, ERP4.manifest_key(yesterday.id)), ERP4)

    assert [one.id for one in catalog.sets()] == [today.id, before.id]
    (problem,) = catalog.problems
    assert problem.denied
    with pytest.raises(IncompleteSet, match="may not be read by this role"):
        catalog.resolve(yesterday.id)


def test_an_empty_store_is_empty_whoever_looks(store: ShelfStore) -> None:
    assert Catalog(refusing(store), ERP4).sets() == []


def test_every_document_is_read_once_and_artifacts_never(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    put_record(store, a_verification(today.id))
    catalog = Catalog(store, ERP4)

    catalog.sets()
    catalog.resolve()
    catalog.find(yesterday.id)

    assert len(store.opened) == len(set(store.opened)) == 4
    assert all("/meta/" in key for key in store.opened)


def test_several_readers_see_what_one_sees(store: ShelfStore) -> None:
    today, *_ = three_days(store)
    put_record(store, a_verification(today.id))

    assert Catalog(store, ERP4, readers=4).sets() == Catalog(store, ERP4).sets()


@pytest.mark.parametrize("readers", [1, 3])
def test_more_documents_than_are_read_together_are_all_read(
    store: ShelfStore, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    manifests = three_days(store)
    put(store, ERP4.manifest_key(a_manifest(NOW - 9 * DAY).id), b"{}")
    for manifest in manifests:
        put_record(store, a_verification(manifest.id))
    at_once = Catalog(store, ERP4).sets()
    for name, most in (("BATCH", 2), ("LARGEST_DOCUMENT_BYTES", max(map(len, (m.to_json() for m in manifests))))):
        monkeypatch.setattr(documents, name, most)
        catalog_in_parts = Catalog(store, ERP4, readers=readers)

        assert catalog_in_parts.sets() == at_once
        assert len(catalog_in_parts.problems) == 1


def test_a_store_with_a_quick_way_to_read_is_read_so(store: ShelfStore) -> None:
    class QuickShelf(ShelfStore):
        def read_small(self, listed: StoredObject) -> bytes:
            return self.objects[listed.key][0]

    quick = QuickShelf()
    quick.objects = store.objects
    three_days(store)

    assert Catalog(quick, ERP4).sets() == Catalog(store, ERP4).sets()
    assert quick.opened == []
