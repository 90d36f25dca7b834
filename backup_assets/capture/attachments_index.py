"""The index of an attachment archive: which entries belong to a set, what they hold, and which archive has each.

Lines of UTF-8 text, compressed with zstd, columns separated by tabs:

    # backup_assets/index  version=1  set=<id>  full_set=<id>  scan_started_ns=<nanoseconds since 1970>
    <archive: full or here>  <f, d or l>  <size>  <mtime_ns>  <ctime_ns>  <inode>  <mode, octal>  <sha256 or ->  <path>
    # end  entries=<count>

The hash of a symbolic link is that of its target; a directory has none, and size 0. Paths begin with ``./``, are
escaped as GNU tar's ``-T`` unquotes them, and come in the order of a walk that sorts each directory by bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

from backup_assets.capture.attachments_tar import Kind, kind_of
from backup_assets.compressed import CompressedFile, CompressedReader
from backup_assets.errors import CheckFailed

Where = Literal["full", "here"]

_TITLE = "# backup_assets/index\tversion=1"
_HEADER = re.compile(rf"^{_TITLE}\tset=(?P<set_id>\S+)\tfull_set=(?P<full_set>\S+)\tscan_started_ns=(?P<scan>\d+)$")
_END = re.compile(rb"^# end\tentries=(\d+)$")
_SPECIAL = re.compile(r"[\x00-\x1f\x7f\\\udc80-\udcff]")
_ESCAPE = re.compile(rb"\\(\\|[0-7]{3})")
_FLUSH_LINES = 1000


class IndexEntry(NamedTuple):
    """One entry; times in nanoseconds since 1970, ``path`` as raw bytes beginning with ``./``."""

    archive: Where
    kind: Kind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    sha256: str
    path: bytes


@dataclass(frozen=True)
class IndexHeader:
    """Whose index it is; ``scan_started_ns`` is when the walk began, in nanoseconds since 1970."""

    set_id: str
    full_set: str
    scan_started_ns: int


def order_key(path: bytes) -> bytes:
    """Return what paths are ordered by: no name holds a zero byte, so this compares component by component."""
    return path.replace(b"/", b"\0")


def escape(path: bytes) -> str:
    """Return ``path`` as text on one line, as GNU tar's ``-T`` reads it."""
    text = path.decode("utf-8", "surrogateescape")
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return "\\\\" if character == "\\" else f"\\{character.encode('utf-8', 'surrogateescape')[0]:03o}"


def unescape(text: bytes) -> bytes:
    """Return the path that :func:`escape` wrote as ``text``."""
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1], 8) & 0xFF]), text)


class IndexWriter:
    """Writes an index entry by entry into a new 0600 file."""

    def __init__(self, path: Path, header: IndexHeader) -> None:
        self.file = CompressedFile(path, all_cores=False)
        self._entries = 0
        self._lines = [
            f"{_TITLE}\tset={header.set_id}\tfull_set={header.full_set}\tscan_started_ns={header.scan_started_ns}\n"
        ]

    def add(self, entry: IndexEntry) -> None:
        """Append ``entry``; entries must come in order."""
        self._entries += 1
        self._lines.append(
            f"{entry.archive}\t{entry.kind}\t{entry.size}\t{entry.mtime_ns}\t{entry.ctime_ns}\t{entry.inode}"
            f"\t{entry.mode:o}\t{entry.sha256}\t{escape(entry.path)}\n"
        )
        if len(self._lines) >= _FLUSH_LINES:
            self._flush()

    def close(self) -> None:
        """Write the end line and make the file durable."""
        self._lines.append(f"# end\tentries={self._entries}\n")
        self._flush()
        self.file.close()

    def _flush(self) -> None:
        self.file.write("".join(self._lines).encode())
        self._lines.clear()


def read_index(path: Path) -> tuple[IndexHeader, Iterator[IndexEntry]]:
    """Return the header of the index at ``path`` and its entries, read as they are asked for.

    Raises CheckFailed, now or while the entries are read, when the index is damaged, out of order or incomplete;
    EnvironmentFault when it cannot be read.
    """
    lines = CompressedReader(path).lines()
    first = next(lines, b"").decode("utf-8", "replace")
    match = _HEADER.match(first)
    if match is None:
        raise _damaged(path, "its first line is not the header of an index of version 1")
    return IndexHeader(match["set_id"], match["full_set"], int(match["scan"])), _entries(path, lines)


def _entries(path: Path, lines: Iterator[bytes]) -> Iterator[IndexEntry]:
    before = b""
    for number, line in enumerate(lines, start=2):
        if line.startswith(b"#"):
            end = _END.match(line)
            if end is None or int(end[1]) != number - 2 or next(lines, None) is not None:
                raise _damaged(path, f"line {number} is not the end line of {number - 2} entries")
            return
        entry = _parsed(path, line, number)
        key = order_key(entry.path)
        if key <= before:
            raise _damaged(path, f"line {number} is out of order")
        before = key
        yield entry
    raise _damaged(path, "it has no end line")


def _parsed(path: Path, line: bytes, number: int) -> IndexEntry:
    try:
        where, kind, size, mtime, ctime, inode, mode, sha256, name = line.split(b"\t")
        return IndexEntry(
            _where(where.decode()),
            kind_of(kind.decode()),
            int(size),
            int(mtime),
            int(ctime),
            int(inode),
            int(mode, 8),
            sha256.decode("ascii"),
            _path(name),
        )
    except ValueError as error:
        raise _damaged(path, f"line {number} is not an entry") from error


def _where(text: str) -> Where:
    if text not in ("full", "here"):
        raise ValueError(f"unknown archive {text!r}")
    return cast("Where", text)


def _path(text: bytes) -> bytes:
    if not text.startswith(b"./"):
        raise ValueError("a path does not begin with ./")
    return unescape(text)


def _damaged(path: Path, why: str) -> CheckFailed:
    return CheckFailed(
        f"the attachment index {path} is damaged",
        why=why,
        remedy="fetch it again from another store, or use another backup set",
    )
