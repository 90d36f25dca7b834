from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from backup_assets.instance import dagster_home, dagster_instance
from backup_assets.queueing import pool_of
from backup_assets.settings_loading import load_settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, listed


@pytest.fixture
def instance(an_empty_directory: Path) -> DagsterInstance:
    return dagster_instance()


def test_a_backup_is_committed_proven_and_shown_as_a_run(
    command: Command, a_configured_database: Source, instance: DagsterInstance
) -> None:
    ended = command("backup", "--label", "before release 4.2", "--hold", "release", "--hold-until", "2099-01-31")
    assert ended.status == 0, ended.err
    (one,) = listed(a_configured_database.settings())
    assert ended.value("set") == one.id
    assert ended.value("rows") == "1050 in 2 tables"
    assert {line[0]: line[1] for line in ended.lines if line[0] in ("readable", "roles_present", "restored")} == {
        "readable": "ok",
        "roles_present": "ok",
        "restored": "ok",
    }
    assert one.manifest.label == "before release 4.2"
    assert one.manifest.hold is not None
    assert proof_of(one) is not None
    (run,) = instance.get_runs()
    assert (run.job_name, run.is_success, run.tags["dagster/partition"]) == ("erp4_backup_job", True, one.manifest.slot)


def test_without_proof_a_set_is_stored_and_counts_as_unproven(command: Command, a_configured_database: Source) -> None:
    ended = command("backup", "--no-verify", "--content-hashes", "never", "--json")
    assert ended.status == 0, ended.err
    (one,) = listed(a_configured_database.settings())
    assert proof_of(one) is None
    assert all(table.content_hash is None for table in one.manifest.fingerprints.tables)
    assert [check["name"] for check in json.loads(ended.out)["checks"]] == ["readable", "roles_present"]


def test_the_log_of_dagster_is_shown_only_when_asked_for(command: Command, a_configured_database: Source) -> None:
    assert command("backup", "--no-verify").err == ""
    assert "RUN_SUCCESS" in command("backup", "--no-verify", "--verbose").err


def test_a_row_whose_file_is_missing_makes_the_status_1_and_the_set_stays(
    command: Command, a_configured_database: Source, attachments: Path
) -> None:
    (attachments / "invoices" / "1.pdf").unlink()
    ended = command("backup")
    assert ended.status == 1
    assert len(listed(a_configured_database.settings())) == 1
    assert [line[1] for line in ended.lines if line[0] == "rows_and_files_agree"] == ["fail"]
    assert "a check of it failed" in ended.err


