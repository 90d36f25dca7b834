from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from backup_assets.errors import CheckFailed
from backup_assets.sets.catalog import Catalog
from backup_assets.watch.remembered import KEPT_FOR, Memory, RememberingStore
from backup_assets_tests.sets.examples import ERP4, NOW, ShelfStore, a_manifest, put, put_set


def read(shelf: ShelfStore, memory: Memory) -> list[str]:
    return [one.id for one in Catalog(RememberingStore(shelf, memory), ERP4).sets()]  # type: ignore[arg-type]


def test_a_manifest_is_fetched_once_however_often_the_store_is_looked_at():
    shelf, memory = ShelfStore(), Memory()
    first = put_set(shelf, a_manifest())
    assert read(shelf, memory) == read(shelf, memory) == [first.id]
    assert shelf.opened == [ERP4.manifest_key(first.id)]
    second = put_set(shelf, a_manifest(NOW + timedelta(hours=1)))
    assert read(shelf, memory) == [second.id, first.id]
    assert len(shelf.opened) == 2


def test_what_was_deleted_or_replaced_is_not_remembered():
    shelf, memory = ShelfStore(), Memory()
    one = put_set(shelf, a_manifest())
    assert read(shelf, memory) == [one.id]
    shelf.now += timedelta(seconds=1)
    put(shelf, ERP4.manifest_key(one.id), b"not a manifest")
    assert read(shelf, memory) == []
    shelf.delete(ERP4.manifest_key(one.id))
    assert read(shelf, memory) == []


def test_what_is_old_is_read_again():
    memory, shelf = Memory(), ShelfStore()
    stored = put(shelf, "erp4/prod/meta/x", b"content")
    memory.keep(stored, b"content", NOW)
    assert memory.get(stored, NOW + KEPT_FOR) == b"content"
    assert memory.get(stored, NOW + KEPT_FOR + timedelta(seconds=1)) is None


def test_memory_is_bounded_and_forgets_what_was_not_asked_for_the_longest():
    memory, shelf = Memory(most_bytes=25), ShelfStore()
    objects = [put(shelf, f"erp4/prod/meta/{number}", b"0123456789") for number in range(3)]
    memory.keep(objects[0], b"0123456789", NOW)
    memory.keep(objects[1], b"0123456789", NOW)
    assert memory.get(objects[0], NOW) is not None
    memory.keep(objects[2], b"0123456789", NOW)
    assert [memory.get(one, NOW) is not None for one in objects] == [True, False, True]


def test_what_is_missing_raises_as_the_store_does(tmp_path: Path):
    store = RememberingStore(ShelfStore(), Memory())  # type: ignore[arg-type]
    with pytest.raises(CheckFailed, match="there is no x"), store.open("x"):
        pass
