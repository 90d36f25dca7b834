"""The daily retention as Dagster runs it, on real folders and the real clock."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.retention.assets import ASSET
from backup_assets.retention.gone import read_gone
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store, sets_in, settings_with
from backup_assets_tests.retention.test_pruning import FEW, filled, keeping_few, some_credentials
from backup_assets_tests.sets.examples import ERP4
from backup_assets_tests.sets.histories import DAY, HOUR, a_set

KEY = dg.AssetKey(["erp4", ASSET])
__all__ = ["some_credentials"]


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A local store and a folder, of which three days are kept."""
    (tmp_path / "usb").mkdir()
    return keeping_few(settings_with(tmp_path / "backups", folder_store(tmp_path / "usb")))


def of_six_nights() -> list[BackupSet]:
    return [a_set(datetime.now(UTC) - HOUR - day * DAY) for day in range(6)]


def run(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    job = definitions.resolve_job_def("erp4_retention_job")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def figures(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("erp4_retention")
    return {name: value.value for name, value in event.metadata.items()}


def why_it_failed(result: dg.ExecuteInProcessResult) -> str:
    return "".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)


def test_what_may_go_is_deleted_and_every_decision_is_shown(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    sets = of_six_nights()
    filled(settings, sets)

    result = run(settings, an_instance)

    assert result.success, why_it_failed(result)
    for store in ("local", "usb"):
        assert set(sets_in(settings, store)) == {one.id for one in sets[:3]}
    found = figures(result)
    assert (found["kept_count"], found["deleted_count"], found["failed_count"], found["applied"]) == (6, 6, 0, True)
    assert found["usb_kept_count"] == 3
    assert found["freed_bytes"] > 0
    for one in sets:
        assert str(found["decisions"]).count(f"| {one.id} | usb |") == 1
    # What goes is read first.
    assert "| delete |" in str(found["decisions"]).splitlines()[2]


def test_with_apply_off_everything_is_shown_and_nothing_deleted(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    shown = RetentionSettings(**{**FEW.model_dump(), "apply": False})
    filled(settings, of_six_nights())

    result = run(keeping_few(settings, retention=shown), an_instance)

    assert result.success, why_it_failed(result)
    found = figures(result)
    assert (found["applied"], found["deleted_count"], found["due_count"]) == (False, 0, 6)
    assert len(sets_in(settings, "usb")) == len(sets_in(settings, "local")) == 6


def test_a_store_that_does_not_answer_makes_the_run_red_and_keeps_no_other_from_being_pruned(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    filled(settings, of_six_nights(), "local")
    (tmp_path / "usb").rmdir()

    result = run(settings, an_instance)

    assert not result.success
    assert "does not exist" in why_it_failed(result)
    assert len(sets_in(settings, "local")) == 3
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "local: 3 sets stay" in str(check.description)


def test_a_bucket_that_does_not_answer_makes_the_run_red_although_it_is_not_pruned(
    settings: Settings, an_instance: dg.DagsterInstance, some_credentials: None
) -> None:
    bucket = StoreSettings(
        name="tokyo", kind="s3", bucket="erp4", endpoint_url="http://127.0.0.1:9", addressing_style="path",
        sse_s3="AES256",
    )  # fmt: skip
    settings = settings.model_copy(update={"stores": (*settings.stores, bucket)})
    filled(settings, of_six_nights())

    result = run(settings, an_instance)

    assert not result.success
    assert "cannot be reached" in why_it_failed(result)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "tokyo: sets there expire by the lifecycle rules" in str(check.description)


def test_a_store_of_which_no_manifest_can_be_read_makes_the_run_red(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    sets = of_six_nights()
    filled(settings, sets)
    for one in sets:
        flip_a_bit(tmp_path / "usb" / ERP4.manifest_key(one.id))

    result = run(settings, an_instance)

    assert not result.success
    assert "none of the 6 sets in usb can be read" in why_it_failed(result)
    assert len(sets_in(settings, "local")) == 3


@pytest.fixture
def a_file_that_cannot_be_removed(settings: Settings) -> Iterator[Path]:
    """The dump of the oldest of six nights, which the file system keeps whatever is asked of it."""
    sets = of_six_nights()
    filled(settings, sets, "local")
    path = settings.backup_dir / ERP4.key(f"db/{sets[-1].id}.dump")
    if subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False).returncode:
        pytest.skip("this file system, or this user, cannot make a file immutable")
    yield path
    subprocess.run(["chattr", "-i", str(path)], check=True)


def test_a_set_that_is_deleted_by_half_is_gone_and_its_leftover_is_told_with_what_removes_it(
    settings: Settings, an_instance: dg.DagsterInstance, a_file_that_cannot_be_removed: Path
) -> None:
    oldest = a_file_that_cannot_be_removed.stem
    settings = settings.model_copy(update={"stores": ()})

    result = run(settings, an_instance)

    assert not result.success
    assert f"{oldest} is deleted, and 1 files of it could not be removed" in why_it_failed(result)
    assert "backup-assets sweep --store local --apply" in why_it_failed(result)
    noted = read_gone(settings.databases[0], settings, since=datetime.now(UTC) - DAY)
    assert oldest in {one.id for note in noted.notes for one in note.sets}
    assert run(settings, an_instance).success


def test_a_plan_that_something_stands_against_is_red_and_deletes_nothing(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    filled(settings, [a_set(datetime.now(UTC) - HOUR - day * DAY) for day in range(12)])

    result = run(settings, an_instance)

    assert not result.success
    assert "more than" in why_it_failed(result)
    assert len(sets_in(settings, "local")) == len(sets_in(settings, "usb")) == 12
    assert an_instance.get_latest_materialization_event(KEY) is None
