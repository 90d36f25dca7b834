"""The exported snapshot of a capture, and the small things that are read in it beside the fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from backup_assets.capture.fingerprints import search_path
from backup_assets.errors import EnvironmentFault, SettingsError
from backup_assets.files import CHUNK_BYTES
from backup_assets.postgres.names import quote_name, split_table
from backup_assets.postgres.session import LockedOut, Session, one_row, one_value
from backup_assets.sets.manifest import SnapshotFacts
from backup_assets.settings_capture import FileColumn


@contextmanager
def exported_snapshot(session: Session, *, in_recovery: bool) -> Iterator[SnapshotFacts]:
    """Hold one read-only transaction open, whose snapshot pg_dump and the fingerprints share."""
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    position = "pg_last_wal_replay_lsn" if in_recovery else "pg_current_wal_lsn"
    name, taken_at, lsn = one_row(
        session, f"SELECT pg_catalog.pg_export_snapshot(), clock_timestamp(), pg_catalog.{position}()"
    )
    yield SnapshotFacts(taken_at=datetime.fromisoformat(str(taken_at)), lsn=str(lsn), name=str(name))
    session.execute("COMMIT")


def read_schema_version(session: Session, query: str | None) -> str | None:
    """Return the one value of the configured query; raises EnvironmentFault naming the setting when it fails."""
    if query is None:
        return None
    session.execute(f"SET search_path = {search_path(session)}")
    try:
        return one_value(session, query.strip().removesuffix(";"))
    except LockedOut:
        raise
    except EnvironmentFault as error:
        raise EnvironmentFault(
            "the schema-version query failed",
            why=error.why or error.what,
            remedy="correct SCHEMA_VERSION_QUERY (schema_version_query in backup.yaml)",
        ) from error


def write_named_files(session: Session, columns: Sequence[FileColumn], path: Path) -> Path:
    """Write the file names that rows hold in this snapshot to ``path``, each ended by a NUL, and return it."""
    with path.open("wb") as handle:
        for source in columns:
            schema, table = split_table(source.table)
            column = quote_name(source.column)
            query = (
                f"SELECT {column}::text FROM {quote_name(schema)}.{quote_name(table)} "
                f"WHERE {column} IS NOT NULL AND {column}::text <> ''"
            )
            try:
                for (name,) in session.rows(query):
                    handle.write(str(name).removeprefix(source.strip_prefix).encode() + b"\0")
            except LockedOut:
                raise
            except EnvironmentFault as error:
                raise SettingsError(
                    f"the file names in {schema}.{table}.{source.column} cannot be read",
                    why=error.why or error.what,
                    remedy="correct ASSET_FILE_COLUMN (attachments.files in backup.yaml)",
                ) from error
    return path


def read_named_files(path: Path) -> Iterator[str]:
    """Yield the names that :func:`write_named_files` wrote."""
    with path.open("rb") as handle:
        rest = b""
        while chunk := handle.read(CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\0")
            for name in whole:
                yield name.decode()
