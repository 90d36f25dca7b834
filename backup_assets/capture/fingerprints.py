"""What a database holds, in figures: counts, content hashes and the user's own totals, of one session's snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backup_assets.errors import EnvironmentFault, SettingsError
from backup_assets.postgres.names import quote_literal, quote_name, split_table, statements
from backup_assets.postgres.session import Session, one_row, one_value, text_value
from backup_assets.sets.manifest import Fingerprints, IntegrityResult, LargeObjects, SequenceValue, TableFingerprint

#: Tables whose rows pg_dump writes: ordinary ones (leaf partitions among them), not those of an extension, but yes
#: the user's own in the schema of an extension.
_TABLES = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
    AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid)
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
#: A standby has no rows of unlogged tables, and pg_dump writes none there.
_WITHOUT_ROWS = _TABLES.replace("c.relpersistence <> 't'", "c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery()")
_SEQUENCES = _TABLES.replace("c.relkind = 'r'", "c.relkind = 'S'")
_LEAVES = """
WITH RECURSIVE leaf(oid) AS (
  SELECT {table}::regclass::oid
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN leaf ON i.inhparent = leaf.oid)
SELECT n.nspname, c.relname
FROM leaf JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
"""
#: A column may be named like the alias and would then be hashed alone; nobody names a column so.
_ROW = "backup_assets_row"
#: A sum does not lose pairs of equal rows as bit_xor does. The hash function has been the same since PostgreSQL 11.
_CONTENT_HASH = f'sum(hashtextextended({_ROW}::text COLLATE "C", 0))'
#: Read piece by piece, because a large object may be larger than any value.
_LARGE_OBJECTS_HASH = """
SELECT coalesce(sum(hashtextextended(
  m.oid::text || ':' || piece::text || ':' || md5(lo_get(m.oid, piece, 16777216)), 0)), 0)
FROM pg_catalog.pg_largeobject_metadata m
CROSS JOIN LATERAL generate_series(0::bigint, (SELECT coalesce(max(l.pageno), 0)::bigint * 2048 + 2047
  FROM pg_catalog.pg_largeobject l WHERE l.loid = m.oid), 16777216) AS piece
