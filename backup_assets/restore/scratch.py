"""The scratch server: where a dump is restored on trial, never the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from backup_assets.capture.preflight import require_free_disk
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.clients import Clients, find_clients
from backup_assets.postgres.server import Server
from backup_assets.postgres.server_binaries import (
    ServerBinaries,
    choose_server_binaries,
    find_server_binaries,
    is_server_directory,
)
from backup_assets.postgres.session import Session, one_row, one_value, open_session
from backup_assets.postgres.throw_away import sweep_stale_clusters, throw_away_cluster
from backup_assets.postgres.unprivileged import scratch_parent, server_identity
from backup_assets.restore.database import restoring_clients
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_server import ServerSettings

#: A copy of a cluster has the identifier of its original, but was not started in the same microsecond.
_MARK = (
    "SELECT system_identifier::text || pg_catalog.pg_postmaster_start_time()::text FROM pg_catalog.pg_control_system()"
)
#: A zstd dump is hardly ever smaller than a tenth of the rows in it (ordinary business data: 0.15 to 0.4, see
#: capture/preflight.py).
ROWS_TO_DUMP = 10
#: The settings that name a server for trial restores, and what messages call it.
Setting = Literal["verification.scratch", "drill.server"]
_NAMED = {"verification.scratch": "scratch", "drill.server": "drill's"}


@dataclass(frozen=True)
class Scratch:
    """A server for trial restores, the clients that fit both it and the archive, and its major version."""

    server: Server
    clients: Clients
    major: int
    throw_away: bool


@contextmanager
def scratch_server(
    database: DatabaseSettings, settings: Settings, manifest: Manifest, *, setting: Setting = "verification.scratch"
) -> Iterator[Scratch]:
    """Yield a server to restore ``manifest``'s dump on: the configured one, or a cluster made for the occasion.

    ``setting`` says which setting configures it.

    Raises EnvironmentFault when no server of the right version can be had, an extension is missing or the cluster's
    disk has no room for the database, Refused when the configured scratch server is the source itself.
    """
    archive_major = int(manifest.client.version.split(".")[0])
    configured = configured_scratch(database, setting)
    if configured is not None:
        yield _scratch(Server.from_settings(configured), settings, manifest, archive_major, throw_away=False)
        return
    sweep_stale_clusters()
    binaries = throw_away_binaries(settings, manifest.server.major)
    _require_room(manifest, setting)
    superuser = manifest.server.bootstrap_superuser
    with throw_away_cluster(None, binaries, superuser=superuser) as cluster:
        server = Server.from_settings(cluster.server_settings())
        yield _scratch(server, settings, manifest, archive_major, throw_away=True)


def _require_room(manifest: Manifest, setting: Setting) -> None:
    """Raise EnvironmentFault unless the database fits where a throw-away cluster has its data.

    The whole of it takes there as much as at its source at most. Of some tables alone only the dump's size is known.
    """
    dump = manifest.artifact("dump")
    needed = manifest.server.database_bytes
    if manifest.kind != "full" and dump is not None:
        needed = min(needed, dump.size_bytes * ROWS_TO_DUMP)
    require_free_disk(
        scratch_parent(None, server_identity()),
        needed,
        f"a trial restore of {manifest.source_database}",
        f"free space there, set TMPDIR to a directory on a larger disk, or name a server in {setting} (backup.yaml)",
    )


def configured_scratch(database: DatabaseSettings, setting: Setting) -> ServerSettings | None:
    """Return the server that ``setting`` names, None for a throw-away one; raises Refused when it is the source."""
    configured = database.verification.scratch if setting == "verification.scratch" else database.drill.server
    if configured is not None:
        _require_other_server(configured, database.server, setting)
    return configured


def reading_clients(settings: Settings, manifest: Manifest) -> tuple[Clients, ...]:
    """Return the client programs of this machine that can read the compression of a set's dump.

    Others would call a good dump damaged. Raises EnvironmentFault when there are none.
    """
    found = find_clients(settings.client_bin_dir)
    dump = manifest.artifact("dump")
    if dump is not None and dump.format == "pg_custom.zst":  # zstd around the dump is taken off by us
        return found
    able = tuple(clients for clients in found if clients.zstd)
    if not able:
        raise EnvironmentFault(
            f"no PostgreSQL client programs here can read the dump of {manifest.id}",
            why=f"it is compressed with zstd, and these lack it: {', '.join(map(str, found)) or 'none was found'}",
            remedy=f"install the clients of version {max(16, manifest.server.major)} or newer with zstd, or name their "
            "directory in PG_BIN_DIR (client_bin_dir in backup.yaml)",
        )
    return able


def _require_other_server(scratch: ServerSettings, source: ServerSettings, setting: Setting) -> None:
    same = (scratch.host, scratch.port, scratch.container) == (source.host, source.port, source.container)
    if same or ((mark := _mark_of(scratch)) is not None and mark == _mark_of(source)):
        raise Refused(
            f"the {_NAMED[setting]} server is the source itself",
            why=f"{Server.from_settings(scratch).place} and {Server.from_settings(source).place} are one server",
            remedy=f"name another server in {setting}, or leave it out",
        )


def _mark_of(settings: ServerSettings) -> str | None:
    """Return what only one running server says of itself, however it is reached; None when it cannot be asked.

    A source that does not answer is no reason against a trial restore: it may be lost, and this the time to prove.
    """
    try:
        with open_session(Server.from_settings(settings), "postgres") as session:
            return one_value(session, _MARK)
    except EnvironmentFault:
        return None


def throw_away_binaries(settings: Settings, major: int) -> ServerBinaries:
    """Return the server programs for a throw-away cluster that takes dumps of ``major``; raises EnvironmentFault."""
    configured = settings.client_bin_dir
    # A directory of client programs is configured for those: where it holds a server too, that one comes first.
    with_server = configured if configured is not None and is_server_directory(configured) else None
    return choose_server_binaries(find_server_binaries(with_server), major)


def _scratch(
    server: Server, settings: Settings, manifest: Manifest, archive_major: int, *, throw_away: bool
) -> Scratch:
    with open_session(server, "postgres") as session:
        (number,) = one_row(session, "SELECT current_setting('server_version_num')")
        require_extensions(session, manifest.server.extensions, server.place)
    major = int(number or 0) // 10000
    clients = restoring_clients(server, reading_clients(settings, manifest), major, archive_major)
    return Scratch(server, clients, major, throw_away)


def require_extensions(session: Session, wanted: Mapping[str, str], place: str) -> None:
    """Raise EnvironmentFault unless every extension of the source can be installed on this server."""
    available = {str(name) for (name,) in session.rows("SELECT name FROM pg_catalog.pg_available_extensions")}
    if missing := sorted(set(wanted) - available):
        raise EnvironmentFault(
            f"the server at {place} lacks extensions that the database uses: {', '.join(missing)}",
            remedy="install their packages there, or name a server that has them: verification.scratch in backup.yaml "
            "(SCRATCH_HOST, SCRATCH_PORT, SCRATCH_USER, SCRATCH_PASSWORD)",
        )
