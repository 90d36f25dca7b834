from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backup_assets.local import local_store
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.retention.gone import GONE
from backup_assets.retention.pruning import Pruned, prune, survey
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.watch.looking import Held, Look, RemovedBy, expires_at
from backup_assets.watch.losses import lost, vanished
from backup_assets.watch.remains import LOOK_BACK
from backup_assets_tests.sets.examples import ERP4, put
from backup_assets_tests.stores.faulty import Stopped
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    copy_recorded,
    damage_manifest,
    measured,
    proven,
    settings_of,
    taken,
)

LAST_NIGHT = NOW - 10 * HOUR


def copied(settings: Settings, at: datetime, **fields: Any) -> Manifest:
    """Put a set into both stores, with the record of its copy."""
    manifest = taken(settings, at, stores=("local", "usb"), **fields)
    copy_recorded(settings, manifest, "usb")
    return manifest


def remove(settings: Settings, manifest: Manifest, *, store: str = "usb", only: str = "") -> None:
    """Delete the files of a set by hand, or only those in one folder."""
    root = store_named(settings, store).root  # type: ignore[attr-defined]
    found = [path for path in root.rglob("*") if manifest.id in path.name and only in str(path.parent)]
    assert found
    for path in found:
        path.unlink()


@pytest.fixture
def two_weeks(tmp_path: Path) -> Iterator[tuple[Settings, list[Manifest]]]:
    """A set of each of fourteen nights in both stores, newest first."""
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    yield settings, [copied(settings, LAST_NIGHT - night * DAY) for night in range(14)]


def test_a_store_that_has_everything_has_lost_nothing(two_weeks: tuple[Settings, list[Manifest]]) -> None:
    settings, _ = two_weeks

    assert [(one.lost, one.vanished) for one in measured(settings).stores] == [((), ()), ((), ())]


def test_every_dump_but_the_newest_that_goes_from_a_store_is_lost(two_weeks: tuple[Settings, list[Manifest]]) -> None:
    settings, sets = two_weeks
    for one in sets[1:]:
        remove(settings, one, only="/db")

    local, usb = measured(settings).stores
    assert (local.lost, usb.lost) == ((), tuple(one.id for one in sets[1:]))
    # Its newest set is there and young, so that nothing else would say so.
    assert usb.late == ""


def test_whole_sets_that_go_from_a_store_have_vanished(two_weeks: tuple[Settings, list[Manifest]]) -> None:
    settings, sets = two_weeks
    for one in sets[1:]:
        remove(settings, one)

    _, usb = measured(settings).stores
    assert (usb.sets, usb.incomplete, usb.lost) == (1, 0, ())
    assert usb.vanished == tuple(one.id for one in sets[1:])


def test_a_weekly_set_of_the_important_tables_is_missed_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), important_tables=("invoices",))
    gone, cut = (copied(settings, NOW - days * DAY, kind="important_tables") for days in (1, 8))
    remove(settings, gone)
    remove(settings, cut, only="/db")

    _, usb = measured(settings).stores
    assert (usb.lost, usb.vanished) == ((cut.id,), (gone.id,))


@pytest.fixture
def six_nights(tmp_path: Path) -> tuple[Settings, list[Manifest]]:
    """A proven set of each of six nights in both stores, newest first; the retention keeps two."""
    few = RetentionSettings(daily=2, weekly=0, monthly=0, all_for_days=0)
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), retention=few)
    sets = [copied(settings, LAST_NIGHT - night * DAY) for night in range(6)]
    for night, one in enumerate(sets):
        proven(settings, one, at=NOW - night * DAY)
    return settings, sets


def pruned(settings: Settings, now: datetime = NOW) -> Pruned:
    database = settings.databases[0]
    surveyed = survey(database, settings, now=now)
    return prune(database, settings, "usb", apply=True, allow_large_share=True, surveyed=surveyed)


def while_deleting(monkeypatch: pytest.MonkeyPatch, settings: Settings, do: Callable[[], None]) -> None:
    """Do something whenever the manifest of a set has just been deleted from the folder `usb`."""
    root, unlink = store_named(settings, "usb").root, os.unlink  # type: ignore[attr-defined]

    def unlinking(path: Any, **options: Any) -> None:
        unlink(path, **options)
        if str(path).startswith(str(root)) and str(path).endswith(".manifest.json"):
            do()

    monkeypatch.setattr(os, "unlink", unlinking)


def test_what_the_retention_deletes_has_not_vanished(six_nights: tuple[Settings, list[Manifest]]) -> None:
    settings, _ = six_nights
    assert len(pruned(settings).deleted) == 4

    _, usb = measured(settings).stores
    assert (usb.sets, usb.vanished) == (2, ())