"""

Table = tuple[str, str]


@dataclass(frozen=True)
class NamedQuery:
    """One query of an integrity file."""

    name: str
    query: str


def parse_integrity_file(path: Path) -> tuple[NamedQuery, ...]:
    """Return the queries of an integrity file: each begins with a line ``-- name: <name>`` and is one statement.

    Raises SettingsError naming file and line when the file cannot be read as that.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the integrity file {path} cannot be read", why=str(error), remedy="check INTEGRITY_SQL (integrity_sql)"
        ) from error
    blocks: list[tuple[str, int, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        mark, colon, rest = line.strip().partition(":")
        if colon and mark.replace(" ", "").lower() == "--name":
            blocks.append((rest.strip(), number, []))
        elif blocks:
            blocks[-1][2].append(line)
        elif line.strip() and not line.strip().startswith("--"):
            raise SettingsError(
                f"{path}:{number}: a query stands before the first name",
                remedy="put a line `-- name: invoice_total` before each query",
            )
    queries: list[NamedQuery] = []
    for name, number, body in blocks:
        found = list(statements("\n".join(body)))
        if not name or any(query.name == name for query in queries):
            raise SettingsError(f"{path}:{number}: the name {name!r} is empty or used twice", remedy="name each query")
        if len(found) != 1:
            raise SettingsError(
                f"{path}:{number}: {name} has {len(found)} statements, exactly one query is expected",
                remedy="end each query with a semicolon and give each its own name",
            )
        queries.append(NamedQuery(name, found[0]))
    if not queries:
        raise SettingsError(f"{path} names no query", remedy="put a line `-- name: invoice_total` before each query")
    return tuple(queries)


def dumped_tables(session: Session) -> list[Table]:
    """Return schema and name of every table whose rows a dump of this database holds."""
    return [(str(schema), str(name)) for schema, name in session.rows(_TABLES)]


def tables_below(session: Session, configured: Sequence[str]) -> list[Table]:
    """Return the tables that hold the rows of the configured ones: themselves, their partitions and heirs.

    Raises SettingsError when one does not exist.
    """
    found: list[Table] = []
    for name in configured:
        schema, table = split_table(name)
        quoted = quote_literal(f"{quote_name(schema)}.{quote_name(table)}")
        if one_value(session, f"SELECT to_regclass({quoted})") is None:
            raise SettingsError(
                f"the important table {schema}.{table} does not exist",
                remedy="correct IMPORTANT_TABLES (important_tables in backup.yaml)",
            )
        found += [(str(s), str(t)) for s, t in session.rows(_LEAVES.format(table=quoted))]
    return sorted(set(found))


def search_path(session: Session) -> str:
    """Return the schemas that unqualified names are looked up in, as a value for ``SET search_path``."""
    return text_value(
        session,
        "SELECT coalesce(string_agg(quote_ident(s), ', ' ORDER BY n), 'pg_catalog') "
        "FROM unnest(current_schemas(false)) WITH ORDINALITY AS path(s, n)",
    )


def take_fingerprints(
    session: Session,
    *,
    tables: Sequence[Table],
    hashed: frozenset[Table] | None,
    everything: bool,
    queries: Sequence[NamedQuery],
    path: str,
    hash_large_objects: bool,
) -> Fingerprints:
    """Return the figures of ``tables`` as this session's snapshot sees them.

    ``hashed``: the tables whose content is hashed, None for all. ``everything`` adds sequences and large objects.
    ``queries`` are run with ``path`` as their search path.
    """
    # Values such as regclass are written with their schema unless it is in the path, which roles and databases set.
    session.execute("SET search_path = pg_catalog")
    empty = {(str(schema), str(name)) for schema, name in session.rows(_WITHOUT_ROWS)}
    fingerprints = [_table(session, table, hashed is None or table in hashed, table in empty) for table in tables]
    return Fingerprints(
        tables=tuple(fingerprints),
        sequences=tuple(_sequences(session)) if everything else (),
        large_objects=_large_objects(session, hash_large_objects) if everything else LargeObjects(count=0),
        integrity=tuple(_integrity(session, queries, path)),
        search_path=path,
    )


def _table(session: Session, table: Table, hashed: bool, empty: bool) -> TableFingerprint:
    if empty:
        return TableFingerprint(table_schema=table[0], name=table[1], rows=0, content_hash="0" if hashed else None)
    content = f", coalesce({_CONTENT_HASH}, 0)" if hashed else ", NULL"
    row = one_row(
        session,
        f"SELECT count(*){content} FROM ONLY {quote_name(table[0])}.{quote_name(table[1])} AS {_ROW}",
    )
    return TableFingerprint(table_schema=table[0], name=table[1], rows=int(row[0] or 0), content_hash=row[1])


def _sequences(session: Session) -> list[SequenceValue]:
    values = []
    for schema, name in list(session.rows(_SEQUENCES)):
        last, called = one_row(
            session, f"SELECT last_value, is_called FROM {quote_name(str(schema))}.{quote_name(str(name))}"
        )
        values.append(
            SequenceValue(table_schema=str(schema), name=str(name), last_value=int(last or 0), is_called=called == "t")
        )
    return values


def _large_objects(session: Session, hashed: bool) -> LargeObjects:
    count = int(text_value(session, "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata"))
    readable = text_value(session, "SELECT has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')") == "t"
    content = text_value(session, _LARGE_OBJECTS_HASH) if hashed and count and readable else None
    return LargeObjects(count=count, content_hash=content)


def _integrity(session: Session, queries: Sequence[NamedQuery], path: str) -> list[IntegrityResult]:
    if not queries:
        return []
    session.execute(f"SET search_path = {path}")
    results = []
    for query in queries:
        try:
            names, *rows = list(session.rows(query.query, header=True))
        except EnvironmentFault as error:
            raise EnvironmentFault(
                f"the integrity query {query.name} failed", why=error.why or error.what, remedy="correct it in its file"
            ) from error
        results.append(
            IntegrityResult(name=query.name, query=query.query, columns=tuple(map(str, names)), rows=tuple(rows))
        )
    return results
