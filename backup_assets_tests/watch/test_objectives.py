from __future__ import annotations

import os
from collections import namedtuple
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.capture.preflight import MARGIN_BYTES
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_watch import ObjectivesSettings
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    copy_recorded,
    drilled,
    measured,
    objective,
    proven,
    settings_of,
    taken,
)

LAST_NIGHT = NOW - 10 * HOUR


def test_the_rpo_is_met_by_a_set_of_last_night(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, LAST_NIGHT)
    found = objective(settings, "rpo")
    assert (found.state, found.measured, found.wanted, found.unit) == ("met", 10.0, 24.0, "hours")
    assert found.text == "the newest complete set was taken 10 h ago (local); 24 h promised"


def test_a_set_of_any_store_keeps_the_rpo(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, NOW - 3 * DAY)
    taken(settings, LAST_NIGHT, stores=("usb",))
    assert objective(settings, "rpo").state == "met"


def test_the_rpo_is_not_broken_while_the_next_capture_runs_and_is_when_it_took_too_long(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, NOW)
    assert objective(settings, "rpo", NOW + 24 * HOUR + timedelta(minutes=29)).state != "broken"
    found = objective(settings, "rpo", NOW + 24 * HOUR + timedelta(minutes=31))
    assert (found.state, found.measured) == ("broken", 24.517)


def test_without_any_set_the_rpo_is_broken(tmp_path: Path):
    found = objective(settings_of(tmp_path), "rpo")
    assert (found.state, found.measured) == ("broken", None)
    assert "backup-assets backup" in found.text


def test_a_backup_that_is_due_and_not_there_is_a_warning_before_the_rpo_is_broken(tmp_path: Path):
    settings = settings_of(tmp_path, objectives=ObjectivesSettings(rpo_hours=48))
    taken(settings, NOW.replace(hour=2) - DAY)
    assert objective(settings, "rpo", NOW.replace(hour=2, minute=22)).state == "met"
    found = objective(settings, "rpo", NOW.replace(hour=4))
    assert found.state == "warn"
    assert "the backup of the slot 2026-11-22 has been due for 2 h" in found.text


def test_where_a_backup_is_due_as_often_as_promised_the_warning_still_comes_first(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, NOW.replace(hour=2) - DAY)
    assert objective(settings, "rpo", NOW.replace(hour=2, minute=20)).state == "met"
    assert objective(settings, "rpo", NOW.replace(hour=2, minute=25)).state == "warn"
    assert objective(settings, "rpo", NOW.replace(hour=2, minute=31)).state == "broken"


def test_a_schedule_that_cannot_keep_the_rpo_is_a_warning(tmp_path: Path):
    settings = settings_of(tmp_path, tier="important")
    taken(settings, NOW - HOUR)
    found = objective(settings, "rpo")
    assert found.state == "warn"
    assert "a backup is due only every 24 h" in found.text


def test_a_set_that_failed_its_verification_or_is_of_the_future_keeps_no_rpo(tmp_path: Path):
    settings = settings_of(tmp_path)
    bad = taken(settings, LAST_NIGHT)
    proven(settings, bad, at=NOW - 9 * HOUR, passed=False)
    taken(settings, NOW + DAY)
    found = objective(settings, "rpo")
    assert (found.state, found.measured) == ("broken", None)


def test_an_incomplete_set_keeps_no_rpo(tmp_path: Path):
    settings = settings_of(tmp_path)
    manifest = taken(settings, LAST_NIGHT)
    (tmp_path / "local" / "erp4" / "prod" / manifest.artifacts[0].name).unlink()
    assert objective(settings, "rpo").state == "broken"


