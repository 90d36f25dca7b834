"""A slot that was missed is written down once, and never filled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.capture.automation import slots_of
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.watch.missed_sensor import MOST_AT_ONCE, build_missed_sensor
from backup_assets_tests.offsite.copying import settings_with
from backup_assets_tests.retention.test_pruning import filled
from backup_assets_tests.sets.histories import DAY, HOUR, NIGHT, NOW, a_set

FIRST = ScheduleSettings(timezone="UTC", since=date(2026, 11, 1))
#: The start of the slot of the 18th; now is the 22nd.
CURSOR = datetime(2026, 11, 18, tzinfo=UTC).isoformat()


@dg.op
def nothing() -> None: ...


@dg.job(name="erp4_backup_job")
def backup_job() -> None:
    nothing()


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One database by day, with sets of the 16th, 17th, 19th and 22nd."""
    settings = settings_with(tmp_path / "backups")
    database = settings.databases[0].model_copy(update={"schedule": FIRST})
    settings = settings.model_copy(update={"databases": (database,)})
    filled(settings, [of_day(day) for day in (16, 17, 19, 22)], "local")
    return settings


def of_day(day: int) -> BackupSet:
    return a_set(datetime(2026, 11, day, 2, tzinfo=UTC))


def looked(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = CURSOR, now: datetime = NOW
) -> tuple[dg.SensorResult | dg.SkipReason, dg.SensorEvaluationContext]:
    (database,) = settings.databases
    sensor = build_missed_sensor(database, settings, slots_of(database, settings, now), running=True, clock=lambda: now)
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    outcome = sensor(context)
    assert isinstance(outcome, (dg.SensorResult, dg.SkipReason))
    return outcome, context


def told(outcome: dg.SensorResult | dg.SkipReason) -> dict[str | None, str]:
    assert isinstance(outcome, dg.SensorResult)
    return {event.partition: str(event.description) for event in outcome.asset_events}


def test_each_missed_slot_is_one_event_of_its_own_slot(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    outcome, _ = looked(settings, an_instance)

    found = told(outcome)
    assert list(found) == ["2026-11-18", "2026-11-20", "2026-11-21"]
    assert "was missed: a backup was due at 2026-11-18 02:00 UTC" in found["2026-11-18"]
    assert "no backup was started" in found["2026-11-18"]
    assert isinstance(outcome, dg.SensorResult)
    assert outcome.run_requests in (None, [])


def test_what_was_told_is_not_told_again(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    outcome, _ = looked(settings, an_instance)
    assert isinstance(outcome, dg.SensorResult)

    again, _ = looked(settings, an_instance, outcome.cursor)
    assert isinstance(again, dg.SkipReason)
    tomorrow, _ = looked(settings, an_instance, outcome.cursor, NOW + DAY)
    assert told(tomorrow) == {}


def test_the_first_look_tells_nothing_of_the_time_before_it(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    outcome, context = looked(settings, an_instance, cursor=None)

    assert isinstance(outcome, dg.SkipReason)
    assert context.cursor == datetime(2026, 11, 22, tzinfo=UTC).isoformat()


def test_a_slot_whose_run_still_works_is_not_judged_yet(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    tags = {"dagster/partition": "2026-11-21"}
    run = an_instance.create_run_for_job(backup_job, status=dg.DagsterRunStatus.STARTED, tags=tags)

    waiting, _ = looked(settings, an_instance)
    an_instance.report_run_failed(run)
    judged, _ = looked(settings, an_instance)

    assert isinstance(waiting, dg.SkipReason)
    assert f"1 runs of it failed, the last is {run.run_id}" in told(judged)["2026-11-21"]


def test_a_store_that_cannot_be_read_makes_no_slot_missed(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    settings.backup_dir.rename(settings.backup_dir.with_name("elsewhere"))
    settings.backup_dir.write_text("no directory")

    outcome, _ = looked(settings, an_instance)

    assert isinstance(outcome, dg.SkipReason)
    assert "is not known" in str(outcome.skip_message)


def test_a_long_outage_is_told_bit_by_bit_until_all_is_told(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    hourly = settings.databases[0].model_copy(
        update={"schedule": ScheduleSettings(timezone="UTC", since=date(2026, 11, 1), every="1h")}
    )
    hourly_settings = settings.model_copy(update={"databases": (hourly,)})
    cursor: str | None = (NIGHT - timedelta(hours=MOST_AT_ONCE + 5)).astimezone(UTC).isoformat()
    ends: list[str | None] = []
    while True:
        outcome, _ = looked(hourly_settings, an_instance, cursor)
        if isinstance(outcome, dg.SkipReason):
            break
        cursor = outcome.cursor
        ends.append(cursor)

    assert len(ends) == 2
    assert datetime.fromisoformat(str(ends[-1])) > NOW - HOUR
