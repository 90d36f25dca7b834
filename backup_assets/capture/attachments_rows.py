"""Do the files that the database's rows name exist in the attachments of the same set?"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from backup_assets.capture.attachments_index import escape, read_index
from backup_assets.errors import EnvironmentFault

MOST_EXAMPLES = 20
_BATCH = 5000
_CACHE_KIB = 16 * 1024


@dataclass(frozen=True)
class RowsAndFiles:
    """How rows and files agree; ``missing_files`` above 0 is the failure, ``unnamed_files`` only a figure.

    ``named_files`` counts different names; ``blank_names`` the empty values, which name no file. The examples are
    the first 20 names each, escaped as in the index.
    """

    named_files: int
    missing_files: int
    unnamed_files: int
    blank_names: int
    missing_examples: tuple[str, ...]
    unnamed_examples: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every file that a row names is there."""
        return self.missing_files == 0


def check_rows_and_files(named: Iterable[str], index_path: Path, workdir: Path) -> RowsAndFiles:
    """Compare names from the database, relative to the attachments directory, with the files and links of an index.

    Names may come in any order and repeat; ``./``, doubled and leading slashes are ignored, letters are compared byte
    by byte (NFC and NFD differ). Memory is bounded by a temporary database in ``workdir``, gone on return. Raises
    CheckFailed when the index is damaged, EnvironmentFault when ``workdir`` cannot be used.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="rows-", dir=workdir) as private,  # 0700
            closing(sqlite3.connect(Path(private) / "names.sqlite", isolation_level=None)) as database,
        ):
            return _compare(database, named, index_path)
    except (sqlite3.OperationalError, OSError) as error:
        raise EnvironmentFault(
            f"the names of attachments cannot be collected in {workdir}",
            why=str(error),
            remedy="check the free space and the permissions there",
        ) from error


def _compare(database: sqlite3.Connection, named: Iterable[str], index_path: Path) -> RowsAndFiles:
    # Nothing here outlives the call: no journal, no waiting for the disk.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{_CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE named (path BLOB PRIMARY KEY, found INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID")
    database.execute("BEGIN")
    blank = 0
    names = iter(named)
    while batch := list(islice(names, _BATCH)):
        paths = [(path,) for path in map(_plain, batch) if path]
        blank += len(batch) - len(paths)
        database.executemany("INSERT OR IGNORE INTO named (path) VALUES (?)", paths)
    unnamed = 0
    unnamed_examples: list[str] = []
    for path in _files(index_path):
        if database.execute("UPDATE named SET found = 1 WHERE path = ?", (path,)).rowcount == 0:
            unnamed += 1
            if unnamed <= MOST_EXAMPLES:
                unnamed_examples.append(escape(path))
    total, found = database.execute("SELECT count(*), coalesce(sum(found), 0) FROM named").fetchone()
    missing = database.execute(
        "SELECT path FROM named WHERE found = 0 ORDER BY path LIMIT ?", (MOST_EXAMPLES,)
    ).fetchall()
    return RowsAndFiles(
        named_files=total,
        missing_files=total - found,
        unnamed_files=unnamed,
        blank_names=blank,
        missing_examples=tuple(escape(path) for (path,) in missing),
        unnamed_examples=tuple(unnamed_examples),
    )


def _files(index_path: Path) -> Iterator[bytes]:
    _, entries = read_index(index_path)
    return (entry.path[2:] for entry in entries if entry.kind != "d")


def _plain(name: str) -> bytes:
    parts = name.encode("utf-8", "surrogateescape").split(b"/")
    return b"/".join(part for part in parts if part not in (b"", b"."))
