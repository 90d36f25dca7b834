"""How compressed files are written with their hash, and read with the certainty that the end was reached."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Full, Queue
from typing import IO, cast

import zstandard

from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.files import CHUNK_BYTES

LEVEL = 1
_QUEUED_BATCHES = 8
#: Written while reading goes on, so that the last fsync has little left to wait for.
_SYNC_BYTES = 64 << 20
_ALL_CORES = -1
#: The zstandard reader ends quietly where a truncated file ends. A tiny frame is therefore read after the file's
#: own bytes: only when these were whole frames does it decode to exactly this text at the very end. Where a block that
#: was stored as it is ends too early, the tiny frame's bytes are taken for its content: they end in a checksum, and so
#: never in this text.
_SENTINEL = b"backup_assets: the frame before this one was complete\0"
_SENTINEL_FRAME = zstandard.ZstdCompressor(write_checksum=True).compress(_SENTINEL)


class CompressedFile:
    """A new 0600 file, written through zstd level 1; ``close`` makes it durable and gives its hash.

    Raises EnvironmentFault when the file exists already or cannot be written.
    """

    def __init__(self, path: Path, *, all_cores: bool, level: int = LEVEL) -> None:
        self.path = path
        self.sha256 = ""
        self.stored_bytes = 0
        self._digest = hashlib.sha256()
        compressor = zstandard.ZstdCompressor(
            level=level, threads=_ALL_CORES if all_cores else 0, write_checksum=True, write_content_size=False
        )
        self._compress = compressor.compressobj()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _cannot_write(path, error) from error
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._failure: OSError | zstandard.ZstdError | MemoryError | None = None
        self._complete = False
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._synced_bytes = 0
        # The caller reads and hashes its files meanwhile: compressing, hashing and writing take about as long.
        self._batches: Queue[list[bytes] | None] = Queue(_QUEUED_BATCHES)
        self._sync_due = threading.Event()
        self._ended = threading.Event()
        self._syncer = threading.Thread(target=self._sync, name=f"sync {path.name}", daemon=True)
        self._syncer.start()
        self._writer = threading.Thread(target=self._work, name=f"write {path.name}", daemon=True)
        self._writer.start()

    def write(self, content: bytes) -> None:
        """Take ``content`` for compressing and writing; a failure to write may show at a later call."""
        self._batch.append(content)
        self._batch_bytes += len(content)
        if self._batch_bytes >= CHUNK_BYTES:
            self._hand_over()

    def close(self) -> None:
        """End the frame and force the file to disk; then ``sha256`` and ``stored_bytes`` are those of the file."""
        self._hand_over()
        self._end_writer()
        self._raise_failure()
        if not self._complete:  # whatever ended the thread: a file without its end must never pass for a whole one
            raise _cannot_write(self.path, OSError("the thread that writes it ended early"))
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        self.sha256 = self._digest.hexdigest()

    def discard(self) -> None:
        """Close and remove the file: what it would have held could not be completed."""
        self._end_writer()
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _hand_over(self) -> None:
        self._put(self._batch)
        self._batch = []
        self._batch_bytes = 0
        self._raise_failure()

    def _end_writer(self) -> None:
        self._put(None)
        self._writer.join()
        self._ended.set()
        self._sync_due.set()
        self._syncer.join()

    def _put(self, batch: list[bytes] | None) -> None:
        while self._writer.is_alive():
            try:
                self._batches.put(batch, timeout=1)
            except Full:
                continue
            return

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise _cannot_write(self.path, self._failure) from self._failure

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._failure is not None:  # batches are still taken, so that nobody waits for room in the queue
                continue
            try:
                for content in batch:
                    ready = self._compress.compress(content)
                    if ready:
                        self._store(ready)
            except (OSError, zstandard.ZstdError, MemoryError) as error:
                self._failure = error
        if self._failure is None:
            try:
                self._store(self._compress.flush())
            except (OSError, zstandard.ZstdError, MemoryError) as error:
                self._failure = error
            self._complete = self._failure is None

    def _store(self, content: bytes) -> None:
        self._digest.update(content)
        self.stored_bytes += len(content)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]
        if self.stored_bytes - self._synced_bytes >= _SYNC_BYTES:
            self._synced_bytes = self.stored_bytes
            self._sync_due.set()

    def _sync(self) -> None:
        # In a thread of its own, because the disk may take as long as the compressing. The kernel reports a lost write
        # to one sync only, so that a failure here must be kept: the fsync of `close` would succeed.
        while True:
            self._sync_due.wait()
            self._sync_due.clear()
            if self._ended.is_set():
                return
            try:
                os.fdatasync(self._file.fileno())
            except OSError as error:
                self._failure = error
                return


class _Followed:
    """The bytes of a file, then those of the sentinel's frame."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._after = _SENTINEL_FRAME

    def read(self, size: int) -> bytes:
        content = self._handle.read(size)
        if not content:
            content, self._after = self._after, b""
        return content


