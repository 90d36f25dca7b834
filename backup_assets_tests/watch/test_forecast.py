from __future__ import annotations

from pathlib import Path

from backup_assets.named_stores import store_named
from backup_assets.sets.records import RestoreRecord
from backup_assets_tests.sets.examples import a_verification, put_record
from backup_assets_tests.watch.stores_at_work import DAY, HOUR, NOW, drilled, measured, objective, settings_of, taken

OLD = NOW - 5 * DAY


def test_a_drill_counts_more_than_a_restore_and_that_more_than_a_trial(tmp_path: Path):
    settings = settings_of(tmp_path)
    one = taken(settings, NOW - HOUR)
    local = store_named(settings, "local")
    assert measured(settings).restore_forecast_seconds is None

    trial = a_verification(one.id, at=NOW).model_copy(update={"durations": {"restore": 30.0, "compare": 10.0}})
    put_record(local, trial)
    assert measured(settings).restore_forecast_seconds == 40.0
    assert "by the trial restore (fetching not included)" in objective(settings, "rto").text

    restore = RestoreRecord(
        set_id=one.id, tool_version="0.1.0", passed=True, started_at=NOW, target="x", database="x", stages={"all": 90.0}
    )
    put_record(local, restore)
    assert measured(settings).restore_forecast_seconds == 90.0
    one_table = {"started_at": NOW + HOUR, "stages": {"all": 2.0}, "partial": True}
    put_record(local, restore.model_copy(update=one_table))
    assert measured(settings).restore_forecast_seconds == 90.0

    drilled(settings, one, at=OLD, seconds=300.0)
    assert measured(settings).restore_forecast_seconds == 300.0
    found = objective(settings, "rto")
    assert (found.state, found.wanted) == ("met", 4.0)
    assert found.text == "a restore would take about 5 min by the drill of 2026-11-17; 4 h promised"


def test_a_larger_database_takes_longer_and_may_break_the_promise(tmp_path: Path):
    settings = settings_of(tmp_path)
    small = taken(settings, OLD, size=1_000_000)
    drilled(settings, small, at=OLD, seconds=3600.0)
    taken(settings, NOW - HOUR, size=5_000_000)
    found = objective(settings, "rto")
    assert found.state == "warn"
    assert "about 5 h by the drill of 2026-11-17, 5.0 times its size" in found.text


def test_a_smaller_database_is_not_promised_to_be_faster(tmp_path: Path):
    settings = settings_of(tmp_path)
    drilled(settings, taken(settings, OLD, size=5_000_000), at=OLD, seconds=3600.0)
    taken(settings, NOW - HOUR, size=1_000_000)
    assert measured(settings).restore_forecast_seconds == 3600.0


def test_what_a_wrong_clock_dated_ahead_foretells_nothing(tmp_path: Path):
    settings = settings_of(tmp_path)
    one = taken(settings, NOW - HOUR)
    drilled(settings, one, at=NOW + 365 * DAY, seconds=9.0)
    assert measured(settings).restore_forecast_seconds is None

    drilled(settings, one, at=OLD, seconds=300.0)
    assert measured(settings).restore_forecast_seconds == 300.0
