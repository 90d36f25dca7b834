"""How is a script run on the other host, and what does it answer?"""

from __future__ import annotations

import io
import shlex
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.process import ProgramFailed, Running, end_group, started
from backup_assets.stores.ssh_errors import explained_there
from backup_assets.stores.ssh_location import SshLocation

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: For an operation that moves no content, in seconds.
OPERATION_SECONDS = 300.0
#: For reading one object, whose reader may be slow; a silent connection ends long before.
READING_SECONDS = 86_400.0
#: What a profile may print before a script begins.
_NOISE_BYTES = 65_536


@dataclass(frozen=True)
class Answer:
    """What a script printed, and what the user's profile had printed before it."""

    content: bytes
    noise: bytes = b""

    @property
    def words(self) -> list[str]:
        """The first line, split at spaces."""
        return self.content.partition(b"\n")[0].decode("utf-8", "replace").split()


def run_there(
    location: SshLocation,
    script: str,
    *arguments: str,
    doing: str,
    source: Iterable[bytes] | None = None,
    timeout: float = OPERATION_SECONDS,
) -> Answer:
    """Run a script of `ssh_scripts` and return its answer; ``source`` is its standard input.

    ``doing`` and the errors are those of :func:`explained_there`. What ``source`` raises ends the script.
    """
    marker = uuid.uuid4().hex
    with (
        explained_there(doing, location),
        started(
            _command(location, script, marker, arguments),
            timeout=timeout,
            stdin=None if source is not None else subprocess.DEVNULL,
            stdout=None,
        ) as running,
    ):
        for chunk in source or ():
            running.stdin.write(chunk)
        if source is not None:
            running.stdin.close()
        found = running.stdout.read()
    noise, mark, content = found.partition(f"\n{marker}\n".encode())
    if not mark:
        raise _not_run(location, doing, noise)
    return Answer(content, noise)


@contextmanager
def reading_there(
    location: SshLocation, script: str, *arguments: str, doing: str
) -> Iterator[tuple[list[str], BinaryIO]]:
    """Run a script and yield the words of its first line and the stream of ``SIZE`` bytes after it.

    The first word is that size; without words the stream is empty. A connection that breaks raises TransientFault
    where the stream is read. Leaving the block early ends the script.
    """
    marker = uuid.uuid4().hex
    left_early = False
    words: list[str] | None = None
    failure: BaseException | None = None
    with explained_there(doing, location):
        try:
            with started(
                _command(location, script, marker, arguments), timeout=READING_SECONDS, stdout=None
            ) as running:
                words = _first_line(location, running, marker, doing)
                if words is not None:
                    raw = _Stream(running, int(words[0]) if words else 0, location, doing)
                    try:
                        with io.BufferedReader(raw) as stream:
                            yield words, stream
                    except BaseException as error:
                        failure = error
                        end_group(running.process)  # it may wait for a reader for ever
                        raise
                    if raw.rest or running.stdout.read(1):
                        left_early = True
                        end_group(running.process)
        except ProgramFailed:
            if failure is None and not left_early:
                raise
    if failure is not None:  # the reader's own, whatever the script's end was
        raise failure
    if words is None:
        raise _not_run(location, doing, b"")


def _command(location: SshLocation, script: str, marker: str, arguments: Iterable[str]) -> list[str]:
    there = shlex.join(["exec", "sh", "-c", script, "sh", marker, location.root, *arguments])
    return [*location.ssh(), "--", location.host, there]


def _first_line(location: SshLocation, running: Running, marker: str, doing: str) -> list[str] | None:
    """Return the words of the first line, None when the script ended without one."""
    noise = 0
    while line := running.stdout.readline(_NOISE_BYTES):
        if line == f"{marker}\n".encode():
            answer = running.stdout.readline(_NOISE_BYTES)
            return answer.decode("utf-8", "replace").split() if answer else None
        noise += len(line)
        if noise > _NOISE_BYTES:
            raise _not_run(location, doing, line)
    return None


def _not_run(location: SshLocation, doing: str, found: bytes) -> EnvironmentFault:
    return EnvironmentFault(
        f"could not {doing} in {location.describe()}: the login there does not run commands",
        why=f"it answered {found[-200:].decode('utf-8', 'replace').strip()!r}",
        remedy="give that user a POSIX login shell, and no forced command in authorized_keys",
    )


class _Stream(io.RawIOBase):
    """Standard output of a script as far as the object goes; its premature end is an error and no end of file."""

    def __init__(self, running: Running, size: int, location: SshLocation, doing: str) -> None:
        super().__init__()
        self.rest = size
        self._running = running
        self._location = location
        self._doing = doing

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")[: self.rest]
        if not len(view):
            return 0
        content = self._running.process.stdout
        found = content.read1(len(view)) if content is not None else b""  # type: ignore[attr-defined]
        if not found:
            raise self._broken()
        view[: len(found)] = found
        self.rest -= len(found)
        return len(found)

    def _broken(self) -> EnvironmentFault:
        status = self._running.process.wait()
        why = b"".join(self._running.stderr_lines).decode("utf-8", "replace").strip()
        could_not = f"could not {self._doing} in {self._location.describe()} to its end"
        if status in {0, 255} or status < 0:
            return TransientFault(
                f"{could_not}: the connection broke, or the file became shorter",
                why=why or f"{self.rest} bytes are missing",
                remedy="try again",
            )
        return EnvironmentFault(could_not, why=why or f"status {status}", remedy="look at that disk on that host")
