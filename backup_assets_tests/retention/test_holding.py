"""Holds and releases in every store that has the set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backup_assets.errors import Refused
from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.retention.holding import Held, place_hold, release_holds
from backup_assets.sets.catalog import NoSuchSet
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.settings import Settings
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store, sets_in, settings_with
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, put, put_set
from backup_assets_tests.sets.histories import DAY, HOUR

RELEASE = Hold(reason="before release 4.2")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("usb", "nas"):
        (tmp_path / name).mkdir()
    return settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"), folder_store(tmp_path / "nas", "nas"))


@pytest.fixture
def manifest(settings: Settings) -> Manifest:
    """A set in the local store and in one of two folders."""
    made = a_manifest(NOW - DAY)
    for name in ("local", "usb"):
        put_set(store_named(settings, name), made)
    return made


def held(settings: Settings, selector: str, hold: Hold = RELEASE) -> Held:
    return place_hold(settings.databases[0], settings, selector, hold, now=NOW)


def released(settings: Settings, selector: str) -> Held:
    return release_holds(settings.databases[0], settings, selector, "the release is fine", now=NOW + HOUR)


def test_a_hold_is_written_to_every_store_that_has_the_set(settings: Settings, manifest: Manifest) -> None:
    done = held(settings, manifest.id[:12])
    assert done.set_id == manifest.id
    assert [(one.store, one.state) for one in done.stores] == [
        ("local", "recorded"),
        ("usb", "recorded"),
        ("nas", "absent"),
    ]
    assert done.hold == RELEASE
    for name in ("local", "usb"):
        assert sets_in(settings, name)[manifest.id].hold_at(NOW) == RELEASE
    assert list(store_named(settings, "nas").list("")) == []


def test_a_release_ends_every_hold_in_every_store(settings: Settings, manifest: Manifest) -> None:
    held(settings, manifest.id)
    done = released(settings, manifest.id)
    assert done.hold is None
    for name in ("local", "usb"):
        assert sets_in(settings, name)[manifest.id].hold_at(NOW + HOUR) is None
        assert sets_in(settings, name)[manifest.id].hold_at(NOW + 2 * HOUR) is None


def test_a_damaged_hold_is_told_to_be_in_force_still(settings: Settings, manifest: Manifest) -> None:
    held(settings, manifest.id)
    (key,) = [one.key for one in local_store(settings).list("") if ".hold." in one.key]
    local_store(settings).delete(key)
    put(local_store(settings), key, b"{}")
    still = released(settings, manifest.id).hold
    assert still is not None
    assert "damaged" in still.reason


def test_a_set_that_only_a_further_store_has_is_held_there(settings: Settings, tmp_path: Path) -> None:
    put_set(store_named(settings, "local"), a_manifest(NOW))
    old = put_set(store_named(settings, "nas"), a_manifest(NOW - 90 * DAY))
    done = held(settings, old.id)
    assert [one.store for one in done.stores if one.state == "recorded"] == ["nas"]
    assert done.hold == RELEASE


def test_a_store_that_does_not_answer_is_told(settings: Settings, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "nas").rmdir()
    done = held(settings, manifest.id)
    assert [one.state for one in done.stores] == ["recorded", "recorded", "failed"]
    assert not done.is_well


def test_a_set_that_no_store_has_is_refused_and_nothing_is_written(settings: Settings, manifest: Manifest) -> None:
    with pytest.raises(NoSuchSet, match="there is no set '2031'"):
        held(settings, "2031")
    assert not any(".hold." in one.key for one in local_store(settings).list(""))


def test_a_hold_that_is_over_already_is_refused(settings: Settings, manifest: Manifest) -> None:
    with pytest.raises(Refused, match="over already"):
        held(settings, manifest.id, Hold(reason="audit", until=NOW))
    assert sets_in(settings, "local")[manifest.id].records == ()


def test_a_release_that_a_wrong_clock_dated_ahead_ends_no_hold_that_is_placed_after_it(
    settings: Settings, manifest: Manifest
) -> None:
    database, ahead = settings.databases[0], NOW + 400 * DAY
    release_holds(database, settings, manifest.id, "not needed", now=ahead)

    done = place_hold(database, settings, manifest.id, RELEASE, now=NOW + HOUR)

    assert done.hold == RELEASE
    for moment in (NOW + HOUR, ahead - HOUR, ahead + DAY):
        for name in ("local", "usb"):
            assert sets_in(settings, name)[manifest.id].hold_at(moment) == RELEASE
    (record,) = [one for one in sets_in(settings, "usb")[manifest.id].records if one.kind == "hold"]
    assert record.at == NOW + HOUR


def test_a_release_of_which_one_store_alone_knows_ends_no_later_hold_there(
    settings: Settings, manifest: Manifest, tmp_path: Path
) -> None:
    database, ahead = settings.databases[0], NOW + 400 * DAY
    elsewhere = settings.model_copy(update={"backup_dir": tmp_path / "laptop"})
    release_holds(database, elsewhere, manifest.id, "not needed", now=ahead)
    assert sets_in(settings, "local")[manifest.id].records == ()

    place_hold(database, settings, manifest.id, RELEASE, now=NOW + HOUR)

    assert sets_in(settings, "usb")[manifest.id].hold_at(ahead + DAY) == RELEASE


def test_a_hold_that_a_wrong_clock_dated_ahead_can_be_released(settings: Settings, manifest: Manifest) -> None:
    database = settings.databases[0]
    place_hold(database, settings, manifest.id, RELEASE, now=NOW + 400 * DAY)

    done = release_holds(database, settings, manifest.id, "the release is fine", now=NOW + HOUR)

    assert done.hold is None
    assert sets_in(settings, "usb")[manifest.id].hold_at(NOW + 500 * DAY) is None


def test_a_set_whose_local_manifest_is_damaged_is_held_where_it_is_whole(
    settings: Settings, manifest: Manifest
) -> None:
    flip_a_bit(settings.backup_dir / ERP4.manifest_key(manifest.id))

    done = held(settings, manifest.id)

    assert (done.hold, done.is_well) == (RELEASE, True)
    assert sets_in(settings, "usb")[manifest.id].hold_at(NOW) == RELEASE


def test_a_set_is_held_in_a_further_store_although_the_local_one_cannot_be_read(
    settings: Settings, manifest: Manifest
) -> None:
    shutil.rmtree(settings.backup_dir)
    settings.backup_dir.write_text("no directory")

    done = held(settings, manifest.id)

    assert [(one.store, one.state) for one in done.stores] == [
        ("local", "failed"),
        ("usb", "recorded"),
        ("nas", "absent"),
    ]
    assert done.hold == RELEASE
    assert not done.is_well
