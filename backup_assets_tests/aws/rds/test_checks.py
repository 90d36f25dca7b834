from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

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


def test_the_schedule_looks_within_half_an_hour(at_work: Operation) -> None:
    schedule = at_work.definitions.get_repository_def().get_schedule_def("erp4_rds_watch_schedule")
    assert schedule.cron_schedule == "*/20 * * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_only_what_is_configured_is_checked(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    settings = settings_of(aws, database_of(rds_of(aws, copies=None)), tmp_path)
    infrastructure = InfrastructureSettings(buckets=("erp4-pdf",))
    settings = settings.model_copy(update={"aws": settings.aws.model_copy(update={"infrastructure": infrastructure})})
    with dg.instance_for_test() as instance:
        found = outcomes(Operation(aws, settings, instance).run("erp4_rds_watch_job"))
    assert "rds_snapshot_copy newest_copy" not in found
    assert found["rds_automated_backups attachments"] == (False, "ERROR")