def test_without_a_store_off_site_there_is_no_objective_of_its_age(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb", off_site=False))
    taken(settings, LAST_NIGHT, stores=("local", "usb"))
    assert measured(settings).objective("off_site") is None


def test_an_off_site_copy_that_is_not_there_yet_is_a_warning_and_later_broken(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, LAST_NIGHT - DAY, stores=("local", "usb"))
    newest = taken(settings, LAST_NIGHT)
    found = objective(settings, "off_site", LAST_NIGHT + 45 * timedelta(minutes=1))
    assert found.state == "met"
    late = objective(settings, "off_site", LAST_NIGHT + 61 * timedelta(minutes=1))
    assert late.state == "broken"
    assert late.measured == 25.017
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), objectives=ObjectivesSettings(rpo_hours=48))
    late = objective(settings, "off_site")
    assert late.state == "warn"
    assert f"{newest.id} is not there yet" in late.text


def test_an_off_site_store_that_does_not_answer_is_judged_by_its_last_known_copy(tmp_path: Path):
    usb = a_folder(tmp_path, "usb")
    settings = settings_of(tmp_path, usb)
    copied = taken(settings, LAST_NIGHT)
    copy_recorded(settings, copied, "usb")
    (tmp_path / "usb").rmdir()
    found = objective(settings, "off_site")
    assert (found.state, found.measured) == ("warn", 10.0)
    assert "usb does not answer" in found.text
    late = objective(settings, "off_site", NOW + 2 * DAY)
    assert (late.state, late.measured) == ("broken", None)


def test_a_proof_is_as_old_as_the_set_that_it_proves(tmp_path: Path):
    settings = settings_of(tmp_path)
    old = taken(settings, NOW - 5 * DAY)
    taken(settings, LAST_NIGHT)
    proven(settings, old, at=NOW - HOUR)
    found = objective(settings, "verified")
    assert (found.state, found.measured, found.wanted) == ("broken", 120.0, 48.0)
    assert "proven 1 h ago" in found.text


def test_a_newer_set_that_fails_is_a_warning_although_an_older_one_is_proven(tmp_path: Path):
    settings = settings_of(tmp_path)
    good, bad = taken(settings, LAST_NIGHT - DAY), taken(settings, LAST_NIGHT)
    proven(settings, good, at=NOW - DAY)
    assert objective(settings, "verified").state == "met"
    proven(settings, bad, at=NOW - HOUR, passed=False)
    found = objective(settings, "verified")
    assert found.state == "warn"
    assert f"{bad.id} failed its verification" in found.text


def test_without_a_proof_the_objective_is_broken_and_reading_is_no_proof(tmp_path: Path):
    settings = settings_of(tmp_path)
    one = taken(settings, LAST_NIGHT)
    proven(settings, one, at=NOW - HOUR, level="readable")
    assert objective(settings, "verified").state == "broken"


def test_a_pass_from_the_future_does_not_hide_that_the_same_copy_failed_later(tmp_path: Path):
    settings = settings_of(tmp_path)
    last = taken(settings, LAST_NIGHT)
    proven(settings, last, at=NOW + 20 * HOUR)
    proven(settings, last, at=NOW - HOUR, passed=False)
    assert objective(settings, "rpo").state == "broken"
    found = objective(settings, "verified")
    assert found.state == "broken"
    assert f"{last.id} failed its verification" in found.text


def test_a_pass_from_the_future_is_no_proof_until_then_and_says_why(tmp_path: Path):
    settings = settings_of(tmp_path)
    last = taken(settings, LAST_NIGHT)
    proven(settings, last, at=NOW + 20 * HOUR)
    found = objective(settings, "verified")
    assert found.state == "broken"
    assert f"the proof of {last.id} does not count: it bears the time 2026-11-23 08:00 UTC" in found.text
    assert objective(settings, "verified", NOW + 20 * HOUR).state == "met"


def test_how_old_a_proof_may_be_is_a_setting(tmp_path: Path):
    settings = settings_of(tmp_path, objectives=ObjectivesSettings(verified_within_hours=8))
    one = taken(settings, LAST_NIGHT)
    proven(settings, one, at=NOW - 9 * HOUR)
    assert (objective(settings, "verified").state, objective(settings, "verified").wanted) == ("broken", 8.0)


