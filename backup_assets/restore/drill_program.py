"""How does a program of the user's run in a drill, and how is it certain that it ends with all that it started?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backup_assets.errors import CheckFailed
from backup_assets.process import scrub

TAIL_BYTES = 2000
#: How long a program that was asked to end may take.
GRACE_SECONDS = 10.0
POLL_SECONDS = 0.05
#: What a program finds besides the drill's own variables. Nothing else of our environment, because that names the
#: live database and its password, and an application takes DB_HOST or DATABASE_URL where it finds them.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")
#: Ends the group when its standard input does, which is when we end, however that happens.
_GUARD = 'read -r line; kill -s KILL -- -"$1" 2>/dev/null'


@dataclass(frozen=True)
class Program:
    """A started program; its output goes to a file."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    environment: Mapping[str, str]

    def ended(self) -> bool:
        """Tell whether the program itself has ended; it stays a zombie, so that its number is not used again."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, timeout: float) -> bool:
        """Return whether the program ended within ``timeout`` seconds."""
        until = time.monotonic() + timeout
        while not self.ended():
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def status(self) -> int:
        """Return the exit status of a program that has ended, negative for the signal that ended it."""
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        if found is None:
            raise AssertionError("the program runs")
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def tail(self) -> str:
        """Return the end of what the program wrote, without a secret, for an error."""
        with self.output.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = handle.read().decode("utf-8", "replace").strip()
        return scrub(text, self.environment) or "it wrote nothing"


@contextmanager
def running(argv: Sequence[str], variables: Mapping[str, str], output: Path) -> Iterator[Program]:
    """Start a program with ``variables`` and yield it; afterwards it is ended with its whole process group.

    It is ended too when this process is killed. ``output`` is a new file (0600) for what it writes. Raises CheckFailed
    when it cannot be started. A program that leaves its group (a daemon) is not found again: it must stay in the
    foreground.
    """
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(variables)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise CheckFailed(
            f"{argv[0]} could not be started",
            why=error.strerror or str(error),
            remedy="correct drill.start_command or drill.command: a program that exists, may be executed, and is given "
            "by its path where PATH does not lead to it",
        ) from error
    finally:
        os.close(descriptor)
    program = Program(Path(argv[0]).name, process, output, environment)
    try:
        with _guarded(process.pid):
            try:
                yield program
            finally:
                end(program)
    finally:
        end(program)  # where the guard itself could not be started


@contextmanager
def _guarded(group: int) -> Iterator[None]:
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()  # before its input ends
        guard.wait()
        if guard.stdin is not None:
            guard.stdin.close()


def end(program: Program) -> None:
    """End a program and everything in its group: asked first, then forced. Ending it twice is fine."""
    if program.process.returncode is not None:
        return
    # The program is not waited for until its group is gone: as long as it is a zombie nobody else bears its number.
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(program.process.pid, sig)
        program.wait(GRACE_SECONDS)
    program.process.wait()
