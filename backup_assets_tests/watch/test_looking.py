from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backup_assets.sets.manifest import Hold
from backup_assets.settings_stores import StoreSettings
from backup_assets.watch.looking import _waiting, look_at_stores
from backup_assets_tests.watch.stores_at_work import (
    HOUR,
    NOW,
    a_folder,
    damage_manifest,
    measured,
    proven,
    settings_of,
    taken,
)


def test_a_store_that_fails_hides_no_other(tmp_path: Path):
    dead = StoreSettings(name="remote", kind="ssh", host="127.0.0.1", port=1, remote_dir="/srv/backups")
    settings = settings_of(tmp_path, dead, a_folder(tmp_path, "gone"), a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - HOUR, stores=("local", "usb"))
    (tmp_path / "gone").rmdir()
    local, remote, gone, usb = measured(settings).stores
    assert "127.0.0.1" in remote.error
    assert "does not exist" in gone.error
    assert "\n" not in remote.error + gone.error
    assert [store.newest and store.newest.id for store in (local, remote, gone, usb)] == [one.id, None, None, one.id]


def test_a_store_that_fails_as_nobody_expected_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - HOUR, stores=("local", "usb"))
    scandir = os.scandir

    def failing(directory: str):
        if str(directory).startswith(str(tmp_path / "usb")):
            raise ValueError("this driver is\nbroken")
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", failing)
    local, usb = look_at_stores(settings.databases[0], settings, NOW)
    assert [held.id for held in local.sets] == [one.id]
    assert (usb.error, usb.denied) == ("ValueError: this driver is broken", False)


def test_a_store_that_hangs_is_given_up_and_not_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - HOUR, stores=("local", "usb"))
    scandir, entered, go_on = os.scandir, threading.Event(), threading.Event()

    def hanging(directory: str):  # as a mount whose server is gone
        if str(directory).startswith(str(tmp_path / "usb")):
            entered.set()
            go_on.wait(300)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", hanging)
    begun = time.monotonic()
    local, usb = look_at_stores(settings.databases[0], settings, NOW, seconds=5.0)
    assert entered.is_set()
    assert usb.error == "no answer within 5 s"
    assert [held.id for held in local.sets] == [one.id]
    local, usb = look_at_stores(settings.databases[0], settings, NOW, seconds=300.0)
    assert [held.id for held in local.sets] == [one.id]
    assert usb.error == "no answer within 300 s"
    assert time.monotonic() - begun < 200
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "look at usb"]
    go_on.set()
    thread.join(60)
    _, usb = look_at_stores(settings.databases[0], settings, NOW)
    assert (usb.error, [held.id for held in usb.sets]) == ("", [one.id])


def test_what_is_damaged_or_incomplete_is_counted_and_hides_nothing(tmp_path: Path):
    settings = settings_of(tmp_path)
    good, cut, bad = (taken(settings, NOW - hours * HOUR) for hours in (3, 2, 1))
    (tmp_path / "local" / "erp4" / "prod" / cut.artifacts[0].name).write_bytes(b"x")
    damage_manifest(settings, bad)
    (local,) = measured(settings).stores
    assert (local.sets, local.incomplete, local.damaged) == (1, 1, 1)
    assert local.newest is not None
    assert local.newest.id == good.id
    assert local.bytes == good.size_bytes + cut.size_bytes


def test_weekly_sets_of_some_tables_count_for_nothing(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, NOW - HOUR, kind="important_tables")
    (local,) = measured(settings).stores
    assert (local.sets, local.newest) == (0, None)
    assert local.late == "there is no complete set in local"


def test_a_copy_that_failed_its_own_verification_is_bad_there_and_good_here(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - HOUR, stores=("local", "usb"))
    proven(settings, one, at=NOW)
    proven(settings, one, at=NOW, store="usb", passed=False)
    local, usb = measured(settings).stores
    assert local.proven is not None
    assert local.proven.verified_level == "restored"
    assert usb.newest is None


def test_a_set_that_failed_here_is_not_trusted_where_it_was_never_verified(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - HOUR, stores=("local", "usb"))
    proven(settings, one, at=NOW, passed=False)
    assert [store.newest for store in measured(settings).stores] == [None, None]


def test_region_and_account_are_those_that_the_settings_name(tmp_path: Path):
    arn = "arn:aws:kms:ap-northeast-3:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    osaka = StoreSettings(
        name="osaka", kind="s3", bucket="b", endpoint_url="http://127.0.0.1:1", sse_kms_key_id=arn, off_site=False
    )
    _, found = look_at_stores(settings_of(tmp_path, osaka).databases[0], settings_of(tmp_path, osaka), NOW)
    assert found.error
    assert found.off_site is False


