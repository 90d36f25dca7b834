from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.aws.rds import automation
from backup_assets.aws.rds.checks import FINDINGS
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets_tests.aws.conftest import INSTANCE, PretendedAws
from backup_assets_tests.aws.rds.examples import database_of, rds_of, settings_of
from backup_assets_tests.aws.rds.test_automation import Operation


@pytest.fixture
def at_work(aws: PretendedAws, tmp_path: Path) -> Iterator[Operation]:
    aws.make_instance()
    settings = settings_of(aws, database_of(rds_of(aws)), tmp_path)
    with dg.instance_for_test() as instance:
        yield Operation(aws, settings, instance)


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {
        f"{one.asset_key.path[1]} {one.check_name}": (one.passed, one.severity.value)
        for one in result.get_asset_check_evaluations()
    }


def test_every_look_evaluates_the_protection_and_drift_fails_a_check_and_no_run(at_work: Operation) -> None:
    before = at_work.run("erp4_rds_watch_job")
    assert before.success
    assert outcomes(before)["rds_automated_backups protected"] == (True, "WARN")
    assert set(outcomes(before)) == {
        "rds_automated_backups protected",
        "rds_automated_backups restorable",
        "rds_automated_backups drills",
        "rds_snapshot newest_snapshot",
        "rds_snapshot_copy newest_copy",
    }
    assert outcomes(before)["rds_snapshot newest_snapshot"] == (False, "ERROR")

    at_work.aws.client("rds").modify_db_instance(
        DBInstanceIdentifier=INSTANCE, DeletionProtection=False, ApplyImmediately=True
    )
    after = at_work.run("erp4_rds_watch_job")
    assert after.success
    assert outcomes(after)["rds_automated_backups protected"] == (False, "ERROR")
    (drifted,) = [one for one in after.get_asset_check_evaluations() if one.check_name == "protected"]
    assert "one command deletes it" in str(drifted.description)
    assert "aws apply" in str(drifted.description)


def test_a_snapshot_that_is_due_in_the_backup_window_is_a_warning_before_it_fails(at_work: Operation) -> None:
    at_work.aws.client("rds").modify_db_instance(
        DBInstanceIdentifier=INSTANCE, PreferredBackupWindow="17:16-17:46", ApplyImmediately=True
    )
    result = at_work.run("erp4_rds_watch_job")
    assert result.success
    assert outcomes(result)["rds_automated_backups protected"] == (False, "WARN")
    (told,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "protected"]
    assert "02:16-02:46 in Asia/Tokyo" in str(told.description)


def test_the_protection_is_examined_within_half_an_hour(at_work: Operation) -> None:
    sensor = at_work.definitions.get_repository_def().get_sensor_def("erp4_rds_watch_sensor")
    assert sensor.minimum_interval_seconds == 1200
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_a_run_is_launched_when_something_else_is_found_than_before(at_work: Operation) -> None:
    at_work.now = datetime.now(UTC)
    first = at_work.look()
    assert first is not None
    at_work.run("erp4_rds_watch_job", first.tags)
    assert at_work.look() is None
    at_work.now += timedelta(minutes=20)
    assert at_work.look() is None

    change = {"DBInstanceIdentifier": INSTANCE, "ApplyImmediately": True}
    at_work.aws.client("rds").modify_db_instance(DeletionProtection=False, **change)
    drifted = at_work.look()
    assert drifted is not None
    at_work.run("erp4_rds_watch_job", drifted.tags)
    assert at_work.look() is None
    at_work.aws.client("rds").modify_db_instance(DeletionProtection=True, **change)
    mended = at_work.look()
    assert mended is not None
    at_work.run("erp4_rds_watch_job", mended.tags)
    assert at_work.look() is None


def test_a_run_is_launched_every_six_hours_at_least(at_work: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(hours=6) == automation.SEEN_AGAIN_AFTER
    # What moto can restore is of now, and would be too old in six hours.
    monkeypatch.setattr(automation, "SEEN_AGAIN_AFTER", timedelta(minutes=10))
    at_work.now = datetime.now(UTC)
    at_work.run("erp4_rds_watch_job")
    at_work.now += timedelta(minutes=9)
    assert at_work.look() is None
    # Counted from when the run was made, which is a little later.
    at_work.now += timedelta(minutes=15)
    assert at_work.look() is not None


def test_what_the_run_found_counts_and_not_what_it_was_launched_for(at_work: Operation) -> None:
    at_work.now = datetime.now(UTC)
    at_work.run("erp4_rds_watch_job", {FINDINGS: "what was mended until the run began"})
    assert at_work.look() is None


def test_runs_that_fail_for_one_and_the_same_reason_are_not_launched_again_at_once(at_work: Operation) -> None:
    at_work.now = datetime.now(UTC)
    rds = at_work.aws.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, DeletionProtection=False, ApplyImmediately=True)
    rds.delete_db_instance(DBInstanceIdentifier=INSTANCE, SkipFinalSnapshot=True)
    gone = at_work.look()
    assert gone is not None
    assert not at_work.run("erp4_rds_watch_job", gone.tags).success

    assert at_work.look() is None
    at_work.aws.make_instance()
    assert at_work.look() is not None


def test_nothing_more_is_launched_while_a_run_waits(at_work: Operation) -> None:
    job = at_work.definitions.resolve_job_def("erp4_rds_watch_job")
    at_work.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert at_work.look() is None


def test_only_what_is_configured_is_checked(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    settings = settings_of(aws, database_of(rds_of(aws, copies=None)), tmp_path)
    infrastructure = InfrastructureSettings(buckets=("erp4-pdf",))
    settings = settings.model_copy(update={"aws": settings.aws.model_copy(update={"infrastructure": infrastructure})})
    with dg.instance_for_test() as instance:
        found = outcomes(Operation(aws, settings, instance).run("erp4_rds_watch_job"))
    assert "rds_snapshot_copy newest_copy" not in found
    assert found["rds_automated_backups attachments"] == (False, "ERROR")
