"""What does one database look like: its schema, its rows, the newest time on record?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_assets.capture.fingerprints import NamedQuery, dumped_tables, search_path, take_fingerprints
from backup_assets.capture.snapshot import read_schema_version
from backup_assets.postgres.names import quote_literal, quote_name
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, open_session, text_value
from backup_assets.sets.manifest import Fingerprints
from backup_assets.settings import DatabaseSettings

_OWN = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_NAMED = "quote_ident(n.nspname) || '.' || quote_ident({0})"
#: Everything that a migration makes, as its kind, its name and its definition. Read with an empty search path, so that
#: definitions name their schemas.
_SCHEMA = f"""
SELECT 'schema', quote_ident(n.nspname), '' FROM pg_catalog.pg_namespace n WHERE {_OWN}
UNION ALL
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    WHEN 'f' THEN 'foreign table' ELSE 'table' END,
  {_NAMED.format("c.relname")}, CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE {_OWN} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
UNION ALL
SELECT 'column', {_NAMED.format("c.relname")} || '.' || quote_ident(a.attname),
  format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
    || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE {_OWN} AND c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', {_NAMED.format("c.relname")} || '.' || quote_ident(k.conname), pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {_OWN} AND c.relpersistence <> 't'
UNION ALL
SELECT 'index', {_NAMED.format("i.relname")}, pg_get_indexdef(x.indexrelid)
  || CASE WHEN x.indisvalid THEN '' ELSE ' (invalid)' END
FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace WHERE {_OWN} AND i.relpersistence <> 't'
UNION ALL
SELECT 'trigger', {_NAMED.format("c.relname")} || '.' || quote_ident(t.tgname), pg_get_triggerdef(t.oid)
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {_OWN} AND NOT t.tgisinternal
UNION ALL
SELECT 'function', {_NAMED.format("p.proname")} || '(' || pg_get_function_identity_arguments(p.oid) || ')',
  CASE WHEN p.prokind IN ('f', 'p') THEN md5(pg_get_functiondef(p.oid)) ELSE '' END
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {_OWN}
UNION ALL
SELECT 'extension', quote_ident(e.extname), e.extversion FROM pg_catalog.pg_extension e
"""
_MOMENTS = """
SELECT n.nspname, c.relname, a.attname
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
ORDER BY 1, 2, a.attnum
"""
_LOGGED = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'u'
"""

SchemaPart = tuple[str, str]


@dataclass(frozen=True)
class Look:
    """What was seen of a database in one transaction.

    ``schema`` maps kind and name of everything defined to its definition. ``newest`` is the newest time that any
    column of time holds, of those up to the moment asked about (what lies later is not looked at); None where there is
    none, and ``time_columns`` says how many there are. ``server_started`` tells servers apart. ``unlogged`` are tables
    that are empty after every crash and restore.
    """

    fingerprints: Fingerprints
    schema: dict[SchemaPart, str]
    schema_version: str | None
    major: int
    newest: datetime | None
    time_columns: int
    server_started: str
    unlogged: frozenset[tuple[str, str]]


def look_at(
    server: Server,
    database: DatabaseSettings,
    queries: Sequence[NamedQuery],
    *,
    contents: bool,
    up_to: datetime,
    seconds: float,
) -> Look:
    """Look at a database and return what is there; ``contents``: every row of every table is read and hashed.

    No statement takes longer than ``seconds``. Raises TransientFault when the server cannot be reached,
    EnvironmentFault when it does not let us read something or a query of the integrity file fails.
    """
    with open_session(server, database.database, timeout=seconds) as session, _one_moment(session, seconds):
        started = text_value(session, "SELECT pg_catalog.pg_postmaster_start_time()")
        version = int(text_value(session, "SELECT current_setting('server_version_num')"))
        path = search_path(session)
        schema_version = read_schema_version(session, database.schema_version_query)
        session.execute("SET search_path = pg_catalog")
        schema = {(str(kind), str(name)): str(text) for kind, name, text in session.rows(_SCHEMA)}
        unlogged = frozenset((str(space), str(name)) for space, name in session.rows(_LOGGED))
        newest, columns = _newest(session, up_to)
        fingerprints = take_fingerprints(
            session,
            tables=dumped_tables(session),
            hashed=None if contents else frozenset(),
            everything=True,
            queries=queries,
            path=path,
            hash_large_objects=False,
        )
    return Look(fingerprints, schema, schema_version, version // 10000, newest, columns, started, unlogged)


@contextmanager
def _one_moment(session: Session, seconds: float) -> Iterator[None]:
    session.execute(f"SET statement_timeout = {max(1, int(seconds * 1000))}")
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    yield
    session.execute("COMMIT")


def _newest(session: Session, up_to: datetime) -> tuple[datetime | None, int]:
    """Return the newest time up to ``up_to`` in any column of time, and how many such columns there are."""
    columns: dict[tuple[str, str], list[str]] = {}
    for schema, table, column in list(session.rows(_MOMENTS)):
        columns.setdefault((str(schema), str(table)), []).append(str(column))
    limit = quote_literal(up_to.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
    found: list[datetime] = []
    for (schema, table), names in columns.items():
        # The session's zone is UTC: what has no zone is read as UTC, in both databases alike.
        ends = ", ".join(f"max({quote_name(one)}) FILTER (WHERE {quote_name(one)} <= {limit})" for one in names)
        row = next(session.rows(f"SELECT {ends} FROM ONLY {quote_name(schema)}.{quote_name(table)}"))
        found += [moment for text in row if (moment := _moment(text)) is not None]
    return max(found, default=None), sum(map(len, columns.values()))


def _moment(text: str | None) -> datetime | None:
    """Return a time as PostgreSQL writes it in UTC; None for one that Python has no word for (BC, infinity)."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


#: Clocks and the moment at which RDS takes a snapshot are known to some minutes.
TOLERANCE = timedelta(minutes=10)
