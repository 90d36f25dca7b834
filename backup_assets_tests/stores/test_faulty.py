"""Every way in which a store can fail or lie is noticed by what reads it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from backup_assets.errors import BackupError, CheckFailed, TransientFault
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.deletion import delete_set
from backup_assets.sets.manifest import Manifest
from backup_assets.stores.contract import Store, TransferDamaged
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.read_back import read_back
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, a_verification, proof_of, put_record, put_set
from backup_assets_tests.stores.conformance import keys
from backup_assets_tests.stores.faulty import Fault, FaultyStore, Kind, Stopped


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "backups", "local")


def verify(store: Store, manifest: Manifest) -> None:
    for artifact in manifest.artifacts:
        read_back(store, ERP4.key(artifact.name), sha256=artifact.sha256, size=artifact.size_bytes)


def noticed(store: Store, manifest: Manifest) -> bool:
    """Tell whether the catalog or reading back finds the set of ``manifest`` wanting."""
    found = Catalog(store, ERP4).find(manifest.id)
    if found is None or found.faults or found.manifest != manifest:
        return True
    try:
        verify(store, manifest)
    except CheckFailed:
        return True
    return False


def test_without_a_fault_nothing_is_noticed(folder: FolderStore) -> None:
    store = FaultyStore(folder, Fault("put", "fail", nth=99))
    manifest = put_set(store, a_manifest())

    assert not noticed(store, manifest)


@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("kind", ["fail", "fail_after", "truncate", "flip", "stop"])
def test_a_fault_at_any_put_of_a_set_is_noticed_and_repeating_it_mends_or_refuses(
    folder: FolderStore, nth: int, kind: Kind
) -> None:
    store = FaultyStore(folder, Fault("put", kind, nth=nth))
    manifest = a_manifest()

    if kind in {"truncate", "flip"}:
        put_set(store, manifest)
    else:
        with pytest.raises((TransientFault, Stopped)):
            put_set(store, manifest)
    finished = kind == "fail_after" and nth == 2
    assert noticed(folder, manifest) is not finished

    if kind in {"truncate", "flip"}:
        with pytest.raises(BackupError, match="with other content"):
            put_set(folder, manifest)
    else:
        put_set(folder, manifest)
        assert not noticed(folder, manifest)


@pytest.mark.parametrize("part", ["/db/", "/assets/"])
@pytest.mark.parametrize("kind", ["truncate", "flip"])
def test_an_artifact_that_comes_out_damaged_is_noticed_by_reading_back(
    folder: FolderStore, part: str, kind: Kind
) -> None:
    manifest = put_set(folder, a_manifest())

    with pytest.raises(TransferDamaged, match="is damaged"):
        verify(FaultyStore(folder, Fault("open", kind, part=part)), manifest)


@pytest.mark.parametrize("kind", ["truncate", "flip"])
def test_a_document_that_comes_out_damaged_is_a_problem_and_no_other_set_suffers(
    folder: FolderStore, kind: Kind
) -> None:
    today = put_set(folder, a_manifest())
    yesterday = put_set(folder, a_manifest(NOW - timedelta(days=1)))
    put_record(folder, a_verification(yesterday.id))

    manifests = Catalog(FaultyStore(folder, Fault("open", kind, part=f"{today.id}.manifest")), ERP4)
    assert [one.id for one in manifests.sets()] == [yesterday.id]
    assert [damage.set_id for damage in manifests.problems] == [today.id]

    records = Catalog(FaultyStore(folder, Fault("open", kind, part="verification")), ERP4)
    assert [(one.id, proof_of(one)) for one in records.sets()] == [(today.id, None), (yesterday.id, None)]
    assert [damage.kind for damage in records.problems] == ["verification"]


@pytest.mark.parametrize("fault", [Fault("list", "fail"), Fault("list", "fail_after"), Fault("open", "fail")])
def test_a_listing_that_fails_is_an_error_and_never_a_shorter_list(folder: FolderStore, fault: Fault) -> None:
    put_set(folder, a_manifest())
    put_set(folder, a_manifest(NOW - timedelta(days=1)))

    with pytest.raises(TransientFault):
        Catalog(FaultyStore(folder, fault), ERP4).sets()


def test_artifacts_that_a_listing_leaves_out_make_sets_incomplete(folder: FolderStore) -> None:
    put_set(folder, a_manifest())

    one = Catalog(FaultyStore(folder, Fault("list", "truncate", part="/db")), ERP4).sets()[0]

    assert one.state == "incomplete"


@pytest.mark.parametrize("nth", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["fail", "fail_after", "stop"])
def test_a_deletion_that_ends_anywhere_leaves_a_whole_set_or_none(folder: FolderStore, nth: int, kind: Kind) -> None:
    manifest = put_set(folder, a_manifest())
    stays = put_set(folder, a_manifest(NOW - timedelta(days=1)))
    put_record(folder, a_verification(manifest.id))
    chosen = Catalog(folder, ERP4).resolve()

    with pytest.raises((TransientFault, Stopped)):
        delete_set(FaultyStore(folder, Fault("delete", kind, nth=nth)), ERP4, chosen, now=NOW)

    found = Catalog(folder, ERP4).find(manifest.id)
    assert (found is not None) is (nth == 0 and kind != "fail_after")
    assert found is None or (found.state == "complete" and proof_of(found) is not None)
    later = NOW.replace(year=2126)
    if found is None:
        folder.sweep(later)
        assert not [key for key in keys(folder) if manifest.id in key]
    assert not noticed(folder, stays)
