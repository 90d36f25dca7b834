from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_assets.errors import CheckFailed
from backup_assets.restore.drill_program import running

#: Starts a child that ignores being asked to end, writes both numbers, and waits.
STUBBORN = "trap '' TERM; sleep 600 & echo $$ $! > \"$PIDS\"; wait; wait"
#: Leaves a child behind and ends.
LEAVING = 'sleep 600 & echo $$ $! > "$PIDS"'
#: As this program when it is killed while the application runs.
OWNER = """
import sys, time
from pathlib import Path
from backup_assets.restore.drill_program import running
with running(("/bin/sh", "-c", sys.argv[1]), {"PIDS": sys.argv[2]}, Path(sys.argv[3])):
    time.sleep(600)
"""


def until(true: Callable[[], bool], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False


def pids_in(path: Path) -> list[int]:
    assert until(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(pid) for pid in path.read_text().split()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not give ten seconds to programs that ignore being asked."""
    monkeypatch.setattr("backup_assets.restore.drill_program.GRACE_SECONDS", 0.5)


def test_what_ignores_being_asked_is_ended_with_its_children(tmp_path: Path):
    with running(("/bin/sh", "-c", STUBBORN), {"PIDS": str(tmp_path / "pids")}, tmp_path / "log") as program:
        pids = pids_in(tmp_path / "pids")
        assert all(lives(pid) for pid in pids)
        assert not program.ended()

    assert until(lambda: not any(lives(pid) for pid in pids))


def test_what_a_program_that_ended_by_itself_has_left_is_ended_too(tmp_path: Path):
    with running(("/bin/sh", "-c", LEAVING), {"PIDS": str(tmp_path / "pids")}, tmp_path / "log") as program:
        _, child = pids_in(tmp_path / "pids")
        assert program.wait(120)
        assert program.status() == 0
        assert lives(child)

    assert until(lambda: not lives(child))


def test_an_error_in_the_block_ends_it_too(tmp_path: Path):
    pids: list[int] = []
    with (
        pytest.raises(ZeroDivisionError),
        running(("/bin/sh", "-c", STUBBORN), {"PIDS": str(tmp_path / "pids")}, tmp_path / "log"),
    ):
        pids += pids_in(tmp_path / "pids")
        raise ZeroDivisionError

    assert len(pids) == 2
    assert until(lambda: not any(lives(pid) for pid in pids))


def test_nothing_survives_when_we_are_killed(tmp_path: Path):
    arguments = [STUBBORN, str(tmp_path / "pids"), str(tmp_path / "log")]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *arguments])
    try:
        pids = pids_in(tmp_path / "pids")
        # The guard is started right after the program: our own child beside it.
        children = Path(f"/proc/{owner.pid}/task/{owner.pid}/children")
        assert until(lambda: len(children.read_text().split()) == 2)
        assert all(lives(pid) for pid in pids)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()

    assert until(lambda: not any(lives(pid) for pid in pids))


def test_it_finds_what_it_is_given_and_nothing_that_leads_to_the_live_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("DB_HOST", "DB_PASSWORD", "DATABASE_URL", "PGHOSTADDR", "PGSERVICE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-live-system")
    with running(("env",), {"PGHOST": "/restored", "PGPASSWORD": "xyzzy"}, tmp_path / "log") as program:
        assert program.wait(120)

    found = (tmp_path / "log").read_text()
    assert "PGHOST=/restored" in found
    assert f"PATH={os.environ['PATH']}" in found
    assert "of-the-live-system" not in found
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_the_end_of_its_output_is_told_without_the_password(tmp_path: Path):
    script = 'echo begin; head -c 5000 /dev/zero | tr "\\0" x; echo; echo "FATAL for $PGPASSWORD" >&2; exit 4'
    with running(("/bin/sh", "-c", script), {"PGPASSWORD": "xyzzy"}, tmp_path / "log") as program:
        assert program.wait(120)
        assert program.status() == 4
        assert program.tail().endswith("FATAL for ***")
        assert "begin" not in program.tail()


def test_a_program_that_is_not_there_is_one_clear_error(tmp_path: Path):
    with pytest.raises(CheckFailed, match="could not be started") as failed, running(("/no/app",), {}, tmp_path / "l"):
        pass
    assert "start_command" in failed.value.remedy
