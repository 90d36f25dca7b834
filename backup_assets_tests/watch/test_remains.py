from __future__ import annotations

from datetime import datetime
from pathlib import Path

from backup_assets.local import local_store
from backup_assets.retention.gone import GONE
from backup_assets.retention.pruning import prune, survey
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.watch.metrics import exposition
from backup_assets.watch.remains import LOOK_BACK, remains_of
from backup_assets_tests.sets.examples import ERP4
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    drilled,
    measured,
    objective,
    proven,
    settings_of,
    taken,
)

LAST_NIGHT = NOW - 10 * HOUR
TWO_NIGHTS = RetentionSettings(daily=2, weekly=0, monthly=0, all_for_days=0)


def with_nights(tmp_path: Path, *nights: int) -> Settings:
    """Return a database with a proven set of some nights in both stores, of which the retention keeps two."""
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), retention=TWO_NIGHTS)
    for night in nights:
        proven(settings, taken(settings, LAST_NIGHT - night * DAY, stores=("local", "usb")), at=NOW - night * DAY)
    return settings


def pruned(settings: Settings, now: datetime = NOW) -> list[str]:
    database = settings.databases[0]
    gone: list[str] = []
    for name in ("local", "usb"):
        found = survey(database, settings, now=now)
        done = prune(database, settings, name, apply=True, allow_large_share=True, surveyed=found)
        assert done.is_well, done
        gone += [one.set_id for one in done.deleted]
    return gone


def test_a_drill_is_still_known_when_the_retention_has_deleted_its_set(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 0, 1)
    old = taken(settings, LAST_NIGHT - 20 * DAY, stores=("local", "usb"), size=1_000_000)
    proven(settings, old, at=NOW - 20 * DAY)
    drilled(settings, old, at=NOW - 20 * DAY, seconds=300.0)
    before = measured(settings)

    assert pruned(settings) == [old.id, old.id]

    after = measured(settings)
    assert after.drill == before.drill
    assert after.drill is not None
    assert objective(settings, "drill").state == "met"
    assert after.restore_forecast_seconds == before.restore_forecast_seconds
    assert "by the drill of 2026-11-02" in objective(settings, "rto").text
    assert b'backup_assets_drill_passed{database="erp4"} 1.0' in exposition([after])


def test_a_drill_that_is_known_from_a_note_gets_old_all_the_same(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 0, 1, 30)
    old = taken(settings, LAST_NIGHT - 31 * DAY, stores=("local", "usb"))
    proven(settings, old, at=NOW - 31 * DAY)
    drilled(settings, old, at=NOW - 31 * DAY)
    pruned(settings)

    assert objective(settings, "drill").state == "met"
    assert objective(settings, "drill", NOW + 5 * DAY).state == "broken"
    assert "the last drill" in objective(settings, "drill", NOW + 5 * DAY).text


def test_a_newer_drill_of_a_set_that_is_there_counts_more_than_one_of_a_deleted_set(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 1)
    newest, old = taken(settings, LAST_NIGHT, stores=("local", "usb")), taken(settings, LAST_NIGHT - 20 * DAY)
    for one, days in ((old, 20), (newest, 0)):
        proven(settings, one, at=NOW - days * DAY)
    drilled(settings, old, at=NOW - 20 * DAY)
    drilled(settings, newest, at=NOW - HOUR, seconds=5 * 3600.0, passed=False)
    pruned(settings)

    found = measured(settings).drill
    assert found is not None
    assert (found.set_id, found.passed) == (newest.id, False)


def test_where_the_retention_keeps_less_than_a_month_a_drill_that_never_was_is_overdue(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 0, 1, 36)
    pruned(settings)

    assert objective(settings, "drill").state == "broken"
    assert "as far as is known" in objective(settings, "drill").text


def test_a_note_is_read_once_and_a_new_one_is_seen(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 0, 1, 2)
    database = settings.databases[0]
    pruned(settings)
    first = remains_of(database, settings, NOW)
    for path in (tmp_path / "local" / ERP4.key(GONE)).iterdir():
        path.write_bytes(b"not read again")
    assert remains_of(database, settings, NOW) == first
    assert first.oldest == LAST_NIGHT - 2 * DAY

    proven(settings, taken(settings, LAST_NIGHT - 3 * DAY), at=NOW - 3 * DAY)
    pruned(settings)
    assert remains_of(database, settings, NOW).oldest == LAST_NIGHT - 3 * DAY


def test_a_damaged_note_hides_no_other(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 0, 1, 2)
    pruned(settings)
    first, second = local_store(settings).list(ERP4.key(GONE))
    (tmp_path / "local" / first.key).write_bytes(b"{}")

    assert second
    assert remains_of(settings.databases[0], settings, NOW).oldest == LAST_NIGHT - 2 * DAY
    assert measured(settings).stores[0].error == ""


def test_what_was_deleted_more_than_two_months_ago_decides_nothing(tmp_path: Path) -> None:
    settings = with_nights(tmp_path, 0, 1, 2)
    pruned(settings)

    assert remains_of(settings.databases[0], settings, NOW + LOOK_BACK + DAY).oldest is None
