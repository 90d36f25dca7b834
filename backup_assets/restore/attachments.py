"""How the attachments of a set come back: into an empty directory, every file proven while it is written."""

from __future__ import annotations

import os
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backup_assets.capture.attachments_check import ArchiveCheck, Problems, check_archive, compare
from backup_assets.capture.attachments_index import escape, read_index, unescape
from backup_assets.capture.attachments_rows import RowsAndFiles, check_rows_and_files
from backup_assets.capture.attachments_tar import Member
from backup_assets.errors import CheckFailed, EnvironmentFault, Refused
from backup_assets.files import make_private_directory

__all__ = [
    "STOCK_RESTORE",
    "ArchiveCheck",
    "RestoredAttachments",
    "RowsAndFiles",
    "check_archive",
    "check_rows_and_files",
    "restore_attachments",
]

#: The same with stock programs, for a shell: INDEX, ARCHIVE and FULL are files, OUT an empty directory. GNU tar takes
#: ``--no-recursion`` only before ``-T`` (after it, deleted files come back) and an empty list as "everything".
STOCK_RESTORE = """\
zstd -dc "$INDEX" | awk -F'\\t' '$1=="full"{print $NF}' > "$OUT.list"
if [ -s "$OUT.list" ]; then zstd -dc "$FULL" | tar -x -C "$OUT" --no-recursion -T "$OUT.list"; fi
zstd -dc "$ARCHIVE" | tar -x -C "$OUT"
"""
SHOWN_PROBLEMS = 5
PROGRESS_BYTES = 8 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class RestoredAttachments:
    """What was restored: regular files, their bytes together, and how long it took."""

    files: int
    bytes: int
    seconds: float


