from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.sets.servers import ServerIdentity
from backup_assets.settings import Settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.watch.stores_at_work import a_folder, drilled, proven, settings_of, taken

LOCAL, USB = "local", "folder"


@pytest.fixture
def configured(an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A database with a folder off-site, by variables; no server of it is needed."""
    directory = an_empty_directory
    settings = settings_of(directory, a_folder(directory, USB))
    for name, value in {
        "DB_NAME": "erp4",
        "APP_ENV": "prod",
        "BACKUP_DIR": str(settings.backup_dir),
        "BACKUP_TIMEZONE": "UTC",
        "FOLDER_COPY_DIR": str(directory / USB),
        "FOLDER_COPY_OFF_SITE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return settings


def in_order(settings: Settings) -> None:
    now = datetime.now(UTC)
    one = taken(settings, now - timedelta(minutes=5), stores=(LOCAL, USB))
    proven(settings, one, at=now)
    drilled(settings, one, at=now)


def test_promises_that_are_kept_are_told_in_one_line_and_tables(command: Command, configured: Settings):
    in_order(configured)
    ended = command("status", "--strict")
    assert (ended.status, ended.err) == (0, "")
    assert ended.lines[0] == ["OK: erp4: every objective is met"]
    states = {line[0]: line[1] for line in ended.lines[1:]}
    assert (states["rpo"], states["three_copies"], states[LOCAL], states[USB]) == ("ok", "ok", "ok", "ok")


def test_a_broken_promise_is_the_first_line_and_status_1(command: Command, configured: Settings):
    taken(configured, datetime.now(UTC) - timedelta(days=3), stores=(LOCAL,))
    ended = command("status")
    assert ended.status == 1
    assert ended.out.startswith("BROKEN: erp4: rpo: the newest complete set was taken 72 h")


def test_a_warning_alone_is_status_0_unless_it_is_asked_for_strictly(command: Command, configured: Settings):
    now = datetime.now(UTC)
    one = taken(configured, now - timedelta(minutes=5), stores=(LOCAL, USB))
    proven(configured, one, at=now)  # and never drilled
    ended = command("status")
    assert ended.status == 0
    assert ended.lines[0] == ["OK: erp4: nothing is broken, 2 to look at: drill, rto"]
    assert command("status", "--strict").status == 1


def test_without_any_further_store_3_2_1_is_shown_as_broken_and_breaks_the_status_only_strictly(
    command: Command, configured: Settings, monkeypatch: pytest.MonkeyPatch
):
    for name in ("FOLDER_COPY_DIR", "FOLDER_COPY_OFF_SITE"):
        monkeypatch.delenv(name)
    now = datetime.now(UTC)
    proven(configured, taken(configured, now - timedelta(minutes=5), stores=(LOCAL,)), at=now)
    ended = command("status")
    assert ended.status == 0
    assert "3-2-1 does not hold for erp4: no further store is configured" in ended.out.splitlines()[0]
    states = {line[0]: line[1] for line in ended.lines[1:]}
    assert (states["three_copies"], states["two_media"], states["one_off_site"]) == ("fail", "fail", "fail")
    assert command("status", "--strict").status == 1
    assert json.loads(command("status", "--json").out)["ok"] is True


def test_a_further_store_that_has_nothing_breaks_3_2_1_and_the_status(command: Command, configured: Settings):
    now = datetime.now(UTC)
    proven(configured, taken(configured, now - timedelta(minutes=5), stores=(LOCAL,)), at=now)
    assert command("status").status == 1


def test_one_store_alone_is_judged_by_its_answer_and_its_newest_set(command: Command, configured: Settings):
    taken(configured, datetime.now(UTC) - timedelta(minutes=5), stores=(LOCAL,))
    assert command("status", "--store", LOCAL).status == 0
    ended = command("status", "--store", USB)
    assert (ended.status, ended.lines[0]) == (1, [f"BROKEN: erp4: there is no complete set in {USB}"])
    assert [line[0] for line in ended.lines[1:]] == [USB]
    assert command("status", "--store", "moon").status == 2


def test_what_a_store_has_lost_is_status_1_although_every_objective_is_met(command: Command, configured: Settings):
    now = datetime.now(UTC)
    older = taken(configured, now - timedelta(minutes=15), stores=(LOCAL, USB))
    in_order(configured)
    assert command("status").status == 0
    (configured.stores[0].directory or Path()).joinpath("erp4", "prod", older.artifacts[0].name).unlink()
    for ended in (command("status"), command("status", "--store", USB)):
        assert ended.status == 1
        assert ended.lines[0] == ["BROKEN: erp4: folder: sets that lost files: 1"]
        assert [line[1] for line in ended.lines if line[0] == USB] == ["fail"]
    assert command("status", "--store", LOCAL).status == 0


def test_two_servers_that_write_under_one_name_are_status_1(command: Command, configured: Settings):
    now = datetime.now(UTC)
    for minutes in (15, 13):
        taken(configured, now - timedelta(minutes=minutes), stores=(USB,), server=ServerIdentity("7000", 1))
        taken(configured, now - timedelta(minutes=minutes - 1), stores=(USB,), server=ServerIdentity("8000", 1))
    in_order(configured)
    ended = command("status")
    assert (ended.status, ended.lines[0]) == (1, ["BROKEN: erp4: folder: servers that write there under this name: 2"])


def test_json_has_every_figure(command: Command, configured: Settings):
    in_order(configured)
    ended = command("status", "--json")
    found = json.loads(ended.out)
    assert found["ok"] is True
    (erp4,) = found["databases"]
    assert (erp4["database"], erp4["rpo_hours"]) == ("erp4", 24.0)
    assert [store["name"] for store in erp4["stores"]] == [LOCAL, USB]
    assert {one["name"]: one["state"] for one in erp4["objectives"]}["one_off_site"] == "met"
