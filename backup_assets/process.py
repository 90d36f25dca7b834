"""Outside programs: argument lists, bounded time, whole process groups ended, their own words in the error."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from backup_assets.errors import EnvironmentFault, TransientFault

STDERR_TAIL_BYTES = 4000
STDERR_TAIL_LINES = 60
#: Stands where something between the first errors and the end of stderr was not kept.
LEFT_OUT = "[...]"
#: How the lines begin in which PostgreSQL's programs and servers say what went wrong. After them comes the statement,
#: however long it is.
_ERROR = re.compile(rb"[\w./-]+: (?:error: |detail: Error message from server: )|(?:ERROR|FATAL|PANIC):  ")
_FIRST_ERRORS = 4
_FIRST_ERROR_BYTES = 500
_DISK_FULL = "No space left on device"
#: Variables whose values are secrets: never shown, not even when a program repeats them on stderr.
SECRET_VARIABLES = ("PGPASSWORD",)


class ProgramFailed(EnvironmentFault):
    """A program ended with another exit status than 0; ``returncode`` and ``stderr`` (what is kept of it) say how."""

    def __init__(self, what: str, *, why: str, remedy: str = "", returncode: int, stderr: str) -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.returncode = returncode
        self.stderr = stderr

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, as the system does where memory is short: that says nothing about its input."""
        return self.returncode < 0


def require_not_killed(failure: BaseException, doing: str) -> None:
    """Raise TransientFault when ``failure`` is that of a program which a signal ended while it did ``doing``."""
    if not isinstance(failure, ProgramFailed) or not failure.killed:
        return
    raise TransientFault(
        f"a program was killed while it {doing}",
        why=f"signal {-failure.returncode} ended it" + (f": {failure.stderr}" if failure.stderr else ""),
        remedy="see in the kernel's log (journalctl -k) whether memory was short, give it more or fewer jobs, and run "
        "this again",
    ) from failure


class ProgramOverdue(EnvironmentFault):
    """A program did not end within its time and was ended."""


@dataclass(frozen=True)
class Identity:
    """The operating-system user that a program runs as, when it may not run as ours (postgres as root)."""

    uid: int
    gid: int


@dataclass
class Running:
    """A started program. Read ``stdout`` or write ``stdin`` where they were asked for; leave the block to wait."""

    process: subprocess.Popen[bytes]
    stderr_lines: deque[bytes]

    @property
    def stdout(self) -> BinaryIO:
        """The program's output; only when started with ``stdout=None``."""
        if self.process.stdout is None:
            raise AssertionError("stdout was not piped")
        return self.process.stdout  # type: ignore[return-value]

    @property
    def stdin(self) -> BinaryIO:
        """The program's input; only when started with ``stdin=None``."""
        if self.process.stdin is None:
            raise AssertionError("stdin was not piped")
        return self.process.stdin  # type: ignore[return-value]


def scrub(text: str, environment: Mapping[str, str] | None) -> str:
    """Return ``text`` without the value of any secret variable in ``environment``."""
    for name in SECRET_VARIABLES:
        value = (environment or {}).get(name, "")
        if value:
            text = text.replace(value, "***")
    return text


class _Said:
    """What a program says on stderr, as much as is kept of it: the first errors, and the end."""

    def __init__(self) -> None:
        self.end: deque[bytes] = deque(maxlen=STDERR_TAIL_LINES)
        self._errors: list[tuple[int, bytes]] = []
        self._count = 0

    def drain(self, stream: IO[bytes]) -> None:
        """Read to the end."""
        while line := _cut_line(stream):
            if len(self._errors) < _FIRST_ERRORS and _ERROR.match(line):
                self._errors.append((self._count, line))
            self.end.append(line)
            self._count += 1
        stream.close()

    def text(self, environment: Mapping[str, str]) -> str:
        """Return it without secrets, with LEFT_OUT between errors and an end that do not follow on each other."""
        end = [scrub(line.decode("utf-8", "replace"), environment) for line in self.end.copy()]
        errors = [
            (number, scrub(line.decode("utf-8", "replace"), environment).rstrip()[:_FIRST_ERROR_BYTES])
            for number, line in self._errors
        ]
        room = STDERR_TAIL_BYTES - len(LEFT_OUT) - 1 - sum(len(line) + 1 for _, line in errors)
        size, begins = 0, self._count
        for line in reversed(end):
            if size + len(line) > room:
                break
            size, begins = size + len(line), begins - 1
        whole = "".join(end)
        earlier = [line for number, line in errors if number < begins]
        if not earlier or (len(end) == self._count and len(whole) <= STDERR_TAIL_BYTES):
            return whole[-STDERR_TAIL_BYTES:].strip()
        return "\n".join([*earlier, LEFT_OUT, whole[-(size or room) :]]).strip()


