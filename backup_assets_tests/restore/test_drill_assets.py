from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_restore import DrillSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.offsite.copying import folder_store
from backup_assets_tests.restore.drilling import copied_to, sets_in, with_drill
from backup_assets_tests.restore.restoring import Erp
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import capture

KEY = dg.AssetKey(["erp4", "restore_drill"])
ZONE = ZoneInfo("Asia/Tokyo")


def month_of(moment: datetime) -> str:
    return f"{moment.astimezone(ZONE):%Y-%m}"


@pytest.fixture
def settings(an_erp: Erp, tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    since = datetime.now(ZONE).date() - timedelta(days=70)
    configured = an_erp.settings.databases[0].model_copy(update={"schedule": ScheduleSettings(since=since)})
    stores = (folder_store(tmp_path / "usb"),)
    return an_erp.settings.model_copy(update={"databases": (configured,), "stores": stores})


def run(settings: Settings, month: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    job = definitions.resolve_job_def("erp4_drill_job")
    return job.execute_in_process(partition_key=month, instance=instance, raise_on_error=False)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    return str(failed.event_specific_data)


def definitions_of(*stores: StoreSettings, **fields: Any) -> dg.Definitions:
    database = DatabaseSettings(name="erp4", database="erp4", **fields)
    return build_definitions(
        Settings(backup_dir=Path("/nonexistent"), databases=(database,), stores=stores), datetime.now(UTC)
    )


def test_a_drill_that_passes_is_shown_with_its_times_and_its_report(settings: Settings):
    captured = capture(settings).manifest
    copied_to(settings, "usb")
    instance = dg.DagsterInstance.ephemeral()
    month = month_of(datetime.now(UTC))

    result = run(settings, month, instance)

    assert result.success, failure_of(result)
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.partition) == ("restores_within_rto", True, month)
    (event,) = result.asset_materializations_for_node("erp4_restore_drill")
    figures = {name: value.value for name, value in event.metadata.items()}
    assert figures["set_id"] == captured.id
    assert figures["store"] == "usb"
    assert figures["rto_hours"] == 4.0
    assert float(str(figures["restore_seconds"])) > 0
    assert float(str(figures["duration_seconds"])) >= float(str(figures["restore_seconds"]))
    assert str(figures["report"]).startswith("# Restore drill of erp4 (local): PASSED")
    assert Path(str(figures["report_path"])).read_text() == figures["report"]
    assert instance.get_materialized_partitions(KEY) == {month}
    (one,) = sets_in(settings, "usb")
    proof = proof_of(one)
    assert proof is not None
    assert proof.level == "drilled"


def test_a_drill_that_fails_stores_its_check_and_makes_the_run_fail(settings: Settings):
    capture(settings)
    copied_to(settings, "usb")
    instance = dg.DagsterInstance.ephemeral()
    month = month_of(datetime.now(UTC))

    result = run(with_drill(settings, DrillSettings(command=("/bin/false",))), month, instance)

    assert not result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "the command false ended with status 1" in str(check.description)
    assert "FAILED" in str(check.metadata["report"].value)
    assert "the drill of erp4 from usb failed" in failure_of(result)
    assert instance.get_materialized_partitions(KEY) == set()


def test_a_past_month_is_drilled_with_a_set_of_then_and_never_with_one_of_today(settings: Settings):
    capture(settings)
    copied_to(settings, "usb")
    past = month_of(datetime.now(UTC) - timedelta(days=40))

    result = run(settings, past, dg.DagsterInstance.ephemeral())

    assert not result.success
    assert "no set in the folder" in failure_of(result)
    assert "or an earlier moment" in failure_of(result)


@pytest.mark.parametrize(
    ("stores", "parent"),
    [
        ((), "metadata"),
        ((StoreSettings(name="usb", kind="folder", directory=Path("/usb")),), "folder_copy"),
        (
            (
                StoreSettings(name="usb", kind="folder", directory=Path("/usb")),
                StoreSettings(name="tokyo", kind="s3", bucket="erp4-tokyo", sse_s3="AES256"),
            ),
            "s3_upload",
        ),
    ],
)
def test_it_comes_after_the_farthest_copy(stores: tuple[StoreSettings, ...], parent: str):
    graph = definitions_of(*stores).resolve_asset_graph()
    node = graph.get(KEY)
    assert node.parent_keys == {dg.AssetKey(["erp4", parent])}
    assert node.group_name == "erp4"
    assert node.backfill_policy is None
    assert node.partitions_def is not None
    assert [check.name for check in node.check_keys] == ["restores_within_rto"]


def test_months_are_those_since_the_first_slot_and_the_current_one():
    graph = definitions_of(schedule=ScheduleSettings(since=date(2026, 9, 20))).resolve_asset_graph()
    months = graph.get(KEY).partitions_def
    assert months is not None
    assert months.get_partition_keys(current_time=datetime(2026, 11, 30, 15, 30, tzinfo=UTC)) == [
        *("2026-09", "2026-10", "2026-11", "2026-12")
    ]


@pytest.mark.parametrize("every", ["day", "3h"])
def test_the_schedule_asks_for_its_month_in_the_databases_zone(every: str):
    drill = DrillSettings(day_of_month=1, at="05:30")
    schedule = ScheduleSettings.model_validate({"every": every, "timezone": "Europe/Berlin", "since": "2026-01-01"})
    definitions = definitions_of(drill=drill, schedule=schedule)
    found = definitions.resolve_schedule_def("erp4_drill_schedule")
    assert (found.cron_schedule, found.execution_timezone) == ("30 5 1 * *", "Europe/Berlin")
    assert found.default_status == dg.DefaultScheduleStatus.RUNNING
    moment = datetime(2026, 9, 30, 22, 30, tzinfo=UTC)
    request = found(dg.build_schedule_context(scheduled_execution_time=moment))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-10"
