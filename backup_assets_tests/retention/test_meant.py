"""Which set is meant, where the stores do not hold the same ones."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.errors import BackupError
from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.retention.holding import place_hold, release_holds
from backup_assets.retention.meant import Meant, meant_by
from backup_assets.sets.catalog import AmbiguousSet, IncompleteSet, NoSuchSet
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.settings import Settings
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store, sets_in, settings_with
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, put_set
from backup_assets_tests.sets.histories import DAY, HOUR

SLOT = "2026-11-22"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A local store and a folder."""
    (tmp_path / "usb").mkdir()
    return settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))


@pytest.fixture
def nightly(settings: Settings) -> Manifest:
    """A set of the night, in both stores."""
    return stored(settings, a_manifest(NOW - 10 * HOUR, run="aaaa0000"), "local", "usb")


@pytest.fixture
def before_the_release(settings: Settings) -> Manifest:
    """Another one of the same slot, which has not been copied yet."""
    return stored(settings, a_manifest(NOW - HOUR, run="bbbb0000"), "local")


def stored(settings: Settings, manifest: Manifest, *names: str) -> Manifest:
    for name in names:
        put_set(store_named(settings, name), manifest)
    return manifest


def damaged(settings: Settings, manifest: Manifest, directory: Path | None = None) -> None:
    flip_a_bit((directory or settings.backup_dir) / ERP4.manifest_key(manifest.id))


def meant(settings: Settings, selector: str) -> Meant:
    return meant_by(settings.databases[0], settings, selector)


def held_in(settings: Settings, name: str = "local") -> list[str]:
    return [one.id for one in sets_in(settings, name).values() if one.hold_at(NOW + DAY) is not None]


def test_a_slot_of_two_sets_of_which_one_is_copied_holds_and_releases_neither(
    settings: Settings, nightly: Manifest, before_the_release: Manifest
) -> None:
    database = settings.databases[0]
    with pytest.raises(AmbiguousSet, match=f"'{SLOT}' is the beginning of 2 ids") as told:
        place_hold(database, settings, SLOT, Hold(reason="release 4.2"), now=NOW)
    assert f"{nightly.id} (local, usb), {before_the_release.id} (local)" in told.value.why
    assert (held_in(settings), held_in(settings, "usb")) == ([], [])

    place_hold(database, settings, nightly.id, Hold(reason="audit"), now=NOW)
    with pytest.raises(AmbiguousSet):
        release_holds(database, settings, SLOT, "old one", now=NOW + HOUR)
    assert (held_in(settings), held_in(settings, "usb")) == ([nightly.id], [nightly.id])


def test_two_sets_of_a_slot_in_different_stores_are_two(settings: Settings) -> None:
    stored(settings, a_manifest(NOW - 10 * HOUR, run="aaaa0000"), "local")
    stored(settings, a_manifest(NOW - HOUR, run="bbbb0000"), "usb")

    with pytest.raises(AmbiguousSet):
        meant(settings, SLOT)


def test_a_set_whose_manifest_is_damaged_counts_among_those_that_may_be_meant(
    settings: Settings, nightly: Manifest, before_the_release: Manifest
) -> None:
    damaged(settings, before_the_release)

    with pytest.raises(AmbiguousSet):
        meant(settings, SLOT)


def test_the_beginning_of_one_id_means_that_set_in_whichever_store_it_is(settings: Settings, nightly: Manifest) -> None:
    old = stored(settings, a_manifest(NOW - 90 * DAY), "usb")

    assert (meant(settings, SLOT).one.id, meant(settings, SLOT).store) == (nightly.id, "local")
    assert (meant(settings, old.slot).one.id, meant(settings, old.slot).store) == (old.id, "usb")


def test_a_whole_id_needs_no_store_but_the_one_that_has_it(
    settings: Settings, nightly: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "usb").rename(tmp_path / "away")

    assert meant(settings, nightly.id).store == "local"


def test_a_set_that_is_damaged_in_one_store_is_taken_from_another(settings: Settings, nightly: Manifest) -> None:
    damaged(settings, nightly)

    assert meant(settings, nightly.id).store == "usb"


def test_a_set_that_is_damaged_everywhere_is_told(settings: Settings, nightly: Manifest, tmp_path: Path) -> None:
    damaged(settings, nightly)
    damaged(settings, nightly, tmp_path / "usb")

    with pytest.raises(IncompleteSet, match=f"the manifest of the set {nightly.id} is damaged"):
        meant(settings, nightly.id)


def test_the_latest_is_the_newest_of_the_local_store(settings: Settings) -> None:
    stored(settings, a_manifest(datetime.now(UTC) - DAY), "local", "usb")
    newest = stored(settings, a_manifest(datetime.now(UTC) - HOUR), "local")

    assert meant(settings, "latest").one.id == newest.id


def test_an_older_set_is_not_the_latest_because_the_newest_is_damaged(settings: Settings) -> None:
    older = stored(settings, a_manifest(datetime.now(UTC) - DAY), "local", "usb")
    newest = stored(settings, a_manifest(datetime.now(UTC) - HOUR), "local")
    damaged(settings, newest)

    with pytest.raises(AmbiguousSet, match="which set is the latest") as told:
        meant(settings, "latest")
    assert newest.id in told.value.why
    assert meant(settings, older.id).one.id == older.id


def test_the_latest_is_that_of_a_further_store_where_the_local_one_is_empty(settings: Settings) -> None:
    only = stored(settings, a_manifest(datetime.now(UTC) - HOUR), "usb")

    assert meant(settings, "latest").one.id == only.id


def test_what_no_store_has_is_told_with_what_is_near(settings: Settings, nightly: Manifest) -> None:
    with pytest.raises(NoSuchSet, match="there is no set '2026-11-23'") as told:
        meant(settings, "2026-11-23")
    assert nightly.id in told.value.why


@pytest.mark.parametrize("selector", ["latest", "2026-11-21", str(a_manifest(NOW - DAY).id)])
def test_a_set_that_may_lie_in_a_store_that_does_not_answer_is_not_just_called_missing(
    settings: Settings, tmp_path: Path, selector: str
) -> None:
    stored(settings, a_manifest(NOW - DAY), "usb")
    (tmp_path / "usb").rename(tmp_path / "away")

    with pytest.raises(NoSuchSet) as told:
        meant(settings, selector)

    assert f"usb could not be asked: the folder {tmp_path / 'usb'} does not exist" in told.value.why
    assert "repeat this when that store answers" in told.value.remedy


def test_a_local_store_that_cannot_be_read_leaves_the_beginning_of_an_id_undecided(
    settings: Settings, nightly: Manifest
) -> None:
    settings.backup_dir.rename(settings.backup_dir.with_name("moved"))
    settings.backup_dir.write_text("no directory")

    with pytest.raises(BackupError):
        meant(settings, SLOT)
    assert meant(settings, nightly.id).store == "usb"


def test_a_set_that_was_never_finished_is_none(settings: Settings, nightly: Manifest) -> None:
    half = a_manifest(NOW - 3 * DAY, run="cccc0000")
    put_set(local_store(settings), half)
    local_store(settings).delete(ERP4.manifest_key(half.id))

    with pytest.raises(IncompleteSet, match="was never finished or is half deleted"):
        meant(settings, half.id)
