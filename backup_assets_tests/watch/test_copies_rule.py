from __future__ import annotations

from pathlib import Path

from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    copy_recorded,
    measured,
    objective,
    settings_of,
    taken,
)

LAST_NIGHT = NOW - 10 * HOUR
RULES = ("three_copies", "two_media", "one_off_site")


def states(settings) -> list[tuple[str, float | None]]:
    figures = measured(settings)
    return [(one.state, one.measured) for name in RULES if (one := figures.objective(name)) is not None]


def test_the_live_database_the_local_set_and_one_off_site_are_three_copies_on_two_media(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, LAST_NIGHT, stores=("local", "usb"))
    assert states(settings) == [("met", 3.0), ("met", 2.0), ("met", 1.0)]
    text = objective(settings, "three_copies").text
    assert text.startswith("the live database, local, usb, counting copies of at most 25 h")


def test_a_copy_on_the_same_disk_is_none(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb", off_site=None))
    taken(settings, LAST_NIGHT, stores=("local", "usb"))
    assert states(settings) == [("broken", 2.0), ("broken", 1.0), ("broken", 0.0)]
    assert "usb is on the same file system as BACKUP_DIR" in objective(settings, "two_media").text


def test_an_old_copy_is_no_copy_of_todays_data(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, LAST_NIGHT - 3 * DAY, stores=("usb",))
    taken(settings, LAST_NIGHT)
    assert states(settings) == [("broken", 2.0), ("broken", 1.0), ("broken", 0.0)]
    assert objective(settings, "one_off_site").text.startswith("off-site: none,")


def test_a_store_that_does_not_answer_counts_as_last_known_and_is_a_warning(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    copy_recorded(settings, taken(settings, LAST_NIGHT), "usb")
    (tmp_path / "usb").rmdir()
    assert states(settings) == [("warn", 3.0), ("warn", 2.0), ("warn", 1.0)]
    assert "usb as last known" in objective(settings, "one_off_site").text


def test_a_store_that_does_not_answer_and_never_had_a_copy_counts_for_nothing(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, LAST_NIGHT)
    (tmp_path / "usb").rmdir()
    assert states(settings) == [("broken", 2.0), ("broken", 1.0), ("broken", 0.0)]


def test_without_any_set_only_the_live_database_is_there(tmp_path: Path):
    assert states(settings_of(tmp_path)) == [("broken", 1.0), ("broken", 0.0), ("broken", 0.0)]