def restore_attachments(
    target_dir: Path,
    *,
    index_path: Path,
    archive_path: Path,
    full_archive_path: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RestoredAttachments:
    """Restore the attachments of one set into ``target_dir``, which must not exist or be empty.

    ``full_archive_path`` is needed when the index refers to a full archive of another set. Every file's size and
    SHA-256 are compared with the index; modes and times come from the index, owners from the archive when run as root.
    ``on_progress`` gets the bytes of content written so far. Everything is on disk on return.

    Raises Refused when the target is not empty or the full archive was not given, CheckFailed when anything is
    damaged, missing or different (the target is then incomplete), EnvironmentFault when the target cannot be written.
    """
    begun = time.monotonic()
    header, _ = read_index(index_path)
    if header.full_set != header.set_id and full_archive_path is None:
        raise Refused(
            f"the attachments of {header.set_id} need the full archive of {header.full_set}",
            remedy=f"fetch the attachment archive of {header.full_set} and give it too",
        )
    _require_empty(target_dir)
    problems = Problems()
    progress = _Progress(on_progress)
    try:
        make_private_directory(target_dir)
        with _Tree(target_dir) as tree:
            if full_archive_path is not None and header.full_set != header.set_id:
                compare(index_path, "full", full_archive_path, tree, problems, progress.add)
            compare(index_path, "here", archive_path, tree, problems, progress.add)
            _require_none(problems, target_dir)
            tree.finish()
            files, size = tree.apply_index(index_path)
        os.sync()  # once for everything: an fsync for each of many small files takes many times longer
    except OSError as error:
        raise EnvironmentFault(
            f"the attachments cannot be written to {target_dir}",
            why=f"{error.strerror or error}{_where(error)}",
            remedy="check the free space and the permissions; remove what was written there before trying again",
        ) from error
    progress.done()
    return RestoredAttachments(files, size, time.monotonic() - begun)


def _require_empty(target: Path) -> None:
    try:
        if not target.is_symlink() and not target.exists():
            return
        empty = target.is_dir() and not any(target.iterdir())
    except OSError as error:
        raise EnvironmentFault(
            f"{target} cannot be looked into", why=error.strerror or str(error), remedy="check its permissions"
        ) from error
    if not empty:
        raise Refused(
            f"{target} is not an empty directory",
            why="attachments are restored into an empty directory only, so that nothing is overwritten or mixed",
            remedy="choose another directory, or move what is there away first",
        )


def _require_none(problems: Problems, target: Path) -> None:
    if not problems.count:
        return
    shown = "; ".join(problems.sentences[:SHOWN_PROBLEMS])
    more = problems.count - min(problems.count, SHOWN_PROBLEMS)
    raise CheckFailed(
        f"the attachments restored to {target} are not those of the index",
        why=shown + (f"; and {more} more" if more else ""),
        remedy="do not use the directory; fetch the archives again from another store, or use another backup set",
    )


def _where(error: OSError) -> str:
    if error.filename is None:
        return ""
    return f" ({escape(os.fsencode(error.filename))})"


class _Progress:
    def __init__(self, report: Callable[[int], None] | None) -> None:
        self._report = report
        self._bytes = 0
        self._reported = 0

    def add(self, size: int) -> None:
        self._bytes += size
        if self._bytes - self._reported >= PROGRESS_BYTES:
            self._reported = self._bytes
            self.done()

    def done(self) -> None:
        if self._report is not None:
            self._report(self._bytes)


class _Spool:
    """Members with small records, kept on disk until the files are written."""

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by its user
        self._offsets = array("Q")

    def add(self, *fields: bytes) -> None:
        self._offsets.append(self._file.tell())
        self._file.write("\t".join(map(escape, fields)).encode() + b"\n")

    def backwards(self) -> Iterator[list[bytes]]:
        for offset in reversed(self._offsets):
            self._file.seek(offset)
            yield [unescape(part) for part in self._file.readline().rstrip(b"\n").split(b"\t")]

    def close(self) -> None:
        self._file.close()


class _Tree:
    """The target while it is written.

    Every name is opened relative to its open parent directory and never through a symbolic link, so that nothing can
    be written elsewhere even when an archive was made to try. Links come last, directories' modes and times after
    them, innermost first.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # The target itself may be a symbolic link, nothing below it.
        self._open: list[tuple[bytes, int]] = [(b".", os.open(root, _DIRECTORY & ~os.O_NOFOLLOW))]
        self._links = _Spool(root)
        self._owners = _Spool(root)
        self._root_user = os.geteuid() == 0

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *exception: object) -> None:
        for _, descriptor in self._open:
            os.close(descriptor)
        self._links.close()
        self._owners.close()

    def put(self, member: Member, content: Iterator[bytes]) -> None:
        """Write one member; a link only later."""
        head, _, name = member.name.rpartition(b"/")
        try:
            parent = self._directory(head)
            if member.kind == "d":
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
                self._owners.add(member.name, b"%d" % member.uid, b"%d" % member.gid)
            elif member.kind == "l":
                owner = (b"%d" % member.uid, b"%d" % member.gid)
                self._links.add(member.name, member.link, *owner)
            else:
                self._file(parent, name, member, content)
        except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            raise CheckFailed(
                f"{escape(member.name)} cannot be restored",
                why="another entry of the archive is in its place",
                remedy="use another backup set, or fetch this one again from another store",
            ) from error

    def _file(self, parent: int, name: bytes, member: Member, content: Iterator[bytes]) -> None:
        try:
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:  # an earlier copy of a file that changed while it was archived
            os.unlink(name, dir_fd=parent)
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            for piece in content:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            if self._root_user:
                os.fchown(descriptor, member.uid, member.gid)
            os.fchmod(descriptor, member.mode)
            os.utime(descriptor, (member.mtime, member.mtime))
        finally:
            os.close(descriptor)

    def _directory(self, path: bytes) -> int:
        """Return the open directory ``path``, making what is missing; stays open while the walk is below it."""
        while not (path + b"/").startswith(self._open[-1][0] + b"/"):
            os.close(self._open.pop()[1])
        current, descriptor = self._open[-1]
        for name in path[len(current) + 1 :].split(b"/") if path != current else []:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=descriptor)
            descriptor = os.open(name, _DIRECTORY, dir_fd=descriptor)
            current = current + b"/" + name
            self._open.append((current, descriptor))
        return descriptor

    def finish(self) -> None:
        """Make the links, and give directories their owners."""
        for path, target, uid, gid in self._links.backwards():
            parent, name = self._parent(path)
            os.symlink(target, name, dir_fd=parent)
            if self._root_user:
                os.chown(name, int(uid), int(gid), dir_fd=parent, follow_symlinks=False)
        if self._root_user:
            for path, uid, gid in self._owners.backwards():
                os.fchown(self._directory(path), int(uid), int(gid))

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        head, _, name = path.rpartition(b"/")
        return self._directory(head), name

    def apply_index(self, index_path: Path) -> tuple[int, int]:
        """Set times with nanoseconds, and modes of directories; return the number of files and their bytes."""
        files = size = 0
        directories = _Spool(self._root)
        try:
            for entry in read_index(index_path)[1]:
                if entry.kind == "d":
                    directories.add(entry.path, b"%d" % entry.mode, b"%d" % entry.mtime_ns)
                    continue
                if entry.kind == "f":
                    files += 1
                    size += entry.size
                parent, name = self._parent(entry.path)
                os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
            for path, mode, modified in directories.backwards():
                parent, name = self._parent(path)
                os.chmod(name, int(mode), dir_fd=parent)
                os.utime(name, ns=(int(modified), int(modified)), dir_fd=parent, follow_symlinks=False)
        finally:
            directories.close()
        return files, size
