from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.files import sha256_of
from backup_assets.local import local_store, place_of
from backup_assets.restore.fetch import FetchedSet, fetch_set, stored_artifacts
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import StoredObject
from backup_assets.stores.contract import Store
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.restore.restoring import Erp, flip_bit, path_of


class FarStore:
    """A folder that is reached as a store elsewhere is: through streams only."""

    def __init__(self, folder: FolderStore) -> None:
        self._folder = folder
        self.name = "far"

    def put(self, key: str, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        return self._folder.put(key, source, sha256=sha256, size=size)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._folder.open(key)

    def stat(self, key: str) -> StoredObject | None:
        return self._folder.stat(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._folder.list(prefix)

    def delete(self, key: str) -> None:
        self._folder.delete(key)

    def describe(self) -> str:
        return "a store far away"

    def check(self) -> None:
        self._folder.check()

    def free_bytes(self) -> int | None:
        return self._folder.free_bytes()


@pytest.fixture
def two_sets(an_erp: Erp) -> tuple[Manifest, Manifest]:
    first = an_erp.captured().manifest
    (an_erp.attachments / "4.pdf").write_text("invoice 4")
    return first, an_erp.captured().manifest


def fetched(erp: Erp, manifest: Manifest, directory: Path, store: Store | None = None) -> FetchedSet:
    store = store or local_store(erp.settings)
    place = place_of(erp.settings.databases[0], erp.settings)
    catalog = Catalog(store, place)
    chosen = catalog.resolve(manifest.id, complete_only=False)
    directory.mkdir(exist_ok=True)
    return fetch_set(store, place, catalog, chosen, directory, erp.settings.encryption)


def test_files_of_a_folder_are_read_where_they_are(an_erp: Erp, two_sets: tuple[Manifest, Manifest], tmp_path: Path):
    first, _ = two_sets

    found = fetched(an_erp, first, tmp_path / "work")

    assert found.paths == {role: path_of(an_erp.settings, first, role) for role in found.paths}
    assert set(found.paths) == {"dump", "globals", "archive", "index"}
    assert found.full_archive is None
    assert list((tmp_path / "work").iterdir()) == []


def test_a_differential_comes_with_the_full_archive_that_it_needs(
    an_erp: Erp, two_sets: tuple[Manifest, Manifest], tmp_path: Path
):
    first, second = two_sets

    found = fetched(an_erp, second, tmp_path / "work")

    assert found.full_archive == path_of(an_erp.settings, first, "archive")
    assert found.paths["archive"] == path_of(an_erp.settings, second, "archive")


def test_files_of_a_store_far_away_are_copied_privately_and_proven(
    an_erp: Erp, two_sets: tuple[Manifest, Manifest], tmp_path: Path
):
    _, second = two_sets

    found = fetched(an_erp, second, tmp_path / "work", FarStore(local_store(an_erp.settings)))

    assert found.full_archive is not None
    for path in (*found.paths.values(), found.full_archive):
        assert path.parent == tmp_path / "work"
        assert path.stat().st_mode & 0o777 == 0o600
    for role, path in found.paths.items():
        assert sha256_of(path) == found.artifact(role).sha256


@pytest.mark.parametrize("far", [False, True])
def test_every_damaged_and_missing_file_is_named_at_once(
    an_erp: Erp, two_sets: tuple[Manifest, Manifest], tmp_path: Path, far: bool
):
    first, second = two_sets
    local = local_store(an_erp.settings)
    flip_bit(path_of(an_erp.settings, second, "dump"), 50)
    path_of(an_erp.settings, second, "globals").unlink()
    path_of(an_erp.settings, first, "archive").write_bytes(b"short")

    with pytest.raises(CheckFailed, match="is damaged in") as failure:
        fetched(an_erp, second, tmp_path / "work", FarStore(local) if far else local)

    assert f"db/{second.id}.dump has another SHA-256" in failure.value.why
    assert f"globals/{second.id}.sql" in failure.value.why
    assert f"assets/{first.id}.tar.zst has 5 bytes instead of" in failure.value.why


def test_a_set_needs_its_own_files_and_the_archive_of_its_full_set(an_erp: Erp, two_sets: tuple[Manifest, Manifest]):
    first, second = two_sets
    store = local_store(an_erp.settings)
    catalog = Catalog(store, place_of(an_erp.settings.databases[0], an_erp.settings))

    needed = stored_artifacts(store, catalog.place, catalog, catalog.resolve(second.id))

    assert [(owner, artifact.role) for owner, artifact in needed if owner == first.id] == [(first.id, "archive")]
    assert {artifact.role for owner, artifact in needed if owner == second.id} == {
        "dump", "globals", "archive", "index",
    }  # fmt: skip


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    an_erp: Erp, two_sets: tuple[Manifest, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A margin that no disk has: to fill a real one would disturb everybody else on it.
    monkeypatch.setattr("backup_assets.capture.preflight.MARGIN_BYTES", 1 << 60)

    with pytest.raises(EnvironmentFault, match="not enough free disk for the files of the set"):
        fetched(an_erp, two_sets[0], tmp_path / "work", FarStore(local_store(an_erp.settings)))

    assert list((tmp_path / "work").iterdir()) == []
