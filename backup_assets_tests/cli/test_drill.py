from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from backup_assets.instance import dagster_instance
from backup_assets.restore.drill_assets import ASSET, CHECK
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sources import Source


@pytest.fixture
def usb(a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to which every set is copied."""
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "usb"))
    return tmp_path / "usb"


def shown_in_dagster() -> tuple[list[dg.AssetMaterialization], list[bool]]:
    """Return what Dagster's instance shows of drills: the materializations, and the outcomes of the check."""
    key = dg.AssetKey(["erp4", ASSET])
    with dagster_instance() as instance:
        found = instance.fetch_materializations(key, limit=10).records
        checks = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(key, CHECK), limit=10)
    outcomes = [one.event.dagster_event.asset_check_evaluation_data.passed for one in checks if one.event]  # type: ignore[union-attr]
    return [one.asset_materialization for one in found if one.asset_materialization is not None], outcomes


def test_a_drill_is_shown_in_dagster_as_one_of_this_month(command: Command, usb: Path):
    assert command("backup", "--no-verify").status == 0
    assert command("drill", "--store", "local").status == 0
    assert shown_in_dagster() == ([], [])  # not what the asset is about

    assert command("drill").status == 0
    ended = command("drill")

    (materialization, _), outcomes = shown_in_dagster()
    assert outcomes == [True, True]
    assert materialization.metadata["set_id"].value == ended.value("set")
    assert materialization.partition in {f"{datetime.now(ZoneInfo(zone)):%Y-%m}" for zone in ("Asia/Tokyo", "UTC")}


def test_a_drill_that_fails_is_shown_in_dagster_as_a_failed_check_alone(command: Command, usb: Path):
    assert command("drill").status == 1
    assert shown_in_dagster() == ([], [False])


def test_a_damaged_history_of_dagster_is_told_in_a_sentence_and_the_drill_counts(command: Command, usb: Path):
    assert command("backup", "--no-verify").status == 0
    for found in Path(os.environ["DAGSTER_HOME"]).rglob("*.db*"):
        found.write_bytes(b"this is no database of SQLite" * 100)

    ended = command("drill")

    assert ended.status == 0, ended.err
    assert "warning: the drill is recorded beside the sets, and cannot be shown in Dagster: " in ended.err
    assert "Traceback" not in ended.err


def test_a_drill_that_passes_says_what_was_drilled_and_where_the_report_is(command: Command, usb: Path):
    backed_up = command("backup", "--no-verify")
    assert backed_up.status == 0, backed_up.err

    ended = command("drill")

    assert ended.status == 0, ended.err
    assert ended.value("drill") == "passed"
    assert ended.value("set") == backed_up.value("set")
    assert ended.value("store") == f"folder: the folder {usb}"
    assert ended.value("rto") == "4 h, met"
    assert "PASSED" in Path(ended.value("report")).read_text()
    assert "it is the farthest: a folder on other media" in ended.err
    shown = [line for line in command("show").lines if line[0] == "drill"]
    assert "from folder: passed" in shown[0][2]


def test_a_drill_that_fails_ends_with_status_1_and_every_cause_and_action(
    command: Command, usb: Path, monkeypatch: pytest.MonkeyPatch
):
    assert command("backup", "--no-verify").status == 0
    monkeypatch.setenv("RTO_HOURS", "0.00001")

    ended = command("drill", "--store", "local", "--json")

    assert ended.status == 1
    found = json.loads(ended.out)
    assert (found["passed"], found["store"], found["within_rto"]) == (False, "local", False)
    assert "error: the restore took longer than promised" in ended.err
    assert "next: the step" in ended.err
    assert Path(found["report"]).exists()


def test_an_empty_store_fails_and_an_unknown_one_is_refused(command: Command, usb: Path):
    empty = command("drill")
    assert empty.status == 1
    assert "error: there is no backup set in the folder" in empty.err
    assert empty.value("set") == "none"
    assert command("drill", "--store", "moon").status == 2
    assert command("drill", "--set", "2001").status == 2


def test_http_checks_without_an_application_are_refused(command: Command, usb: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRILL_HTTP_URL", "http://127.0.0.1:8080/health")
    ended = command("drill")
    assert ended.status == 2
    assert "drill.start_command" in ended.err
