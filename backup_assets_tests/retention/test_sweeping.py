"""What interrupted copies and deletions leave in a further store goes, and nothing else does."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.named_stores import store_named
from backup_assets.retention.sweeping import FINISHED_WITHIN, sweep_store
from backup_assets.settings import Settings
from backup_assets_tests.offsite.copying import folder_store, sets_in, settings_with
from backup_assets_tests.offsite.cross_copying import a_bucket_store, use_profiles
from backup_assets_tests.offsite.test_another_host import host_store
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, put_artifacts, put_set
from backup_assets_tests.stores.conformance import keys
from backup_assets_tests.stores.conftest import another_host, objects

__all__ = ["another_host", "objects"]

PRESENT = a_manifest()
ABSENT = a_manifest(NOW - timedelta(days=3))


@pytest.fixture(params=["folder", "s3", "ssh"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A further store `there` with a whole set, and the files of one whose manifest never came or went first."""
    (tmp_path / "there").mkdir()
    if request.param == "folder":
        store = folder_store(tmp_path / "there", "there")
    elif request.param == "s3":
        server = request.getfixturevalue("objects")
        use_profiles(server, tmp_path, monkeypatch)
        store = a_bucket_store(server, "there")
    else:
        store = host_store(request.getfixturevalue("another_host"), tmp_path / "there", "there")
    made = settings_with(tmp_path / "local", store)
    put_set(store_named(made, "there"), PRESENT)
    put_artifacts(store_named(made, "there"), ABSENT)
    return made


def later() -> datetime:
    """Return a time by which everything that is stored until now should be finished."""
    return datetime.now(UTC) + FINISHED_WITHIN + timedelta(hours=1)


def swept(settings: Settings, now: datetime, *, apply: bool) -> list[str]:
    return [one.key for one in sweep_store(settings, ERP4, "there", now, apply=apply)]


def test_files_of_no_set_are_shown_and_go_only_when_that_is_asked_for(settings: Settings) -> None:
    before = keys(store_named(settings, "there"))
    leftovers = [ERP4.key(artifact.name) for artifact in ABSENT.artifacts]

    assert sorted(swept(settings, later(), apply=False)) == sorted(leftovers)
    assert keys(store_named(settings, "there")) == before
    assert sorted(swept(settings, later(), apply=True)) == sorted(leftovers)

    assert keys(store_named(settings, "there")) == [key for key in before if key not in leftovers]
    assert sets_in(settings, "there")[PRESENT.id].state == "complete"
    assert swept(settings, later(), apply=True) == []


def test_what_a_copy_may_still_go_on_with_stays(settings: Settings) -> None:
    before = keys(store_named(settings, "there"))

    assert swept(settings, later() - timedelta(hours=2), apply=True) == []

    assert keys(store_named(settings, "there")) == before


def test_while_no_set_is_there_nothing_goes(settings: Settings) -> None:
    store = store_named(settings, "there")
    store.delete(ERP4.manifest_key(PRESENT.id))
    before = keys(store)

    assert swept(settings, later(), apply=True) == []

    assert keys(store) == before


def test_a_partial_in_a_folder_goes(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    settings = settings_with(tmp_path / "local", folder_store(tmp_path / "usb", "there"))
    put_set(store_named(settings, "there"), PRESENT)
    partial = tmp_path / "usb" / ERP4.key(f"{PRESENT.artifacts[0].name}.0a1b2c3d.partial")
    partial.write_bytes(b"half")
    old = (datetime.now(UTC) - FINISHED_WITHIN - timedelta(hours=1)).timestamp()
    os.utime(partial, (old, old))

    swept(settings, datetime.now(UTC), apply=True)

    assert not partial.exists()
    assert sets_in(settings, "there")[PRESENT.id].state == "complete"
