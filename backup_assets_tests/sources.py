"""Real databases to back up, and what the tests do with them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import Captured, CaptureRequest
from backup_assets.local import local_store, place_of
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server import Server
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_server import ServerSettings


def no_progress(stage: str, done_bytes: int, expected_bytes: int | None) -> None:
    """Take a report of progress and say nothing."""


def no_log(line: str) -> None:
    """Take a line and say nothing."""


def connect(cluster: Cluster, dbname: str, **options: Any) -> psycopg.Connection[Any]:
    """Connect without a transaction around the statements; ``options`` override user and password."""
    return psycopg.connect(
        **{  # type: ignore[arg-type]
            "host": str(cluster.socket_directory),
            "port": cluster.port,
            "user": cluster.superuser,
            "password": cluster.password,
            "dbname": dbname,
            "autocommit": True,
            **options,
        }
    )


def make_database(cluster: Cluster, name: str, *statements: str) -> None:
    """Make a database and run statements in it."""
    with connect(cluster, "postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with connect(cluster, name) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def drop_database(cluster: Cluster, name: str) -> None:
    """Remove a database with whoever is connected to it."""
    with connect(cluster, "postgres") as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class Source:
    """A database of its own on a running cluster, and the directory of its backups."""

    cluster: Cluster
    name: str
    backup_dir: Path

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect to it; see :func:`connect`."""
        return connect(self.cluster, self.name, **options)

    def execute(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def value(self, query: str) -> Any:
        """Return the one value of a query."""
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def server_settings(self, **changes: Any) -> ServerSettings:
        """Return how to connect, as the superuser unless changed."""
        return self.cluster.server_settings().model_copy(update=changes)

    @property
    def server(self) -> Server:
        """How the superuser's programs reach it."""
        return Server.from_settings(self.cluster.server_settings())

    def settings(self, *, client_bin_dir: Path | None = None, **fields: Any) -> Settings:
        """Return settings that back up this one database under the name ``erp4``; ``fields`` are the database's."""
        described = {"server": self.server_settings(), "database": self.name, **fields}
        database = DatabaseSettings(name="erp4", **described)
        return Settings(backup_dir=self.backup_dir, client_bin_dir=client_bin_dir, databases=(database,))

    def captured(self, settings: Settings | None = None, **request: Any) -> Captured:
        """Capture it and return what came of it."""
        return capture(settings or self.settings(), **request)


def capture(
    settings: Settings,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    log: Callable[[str], None] = no_log,
    **request: Any,
) -> Captured:
    """Capture the only database of ``settings`` into a slot of today."""
    asked = CaptureRequest(**{"slot": f"{now():%Y-%m-%d}", "run_id": str(uuid.uuid4()), **request})
    return Capture(settings.databases[0], settings, asked, progress=no_progress, log=log, now=now).run()


def catalog_of(settings: Settings) -> Catalog:
    """Look at the local store anew."""
    return Catalog(local_store(settings), place_of(settings.databases[0], settings))


def listed(settings: Settings) -> list[BackupSet]:
    """Return every set that exists in the local store."""
    return list(catalog_of(settings).sets()) if settings.backup_dir.exists() else []


def proven(settings: Settings, captured: Captured, *, content: bool = True) -> Proof:
    """Restore a captured set on a scratch server and compare it."""
    chosen = catalog_of(settings).resolve(captured.manifest.id)
    store = local_store(settings)
    return verify_set(settings.databases[0], settings, store, chosen, content=content, log=no_log)


def dump_path(settings: Settings, captured: Captured) -> Path:
    """Return where the dump of a set lies."""
    artifact = captured.manifest.artifact("dump")
    assert artifact is not None
    return local_store(settings).path_of(place_of(settings.databases[0], settings).key(artifact.name))
