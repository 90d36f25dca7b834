from __future__ import annotations

import json
from pathlib import Path

import pytest

from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.watch.months import MONTH, an_october


@pytest.fixture
def an_october_here(an_empty_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A month of backups that the environment names; no server is needed to report on it."""
    place = an_october(tmp_path)
    for name, value in {
        "DB_NAME": "erp4",
        "BACKUP_PREFIX": "erp4",
        "APP_ENV": "prod",
        "BACKUP_DIR": str(place.local),
        "FOLDER_COPY_DIR": str(place.usb),
    }.items():
        monkeypatch.setenv(name, value)
    return place.local


def test_a_report_is_written_where_it_is_wanted(an_october_here: Path, command: Command, tmp_path: Path):
    output = tmp_path / "october.html"

    ended = command("report", "--month", MONTH, "--language", "ja", "--output", str(output))

    assert ended.status == 0, ended.err
    assert ended.value("month") == MONTH
    assert ended.value("report") == str(output)
    assert '<html lang="ja">' in output.read_text(encoding="utf-8")


def test_the_language_comes_from_the_environment(
    an_october_here: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REPORT_LANGUAGE", "ja")

    told = json.loads(command("report", "--month", MONTH, "--json").out)

    assert Path(told["report"]) == an_october_here / "reports" / "prod" / "erp4" / "2026-10.ja.html"
    assert (told["database"], told["month"]) == ("erp4", MONTH)
    assert told["verdict"] in ("good", "attention", "bad")


def test_what_is_no_month_is_refused(an_october_here: Path, command: Command):
    ended = command("report", "--month", "October")

    assert ended.status == 2
    assert "'October' is no month" in ended.err
    assert "next: write 2026-10" in ended.err
