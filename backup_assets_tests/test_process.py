from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.process import LEFT_OUT, ProgramFailed, run, scrub, started


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Return whether a process that was told to end does so; it may be given no processor for a while."""
    until = time.monotonic() + 60
    while lives(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not lives(pid)


def test_what_a_program_prints_is_returned():
    output = run(["sh", "-c", "echo out; echo err >&2"], timeout=20)

    assert (output.stdout, output.stderr) == ("out\n", "err\n")


def test_a_program_reads_what_it_is_given():
    assert run(["wc", "-c"], timeout=20, input_bytes=b"x" * 300_000).stdout.strip() == "300000"


def test_a_failing_program_shows_its_status_and_the_end_of_its_messages():
    with pytest.raises(ProgramFailed, match="sh failed with exit status 7") as caught:
        run(["sh", "-c", "seq 1 100000 >&2; echo the last words >&2; exit 7"], timeout=20)

    assert caught.value.returncode == 7
    assert caught.value.why.endswith("the last words")
    assert len(caught.value.why) <= 4000


@pytest.mark.parametrize(
    "error",
    [
        "pg_restore: error: could not execute query: ERROR:  out of memory",
        "pg_dump: detail: Error message from server: ERROR:  canceling statement due to lock timeout",
        "ERROR:  22012: division by zero",
        "FATAL:  the database system is shutting down",
    ],
)
@pytest.mark.parametrize(
    "statement", ["seq 1 100000", "{ seq 1 100000 | tr '\\n' ' '; echo; }"], ids=["lines", "one line"]
)
def test_an_error_is_told_however_long_the_statement_after_it(error: str, statement: str):
    with pytest.raises(ProgramFailed) as caught:
        run(["sh", "-c", f"echo '{error}' >&2; {statement} >&2; echo END >&2; exit 1"], timeout=60)

    told = caught.value.stderr.splitlines()
    assert told[:2] == [error, LEFT_OUT]
    assert told[-1] == "END"
    assert caught.value.why == caught.value.stderr
    assert len(caught.value.why) <= 4000


def test_of_many_errors_the_first_and_the_last_are_told():
    with pytest.raises(ProgramFailed) as caught:
        run(["sh", "-c", "seq -f 'psql: error: %g' 100000 >&2; exit 1"], timeout=60)

    told = caught.value.stderr.splitlines()
    assert told[0] == "psql: error: 1"
    assert told[-1] == "psql: error: 100000"
    assert told.count(LEFT_OUT) == 1
    assert len(told) == len(set(told))


def test_a_line_without_end_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(ProgramFailed) as caught:
            run(["sh", "-c", "head -c 40000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo END >&2; exit 1"], timeout=60)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000
    assert caught.value.why.splitlines()[-1] == "END"


def test_a_password_that_a_program_repeats_is_not_shown():
    with pytest.raises(ProgramFailed) as caught:
        run(["sh", "-c", 'echo "bad password $PGPASSWORD" >&2; exit 1'], timeout=20, env={"PGPASSWORD": "s3cret"})

    assert caught.value.why == "bad password ***"
    assert "s3cret" not in caught.value.stderr
    assert scrub("nothing to hide", {"PGPASSWORD": ""}) == "nothing to hide"


def test_a_missing_program_is_a_fault_with_its_name():
    with pytest.raises(EnvironmentFault, match="the program /nonexistent/pg_dump was not found"):
        run(["/nonexistent/pg_dump"], timeout=20)


def test_a_file_that_is_no_program_is_a_fault(tmp_path: Path):
    (tmp_path / "pg_dump").write_text("x")

    with pytest.raises(EnvironmentFault, match="may not be executed"):
        run([str(tmp_path / "pg_dump")], timeout=20)


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path):
    begun = time.monotonic()
    # Long enough for the shell to have begun, however busy the machine is.
    with pytest.raises(EnvironmentFault, match="ran longer than 3 s and was ended"):
        run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait"], timeout=3)

    assert time.monotonic() - begun < 300
    assert ends(int((tmp_path / "pid").read_text()))


def test_a_program_is_ended_when_its_caller_fails():
    process: subprocess.Popen[bytes] | None = None
    with pytest.raises(ZeroDivisionError), started(["sleep", "60"], timeout=60) as running:
        process = running.process
        raise ZeroDivisionError

    assert process is not None
    assert process.returncode == -signal.SIGTERM


def test_a_program_that_was_killed_has_failed():
    with pytest.raises(ProgramFailed) as caught, started(["sleep", "60"], timeout=60) as running:
        os.kill(running.process.pid, signal.SIGKILL)

    assert caught.value.returncode == -signal.SIGKILL


def test_a_program_that_stops_reading_says_why_itself():
    with pytest.raises(ProgramFailed, match="exit status 3") as caught:
        run(["sh", "-c", "exec 0<&-; echo no more >&2; exit 3"], timeout=20, input_bytes=b"x" * 10_000_000)

    assert caught.value.why == "no more"


def test_a_program_that_exits_0_without_reading_all_is_no_success():
    with pytest.raises(BrokenPipeError):
        run(["sh", "-c", "exec 0<&-; exit 0"], timeout=20, input_bytes=b"x" * 10_000_000)


def test_a_program_whose_output_nobody_reads_any_more_does_not_wait_for_ever():
    begun = time.monotonic()
    with pytest.raises((ProgramFailed, BrokenPipeError)), started(["yes"], timeout=60, stdout=None) as running:
        running.stdout.read(1)
        raise BrokenPipeError  # as a pipe to another program does

    assert time.monotonic() - begun < 30


def test_messages_are_english_whatever_the_machine_speaks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")

    assert run([sys.executable, "-c", "import os; print(os.environ['LC_ALL'])"], timeout=20).stdout == "C\n"
