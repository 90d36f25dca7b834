"""How the attachments directory becomes an archive with an index: all of it, or what changed since the last full."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from backup_assets.capture.attachments_index import (
    IndexEntry,
    IndexHeader,
    IndexWriter,
    escape,
    order_key,
    read_index,
)
from backup_assets.capture.attachments_tar import Kind, Member, end_of_archive, header, padding
from backup_assets.capture.attachments_walk import GONE, Found, unreadable, walk
from backup_assets.compressed import CompressedFile
from backup_assets.errors import Refused
from backup_assets.files import CHUNK_BYTES
from backup_assets.sets.manifest import AttachmentsFacts

ATTEMPTS = 3
LONGEST_LIST = 1000
NAMED_IN_A_WARNING = 3
PROGRESS_BYTES = 8 << 20
#: A file touched this shortly before the full's scan could change once more without its times showing it (coarse
#: time stamps, FAT's two seconds): it is taken again, as git does for racily clean entries.
RACY_NS = 2_000_000_000
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Archived:
    """What was written: the facts for the manifest, and size in bytes and SHA-256 of the two files."""

    facts: AttachmentsFacts
    archive_sha256: str
    archive_bytes: int
    index_sha256: str
    index_bytes: int


def warnings_about(facts: AttachmentsFacts) -> tuple[str, ...]:
    """Return what whoever relies on the archive must know: files that were never the same from begin to end."""
    if not facts.changing:
        return ()
    more = len(facts.changing) - NAMED_IN_A_WARNING
    names = ", ".join(facts.changing[:NAMED_IN_A_WARNING]) + (" and others" if more > 0 else "")
    text = (
        f"attachments changed each of the {ATTEMPTS} times that they were read, and may be stored half old, half new: "
        f"{names}; run another backup while nothing writes to them, or let what writes them write a new file and "
        "rename it"
    )
    return (text,)


def archive_full(
    directory: Path,
    archive_path: Path,
    index_path: Path,
    *,
    set_id: str,
    on_progress: Callable[[int], None] | None = None,
    now_ns: Callable[[], int] = time.time_ns,
) -> Archived:
    """Archive everything below ``directory`` into two new 0600 files that are durable on return.

    ``on_progress`` gets the bytes of content read so far, every 8 MiB or so and at the end. On an error neither file
    remains. Raises EnvironmentFault when the directory or anything in it cannot be read, or a file not written.
    """
    scan = IndexHeader(set_id, set_id, now_ns())
    with _outputs(directory, archive_path, index_path, scan, on_progress) as taking:
        for found in walk(directory):
            taking.take(found)
    return taking.result("full")


def archive_differential(
    directory: Path,
    full_index_path: Path,
    archive_path: Path,
    index_path: Path,
    *,
    set_id: str,
    full_set: str,
    on_progress: Callable[[int], None] | None = None,
    now_ns: Callable[[], int] = time.time_ns,
) -> Archived:
    """Archive what differs from the full archive of the set ``full_set``; the index lists everything that is there.

    An entry that has the type, size, times and inode of the full's index is not opened. Otherwise as
    :func:`archive_full`; raises Refused when the index is not that of the full archive of ``full_set``, CheckFailed
    when it is damaged.
    """
    full, entries = read_index(full_index_path)
    if full.set_id != full_set or full.full_set != full_set:
        raise Refused(
            f"{full_index_path} is not the index of the full archive of {full_set}",
            why=f"it is the index of {full.set_id}, which builds on {full.full_set}",
            remedy="give the index of the set that holds the full archive",
        )
    trusted_before = full.scan_started_ns - RACY_NS
    scan = IndexHeader(set_id, full_set, now_ns())
    with _outputs(directory, archive_path, index_path, scan, on_progress) as taking:
        old = next(entries, None)
        for found in walk(directory):
            key = order_key(found.path)
            while old is not None and order_key(old.path) < key:
                old = next(entries, None)
            if old is not None and old.path == found.path and _unchanged(old, found, trusted_before):
                taking.keep(old)
            else:
                taking.take(found)
        for _ in entries:  # to its end, so that a truncated index is noticed even when the walk ended earlier
            pass
    return taking.result("differential")


def _unchanged(old: IndexEntry, found: Found, trusted_before: int) -> bool:
    status = found.status
    return (
        status is not None
        and old.kind == found.kind
        and old.mtime_ns == status.st_mtime_ns < trusted_before
        and old.ctime_ns == status.st_ctime_ns < trusted_before
        and old.inode == status.st_ino
        and (old.size == status.st_size or old.kind == "d")
    )


@contextmanager
def _outputs(
    directory: Path,
    archive_path: Path,
    index_path: Path,
    scan: IndexHeader,
    on_progress: Callable[[int], None] | None,
) -> Iterator[_Taking]:
    archive = CompressedFile(archive_path, all_cores=True)
    try:
        index = IndexWriter(index_path, scan)
    except BaseException:
        archive.discard()
        raise
    try:
        taking = _Taking(directory, archive, index, scan.full_set, on_progress)
        yield taking
        taking.finish()
    except BaseException:
        archive.discard()
        index.file.discard()
        raise


@dataclass
class _Names:
    """A list of names for the manifest that cannot grow without limit."""

    names: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, path: bytes) -> None:
        self.count += 1
        if self.count <= LONGEST_LIST:
            self.names.append(escape(path)[2:])

    def listed(self) -> tuple[str, ...]:
        if self.count > LONGEST_LIST:
            return (*self.names, f"... and {self.count - LONGEST_LIST} more")
        return tuple(self.names)


@dataclass
class _Taking:
    """An archive and its index in the making."""

    directory: Path
    archive: CompressedFile
    index: IndexWriter
    full_set: str
    on_progress: Callable[[int], None] | None
    written: int = 0
    content_read: int = 0
    reported: int = 0
    files: int = 0
    bytes: int = 0
    archived_files: int = 0
    archived_bytes: int = 0
    hard_linked: int = 0
    vanished: _Names = field(default_factory=_Names)
    changing: _Names = field(default_factory=_Names)
    skipped: _Names = field(default_factory=_Names)

    def keep(self, entry: IndexEntry) -> None:
        """Refer to the full archive for an entry that did not change."""
        self.index.add(entry._replace(archive="full"))
        if entry.kind == "f":
            self.files += 1
            self.bytes += entry.size

    def take(self, found: Found) -> None:
        """Archive what was found, as it is now."""
        if found.kind == "f":
            self._file(found)
        elif found.status is None or found.kind == "vanished":
            self.vanished.add(found.path)
        elif found.kind == "skipped":
            self.skipped.add(found.path)
        elif found.kind == "d":
            self._write(header(_member(found.path, "d", found.status)))
            self.index.add(_entry(found.path, "d", found.status, 0, "-"))
        else:
            self._link(found, found.status)

    def _link(self, found: Found, status: os.stat_result) -> None:
        try:
            target = os.readlink(found.name, dir_fd=found.parent)
        except OSError:  # gone, or no longer a link: reading a link needs no permission that stat did not
            self.vanished.add(found.path)
            return
        self._write(header(_member(found.path, "l", status)._replace(link=target)))
        self.index.add(_entry(found.path, "l", status, len(target), hashlib.sha256(target).hexdigest()))

    def _file(self, found: Found) -> None:
        taken: IndexEntry | None = None
        calm = False
        links = 1
        for _ in range(ATTEMPTS):
            try:
                descriptor = os.open(found.name, _READ, dir_fd=found.parent)
            except OSError as error:
                if error.errno not in GONE:
                    raise unreadable(self.directory, found.path, error) from error
                break
            try:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    break
                # Each attempt is one more member directly after the one before: on extraction the last one wins.
                sha256 = self._content(found.path, descriptor, before)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            taken, links = _entry(found.path, "f", before, before.st_size, sha256), before.st_nlink
            calm = _same(before, after)
            if calm:
                break
        if taken is None:
            self.vanished.add(found.path)
            return
        if not calm:
            self.changing.add(found.path)
        self.index.add(taken)
        self.files += 1
        self.bytes += taken.size
        self.archived_files += 1
        self.archived_bytes += taken.size
        self.hard_linked += links > 1

    def _content(self, path: bytes, descriptor: int, status: os.stat_result) -> str:
        size = status.st_size
        self._write(header(_member(path, "f", status)))
        digest = hashlib.sha256()
        left = size
        while left:
            try:
                piece = os.read(descriptor, min(left, CHUNK_BYTES))
            except OSError as error:
                raise unreadable(self.directory, path, error) from error
            self.content_read += len(piece)
            if not piece:  # it shrank: the header has promised ``size`` bytes, and the attempt counts as changed
                piece = bytes(min(left, CHUNK_BYTES))
            left -= len(piece)
            digest.update(piece)
            self._write(piece)
            if self.on_progress is not None and self.content_read - self.reported >= PROGRESS_BYTES:
                self.reported = self.content_read
                self.on_progress(self.content_read)
        self._write(padding(size))
        return digest.hexdigest()

    def _write(self, content: bytes) -> None:
        self.written += len(content)
        self.archive.write(content)

    def finish(self) -> None:
        """End both files and make them durable."""
        self._write(end_of_archive(self.written))
        self.archive.close()
        self.index.close()
        if self.on_progress is not None:
            self.on_progress(self.content_read)

    def result(self, mode: Literal["full", "differential"]) -> Archived:
        """Return what the finished files hold."""
        facts = AttachmentsFacts(
            mode=mode,
            full_set=self.full_set,
            files=self.files,
            bytes=self.bytes,
            archived_files=self.archived_files,
            archived_bytes=self.archived_bytes,
            vanished=self.vanished.listed(),
            changing=self.changing.listed(),
            skipped=self.skipped.listed(),
            hard_linked=self.hard_linked,
        )
        index = self.index.file
        return Archived(facts, self.archive.sha256, self.archive.stored_bytes, index.sha256, index.stored_bytes)


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _member(path: bytes, kind: Kind, status: os.stat_result) -> Member:
    size = status.st_size if kind == "f" else 0
    seconds = status.st_mtime_ns // 1_000_000_000
    return Member(path, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, size, seconds)


def _entry(path: bytes, kind: Kind, status: os.stat_result, size: int, sha256: str) -> IndexEntry:
    return IndexEntry(
        "here",
        kind,
        size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        stat.S_IMODE(status.st_mode),
        sha256,
        path,
    )
