"""pg_dump and pg_dumpall: one snapshot of a database, and the roles of its server, as files on disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from backup_assets.capture.directory_dump import damage_of, read_whole_directory, unpack_directory_dump
from backup_assets.compressed import CompressedFile, CompressedReader
from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.files import CHUNK_BYTES
from backup_assets.postgres.clients import Clients, has_zstd, version_of
from backup_assets.postgres.container import container_faults
from backup_assets.postgres.names import quote_name, statements
from backup_assets.postgres.server import Server, database_argument
from backup_assets.postgres.session import Session
from backup_assets.process import ProgramFailed, run, started
from backup_assets.progress import Progress, watching
from backup_assets.stores.disk_faults import explained

DumpFormat = Literal["pg_custom", "pg_custom.zst", "pg_directory.tar"]
EXTENSIONS: dict[DumpFormat, str] = {"pg_custom": "dump", "pg_custom.zst": "dump.zst", "pg_directory.tar": "dump.tar"}
GLOBALS_TRAILER = b"-- PostgreSQL database cluster dump complete"
#: What the server says when bytes are none of the database's encoding, or have no equivalent in UTF-8; in Japanese as
#: PostgreSQL's catalog ja.po has it.
_NOT_CONVERTIBLE = (
    "has no equivalent in encoding",
    "で等価な文字を持ちません",
    "invalid byte sequence for encoding",
    "に対する不正なバイト列",
)
#: A table that is locked exclusively this long fails the dump with its name, instead of hanging the night through.
LOCK_WAIT = "10min"


def wait_for_locks_as_long(session: Session) -> None:
    """Let a session of a capture give up on a lock when pg_dump does."""
    session.execute(f"SET lock_timeout = '{LOCK_WAIT}'")


@dataclass(frozen=True)
class DumpPlan:
    """How one database will be dumped. ``excluded`` lists tables whose rows are left out (their definitions stay)."""

    format: DumpFormat
    zstd_level: int
    jobs: int = 1
    excluded: tuple[tuple[str, str], ...] = ()
    large_objects: bool = True


def plan_dump(
    *, in_container: bool, zstd: bool, parallel: bool, jobs: int | None, zstd_level: int
) -> tuple[DumpPlan, tuple[str, ...]]:
    """Return the plan, and warnings about what was wanted and cannot be.

    The directory format needs a client on this machine that compresses by itself; otherwise one stream is dumped.
    """
    if parallel and zstd and not in_container:
        return DumpPlan("pg_directory.tar", zstd_level, jobs or max(2, os.cpu_count() or 2)), ()
    warnings = ()
    if parallel:
        reason = "inside a container" if in_container else "with a pg_dump that lacks zstd"
        warnings = (f"a parallel dump is not possible {reason}: dumped with one job",)
    return DumpPlan("pg_custom" if zstd else "pg_custom.zst", zstd_level), warnings


def client_facts(server: Server, clients: Clients | None) -> tuple[str, str, bool]:
    """Return version, place and zstd ability of the pg_dump that will be used, also inside a container."""
    if server.container is None:
        if clients is None:
            raise AssertionError("client programs are needed outside a container")
        return clients.version, str(clients.directory), clients.zstd
    command = server.container.plain_argv("pg_dump")
    with container_faults(server.container, "pg_dump"):
        found = version_of(command)
        if found is None:
            raise EnvironmentFault(
                f"the pg_dump in {server.place} does not say its version", remedy="is it a PostgreSQL image?"
            )
        return found[0], server.place, has_zstd(command)


def dump_database(
    server: Server,
    clients: Clients | None,
    database: str,
    plan: DumpPlan,
    target: Path,
    *,
    snapshot: str,
    progress: Progress,
    expected_bytes: int | None,
    timeout: float,
) -> None:
    """Write the dump of one exported snapshot to ``target``, not yet forced to disk.

    ``target`` is a file, in the directory format a directory; it must not exist. ``timeout`` in seconds. Raises
    EnvironmentFault with the end of pg_dump's messages.
    """
    arguments = [
        "--create",
        "--no-sync",  # everything is synced once, when it gets its name
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        *(f"--exclude-table-data={quote_name(schema)}.{quote_name(name)}" for schema, name in plan.excluded),
        *(() if plan.large_objects else ("-B",)),
    ]
    with watching(target, "dump", progress, expected_bytes):
        if plan.format == "pg_directory.tar":
            target.mkdir(mode=0o700)
            arguments += ["--format=directory", f"--jobs={plan.jobs}", f"--compress=zstd:{plan.zstd_level}"]
        else:
            compression = "0" if plan.format == "pg_custom.zst" else f"zstd:{plan.zstd_level}"
            arguments += ["--format=custom", f"--compress={compression}"]
        if server.container is None and plan.format != "pg_custom.zst":
            # Into a file and not through a pipe: pg_dump goes back to write the offsets that a parallel or
            # partial pg_restore seeks by.
            if plan.format == "pg_custom":
                _create_private(target)
            argv = server.argv(
                clients, "pg_dump", *arguments, f"--file={target}", "--dbname", database_argument(database)
            )
            run(argv, timeout=timeout, env=server.environment())
            return
        argv = server.argv(clients, "pg_dump", *arguments, "--dbname", database_argument(database))
        _stream(server, "pg_dump", argv, target, plan.zstd_level if plan.format == "pg_custom.zst" else None, timeout)


def _stream(
    server: Server, program: str, argv: list[str], target: Path, zstd_level: int | None, timeout: float
) -> None:
    """Run a program and write its output to ``target``, compressed when a level is given."""
    # Inside a container the program lives as long as this pipe is open: it closes however this process ends.
    tether = None if server.container else subprocess.DEVNULL
    with (
        container_faults(server.container, program),
        started(argv, timeout=timeout, env=server.environment(), stdin=tether, stdout=subprocess.PIPE) as running,
    ):
        _receive(running.stdout, target, zstd_level)
        running.process.wait()


def _create_private(path: Path) -> None:
    """Create an empty file that only we may read, before another program fills it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _receive(source: BinaryIO, target: Path, zstd_level: int | None) -> None:
    if zstd_level is None:
        with explained(f"write {target.name}", target.parent):
            _create_private(target)
            with target.open("wb") as handle:
                shutil.copyfileobj(source, handle, CHUNK_BYTES)
        return
    compressed = CompressedFile(target, level=zstd_level, all_cores=True)
    try:
        while chunk := source.read(CHUNK_BYTES):
            compressed.write(chunk)
        compressed.close()
    except BaseException:
        compressed.discard()
        raise


