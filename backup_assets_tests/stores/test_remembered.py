from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.errors import CheckFailed
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import StoredObject
from backup_assets.stores.remembered import KEPT_FOR, Documents, RememberingStore
from backup_assets_tests.sets.examples import ERP4, NOW, ShelfStore, a_manifest, put, put_set


def read(shelf: ShelfStore, directory: Path) -> list[str]:
    """Look at the store as a new process does."""
    return [one.id for one in Catalog(RememberingStore(shelf, Documents(directory)), ERP4).sets()]


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def shelf() -> ShelfStore:
    return ShelfStore()


def a_document(shelf: ShelfStore, content: bytes = b"content") -> StoredObject:
    return put(shelf, "erp4/prod/meta/x", content)


def test_a_manifest_is_fetched_once_however_often_the_store_is_looked_at(shelf: ShelfStore, tmp_path: Path):
    first = put_set(shelf, a_manifest())
    assert read(shelf, tmp_path) == read(shelf, tmp_path) == [first.id]
    assert shelf.opened == [ERP4.manifest_key(first.id)]
    second = put_set(shelf, a_manifest(NOW + timedelta(hours=1)))
    assert read(shelf, tmp_path) == [second.id, first.id]
    assert len(shelf.opened) == 2


def test_what_was_deleted_or_replaced_is_not_remembered(shelf: ShelfStore, tmp_path: Path):
    one = put_set(shelf, a_manifest())
    assert read(shelf, tmp_path) == [one.id]
    shelf.now += timedelta(seconds=1)
    put(shelf, ERP4.manifest_key(one.id), b"not a manifest")
    assert read(shelf, tmp_path) == []
    shelf.delete(ERP4.manifest_key(one.id))
    assert read(shelf, tmp_path) == []
    assert files(tmp_path) == []


def test_the_sets_of_another_place_stay_remembered(shelf: ShelfStore, tmp_path: Path):
    documents, mine = Documents(tmp_path), a_document(shelf)
    documents.keep(mine, b"content", NOW)
    documents.keep_only("erp5/prod/meta", [])
    documents.keep_only("erp4/prod", [])
    assert documents.get(mine, NOW) == b"content"


def test_what_is_old_is_read_again_but_not_all_at_once(shelf: ShelfStore, tmp_path: Path):
    documents = Documents(tmp_path)
    kept = [put(shelf, f"erp4/prod/meta/{number}", b"content") for number in range(50)]
    for one in kept:
        documents.keep(one, b"content", NOW)

    def known(at: datetime) -> int:
        return sum(documents.get(one, at) is not None for one in kept)

    assert known(NOW) == known(NOW + KEPT_FOR / 2) == 50
    assert 10 < known(NOW + KEPT_FOR * 0.75) < 40
    assert known(NOW + KEPT_FOR + timedelta(seconds=1)) == 0


def test_what_was_kept_in_the_future_by_a_wrong_clock_is_read_again(shelf: ShelfStore, tmp_path: Path):
    documents, stored = Documents(tmp_path), a_document(shelf)
    documents.keep(stored, b"content", NOW + timedelta(days=400))
    assert documents.get(stored, NOW) is None


def test_only_its_owner_may_read_what_is_kept(shelf: ShelfStore, tmp_path: Path):
    Documents(tmp_path / "kept").keep(a_document(shelf), b"content", NOW)
    (kept,) = files(tmp_path)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_a_flipped_bit_in_what_is_kept_is_never_taken_for_the_document(shelf: ShelfStore, tmp_path: Path):
    documents, stored = Documents(tmp_path), a_document(shelf)
    documents.keep(stored, b"content", NOW)
    (kept,) = files(tmp_path)
    whole = kept.read_bytes()
    for number in range(len(whole)):
        damaged = bytearray(whole)
        damaged[number] ^= 4
        kept.write_bytes(damaged)
        assert documents.get(stored, NOW) in {None, b"content"}
        kept.write_bytes(whole[:number])
        assert documents.get(stored, NOW) is None


def test_what_cannot_be_kept_is_fetched_each_time(shelf: ShelfStore, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    one = put_set(shelf, a_manifest())
    assert read(shelf, tmp_path / "file") == read(shelf, tmp_path / "file") == [one.id]
    assert len(shelf.opened) == 2


def test_what_came_incomplete_is_not_kept(shelf: ShelfStore, tmp_path: Path):
    documents, stored = Documents(tmp_path), a_document(shelf)
    documents.keep(stored, b"conten", NOW)
    assert files(tmp_path) == []


def test_what_is_missing_raises_as_the_store_does(shelf: ShelfStore, tmp_path: Path):
    store = RememberingStore(shelf, Documents(tmp_path))
    with pytest.raises(CheckFailed, match="there is no x"), store.open("x"):
        pass
    with pytest.raises(CheckFailed, match="there is no x"):
        store.read_small(StoredObject("x", 1, datetime.now(UTC)))
