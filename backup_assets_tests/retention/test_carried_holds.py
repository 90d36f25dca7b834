"""Holds that one store knows of are written into the others, before anything is deleted there."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.retention.carried_holds import Carried, carry_holds
from backup_assets.retention.holding import place_hold, release_holds
from backup_assets.retention.pruning import Pruned, prune_all, survey
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import HoldRecord, parse_record
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets_tests.offsite.copying import folder_store, sets_in, settings_with
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, put_record, put_set
from backup_assets_tests.sets.histories import DAY, HOUR, NOW, nightly

AUDIT = Hold(reason="audit")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A local store and a folder, of which three days are kept."""
    (tmp_path / "usb").mkdir()
    settings = settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))
    few = RetentionSettings(daily=3, weekly=1, monthly=1)
    return settings.model_copy(update={"databases": (settings.databases[0].model_copy(update={"retention": few}),)})


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """Another host with the same folder and a local store of its own."""
    return settings.model_copy(update={"backup_dir": tmp_path / "laptop"})


@pytest.fixture
def sets(settings: Settings) -> list[BackupSet]:
    """Verified sets of the last six nights, in both stores."""
    made = nightly(6)
    for name in ("local", "usb"):
        for one in made:
            put_set(store_named(settings, name), one.manifest)
            for record in one.records:
                put_record(store_named(settings, name), record)
    return made


def pruned(settings: Settings, apply: bool = True) -> dict[str, Pruned]:
    database = settings.databases[0]
    surveyed = survey(database, settings, now=NOW)
    return {one.store: one for one in prune_all(database, settings, apply=apply, surveyed=surveyed)}


def carried(settings: Settings, name: str = "local") -> Carried:
    database = settings.databases[0]
    return carry_holds(database, settings, name, survey(database, settings, now=NOW).sets, NOW)


def held_in(settings: Settings, set_id: str, name: str = "local") -> Hold | None:
    return sets_in(settings, name)[set_id].hold_at(NOW)


def test_a_set_that_was_held_from_another_host_stays_when_its_store_is_away_the_next_time(
    settings: Settings, elsewhere: Settings, sets: list[BackupSet], tmp_path: Path
) -> None:
    oldest = sets[5].id
    place_hold(settings.databases[0], elsewhere, oldest, AUDIT, now=NOW - HOUR)

    first = pruned(settings)

    assert (first["local"].carried, first["local"].is_well) == ((oldest,), True)
    assert held_in(settings, oldest) == AUDIT
    (tmp_path / "usb").rename(tmp_path / "away")
    again = pruned(settings)
    assert (again["local"].deleted, again["usb"].is_well) == ((), False)
    assert oldest in sets_in(settings, "local")


def test_a_further_store_is_told_of_what_the_local_one_knows(settings: Settings, sets: list[BackupSet]) -> None:
    without = settings.model_copy(update={"stores": ()})
    place_hold(settings.databases[0], without, sets[5].id, AUDIT, now=NOW - HOUR)

    assert carried(settings, "usb") == Carried((sets[5].id,))
    assert held_in(settings, sets[5].id, "usb") == AUDIT


def test_what_was_carried_once_is_not_carried_again(
    settings: Settings, elsewhere: Settings, sets: list[BackupSet]
) -> None:
    place_hold(settings.databases[0], elsewhere, sets[5].id, AUDIT, now=NOW - HOUR)
    carried(settings)

    assert carried(settings) == Carried()


def test_a_dry_run_writes_nothing(settings: Settings, elsewhere: Settings, sets: list[BackupSet]) -> None:
    place_hold(settings.databases[0], elsewhere, sets[5].id, AUDIT, now=NOW - HOUR)
    before = sorted(one.key for one in local_store(settings).list(""))

    pruned(settings, apply=False)

    assert sorted(one.key for one in local_store(settings).list("")) == before


def test_a_hold_that_was_released_is_not_carried_with_the_one_that_came_after(
    settings: Settings, elsewhere: Settings, sets: list[BackupSet]
) -> None:
    database, oldest = settings.databases[0], sets[5].id
    place_hold(database, elsewhere, oldest, AUDIT, now=NOW - 3 * HOUR)
    release_holds(database, elsewhere, oldest, "it is over", now=NOW - 2 * HOUR)
    until = Hold(reason="release 4.2", until=NOW + DAY)
    place_hold(database, elsewhere, oldest, until, now=NOW - HOUR)

    carried(settings)

    assert held_in(settings, oldest) == until


def test_a_hold_that_was_released_here_is_not_in_force_again(settings: Settings, sets: list[BackupSet]) -> None:
    database, oldest = settings.databases[0], sets[5].id
    place_hold(database, settings, oldest, AUDIT, now=NOW - 3 * HOUR)
    release_holds(database, settings.model_copy(update={"stores": ()}), oldest, "it is over", now=NOW - 2 * HOUR)

    assert carried(settings) == Carried()
    assert held_in(settings, oldest) is None


def test_a_damaged_hold_is_carried_as_one_without_an_end(
    settings: Settings, elsewhere: Settings, sets: list[BackupSet]
) -> None:
    oldest = sets[5].id
    place_hold(settings.databases[0], elsewhere, oldest, Hold(reason="audit", until=NOW + DAY), now=NOW - HOUR)
    usb = store_named(settings, "usb")
    (key,) = [one.key for one in usb.list("") if ".hold." in one.key]
    usb.delete(key)
    put(usb, key, b"{}")

    carried(settings)

    hold = held_in(settings, oldest)
    assert hold is not None
    assert hold.until is None
    assert key in hold.reason


def test_a_hold_of_the_first_version_that_is_over_does_not_begin_again_because_another_copy_of_it_is_damaged(
    settings: Settings,
) -> None:
    content = (Path(__file__).parents[1] / "sets" / "stored_before" / "hold.json").read_bytes()
    record = parse_record(content, "hold.json")
    assert isinstance(record, HoldRecord) and record.until is not None
    key = ERP4.record_key(record.set_id, record.kind, record.at, "f416a7ec")
    for name, stored in (("local", content), ("usb", b"{}")):
        put_set(store_named(settings, name), a_manifest())
        put(store_named(settings, name), key, stored)
    over = record.until + DAY
    known = survey(settings.databases[0], settings, now=over).sets

    assert carry_holds(settings.databases[0], settings, "local", known, over) == Carried()
    assert sets_in(settings, "local")[record.set_id].hold_at(over) is None


def test_a_store_that_takes_no_hold_is_told_and_loses_nothing_that_is_held(
    settings: Settings, elsewhere: Settings, sets: list[BackupSet]
) -> None:
    oldest = sets[5].id
    place_hold(settings.databases[0], elsewhere, oldest, AUDIT, now=NOW - HOUR)
    (record,) = [one for one in sets_in(settings, "usb")[oldest].records if one.kind == "hold"]
    key = put_record(store_named(settings, "usb"), record)
    (settings.backup_dir / key).mkdir()

    local = pruned(settings)["local"]

    assert local.error is not None
    assert not local.is_well
    assert sorted(one.set_id for one in local.deleted) == sorted(one.id for one in sets[3:5])
    assert oldest in sets_in(settings, "local")
