"""A PostgreSQL for Dagster's own history, reached as containers reach it: with a URL that holds no password."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from backup_assets.instance import KIND_VARIABLE, URL_VARIABLE, VARIABLE
from backup_assets.postgres.cluster import Cluster
from backup_assets_tests.sources import connect, drop_database

#: A colon has to be escaped in a password file.
PASSWORD = "of:dagster-only"


@dataclass(frozen=True)
class History:
    """An empty database with a role of its own, and what a process needs to use it."""

    cluster: Cluster
    name: str
    home: Path
    password_file: Path
    environment: Mapping[str, str]

    def rows(self, table: str) -> int:
        with connect(self.cluster, self.name) as connection:
            found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        assert found is not None
        return found[0]


def url_of(cluster: Cluster, role: str, database: str) -> str:
    return f"postgresql+psycopg2://{role}@/{database}?host={cluster.socket_directory}&port={cluster.port}"


@contextmanager
def a_history_on(cluster: Cluster, directory: Path, kind: str = "postgres") -> Iterator[History]:
    """Yield a database for the instance in ``directory``/home, dropped at the end."""
    name = f"dagster_{uuid.uuid4().hex[:12]}"
    with connect(cluster, "postgres") as connection:
        role = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, PASSWORD))
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(role))
    password_file = directory / "pgpass"
    password_file.touch(0o600)
    escaped = PASSWORD.replace(":", "\\:")
    password_file.write_text(f"*:{cluster.port}:*:{name}:{escaped}\n")
    environment = {
        VARIABLE: str(directory / "home"),
        KIND_VARIABLE: kind,
        URL_VARIABLE: url_of(cluster, name, name),
        "PGPASSFILE": str(password_file),
    }
    try:
        yield History(cluster, name, directory / "home", password_file, environment)
    finally:
        drop_database(cluster, name)
        with connect(cluster, "postgres") as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
