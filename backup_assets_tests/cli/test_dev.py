from __future__ import annotations

import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from backup_assets.cli.dev import dev_command
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.cli.test_main import SCRIPT
from backup_assets_tests.cli.test_serve import a_port


def test_the_workspace_file_of_the_directory_is_used(an_empty_directory: Path) -> None:
    assert dev_command("127.0.0.1", 3000)[1:4] == ["dev", "-m", "backup_assets.definitions"]
    (an_empty_directory / "workspace.yaml").touch()
    assert dev_command("127.0.0.1", 3000)[1:4] == ["dev", "-w", "workspace.yaml"]


def test_wrong_settings_are_told_before_dagster_starts(
    command: Command, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PORT", "5432")
    ended = command("dev")
    assert ended.status == 2
    assert ended.err.startswith("error: ")


#: A script starts what goes on behind it like this.
BEHIND_A_SCRIPT = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


@pytest.mark.slow
def test_the_ui_opens_with_the_history_in_its_home_and_ends_when_told_to(
    an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    with a_port() as port:
        require_answer(an_empty_directory / "log", port)
    assert (an_empty_directory / "var" / "dagster" / "dagster.yaml").is_file()


def require_answer(log: Path, port: int) -> None:
    with log.open("wb") as handle:
        process = subprocess.Popen([*BEHIND_A_SCRIPT, SCRIPT, "dev", "--port", str(port)], stdout=handle, stderr=handle)
    try:
        deadline = time.monotonic() + 360
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=60) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                time.sleep(0.5)
    finally:
        process.terminate()
        try:
            process.wait(timeout=180)
        finally:
            process.kill()
