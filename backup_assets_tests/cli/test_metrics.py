from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from backup_assets_tests.cli.conftest import Command


@pytest.fixture
def configured(an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database by variables; no server of it is needed."""
    monkeypatch.setenv("DB_NAME", "erp4")
    return an_empty_directory


def test_the_figures_are_printed_or_written_to_a_file(command: Command, configured: Path):
    ended = command("metrics")
    assert ended.status == 0
    assert 'backup_assets_objective_state{database="erp4",objective="rpo"} 3.0' in ended.out
    assert command("metrics", "--textfile", "backup.prom").out == ""
    assert "backup_assets_rpo_target_seconds" in (configured / "backup.prom").read_text()


def test_a_file_and_an_address_together_are_refused(command: Command, configured: Path):
    ended = command("metrics", "--textfile", "x", "--listen", "127.0.0.1:0")
    assert (ended.status, ended.err.splitlines()[0]) == (2, "error: --textfile and --listen exclude each other")
    assert command("metrics", "--textfile", "missing/x").status == 3
    assert command("metrics", "--listen", "nonsense").status == 2


def test_the_figures_are_served_until_the_command_is_ended(configured: Path):
    program = [sys.executable, "-m", "backup_assets.cli.main", "metrics", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as serving:
        try:
            assert serving.stderr is not None
            found = re.match(r"(http://\S+), measured at most every 60 s", serving.stderr.readline())
            assert found is not None
            with urllib.request.urlopen(found[1], timeout=60) as answer:  # noqa: S310 - our own
                assert "backup_assets_store_up" in answer.read().decode()
        finally:
            serving.send_signal(signal.SIGINT)
        assert serving.wait(300) == 130