def _cut_line(stream: IO[bytes]) -> bytes:
    """Return the next line, empty at the end; of one that is too long the beginning, as a line."""
    line = rest = stream.readline(STDERR_TAIL_BYTES)
    while rest and not rest.endswith(b"\n"):
        rest = stream.readline(STDERR_TAIL_BYTES)
    return line + b"\n" if rest and not line.endswith(b"\n") else line


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything it started: asked first, then forced after ten seconds."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def started(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    identity: Identity | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Running]:
    """Start ``argv`` and yield it; at the end of the block wait for it and raise unless it exited 0.

    ``env`` is added to our own environment (``LC_ALL=C`` is always set so that messages can be read back).
    ``stdin``/``stdout``: ``None`` means a pipe for the caller. ``timeout`` is in seconds for the whole run.
    ``pass_fds`` are descriptors of ours that the program gets under the same numbers.
    Raises EnvironmentFault when the program is missing, ProgramOverdue when it runs too long, ProgramFailed when
    it fails. When the
    block raises, the program's whole group is ended first.
    """
    program = Path(argv[0]).name
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin is None else stdin,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            start_new_session=True,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as error:
        raise EnvironmentFault(
            f"the program {argv[0]} was not found",
            remedy="install it, or correct the setting that names its directory",
        ) from error
    except PermissionError as error:
        raise EnvironmentFault(
            f"the program {argv[0]} may not be executed",
            why=str(error),
            remedy="check its permissions and path",
        ) from error
    said = _Said()
    assert process.stderr is not None  # noqa: S101 - narrowing for the type checker
    drain = threading.Thread(target=said.drain, args=(process.stderr,), daemon=True)
    drain.start()
    overdue = threading.Event()

    def expire() -> None:
        overdue.set()
        end_group(process)

    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    timer.start()
    failure: BaseException | None = None
    try:
        try:
            yield Running(process, said.end)
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
        except BrokenPipeError as error:  # the program died first: its own message says why
            failure = error
            # Or somebody else's pipe broke and it lives: with nobody to read its output it must not wait for ever.
            if process.stdout is not None:
                process.stdout.close()
        process.wait()
    finally:
        timer.cancel()
        end_group(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):
                    stream.close()
        drain.join(timeout=5)
    stderr = said.text(environment)
    if overdue.is_set():
        raise ProgramOverdue(
            f"{program} ran longer than {timeout:.0f} s and was ended",
            why=stderr,
            remedy="raise the time limit",
        )
    if process.returncode != 0:
        raise ProgramFailed(
            f"{program} failed with exit status {process.returncode}",
            why=stderr or "it printed nothing",
            remedy="free space on the disk that is full" if _DISK_FULL in stderr else "",
            returncode=process.returncode,
            stderr=stderr,
        )
    if failure is not None:
        raise failure


@dataclass(frozen=True)
class Output:
    """What a short program printed."""

    raw: bytes
    stderr: str
    seconds: float

    @property
    def stdout(self) -> str:
        """What it printed as text to look at; for text that is to be run, `raw` says exactly what was printed."""
        return self.raw.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    input_bytes: bytes | None = None,
    identity: Identity | None = None,
    cwd: Path | None = None,
) -> Output:
    """Run a program whose output is small and return it; raises as :func:`started` does."""
    begun = time.monotonic()
    with started(
        argv,
        timeout=timeout,
        env=env,
        stdin=None if input_bytes is not None else subprocess.DEVNULL,
        stdout=None,
        identity=identity,
        cwd=cwd,
    ) as running:
        if input_bytes is not None:
            running.stdin.write(input_bytes)
            running.stdin.close()
        out = running.stdout.read()
    stderr = b"".join(running.stderr_lines).decode("utf-8", "replace")
    return Output(out, stderr, time.monotonic() - begun)