def test_a_server_that_cannot_be_reached_is_told_once_and_nothing_is_listed(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_HOST", "/nonexistent")
    ended = command("backup")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.startswith("error: cannot connect to database")
    assert len(ended.err.splitlines()) == 3
    assert listed(a_configured_database.settings()) == []


def test_important_tables_become_a_set_of_their_own(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORTANT_TABLES", "invoices")
    ended = command("backup", "--important-tables")
    assert ended.status == 0, ended.err
    (one,) = listed(a_configured_database.settings())
    assert (one.manifest.kind, one.manifest.fingerprints.total_rows) == ("important_tables", 1000)


def test_a_release_is_vouched_for_in_one_last_line(
    command: Command, a_configured_database: Source, instance: DagsterInstance
) -> None:
    ended = command("backup", "--release", "4.2", "--hold-until", "2099-01-31")
    assert ended.status == 0, ended.err
    (one,) = listed(a_configured_database.settings())
    assert one.manifest.label == "4.2"
    assert one.manifest.hold is not None
    assert one.manifest.hold.reason == "release 4.2"
    assert one.manifest.hold.until is not None
    assert one.manifest.hold.until.year == 2099
    last = ended.out.splitlines()[-1]
    assert last.startswith(f"Release backup of erp4 for 4.2: set {one.id}")
    assert last.endswith(f"backup-assets restore {one.id}")
    (run,) = instance.get_runs()
    assert (run.job_name, run.is_success) == ("erp4_release_backup_job", True)


def test_a_release_that_is_not_proven_has_no_such_line(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "not-there"))
    ended = command("backup", "--release", "4.2")
    assert ended.status != 0
    assert "Release backup of" not in ended.out


def test_a_backup_whose_slot_ends_before_it_begins_is_taken_into_the_next_one(
    command: Command, a_configured_database: Source, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [timedelta(days=1)]  # from the first look at the clock to the capture

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - (ahead.pop() if ahead else timedelta())

    monkeypatch.setattr("backup_assets.cli.backup.datetime", Clock)
    ended = command("backup", "--no-verify")
    assert ended.status == 0, ended.err
    assert "has just ended: once more, into the next one" in ended.err
    (one,) = listed(a_configured_database.settings())
    runs = [(run.is_success, run.tags["dagster/partition"]) for run in instance.get_runs()]
    assert runs[0] == (True, one.manifest.slot)
    assert [success for success, _ in runs] == [True, False]


def test_a_run_that_a_killed_command_has_left_is_ended_by_the_next(
    command: Command, a_configured_database: Source, instance: DagsterInstance
) -> None:
    left = a_run_left_behind(instance)
    ended = command("backup", "--no-verify")
    assert ended.status == 0, ended.err
    assert f"the run {left} was left by a command that is gone" in ended.err
    run = instance.get_run_by_id(left)
    assert run is not None
    assert run.status == DagsterRunStatus.FAILURE


#: As `backup-assets backup` is, when it has made its run and is killed in the middle of the capture.
KILLED = """
import os, signal
from backup_assets.capture.capture import Capture
from backup_assets.cli.main import main
Capture.run = lambda self: os.kill(os.getpid(), signal.SIGKILL)
main(["backup"])
"""


def a_run_left_behind(instance: DagsterInstance) -> str:
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, timeout=400, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    (run,) = instance.get_runs()
    assert run.status == DagsterRunStatus.STARTED
    return run.run_id


def test_a_damaged_history_of_dagster_is_one_error_and_a_new_one_is_begun_when_it_is_moved_away(
    command: Command, a_configured_database: Source, tmp_path: Path
) -> None:
    assert command("backup", "--no-verify").status == 0
    home = dagster_home()
    for found in home.rglob("*.db*"):
        found.write_bytes(b"this is no database of SQLite" * 100)

    ended = command("backup", "--no-verify")

    assert ended.status == 3
    assert f"move {home} away" in ended.err
    assert "Traceback" not in ended.err
    home.rename(tmp_path / "damaged")
    assert command("backup", "--no-verify").status == 0
    assert len(listed(a_configured_database.settings())) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--release", "4.2", "--no-verify"), "a release relies on a whole set"),
        (("--release", "4.2", "--content-hashes", "never"), "a release relies on a whole set"),
        (("--release", "4.2", "--hold-until", "2020-01-31"), "the hold would be over already"),
        (("--important-tables",), "erp4 has no important tables"),
        (("--hold-until", "2099-01-31"), "a hold needs a reason"),
        (("--hold", "release", "--hold-until", "2020-01-31"), "the hold would be over already"),
        (("--hold", "release", "--hold-until", "soon"), "'soon' is no time"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_before_a_run_is_made(
    command: Command,
    a_configured_database: Source,
    instance: DagsterInstance,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    ended = command("backup", *arguments)
    assert ended.status == 2
    assert words in ended.err
    assert list(instance.get_runs()) == []


def test_no_command_writes_a_password(command: Command, a_configured_database: Source, tmp_path: Path) -> None:
    written = [
        command(*line.split())
        for line in (
            "backup --verbose", "list --json", "show latest --json", "verify", "restore", "doctor", "doctor --json",
            f"download latest --to {tmp_path}",
        )
    ]  # fmt: skip
    assert [ended.status for ended in written] == [0, 0, 0, 0, 2, 0, 0, 0]
    secret = a_configured_database.cluster.password
    assert not [ended for ended in written if secret in ended.out + ended.err]


def test_a_slot_of_the_pool_that_a_dead_run_has_left_taken_does_not_stop_a_backup(
    command: Command, a_configured_database: Source
) -> None:
    pool = pool_of(load_settings().databases[0])
    instance = dagster_instance()  # kept: its storage knows it by a weak reference
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(pool)
    assert storage.claim_concurrency_slot(pool, "a run that was killed", "its step").is_claimed

    assert command("backup", "--no-verify").status == 0
