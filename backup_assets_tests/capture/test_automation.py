from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.capture.automation import slots_of
from backup_assets.definitions import build_definitions
from backup_assets.settings import DatabaseSettings, ScheduleSettings, Settings
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
    definitions = build_definitions(settings_with(tmp_path, schedule), NOW)
    repository = definitions.get_repository_def()
    found = repository.get_schedule_def("erp4_backup_schedule")

    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick, repository_def=repository)
        requests = found.evaluate_tick(context).run_requests

    assert [request.partition_key for request in requests or ()] == [key]


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