def dump_globals(
    server: Server, clients: Clients | None, database: str, target: Path, *, passwords: bool, timeout: float
) -> None:
    """Write roles, their settings and grants, and tablespaces to ``target``; without password hashes unless asked.

    It is UTF-8 whatever the encoding of the database, and says so in its first lines. Raises EnvironmentFault when
    pg_dumpall fails or a name has no UTF-8, CheckFailed when its output has no end.
    """
    arguments = [
        "--globals-only",
        "--encoding=UTF8",
        "--database",
        database_argument(database),
        *(() if passwords else ("--no-role-passwords",)),
    ]
    argv = server.argv(clients, "pg_dumpall", *arguments)
    try:
        _stream(server, "pg_dumpall", argv, target, None, timeout)
    except ProgramFailed as failure:
        if any(sign in failure.stderr for sign in _NOT_CONVERTIBLE):
            raise _other_encoding(failure.stderr) from failure
        raise
    require_complete_globals(target)
    _require_utf8(target)


def _require_utf8(path: Path) -> None:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n")
        shown = path.read_bytes().splitlines()[line].decode("utf-8", "replace")
        # What follows in the line may be a password's hash.
        named = re.match(r"(?:CREATE|ALTER|COMMENT ON|GRANT) \S+ \S+", shown)
        place = named[0] if named else f"line {line + 1}"
        raise _other_encoding(f"what pg_dumpall wrote has other bytes than UTF-8: {place}") from error


def _other_encoding(why: str) -> EnvironmentFault:
    # A server keeps them as the bytes that they have in the database in which they were written.
    return EnvironmentFault(
        "the roles of the server cannot be written in one encoding",
        why=why,
        remedy="a role or its comment was written in a database of another encoding: in that one, use latin letters "
        "for both (ALTER ROLE ... RENAME TO, COMMENT ON ROLE)",
    )


def require_complete_globals(path: Path) -> None:
    """Raise CheckFailed unless the file ends as a complete pg_dumpall output does."""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 4096))
        if GLOBALS_TRAILER not in handle.read():
            raise CheckFailed(
                f"the globals {path.name} are cut off",
                why=f"the closing line {GLOBALS_TRAILER.decode()!r} is missing",
                remedy="use another set",
            )


def read_globals(path: Path) -> str:
    """Return a globals script; raises CheckFailed when it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckFailed(f"the globals {path.name} are damaged", why=str(error), remedy="use another set") from error


def roles_in_globals(script: str) -> frozenset[str]:
    """Return the names of the roles that a globals script creates."""
    names = set()
    for statement in statements(script):
        if statement.startswith("CREATE ROLE "):
            name = statement.removeprefix("CREATE ROLE ").strip()
            names.add(name[1:-1].replace('""', '"') if name.startswith('"') else name)
    return frozenset(names)


def read_whole_archive(clients: Clients, path: Path, form: str, workdir: Path, *, timeout: float) -> None:
    """Read a dump to its end, every table's data included; raises CheckFailed when it cannot be read.

    Listing is not enough: ``pg_restore --list`` of a truncated archive exits 0.
    """
    if form == "pg_directory.tar":
        directory = unpack_directory_dump(path, workdir)
        try:
            read_whole_directory(clients, directory, workdir, jobs=os.cpu_count() or 1, timeout=timeout)
        finally:
            shutil.rmtree(directory)
        return
    argv = [clients.program("pg_restore"), "--format=custom", "--file=/dev/null"]
    with damage_of(path.name):
        if form == "pg_custom.zst":
            with started(argv, timeout=timeout, stdin=None) as running:
                decompress(path, running.stdin)
        else:
            run([*argv, str(path)], timeout=timeout)


def decompress(path: Path, target: BinaryIO) -> None:
    """Write the content of a zstd file to ``target``; raises CheckFailed when it is damaged or cut off."""
    with CompressedReader(path) as reader:
        while chunk := reader.read(CHUNK_BYTES):
            target.write(chunk)
