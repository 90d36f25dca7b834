"""The rotation as Dagster runs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.restore.rotation_assets import ASSET
from backup_assets.settings import Settings, VerificationSettings
from backup_assets_tests.offsite.copying import folder_store, sets_in, settings_with
from backup_assets_tests.retention.test_pruning import filled
from backup_assets_tests.sets.histories import DAY, a_set

KEY = dg.AssetKey(["erp4", ASSET])


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    return settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))


def within(settings: Settings, **wanted: Any) -> Settings:
    database = settings.databases[0].model_copy(update={"verification": VerificationSettings(**wanted)})
    return settings.model_copy(update={"databases": (database,)})


def run(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    job = definitions.resolve_job_def("erp4_verification_job")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def why_it_failed(result: dg.ExecuteInProcessResult) -> str:
    return "".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)


def test_a_copy_that_does_not_restore_makes_the_run_red_and_the_others_are_looked_at(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    # Their dumps are no archives: whole, and not to be restored.
    sets = [a_set(datetime.now(UTC) - days * DAY) for days in (40, 50)]
    filled(settings, sets, "local")

    result = run(settings, an_instance)

    assert not result.success
    assert "2 copies are damaged" in why_it_failed(result)
    check = checks_of(result)["copies_are_good"]
    assert not check.passed
    assert check.metadata["problem_count"].value == 2
    assert all(f"{one.id} in local: DAMAGED" in str(check.description) for one in sets)
    assert all(not one.verifications[-1].passed for one in sets_in(settings, "local").values())
    assert an_instance.get_latest_materialization_event(KEY) is None


def test_when_nothing_is_due_the_run_is_green_and_says_so(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    filled(settings, [a_set(datetime.now(UTC) - 3 * DAY)])

    result = run(settings, an_instance)

    assert result.success, why_it_failed(result)
    (event,) = result.asset_materializations_for_node("erp4_verification")
    found = {name: value.value for name, value in event.metadata.items()}
    assert (found["verified_count"], found["copy_count"], found["overdue_count"]) == (0, 2, 0)
    assert checks_of(result)["within_days"].passed


def test_a_store_that_does_not_answer_is_a_warning(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    filled(settings, [a_set(datetime.now(UTC) - 3 * DAY)], "local")
    (tmp_path / "usb").rmdir()

    result = run(settings, an_instance)

    assert result.success, why_it_failed(result)
    check = checks_of(result)["within_days"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "usb did not answer" in str(check.description)


def test_a_limit_that_cannot_keep_the_promise_is_told_with_the_one_that_can(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    filled(settings, [a_set(datetime.now(UTC) - days * DAY) for days in range(40, 48)])

    result = run(within(settings, every_days=4, nightly_limit=1), an_instance)

    check = checks_of(result)["within_days"]
    assert not check.passed
    assert "15 of 16 copies wait longer than 4 days" in str(check.description)
    assert "raise verification.nightly_limit to 4" in str(check.description)
