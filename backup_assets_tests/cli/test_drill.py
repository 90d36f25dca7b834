from __future__ import annotations

import json
from pathlib import Path

import pytest

from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sources import Source


@pytest.fixture
def usb(a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to which every set is copied."""
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "usb"))
    return tmp_path / "usb"


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
