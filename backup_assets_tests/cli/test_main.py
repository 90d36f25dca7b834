from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sources import Source, capture, connect, listed

SCRIPT = str(Path(sys.executable).with_name("backup-assets"))

LIST_AND_TELL = """
import sys
from backup_assets.cli.main import main
status = main(["list"])
print(status, [name for name in ("dagster", "psycopg", "boto3", "rich") if name in sys.modules])
"""


def test_wrong_usage_ends_with_2_and_says_how_it_is_used(command: Command) -> None:
    ended = command("bakcup")
    assert ended.status == 2
    assert "invalid choice" in ended.err
    assert "Traceback" not in ended.err


def test_wrong_settings_are_told_in_three_lines(
    command: Command, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PORT", "5432")
    ended = command("list")
    assert ended.status == 2
    assert [line.strip().split(":")[0] for line in ended.err.splitlines()] == ["error", "because", "next"]


def two_databases(directory: Path) -> None:
    server = "server: {host: /nonexistent}"
    text = f"databases:\n  erp4: {{database: erp4, {server}}}\n  crm: {{database: crm, {server}}}\n"
    (directory / "backup.yaml").write_text(text)


def test_several_databases_are_listed_when_none_is_named(command: Command, an_empty_directory: Path) -> None:
    two_databases(an_empty_directory)
    ended = command("list")
    assert ended.status == 2
    assert "several databases are configured" in ended.err
    assert "erp4, crm" in ended.err


@pytest.mark.parametrize("arguments", [("--database", "crm", "list"), ("list", "--database", "crm")])
def test_the_database_is_named_before_or_after_the_command(
    command: Command, an_empty_directory: Path, arguments: tuple[str, ...]
) -> None:
    two_databases(an_empty_directory)
    assert command(*arguments).status == 0


def test_a_database_that_is_not_configured_is_refused(command: Command, an_empty_directory: Path) -> None:
    two_databases(an_empty_directory)
    ended = command("list", "--database", "hr")
    assert ended.status == 2
    assert "there is no database hr" in ended.err


def test_list_loads_nothing_that_is_slow(an_empty_directory: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIST_AND_TELL], capture_output=True, text=True, timeout=300, check=True
    )
    assert ended.stdout == "0 []\n"


def test_the_installed_script_lists_sets_as_json(a_configured_database: Source) -> None:
    captured = capture(a_configured_database.settings())
    ended = subprocess.run([SCRIPT, "list", "--json"], capture_output=True, text=True, timeout=300, check=True)
    assert [line["id"] for line in json.loads(ended.stdout)] == [captured.manifest.id]


def test_a_reader_that_leaves_early_is_no_error(a_configured_database: Source) -> None:
    capture(a_configured_database.settings())
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([SCRIPT, "show", "latest"], stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 141
    assert err == ""


def test_an_interrupted_backup_ends_with_130_and_leaves_nothing_that_is_taken_for_a_set(
    a_configured_database: Source,
) -> None:
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with a_configured_database.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen([SCRIPT, "backup"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 300
        with connect(a_configured_database.cluster, "postgres") as other:
            while other.execute(waits).fetchone() == (0,):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (130, ""), err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert listed(a_configured_database.settings()) == []