class CompressedReader:
    """Reads a file that zstd wrote, from start to end, in bounded memory.

    Raises CheckFailed where the file is damaged, empty or ends too early, EnvironmentFault when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._handle = path.open("rb", buffering=0)
        except OSError as error:
            raise _cannot_read(path, error) from error
        if os.fstat(self._handle.fileno()).st_size == 0:
            self._handle.close()
            raise _damaged(path, "it is empty")
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            cast("IO[bytes]", _Followed(self._handle)), read_size=CHUNK_BYTES, read_across_frames=True
        )
        self._buffer = b""
        self._start = 0
        self._ended = False

    def __enter__(self) -> CompressedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, wherever reading stopped."""
        self._handle.close()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes (at most 1 MiB), fewer only at the end, none after it."""
        size = min(size, CHUNK_BYTES)
        if len(self._buffer) - self._start < size + len(_SENTINEL) and not self._ended:
            self._fill(size)
        stop = min(self._start + size, len(self._buffer))
        content = self._buffer[self._start : stop]
        self._start = stop
        return content

    def lines(self) -> Iterator[bytes]:
        """Yield the lines, without their newlines; what follows the last newline is yielded when not empty.

        A line of more than 1 MiB is damage. The file is closed at the end.
        """
        rest = b""
        try:
            while chunk := self.read(CHUNK_BYTES):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
                if len(rest) > CHUNK_BYTES:
                    raise _damaged(self.path, "it has a line of more than 1 MiB")
            if rest:
                yield rest
        finally:
            self.close()

    def _fill(self, size: int) -> None:
        parts = [self._buffer[self._start :]]
        held = len(parts[0])
        try:
            while held < size + len(_SENTINEL):
                chunk = self._reader.read(CHUNK_BYTES)
                if not chunk:
                    self._ended = True
                    break
                parts.append(chunk)
                held += len(chunk)
        except zstandard.ZstdError as error:
            raise _damaged(self.path, str(error)) from error
        except OSError as error:
            raise _cannot_read(self.path, error) from error
        self._buffer, self._start = b"".join(parts), 0
        if self._ended:
            if not self._buffer.endswith(_SENTINEL):
                raise _damaged(self.path, "the compressed data ends too early")
            self._buffer = self._buffer[: -len(_SENTINEL)]


def _damaged(path: Path, why: str) -> CheckFailed:
    return CheckFailed(
        f"{path} is damaged", why=why, remedy="fetch it again from another store, or use another backup set"
    )


def _cannot_read(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path} cannot be read", why=error.strerror or str(error), remedy="check that it exists, and its permissions"
    )


def _cannot_write(path: Path, error: OSError | zstandard.ZstdError | MemoryError) -> EnvironmentFault:
    reason = error.strerror if isinstance(error, OSError) else None
    return EnvironmentFault(
        f"{path} cannot be written",
        why=reason or str(error) or type(error).__name__,
        remedy="check the free space, the permissions and the disk below the backup directory (BACKUP_DIR)",
    )
