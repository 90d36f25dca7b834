"""A restore with PostgreSQL's own programs, zstd and tar alone, and a comparison that uses none of our code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from backup_assets.capture.request import Captured
from backup_assets.local import local_store, place_of
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.settings import Settings
from backup_assets_tests.sources import Source, connect

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1, 2
"""


def run(*argv: str | Path, password: str) -> str:
    """Run a program that must exit 0 and return what it printed on both channels."""
    done = subprocess.run(
        list(map(str, argv)),
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGPASSWORD": password},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def artifact_path(settings: Settings, captured: Captured, role: str) -> Path:
    """Return where the file of that role lies."""
    artifact = captured.manifest.artifact(role)
    assert artifact is not None
    return local_store(settings).path_of(place_of(settings.databases[0], settings).key(artifact.name))


@contextmanager
def restored_by_hand(source: Source, settings: Settings, captured: Captured, workdir: Path) -> Iterator[Source]:
    """Restore globals and database into a fresh cluster, as the runbook tells a person to, and yield the copy."""
    programs = Path(captured.manifest.client.directory)
    with throw_away_cluster(None, source.cluster.binaries, superuser=source.cluster.superuser) as fresh:
        where = ["--host", fresh.socket_directory, "--port", str(fresh.port), "--username", fresh.superuser]
        printed = run(
            programs / "psql", *where, "--no-psqlrc", "--quiet", "--dbname", "template1",
            f"--file={artifact_path(settings, captured, 'globals')}", password=fresh.password,
        )  # fmt: skip
        errors = [line for line in printed.splitlines() if "ERROR" in line]
        assert all(f'role "{fresh.superuser}" already exists' in line for line in errors), errors
        fresh.password = source.cluster.password  # the globals brought the old superuser's
        clean = ("--clean", "--if-exists") if source.name == "postgres" else ()
        archive = unpacked(artifact_path(settings, captured, "dump"), workdir)
        run(
            programs / "pg_restore", *where, "--exit-on-error", "--create", *clean, "--dbname", "template1", archive,
            password=fresh.password,
        )  # fmt: skip
        yield Source(fresh, source.name, workdir)


def unpacked(dump: Path, workdir: Path) -> Path:
    """Return the dump as pg_restore reads it, decompressed or unpacked by stock tools where needed."""
    if dump.name.endswith(".dump.zst"):
        run("zstd", "-d", "-q", "-o", workdir / "by-hand.dump", dump, password="")
        return workdir / "by-hand.dump"
    if dump.name.endswith(".tar"):
        (workdir / "by-hand").mkdir()
        run("tar", "-xf", dump, "-C", workdir / "by-hand", password="")
        return workdir / "by-hand"
    return dump


def content_of(source: Source) -> dict[str, Any]:
    """Return a digest of every table's sorted rows, every sequence and every large object."""
    found: dict[str, Any] = {}
    with source.connect() as connection:
        connection.execute("SET search_path = pg_catalog")
        for schema, name in connection.execute(_TABLES).fetchall():
            found[f"{schema}.{name}"] = _table(connection, schema, name)
        found["sequences"] = connection.execute(
            "SELECT schemaname, sequencename, last_value, start_value, increment_by FROM pg_sequences ORDER BY 1, 2"
        ).fetchall()
        for (oid,) in connection.execute("SELECT oid FROM pg_largeobject_metadata ORDER BY 1").fetchall():
            found[f"large object {oid}"] = connection.execute("SELECT md5(lo_get(%s))", (oid,)).fetchone()
    return found


def _table(connection: psycopg.Connection[Any], schema: str, name: str) -> Any:
    query = sql.SQL(
        "SELECT count(*), md5(string_agg(t.line, E'\\n' ORDER BY t.line COLLATE \"C\")) "
        "FROM (SELECT r::text AS line FROM ONLY {} AS r) AS t"
    )
    populated = connection.execute(
        "SELECT relispopulated FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relname = %s",
        (schema, name),
    ).fetchone()
    if populated == (False,):
        return "not populated"
    return connection.execute(query.format(sql.Identifier(schema, name))).fetchone()


def definitions_of(source: Source, programs: Path) -> str:
    """Return every definition of a database as SQL text: owners, rights, comments, properties."""
    cluster: Cluster = source.cluster
    printed = run(
        programs / "pg_dump", "--schema-only", "--create", "--host", cluster.socket_directory, "--port",
        str(cluster.port), "--username", cluster.superuser, "--dbname", make_conninfo(dbname=source.name),
        password=cluster.password,
    )  # fmt: skip
    return re.sub(r"^\\(un)?restrict .*$", "", printed, flags=re.MULTILINE)


def load(source: Source, script: Path, programs: Path) -> None:
    """Run an SQL script with psql, stopping at its first error."""
    cluster = source.cluster
    run(
        programs / "psql", "--host", cluster.socket_directory, "--port", str(cluster.port), "--username",
        cluster.superuser, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null",
        "--dbname", make_conninfo(dbname=source.name), f"--file={script}", password=cluster.password,
    )  # fmt: skip


def make_roles(cluster: Cluster) -> None:
    """Make the roles that the torture schema names, unless they are there."""
    with connect(cluster, "postgres") as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = 'torture_owner'").fetchone() is not None:
            return
        connection.execute(
            "CREATE ROLE torture_owner LOGIN PASSWORD 'it''s; $$ -- \"secret\"' VALID UNTIL '2040-01-01'"
        )
        connection.execute('CREATE ROLE "torture Reader" CONNECTION LIMIT 3')
        connection.execute("COMMENT ON ROLE torture_owner IS 'owns; things'")
        connection.execute('GRANT "torture Reader" TO torture_owner WITH ADMIN OPTION')
        connection.execute("ALTER ROLE torture_owner SET search_path = 'Mixed Case', public")
