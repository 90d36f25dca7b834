from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.capture.automation import build_backup_job, build_schedule, slots_of
from backup_assets.definitions import build_definitions
from backup_assets.queueing import scheduled_tags
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.sources import Source

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def settings_with(tmp_path: Path, schedule: ScheduleSettings) -> Settings:
    return Settings(
        backup_dir=tmp_path / "backups", databases=(DatabaseSettings(name="erp4", database="erp4", schedule=schedule),)
    )


@pytest.mark.parametrize(
    ("schedule", "tick", "key"),
    [
        (ScheduleSettings(since=date(2026, 11, 1)), datetime(2026, 11, 21, 17, tzinfo=UTC), "2026-11-22"),
        (
            ScheduleSettings(since=date(2026, 11, 1), every="6h"),
            datetime(2026, 11, 21, 21, tzinfo=UTC),
            "2026-11-22T0600",
        ),
    ],
)
def test_a_tick_asks_for_the_slot_that_is_current_then(
    tmp_path: Path, schedule: ScheduleSettings, tick: datetime, key: str
):
    outcome = evaluated(tmp_path, schedule, tick, tick + timedelta(seconds=3))

    assert isinstance(outcome, dg.RunRequest)
    assert (outcome.partition_key, outcome.run_key) == (key, key)


DAILY = ScheduleSettings(since=date(2026, 11, 1))
TICK = datetime(2026, 11, 21, 17, tzinfo=UTC)  # 02:00 of the 22nd in Tokyo
LAST_MOMENT = datetime(2026, 11, 22, 14, 59, 59, tzinfo=UTC)


def evaluated(
    tmp_path: Path, schedule: ScheduleSettings, tick: datetime, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Evaluate the tick of a schedule at the time ``now``."""
    settings = settings_with(tmp_path, schedule)
    (database,) = settings.databases
    job, slots = build_backup_job(database), slots_of(database, settings, now)
    tags = scheduled_tags("backup", database)
    found = build_schedule("erp4_backup_schedule", job, slots, running=True, tags=tags, clock=lambda: now)
    outcome = found(dg.build_schedule_context(scheduled_execution_time=tick))
    assert isinstance(outcome, (dg.RunRequest, dg.SkipReason))
    return outcome


def test_a_tick_that_comes_late_in_its_slot_still_asks_for_the_backup(tmp_path: Path):
    outcome = evaluated(tmp_path, DAILY, TICK, LAST_MOMENT)

    assert isinstance(outcome, dg.RunRequest)
    assert outcome.partition_key == "2026-11-22"


def test_a_tick_whose_slot_is_over_starts_nothing_and_says_so(tmp_path: Path):
    outcome = evaluated(tmp_path, DAILY, TICK, LAST_MOMENT + timedelta(seconds=1))

    assert isinstance(outcome, dg.SkipReason)
    assert "the slot 2026-11-22 was missed" in str(outcome.skip_message)
    assert "The slot 2026-11-23 has its own time" in str(outcome.skip_message)


def test_a_scheduled_run_waits_behind_one_by_hand(tmp_path: Path):
    outcome = evaluated(tmp_path, DAILY, TICK, TICK)
    job = build_definitions(settings_with(tmp_path, DAILY), NOW).resolve_job_def("erp4_backup_job")

    assert isinstance(outcome, dg.RunRequest)
    assert int(outcome.tags["dagster/priority"]) < int(job.tags["dagster/priority"])


def test_slots_begin_on_the_configured_day_else_today(tmp_path: Path):
    configured = settings_with(tmp_path, ScheduleSettings(since=date(2026, 1, 1)))
    new = settings_with(tmp_path, ScheduleSettings())

    assert slots_of(configured.databases[0], configured, NOW).since == date(2026, 1, 1)
    assert slots_of(new.databases[0], new, NOW).since == date(2026, 11, 22)


def test_slots_begin_with_the_oldest_set_that_is_there(a_database: Source):
    settings = a_database.settings()
    a_database.captured(settings, slot="2026-03-04")

    assert slots_of(settings.databases[0], settings, datetime.now(UTC) + timedelta(days=30)).since == date(2026, 3, 4)


def test_a_store_that_cannot_be_read_does_not_keep_definitions_from_loading(tmp_path: Path):
    settings = settings_with(tmp_path, ScheduleSettings())
    settings.backup_dir.write_text("a file where the store should be")

    assert slots_of(settings.databases[0], settings, NOW).since == date(2026, 11, 22)
