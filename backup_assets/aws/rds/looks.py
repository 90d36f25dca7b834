"""What does one database look like: its schema, its rows, the newest time on record?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_assets.capture.fingerprints import NamedQuery, dumped_tables, search_path, take_fingerprints
from backup_assets.capture.snapshot import read_schema_version
from backup_assets.postgres.names import quote_literal, quote_name
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, one_row, open_session, text_value
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
#: The last: whether a row gets the time of its own insertion. Only with a zone; else nobody knows which one is meant.
_MOMENTS = r"""
SELECT n.nspname, c.relname, a.attname, a.atttypid = 'timestamptz'::regtype
  AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') ~*
    '^(now|clock_timestamp|statement_timestamp|transaction_timestamp)\(\)$|^CURRENT_TIMESTAMP'
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
ORDER BY 1, 2, a.attnum
"""
_LOGGED = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'u'
"""

_SERVER = "SELECT pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(), clock_timestamp()"

SchemaPart = tuple[str, str]


@dataclass(frozen=True)
class TimeColumn:
    """A column of time: ``newest`` of all its values, None without any and for what Python has no word for.

    ``of_insertion``: a row that says nothing else gets the time at which it is inserted.
    """

    newest: datetime | None
    of_insertion: bool = False


@dataclass(frozen=True)
class Glance:
    """What is seen of a database at a glance.

    ``server_started`` tells servers apart; ``is_replica``: it follows another one. ``looked_at`` is the time there.
    ``newest`` is the newest time that any column of time holds, of those up to the moment asked about; None where there
    is none. ``times`` has all columns of time by their names.
    """

    server_started: str
    is_replica: bool
    looked_at: datetime
    newest: datetime | None
    times: Mapping[str, TimeColumn]

    def newer_than(self, moment: datetime, source: Glance) -> tuple[tuple[str, datetime], ...]:
        """Return the columns, with their newest value, in which rows show that the data is newer than ``moment``.

        Counted is what lies in the past, in columns of insertion, and in those in which the source has nothing planned:
        no value after the time that it is there.
        """
        found = []
        for name, column in sorted(self.times.items()):
            other = source.times.get(name)
            newest, theirs = column.newest, other.newest if other else None
            if newest is None or not moment + TOLERANCE < newest <= self.looked_at:
                continue
            if column.of_insertion or (theirs is not None and theirs <= source.looked_at + TOLERANCE):
                found.append((name, newest))
        return tuple(found)


@dataclass(frozen=True)
class Look:
    """What was seen of a database in one transaction.

    ``schema`` maps kind and name of everything defined to its definition. ``unlogged`` are tables that are empty after
    every crash and restore.
    """

    glance: Glance
    fingerprints: Fingerprints
    schema: dict[SchemaPart, str]
    schema_version: str | None
    major: int
    unlogged: frozenset[tuple[str, str]]


def glance_at(server: Server, database: DatabaseSettings, *, up_to: datetime, seconds: float) -> Glance:
    """Look at a database without counting its rows. Raises as `look_at` does."""
    with open_session(server, database.database, timeout=seconds) as session, _one_moment(session, seconds):
        return _glance(session, up_to)


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
        version = int(text_value(session, "SELECT current_setting('server_version_num')"))
        path = search_path(session)
        schema_version = read_schema_version(session, database.schema_version_query)
        session.execute("SET search_path = pg_catalog")
        schema = {(str(kind), str(name)): str(text) for kind, name, text in session.rows(_SCHEMA)}
        unlogged = frozenset((str(space), str(name)) for space, name in session.rows(_LOGGED))
        glance = _glance(session, up_to)
        fingerprints = take_fingerprints(
            session,
            tables=dumped_tables(session),
            hashed=None if contents else frozenset(),
            everything=True,
            queries=queries,
            path=path,
            hash_large_objects=False,
        )
    return Look(glance, fingerprints, schema, schema_version, version // 10000, unlogged)


@contextmanager
def _one_moment(session: Session, seconds: float) -> Iterator[None]:
    session.execute(f"SET statement_timeout = {max(1, int(seconds * 1000))}")
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    yield
    session.execute("COMMIT")


def _glance(session: Session, up_to: datetime) -> Glance:
    tables: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for schema, table, column, of_insertion in list(session.rows(_MOMENTS)):
        tables.setdefault((str(schema), str(table)), []).append((str(column), of_insertion == "t"))
    limit = quote_literal(up_to.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
    newest: list[datetime] = []
    times: dict[str, TimeColumn] = {}
    for (schema, table), columns in tables.items():
        # The session's zone is UTC: what has no zone is read as UTC, in both databases alike.
        names = [quote_name(name) for name, _ in columns]
        ends = ", ".join(f"max({one}) FILTER (WHERE {one} <= {limit}), max({one})" for one in names)
        row = next(session.rows(f"SELECT {ends} FROM ONLY {quote_name(schema)}.{quote_name(table)}"))
        newest += [moment for text in row[::2] if (moment := _moment(text)) is not None]
        for (name, of_insertion), text in zip(columns, row[1::2], strict=True):
            times[f"{schema}.{table}.{name}"] = TimeColumn(_moment(text), of_insertion)
    started, replica, now = one_row(session, _SERVER)
    looked_at = _moment(now)
    if looked_at is None:
        raise AssertionError(f"the server says that it is {now}")
    return Glance(str(started), replica == "t", looked_at, max(newest, default=None), times)


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
