"""Attachment directories to test with, and what is in a directory."""

# The names here are not text, and pathlib knows no paths of bytes.
# ruff: noqa: PTH103, PTH108, PTH115, PTH116, PTH123, PTH208, PTH211
from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from backup_assets import process
from backup_assets.capture.attachments import Archived, archive_differential, archive_full
from backup_assets.restore.attachments import STOCK_RESTORE

#: name -> content of a file | target of a link as a tuple | another tree
Tree = dict[bytes, "bytes | tuple[bytes] | Tree"]

ODD_NAMES = (
    b" leading and trailing ",
    b"new\nline",
    b"tab\there",
    b"-rf",
    b"--checkpoint-action=exec=false",
    b"back\\slash",
    b"back\\012slash",
    b"quote'and\"quote",
    b"#hash",
    b"not utf-8 \xff\xfe",
    b"star*[a]?",
    b"\x01\x7f\r",
    "請求書 が.pdf".encode(),
    "請求書 か\u3099.pdf".encode(),  # the same to the eye, decomposed
    b"n" * 255,
    b"full",
)


def settled_clock() -> int:
    """A clock ahead of the file system's, so that files made just now count as settled."""
    return time.time_ns() + 10_000_000_000


def plant(directory: Path | bytes, tree: Tree) -> None:
    root = os.fsencode(directory)
    os.makedirs(root, exist_ok=True)
    for name, what in tree.items():
        path = root + b"/" + name
        if isinstance(what, dict):
            plant(path, what)
        elif isinstance(what, tuple):
            os.symlink(what[0], path)
        else:
            with open(path, "wb") as handle:
                handle.write(what)


def replant(directory: Path | bytes, old: Tree, new: Tree) -> None:
    """Turn a directory that holds `old` into one that holds `new`, touching only what differs."""
    root = os.fsencode(directory)
    for name in old.keys() | new.keys():
        path, before, after = root + b"/" + name, old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            replant(path, before, after)
        elif isinstance(before, bytes) and isinstance(after, bytes):
            rewrite(path, after)
        else:
            if isinstance(before, dict):
                shutil.rmtree(path)
            elif before is not None:
                os.unlink(path)
            if after is not None:
                plant(root, {name: after})


def rewrite(path: Path | bytes, content: bytes) -> None:
    """Change a file in place, again until its change time shows it (the kernel's clock ticks in milliseconds)."""
    before = os.stat(path).st_ctime_ns
    while os.stat(path).st_ctime_ns == before:
        with open(path, "wb") as handle:
            handle.write(content)


def plant_odd_things(directory: Path) -> None:
    """Every kind of name and entry that a backup has to live with, except sockets and pipes."""
    plant(directory, {name: b"content of " + name for name in ODD_NAMES})
    plant(
        directory,
        {
            b"empty directory": {},
            b"empty file": b"",
            b"links": {
                b"dangling": (b"nowhere",),
                b"absolute": (b"/etc/passwd",),
                b"up": (b"../../..",),
                b"long": (b"t" * 300,),
                b"to a directory": (b"../empty directory",),
            },
            b"d" * 90: {b"e" * 90: {b"f" * 120: {b"deep.pdf": b"deep"}}},
            b"a": {b"x": b"inside a"},
            b"a.b": b"sorts between a and its content by plain bytes",
            b"exactly": {b"x" * (100 - len(b"./exactly/")): b"a name of 100 bytes"},
            b"hard": b"linked",
        },
    )
    os.link(directory / "hard", directory / "hard too")
    with (directory / "sparse").open("wb") as handle:
        handle.truncate(3 << 20)
    (directory / "private").write_bytes(b"mode")
    (directory / "private").chmod(0o600)
    (directory / "read only").mkdir()
    (directory / "read only" / "file").write_bytes(b"in a directory that nobody may write to")
    (directory / "read only").chmod(0o555)
    os.utime(directory / "private", ns=(0, -1_500_000_000))
    os.utime(directory / "a.b", ns=(0, 1_600_000_000_123_456_789))


def plant_a_pipe_and_a_socket(directory: Path) -> None:
    os.mkfifo(directory / "pipe")
    here = Path.cwd()
    os.chdir(directory)  # a socket's path is limited to 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(here)


def contents(directory: Path) -> dict[bytes, tuple[str, bytes]]:
    """Names, kinds and contents of everything below a directory."""
    return {path: entry[:2] for path, entry in everything(directory).items()}


def everything(directory: Path) -> dict[bytes, tuple[str, bytes, int, int]]:
    """Kind, content, mode and modification time of everything below a directory."""
    found: dict[bytes, tuple[str, bytes, int, int]] = {}

    def visit(path: bytes, relative: bytes) -> None:
        for name in os.listdir(path):
            below, shown = path + b"/" + name, relative + name
            status = os.lstat(below)
            mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns
            if stat.S_ISDIR(status.st_mode):
                found[shown] = ("d", b"", mode, mtime)
                visit(below, shown + b"/")
            elif stat.S_ISLNK(status.st_mode):
                found[shown] = ("l", os.readlink(below), mode, mtime)
            else:
                with open(below, "rb") as handle:
                    found[shown] = ("f", handle.read(), mode, mtime)

    visit(os.fsencode(directory), b"")
    return found


class Sets:
    """A directory of attachments and the archives made of it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.source = work / "source"
        self.source.mkdir()
        self.full, self.full_index = work / "full.tar.zst.partial", work / "full.index.tsv.zst.partial"
        self.diff, self.diff_index = work / "diff.tar.zst.partial", work / "diff.index.tsv.zst.partial"

    def take_full(self) -> Archived:
        return archive_full(self.source, self.full, self.full_index, set_id="F", now_ns=settled_clock)

    def take_differential(self) -> Archived:
        return archive_differential(
            self.source, self.full_index, self.diff, self.diff_index, set_id="D", full_set="F", now_ns=settled_clock
        )

    def stock_restore(self, index: Path, archive: Path, out: Path) -> None:
        out.mkdir()
        process.run(
            ["bash", "-euo", "pipefail", "-c", STOCK_RESTORE],
            timeout=60,
            env={"INDEX": str(index), "ARCHIVE": str(archive), "FULL": str(self.full), "OUT": str(out)},
        )


names = st.one_of(
    st.sampled_from([b"a", b"a.b", b"-C", b"x y", b"c\\d", b"\n", "か".encode(), b"\xff"]),
    st.binary(min_size=1, max_size=12),
).filter(lambda name: name not in (b".", b"..") and not set(name) & set(b"/\0"))
files = st.binary(max_size=2000)
links = st.tuples(st.binary(min_size=1, max_size=150).filter(lambda target: b"\0" not in target))
trees = st.recursive(
    st.dictionaries(names, files | links, max_size=5),
    lambda children: st.dictionaries(names, files | links | children, max_size=5),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, tree: Tree) -> Tree:
    """Another state of `tree`: each entry kept, deleted, changed or replaced, and others added."""
    result: dict[bytes, Any] = {}
    for name, what in tree.items():
        fate = draw(st.sampled_from(["keep", "keep", "delete", "change", "replace"]))
        if fate == "keep":
            result[name] = what
        elif fate == "change":
            result[name] = draw(changed(what)) if isinstance(what, dict) else draw(files)
        elif fate == "replace":
            result[name] = draw(files | links | trees)
    return {**draw(st.dictionaries(names, files | links, max_size=2)), **result}
