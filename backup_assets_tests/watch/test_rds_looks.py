from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from backup_assets.errors import EnvironmentFault
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsSettings
from backup_assets.watch.alert_words import IN_ENGLISH
from backup_assets.watch.conditions import Condition
from backup_assets.watch.memory import Cursor
from backup_assets.watch.rds_looks import ALLOWED, EVERY, rds_unwatched, watch_job_name, watch_sensor_name
from backup_assets.watch.sensors import runs_reader
from backup_assets_tests.watch.stores_at_work import HOUR, a_database, settings_of

NOW = datetime.now(UTC)
RDS = RdsSettings(instance="erp4-prod")
DATABASE = a_database(rds=RDS)


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def run(instance: dg.DagsterInstance, *, at: datetime = NOW, fails: bool = False, name: str = "erp4") -> None:
    @dg.op
    def look() -> None:
        if fails:
            raise ValueError("the token has expired")

    @dg.job(name=watch_job_name(name))
    def watch_job() -> None:
        look()

    with freeze_time(at):
        watch_job.execute_in_process(instance=instance, raise_on_error=False)


def unwatched(
    instance: dg.DagsterInstance, at: datetime = NOW, database: DatabaseSettings = DATABASE
) -> Condition | None:
    return rds_unwatched(instance, database, at, IN_ENGLISH)


def test_the_job_and_the_sensor_are_those_of_a_database_on_rds(tmp_path: Path) -> None:
    from backup_assets.aws.rds.automation import SEEN_AGAIN_AFTER, rds_definitions

    settings = settings_of(tmp_path, rds=RDS)
    definitions = rds_definitions(settings.databases[0], settings, NOW, running=True)

    assert watch_job_name("erp4") in {job.name for job in definitions.jobs or ()}
    assert watch_sensor_name("erp4") in {sensor.name for sensor in definitions.sensors or ()}
    assert EVERY == SEEN_AGAIN_AFTER


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_has_ended_is_a_look_for_seven_hours_whatever_it_found(
    fails: bool, an_instance: dg.DagsterInstance
) -> None:
    run(an_instance, fails=fails)

    assert unwatched(an_instance, NOW + EVERY + ALLOWED) is None
    late = unwatched(an_instance, NOW + 9 * HOUR)
    assert late is not None
    assert late.cause == "the last run of erp4_rds_watch_job ended 9 h ago; there is one every 6 h"
    assert "erp4_rds_watch_sensor" in late.remedy
    # After a night in which the machine was off, the sensor has some time to look first.
    assert timedelta() < late.patience < HOUR


def test_without_any_run_the_sensor_has_as_long_as_between_two(an_instance: dg.DagsterInstance) -> None:
    run(an_instance, name="crm")

    none = unwatched(an_instance)
    assert none is not None
    assert none.patience == EVERY + ALLOWED
    assert none.cause == "no run of erp4_rds_watch_job has ended yet; there is one every 6 h"


def test_a_run_that_was_cancelled_or_has_not_ended_is_no_look(an_instance: dg.DagsterInstance) -> None:
    @dg.job(name=watch_job_name("erp4"))
    def watch_job() -> None: ...

    made = an_instance.create_run_for_job(watch_job, status=dg.DagsterRunStatus.STARTED)
    an_instance.report_run_canceling(made)
    an_instance.report_run_canceled(made)
    an_instance.create_run_for_job(watch_job, status=dg.DagsterRunStatus.STARTED)

    assert unwatched(an_instance) is not None


def test_a_run_of_the_future_is_none_because_the_sensor_waits_for_that_time(an_instance: dg.DagsterInstance) -> None:
    run(an_instance, at=NOW + 48 * HOUR)

    ahead = unwatched(an_instance)
    assert ahead is not None
    assert "in the future" in ahead.cause


def test_only_a_database_on_rds_is_asked_about(tmp_path: Path, an_instance: dg.DagsterInstance) -> None:
    def conditions(settings: Settings) -> list[str]:
        return [one.key for one in runs_reader(an_instance, settings)("erp4", Cursor(), NOW).conditions]

    assert conditions(settings_of(tmp_path)) == []
    assert conditions(settings_of(tmp_path, rds=RDS)) == ["erp4:rds_unwatched:"]


def test_a_storage_that_cannot_be_read_is_a_clear_error() -> None:
    with dg.instance_for_test() as instance:
        run(instance)
        (Path(instance.root_directory) / "history" / "runs.db").write_bytes(b"no database")
        with pytest.raises(EnvironmentFault, match="runs of Dagster cannot be read"):
            unwatched(instance)