def same_listing(path: Path, content: bytes) -> None:
    """Change a file so that nobody sees it in a listing: as a disk that decays does."""
    found = path.stat()
    path.write_bytes(content.ljust(found.st_size, b" "))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_what_lists_the_same_is_not_read_again_for_half_a_day_and_is_after_a_day(tmp_path: Path):
    settings = settings_of(tmp_path)
    one = taken(settings, NOW - HOUR)
    assert measured(settings).stores[0].sets == 1
    (manifest,) = (tmp_path / "local").rglob("*.manifest.json")
    same_listing(manifest, b"{")
    assert measured(settings, NOW + 11 * HOUR).stores[0].sets == 1
    later = measured(settings, NOW + 25 * HOUR).stores[0]
    assert (later.sets, later.damaged) == (0, 1)
    assert one.id in manifest.name


def test_whatever_changes_the_listing_is_read_at_once(tmp_path: Path):
    settings = settings_of(tmp_path)
    one = taken(settings, NOW - 2 * HOUR)
    assert measured(settings).stores[0].proven is None
    proven(settings, one, at=NOW)
    assert measured(settings).stores[0].proven is not None
    (tmp_path / "local" / "erp4" / "prod" / one.artifacts[0].name).unlink()
    (local,) = measured(settings).stores
    assert (local.sets, local.incomplete) == (0, 1)


def test_a_hold_that_ends_is_seen_to_end_although_the_listing_stays(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, NOW - HOUR, hold=Hold(reason="the audit", until=NOW + HOUR))

    def held(hours: int) -> list[str | None]:
        (local,) = look_at_stores(settings.databases[0], settings, NOW + hours * HOUR)
        return [one.hold for one in local.sets]

    assert (held(0), held(2)) == (["the audit"], [None])


def test_a_proof_from_the_future_counts_when_its_time_has_come_although_the_listing_stays(tmp_path: Path):
    settings = settings_of(tmp_path)
    last = taken(settings, NOW - HOUR)
    proven(settings, last, at=NOW + 2 * HOUR)

    def is_proven(hours: int) -> list[bool]:
        (local,) = look_at_stores(settings.databases[0], settings, NOW + hours * HOUR)
        return [one.verified is not None for one in local.sets]

    assert (is_proven(0), is_proven(2)) == ([False], [True])


def test_two_who_ask_at_the_same_time_get_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = settings_of(tmp_path)
    one = taken(settings, NOW - HOUR)
    scandir, entered, go_on = os.scandir, threading.Event(), threading.Event()

    def slow(directory: str):  # as a disk that wakes up
        if str(directory).startswith(str(tmp_path / "local")):
            entered.set()
            go_on.wait(60)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(look_at_stores, settings.databases[0], settings, NOW)
        assert entered.wait(60)
        second = pool.submit(look_at_stores, settings.databases[0], settings, NOW)
        go_on.set()
        looks = [*first.result(60), *second.result(60)]
    assert [(look.error, [held.id for held in look.sets]) for look in looks] == [("", [one.id])] * 2


def test_a_store_that_has_answered_is_looked_at_anew_although_the_thread_of_that_look_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = settings_of(tmp_path)
    first = taken(settings, NOW - 2 * HOUR)
    scandir, entered, go_on = os.scandir, threading.Event(), threading.Event()
    answered, gone = threading.Event(), threading.Event()

    def slow(directory: str):
        if str(directory).startswith(str(tmp_path / "local")):
            entered.set()
            go_on.wait(60)
        return scandir(directory)

    def living_on(_: object) -> None:
        answered.set()
        gone.wait(60)

    monkeypatch.setattr(os, "scandir", slow)
    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(look_at_stores, settings.databases[0], settings, NOW)
        assert entered.wait(60)
        (asked,) = [one for key, one in _waiting.items() if key[0] == settings.backup_dir]
        asked.answer.add_done_callback(living_on)  # it runs in the thread of the look
        go_on.set()
        assert answered.wait(60)
        try:
            (before,) = look.result(60)
            second = taken(settings, NOW - HOUR)
            assert asked.thread.is_alive()
            (after,) = look_at_stores(settings.databases[0], settings, NOW)
        finally:
            gone.set()
    assert [held.id for held in before.sets] == [first.id]
    assert [held.id for held in after.sets] == [second.id, first.id]
