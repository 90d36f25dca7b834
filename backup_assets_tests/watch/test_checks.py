from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.settings import Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.watch.checks import CHECKS, watch_check_keys
from backup_assets_tests.watch.stores_at_work import HOUR, a_folder, settings_of, taken


@pytest.fixture
def now() -> datetime:
    """The moment at which the test begins, which the checks take from the same clock."""
    return datetime.now(UTC)


def evaluated(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> dict[str, dg.AssetCheckEvaluation]:
    """Evaluate the checks as the schedule asks for it, and return what Dagster has stored of them."""
    definitions = build_definitions(settings, now)
    schedule = definitions.get_repository_def().get_schedule_def("erp4_watch_schedule")
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=now) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    job = definitions.resolve_job_def("erp4_watch_job")
    result = job.execute_in_process(instance=instance, tags=dict(request.tags))
    assert result.success
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_kept_promises_pass_and_are_stored_for_the_current_slot(tmp_path: Path, now: datetime):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, now - HOUR, stores=("local", "usb"))
    with dg.instance_for_test() as instance:
        found = evaluated(settings, instance, now)
        stored = [
            instance.event_log_storage.get_asset_check_execution_history(key, 10)
            for key in watch_check_keys(settings.databases[0])
        ]
    assert {name: one.passed for name, one in found.items()} == {"rpo_met": True, "copies_3_2_1": True}
    assert [[record.status.value for record in records] for records in stored] == [["SUCCEEDED"], ["SUCCEEDED"]]
    assert {one.partition for one in found.values()} == {f"{now:%Y-%m-%d}"}
    assert 1 <= float(str(found["rpo_met"].metadata["rpo_hours"].value)) < 3
    assert found["copies_3_2_1"].metadata["copy_count"].value == 3.0


def test_a_broken_promise_fails_its_check_as_an_error_and_the_run_succeeds(tmp_path: Path, now: datetime):
    settings = settings_of(tmp_path)
    taken(settings, now - timedelta(days=3))
    with dg.instance_for_test() as instance:
        found = evaluated(settings, instance, now)
    assert {name: (one.passed, one.severity.value) for name, one in found.items()} == {
        "rpo_met": (False, "ERROR"),
        "copies_3_2_1": (False, "ERROR"),
    }
    assert "the newest complete set was taken 72 h" in (found["rpo_met"].description or "")


def test_what_may_soon_be_broken_is_a_warning(tmp_path: Path, now: datetime):
    settings = settings_of(tmp_path, schedule=ScheduleSettings(timezone="UTC"), tier="important")
    taken(settings, now - HOUR)
    with dg.instance_for_test() as instance:
        found = evaluated(settings, instance, now)
    assert (found["rpo_met"].passed, found["rpo_met"].severity.value) == (False, "WARN")


def test_a_backup_does_not_judge_the_copies_before_they_are_made(tmp_path: Path, now: datetime):
    definitions = build_definitions(settings_of(tmp_path, a_folder(tmp_path, "usb")), now)
    for job in ("erp4_backup_job", "erp4_watch_job"):
        selected = definitions.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys
        assert {key.name for key in selected} & {*CHECKS} == (set() if "backup" in job else {*CHECKS})