def test_a_drill_is_due_every_month(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - 40 * DAY, stores=("local", "usb"))
    assert objective(settings, "drill").state == "broken"
    assert objective(settings, "drill", NOW - 10 * DAY).state == "warn"
    drilled(settings, one, at=NOW - 34 * DAY)
    assert (objective(settings, "drill").state, objective(settings, "drill").measured) == ("met", 34.0)
    assert objective(settings, "drill", NOW + 2 * DAY).state == "broken"


def test_a_drill_that_failed_breaks_the_objective_although_an_older_one_passed(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, LAST_NIGHT, stores=("local", "usb"))
    drilled(settings, one, at=NOW - 2 * DAY)
    drilled(settings, one, at=NOW - HOUR, seconds=5 * 3600.0, passed=False)
    found = objective(settings, "drill")
    assert found.state == "broken"
    assert "the restore took longer than promised" in found.text
    assert (objective(settings, "rto").state, objective(settings, "rto").measured) == ("broken", 5.0)


def test_a_drill_that_passed_in_the_future_counts_for_nothing_until_one_at_a_right_time(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    old, one = (taken(settings, NOW - days * DAY, stores=("local", "usb")) for days in (40, 3))
    drilled(settings, old, at=NOW - 40 * DAY)
    drilled(settings, one, at=NOW + 365 * DAY)

    assert objective(settings, "drill").state == "broken"
    drilled(settings, old, at=NOW - 2 * DAY)
    found = objective(settings, "drill")
    assert (found.state, found.measured) == ("warn", 2.0)
    assert f"the drill of {one.id} does not count: it bears the time 2027-11-22 12:00 UTC" in found.text
    drilled(settings, taken(settings, NOW - DAY, stores=("local", "usb")), at=NOW - HOUR)
    found = objective(settings, "drill")
    assert (found.state, "does not count" in found.text) == ("met", False)


def test_the_same_set_drilled_again_at_a_right_time_is_all_that_is_asked_for(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, LAST_NIGHT, stores=("local", "usb"))
    drilled(settings, one, at=NOW + 365 * DAY)
    assert "set the clock of the host that made it, and drill again" in objective(settings, "drill").text

    drilled(settings, one, at=NOW - HOUR)
    found = objective(settings, "drill")
    assert (found.state, "does not count" in found.text) == ("met", False)


def test_a_drill_that_failed_shows_although_one_of_the_future_passed(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - DAY, stores=("local", "usb"))
    drilled(settings, one, at=NOW + 365 * DAY)
    drilled(settings, one, at=NOW - HOUR, seconds=5 * 3600.0, passed=False)

    assert [objective(settings, name).state for name in ("drill", "rto")] == ["broken", "broken"]


def test_a_drill_that_failed_in_the_future_counts_until_a_newer_set_is_drilled(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    old, one = (taken(settings, NOW - days * DAY, stores=("local", "usb")) for days in (4, 3))
    drilled(settings, old, at=NOW - 2 * DAY)
    drilled(settings, one, at=NOW + 365 * DAY, seconds=5 * 3600.0, passed=False)

    assert [objective(settings, name).state for name in ("drill", "rto")] == ["broken", "broken"]
    drilled(settings, taken(settings, NOW - DAY, stores=("local", "usb")), at=NOW - HOUR)
    assert [objective(settings, name).state for name in ("drill", "rto")] == ["met", "met"]


def states(settings: Settings, now: datetime = NOW) -> list[str]:
    return [objective(settings, name, now).state for name in ("drill", "rto")]


@pytest.fixture
def failed_ahead(tmp_path: Path) -> tuple[Settings, Manifest]:
    """A set whose drill failed under a clock that was a year ahead."""
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - DAY, stores=("local", "usb"))
    drilled(settings, one, at=NOW + 365 * DAY, seconds=5 * 3600.0, passed=False)
    return settings, one


def test_a_drill_that_failed_in_the_future_is_over_when_the_same_set_passes_one_that_was_recorded_after_it(
    failed_ahead: tuple[Settings, Manifest],
) -> None:
    settings, one = failed_ahead
    drilled(settings, one, at=NOW - HOUR, after=(NOW + 365 * DAY,))
    assert states(settings) == ["met", "met"]

    # It does not come back when its time has come.
    found = objective(settings, "drill", NOW + 366 * DAY)
    assert "the last drill" in found.text
    assert found.measured == 366.04


def test_a_drill_that_failed_in_the_future_is_not_over_by_one_that_may_have_passed_before_it(
    failed_ahead: tuple[Settings, Manifest],
) -> None:
    settings, one = failed_ahead
    other = taken(settings, NOW - 2 * DAY, stores=("local", "usb"))

    drilled(settings, one, at=NOW - HOUR)
    assert states(settings) == ["broken", "broken"]
    drilled(settings, other, at=NOW - HOUR, after=(NOW + 365 * DAY,))
    assert states(settings) == ["broken", "broken"]
    drilled(settings, one, at=NOW - HOUR, after=(NOW + 300 * DAY,))
    assert states(settings) == ["broken", "broken"]


def test_a_drill_of_the_future_takes_no_failure_back(failed_ahead: tuple[Settings, Manifest]) -> None:
    settings, one = failed_ahead

    drilled(settings, one, at=NOW + 364 * DAY, after=(NOW + 365 * DAY,))

    assert states(settings) == ["broken", "broken"]


def test_a_drill_that_failed_after_one_of_the_future_has_passed_stays_the_last_one_when_that_time_has_come(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    one = taken(settings, NOW - DAY, stores=("local", "usb"))
    drilled(settings, one, at=NOW + 30 * DAY)
    drilled(settings, one, at=NOW - HOUR, seconds=5 * 3600.0, passed=False, after=(NOW + 30 * DAY,))

    assert states(settings) == states(settings, NOW + 31 * DAY) == ["broken", "broken"]


def test_a_drill_that_failed_later_than_the_one_that_ended_an_earlier_failure_shows(
    failed_ahead: tuple[Settings, Manifest],
) -> None:
    settings, one = failed_ahead
    drilled(settings, one, at=NOW - 2 * HOUR, after=(NOW + 365 * DAY,))
    drilled(settings, one, at=NOW - HOUR, seconds=5 * 3600.0, passed=False)

    assert states(settings) == ["broken", "broken"]


def test_without_a_further_store_nobody_knows_of_a_drill(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, LAST_NIGHT)
    assert objective(settings, "drill").state == "unknown"
    assert objective(settings, "rto").state == "unknown"


Facts = namedtuple("Facts", "f_bavail f_frsize")


@pytest.mark.parametrize(("sets", "state"), [(5, "met"), (4, "warn"), (1, "warn"), (0, "broken")])
def test_room_is_counted_in_sets_of_the_largest_size(
    sets: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = settings_of(tmp_path)
    size = taken(settings, LAST_NIGHT).size_bytes
    free = MARGIN_BYTES + sets * size + 1
    monkeypatch.setattr(os, "statvfs", lambda _: Facts(free, 1))
    assert FolderStore(tmp_path, name="local").free_bytes() == free
    found = objective(settings, "store_space")
    assert (found.state, found.wanted) == (state, 5.0)
    assert f"room for {sets} more sets" in found.text


def test_slots_within_a_day_are_judged_one_by_one(tmp_path: Path):
    settings = settings_of(tmp_path, schedule=ScheduleSettings(every="6h", timezone="UTC"), tier="important")
    taken(settings, NOW.replace(hour=0, minute=1))
    found = measured(settings)
    assert found.missed_slots == ("2026-11-22T0600",)
    slots = found.objective("slots")
    assert slots is not None
    assert (slots.state, slots.measured) == ("warn", 1.0)
    assert "2026-11-22T0600" in slots.text