def test_what_the_retention_is_deleting_has_not_vanished_however_long_it_takes(
    six_nights: tuple[Settings, list[Manifest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, sets = six_nights
    meanwhile: list[tuple[int, tuple[str, ...] | None]] = []

    def hours_later() -> None:
        _, usb = measured(settings, NOW + 3 * HOUR).stores
        meanwhile.append((usb.sets, usb.vanished))

    while_deleting(monkeypatch, settings, hours_later)
    assert len(pruned(settings).deleted) == 4

    assert meanwhile == [(5, ()), (4, ()), (3, ()), (2, ())]
    remove(settings, sets[1])
    assert measured(settings, NOW + 3 * HOUR).stores[1].vanished == (sets[1].id,)


def test_what_a_retention_deleted_that_was_killed_has_not_vanished(
    six_nights: tuple[Settings, list[Manifest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, sets = six_nights
    deleted: list[int] = []

    def killed_at_the_second() -> None:
        deleted.append(1)
        if len(deleted) == 2:
            raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        while_deleting(patched, settings, killed_at_the_second)
        pruned(settings)
    assert (measured(settings).stores[1].sets, measured(settings).stores[1].vanished) == (4, ())

    # By now too old a store for anything to go: what the killed run left there is missed from then on.
    assert pruned(settings, NOW + 2 * DAY).deleted == ()
    assert measured(settings, NOW + 2 * DAY).stores[1].vanished == ()
    remove(settings, sets[3])
    assert measured(settings, NOW + 2 * DAY).stores[1].vanished == (sets[3].id,)


def test_without_every_note_of_the_retention_nobody_knows_what_vanished(
    two_weeks: tuple[Settings, list[Manifest]],
) -> None:
    settings, sets = two_weeks
    remove(settings, sets[3])
    put(local_store(settings), ERP4.key(f"{GONE}/{NOW:%Y%m%dT%H%M%SZ}-00000000.json"), b"damaged")

    assert measured(settings).stores[1].vanished is None


def test_what_was_copied_longer_ago_than_notes_are_read_is_not_missed(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    remove(settings, copied(settings, NOW - LOOK_BACK))
    recent = copied(settings, NOW - LOOK_BACK + 2 * DAY)
    remove(settings, recent)

    assert measured(settings).stores[1].vanished == (recent.id,)


def test_a_set_whose_manifest_is_damaged_there_has_not_vanished(two_weeks: tuple[Settings, list[Manifest]]) -> None:
    settings, sets = two_weeks
    damage_manifest(settings, sets[3], "usb")

    _, usb = measured(settings).stores
    assert (usb.damaged, usb.vanished) == (1, ())


def test_a_set_whose_deletion_is_under_way_has_lost_nothing(
    two_weeks: tuple[Settings, list[Manifest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, sets = two_weeks
    root = store_named(settings, "usb").root  # type: ignore[attr-defined]
    files = [path for path in root.rglob("*") if sets[5].id in path.name]
    scandir = os.scandir

    def deleting(directory: str):  # between the listing of the manifests and that of the dumps
        if str(directory).endswith("usb/erp4/prod/db"):
            while files:
                files.pop().unlink()
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", deleting)
    _, usb = measured(settings).stores
    assert files == []
    assert (usb.sets, usb.incomplete, usb.damaged, usb.lost) == (13, 0, 0, ())


def a_held(days_old: float, *, damaged: bool = False, copied: str = "", expires_in: float | None = None) -> Held:
    return Held(
        id=f"set-{days_old:g}", slot="", taken_at=NOW - days_old * DAY, size_bytes=1, restored_bytes=1,
        capture_seconds=1.0, label=None, hold=None, faults=("a file is missing",) if damaged else (), verified=None,
        verifications=(), drills=(), restores=(), copied={copied: NOW - days_old * DAY} if copied else {},
        is_damaged=damaged, expires_at=None if expires_in is None else NOW + expires_in * DAY,
    )  # fmt: skip


def a_bucket(removed_by: RemovedBy, *sets: Held) -> Look:
    return Look("s3", "s3", sets=sets, removed_by=removed_by)


def test_a_bucket_that_removes_by_class_has_lost_what_its_rules_do_not_remove_yet() -> None:
    early, rightly = a_held(5, damaged=True, expires_in=8), a_held(13.5, damaged=True, expires_in=-0.5)
    held = a_held(40, damaged=True)

    assert lost(a_bucket("class_rules", early, rightly, held), NOW) == (early.id, held.id)


def test_a_bucket_with_rules_of_its_own_may_be_removing_the_oldest_day() -> None:
    whole, oldest, older = a_held(5), a_held(6.5, damaged=True), a_held(7, damaged=True)
    assert lost(a_bucket("own_rules", whole, oldest, older), NOW) == ()

    days = [a_held(number, damaged=True) for number in (6, 7, 8)]
    assert lost(a_bucket("own_rules", whole, *days), NOW) == tuple(one.id for one in days)
    between = a_held(4, damaged=True)
    assert lost(a_bucket("own_rules", whole, between), NOW) == (between.id,)


@pytest.mark.parametrize(
    ("removed_by", "missed"),
    [("retention", ["set-5", "set-20"]), ("class_rules", ["set-5"]), ("own_rules", []), ("hand", [])],
)
def test_what_may_have_been_removed_rightly_has_not_vanished(removed_by: RemovedBy, missed: list[str]) -> None:
    local = Look("local", "local", sets=(a_held(5, copied="s3"), a_held(20, copied="s3"), a_held(6)))

    assert list(vanished(a_bucket(removed_by), local, NOW) or ()) == missed


def test_a_store_that_does_not_answer_tells_nothing() -> None:
    local = Look("local", "local", sets=(a_held(5, copied="s3"),))
    silent = replace(a_bucket("retention"), error="no route")

    assert vanished(silent, local, NOW) is None
    assert vanished(a_bucket("retention"), replace(local, error="no disk"), NOW) is None


def test_the_class_of_a_set_says_from_when_on_a_bucket_may_remove_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    monday = NOW - 6 * DAY
    for days in (-15, 0, 1):
        taken(settings, monday + days * DAY)
    sets = catalog_in(local_store(settings), ERP4).sets()
    manifests = [one.manifest for one in sets]

    ends = [expires_at(one, manifests, ZoneInfo("UTC"), NOW) for one in sets]
    assert [end and (end - one.taken_at).days for end, one in zip(ends, sets, strict=True)] == [55, 55, 364]


def test_no_rule_removes_what_is_held(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    taken(settings, LAST_NIGHT, hold=Hold(reason="the audit"))
    (one,) = catalog_in(local_store(settings), ERP4).sets()

    assert expires_at(one, [one.manifest], ZoneInfo("UTC"), NOW) is None
