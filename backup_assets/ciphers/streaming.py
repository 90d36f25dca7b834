"""How does a file pass through a program, hashed on both sides, so that no part of it can pass for the whole?"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from backup_assets.ciphers.contract import already_there
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.files import CHUNK_BYTES
from backup_assets.process import Running, end_group, started
from backup_assets.stores.disk_faults import explained

#: A program that is slower than this on a file has stopped: slow disks write 10 MB/s, gpg on a small ARM board 8 MB/s.
SLOWEST_BYTES_PER_SECOND = 4_000_000
#: On top, in seconds: whoever types a passphrase has to find it first.
LEAST_SECONDS = 600


@dataclass(frozen=True)
class Passed:
    """What went into a program and what came out: SHA-256 in lower-case hexadecimal, sizes in bytes."""

    sha256_in: str
    size_in: int
    sha256_out: str
    size_out: int


def require_program(program: str, *, package: str, setting: str) -> None:
    """Raise EnvironmentFault unless ``program`` (a name or a path) can be executed."""
    if shutil.which(program) is None:
        raise EnvironmentFault(
            f"the program {program} was not found",
            remedy=f"install it (`apt-get install {package}`), or give its path in {setting}",
        )


@contextmanager
def created(target: Path) -> Iterator[FileIO]:
    """Yield the new 0600 file ``target``; it is removed again when the block raises anything.

    Raises Refused when it exists, and leaves it alone.
    """
    with explained(f"create {target.name}", target.parent):
        try:
            output = FileIO(target, "xb", opener=_private)
        except FileExistsError as error:
            raise already_there(target) from error
    whole = False
    try:
        yield output
        with explained(f"write {target.name}", target.parent):
            output.close()
        whole = True
    finally:
        if not whole:
            with suppress(OSError):  # the error that brought us here is the one to show
                output.close()
            target.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def pass_through(argv: Sequence[str], source: Path, output: FileIO, *, pass_fds: Sequence[int] = ()) -> Passed:
    """Run ``argv`` with ``source`` as its input and write what it prints to ``output``; return both hashes.

    Returns only when every byte of ``source`` was handed over, every byte printed was written, and the program exited
    0; what it made of the last bytes is for the caller to examine. The time is limited by the size of ``source``.
    Raises as `process.started` does, Refused when ``source`` is no regular file, and EnvironmentFault when it cannot
    be read or ``output`` not be written.
    """
    with _opened(source) as reader:
        size = os.fstat(reader.fileno()).st_size
        with started(
            argv,
            timeout=LEAST_SECONDS + size / SLOWEST_BYTES_PER_SECOND,
            stdin=None,
            stdout=None,
            pass_fds=pass_fds,
        ) as running:
            _widen(running)
            feeder = _Feeder(reader, running)
            feeder.start()
            ended = False
            try:
                sha256_out, size_out = _collect(running, output)
                ended = True
            finally:
                if not ended:  # else the feeder would wait for ever on a program that nobody reads from
                    end_group(running.process)
                feeder.join()
            if feeder.failure is not None:
                with explained(f"read {source.name}", source.parent):
                    raise feeder.failure
    if not feeder.complete:
        raise EnvironmentFault(
            f"{Path(argv[0]).name} ended before it had read all of {source}",
            why=f"it took about {feeder.size} of {size} bytes and said that all was well",
            remedy="check that program: what it wrote was thrown away",
        )
    return Passed(feeder.digest.hexdigest(), feeder.size, sha256_out, size_out)


@contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    with explained(f"read {source.name}", source.parent):
        if not stat.S_ISREG(source.stat().st_mode):  # before it is opened: opening a pipe waits for its other end
            raise Refused(f"{source} is no regular file", remedy="name a file")
        reader = source.open("rb", buffering=0)
    with reader:
        yield reader  # type: ignore[misc] - FileIO reads as BinaryIO does


def _widen(running: Running) -> None:
    """Let the pipes hold 1 MiB instead of 64 KiB: gpg writes 8 KiB at a time (measured: a fifth faster)."""
    if sys.platform == "linux":
        for pipe in (running.stdin, running.stdout):
            with suppress(PermissionError):  # the user's share of memory for pipes is taken: narrow ones work too
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, CHUNK_BYTES)


def _collect(running: Running, output: FileIO) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    path = Path(os.fsdecode(output.name))
    while chunk := running.stdout.read1(CHUNK_BYTES):  # type: ignore[attr-defined] - a BufferedReader
        digest.update(chunk)
        size += len(chunk)
        rest = memoryview(chunk)
        with explained(f"write {path.name}", path.parent):
            while rest:
                rest = rest[output.write(rest) or 0 :]
    return digest.hexdigest(), size


class _Feeder(threading.Thread):
    """Hands a file to a program while its output is read elsewhere.

    Its input is closed only after the last byte: a program whose input ends early would make a perfect message of
    half a file. Whatever else happens, it is ended instead.
    """

    def __init__(self, reader: BinaryIO, running: Running) -> None:
        super().__init__(name="feed a cipher", daemon=True)
        self.digest = hashlib.sha256()
        self.size = 0
        self.complete = False
        self.failure: OSError | None = None
        self._reader = reader
        self._running = running

    def run(self) -> None:
        refused = False
        try:
            while chunk := self._reader.read(CHUNK_BYTES):
                self.digest.update(chunk)
                self.size += len(chunk)
                self._running.stdin.write(chunk)
            self._running.stdin.close()
            self.complete = True
        except BrokenPipeError:  # it ended by itself: its status and messages say why
            refused = True
            with suppress(BrokenPipeError):
                self._running.stdin.close()
        except OSError as error:
            self.failure = error
        finally:
            if not self.complete and not refused:
                end_group(self._running.process)
