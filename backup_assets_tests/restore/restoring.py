"""What the tests of restoring look at, and how they damage sets."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from backup_assets.capture.request import Captured
from backup_assets.local import local_store, place_of
from backup_assets.postgres.cluster import Cluster
from backup_assets.restore.restore import Restore, Restored, RestoreRequest
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.records import Level
from backup_assets.settings import Settings
from backup_assets_tests.sources import Source, catalog_of, connect

TABLES = (
    "CREATE SCHEMA accounting",
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)",
    "CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2), pdf text)",
    "CREATE INDEX invoices_by_total ON invoices (total)",
    "CREATE TABLE accounting.entries (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, invoice int, amount numeric)",
    "ALTER TABLE accounting.entries ADD FOREIGN KEY (invoice) REFERENCES public.invoices",
    "CREATE VIEW open_invoices AS SELECT id, total FROM invoices WHERE total > 10",
    "INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 20) n",
    "INSERT INTO invoices SELECT n, n % 20 + 1, n * 1.5, n || '.pdf' FROM generate_series(1, 100) n",
    "INSERT INTO accounting.entries (invoice, amount) SELECT n, n * 1.5 FROM generate_series(1, 100) n",
)


@dataclass(frozen=True)
class Erp:
    """A live database with its attachments, and the settings that back both up."""

    source: Source
    settings: Settings
    attachments: Path

    @property
    def cluster(self) -> Cluster:
        return self.source.cluster

    @property
    def name(self) -> str:
        return self.source.name

    def captured(self, **request: Any) -> Captured:
        return self.source.captured(self.settings, **request)

    def restore(self, set_id: str = "latest", **request: Any) -> Restored:
        return restore(self.settings, set_id, **request)

    def state(self) -> dict[str, object]:
        """Everything that a restore could touch."""
        return {**server_state(self.cluster), "files": files_of(self.attachments.parent), "rows": self.rows()}

    def rows(self) -> dict[str, int]:
        return rows_of(self.cluster, self.name)


def now_in_utc() -> datetime:
    return datetime.now(UTC)


def restore(
    settings: Settings, set_id: str = "latest", *, now: Callable[[], datetime] = now_in_utc, **request: Any
) -> Restored:
    """Restore a set as confirmed, unless `confirmed` says otherwise."""
    chosen = catalog_of(settings).resolve(set_id)
    asked = RestoreRequest(**{"confirmed": True, **request})
    return Restore(settings.databases[0], settings, local_store(settings), chosen, asked, log=quiet, now=now).run()


def quiet(line: str) -> None:
    """Take a line of a log and say nothing."""


def verified(settings: Settings, set_id: str, level: Level = "restored", **options: Any) -> Proof:
    chosen = catalog_of(settings).resolve(set_id, complete_only=False)
    return verify_set(
        settings.databases[0],
        settings,
        local_store(settings),
        chosen,
        **{"level": level, "log": quiet, **options},
    )


def server_state(cluster: Cluster) -> dict[str, object]:
    """Every database and role of a server, with what makes them the same ones."""
    with connect(cluster, "postgres") as connection:
        return {
            "databases": connection.execute("SELECT datname, oid FROM pg_database ORDER BY 1").fetchall(),
            "roles": connection.execute("SELECT rolname, rolpassword, oid FROM pg_authid ORDER BY 1").fetchall(),
            "members": connection.execute("SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2").fetchall(),
        }


def databases_of(cluster: Cluster) -> set[str]:
    with connect(cluster, "postgres") as connection:
        return {str(name) for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def rows_of(cluster: Cluster, name: str) -> dict[str, int]:
    """Count the rows of every table that a user made."""
    with connect(cluster, name) as connection:
        tables = connection.execute("SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY 1, 2").fetchall()
        return {
            f"{schema}.{table}": connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            ).fetchall()[0][0]
            for schema, table in tables
        }


def files_of(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def can_log_in(cluster: Cluster, role: str, password: str, dbname: str = "postgres") -> bool:
    try:
        connect(cluster, dbname, user=role, password=password).close()
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error), error
        return False
    return True


def drop_new(cluster: Cluster, databases: set[str], roles: set[str]) -> None:
    """Remove every database and role that was not there before."""
    with connect(cluster, "postgres") as connection:
        for name in databases_of(cluster) - databases:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        new = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()} - roles
        for name in new:
            with suppress(psycopg.errors.UndefinedObject):
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def unique(name: str) -> str:
    return f"{name}_{uuid.uuid4().hex[:8]}"


# -- damage ------------------------------------------------------------------------------------------------------------


def path_of(settings: Settings, manifest: Manifest, role: str) -> Path:
    """Return where a set's artifact lies in the local store."""
    artifact = manifest.artifact(role)
    assert artifact is not None
    return local_store(settings).path_of(place_of(settings.databases[0], settings).key(artifact.name))


def manifest_path(settings: Settings, set_id: str) -> Path:
    return local_store(settings).path_of(place_of(settings.databases[0], settings).manifest_key(set_id))


def reseal(settings: Settings, manifest: Manifest, change: Callable[[dict[str, Any]], None] | None = None) -> Manifest:
    """Write the manifest anew, with the sizes and hashes that its files have now, as somebody could who wants to."""
    tree = manifest.model_dump(mode="json")
    for artifact in tree["artifacts"]:
        content = path_of(settings, manifest, artifact["role"]).read_bytes()
        artifact["size_bytes"] = len(content)
        artifact["sha256"] = hashlib.sha256(content).hexdigest()
    if change is not None:
        change(tree)
    changed = Manifest.model_validate_json(Manifest.model_validate(tree, strict=False).model_dump_json())
    manifest_path(settings, manifest.id).write_bytes(changed.to_json())
    return changed


def overwrite(path: Path, content: bytes) -> None:
    """Replace a stored file's content without caring for anything."""
    path.chmod(0o600)
    path.write_bytes(content)


def flip_bit(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    overwrite(path, bytes(content))
