from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.settings_retention import RetentionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.watch.stores_at_work import DAY, HOUR, NOW, a_folder, measured, settings_of, taken

TWO_O_CLOCK = NOW.replace(hour=2, minute=1)
EVERY_6_HOURS = ScheduleSettings(every="6h", timezone="UTC")


def test_a_slot_that_is_over_without_a_set_was_missed(tmp_path: Path):
    settings = settings_of(tmp_path)
    for days in (0, 1, 3, 4):
        taken(settings, TWO_O_CLOCK - days * DAY)
    assert measured(settings).missed_slots == ("2026-11-20",)


def test_the_current_slot_is_not_missed_and_nothing_was_before_the_first_set(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, TWO_O_CLOCK - DAY)
    assert measured(settings).missed_slots == ()
    assert measured(settings, NOW + DAY).missed_slots == ("2026-11-22",)


def test_without_any_set_nothing_was_missed(tmp_path: Path):
    assert measured(settings_of(tmp_path)).missed_slots == ()


def test_a_set_in_any_store_fills_its_slot_and_an_incomplete_one_fills_none(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    for days in (0, 1, 3):
        taken(settings, TWO_O_CLOCK - days * DAY)
    copied = taken(settings, TWO_O_CLOCK - 2 * DAY, stores=("usb",))
    assert measured(settings).missed_slots == ()
    (tmp_path / "usb" / "erp4" / "prod" / copied.artifacts[0].name).unlink()
    assert measured(settings).missed_slots == ("2026-11-20",)


def test_not_more_than_fourteen_days_are_looked_at(tmp_path: Path):
    settings = settings_of(tmp_path)
    taken(settings, TWO_O_CLOCK - 40 * DAY)
    missed = measured(settings).missed_slots
    assert (len(missed), missed[0], missed[-1]) == (13, "2026-11-21", "2026-11-09")


@pytest.mark.parametrize(
    ("days", "missed"),
    [
        (1.0, ("2026-11-22T0600", "2026-11-21T1800", "2026-11-21T1200")),
        (1.5, ("2026-11-22T0600", "2026-11-21T1800", "2026-11-21T1200", "2026-11-21T0600")),
    ],
)
def test_what_the_retention_may_have_deleted_was_not_missed(days: float, missed: tuple[str, ...], tmp_path: Path):
    retention = RetentionSettings(all_for_days=days)
    settings = settings_of(tmp_path, schedule=EVERY_6_HOURS, retention=retention, tier="important")
    for number in range(10):
        taken(settings, NOW - 12 * HOUR - number * DAY)
    assert measured(settings).missed_slots == missed


def test_a_set_of_another_schedule_fills_the_slot_that_its_moment_lies_in(tmp_path: Path):
    settings = settings_of(tmp_path, schedule=EVERY_6_HOURS, tier="important")
    taken(settings, NOW - 13 * HOUR)  # 2026-11-21 23:00, of the slot 2026-11-21 when backups were daily
    taken(settings, NOW - 12 * HOUR)
    taken(settings, NOW - 6 * HOUR)
    assert measured(settings).missed_slots == ()
