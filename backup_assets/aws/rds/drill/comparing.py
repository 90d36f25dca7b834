"""Is a restored database what the source was at a moment, as far as that can be said of a source that moves on?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_assets.aws.rds.looks import TOLERANCE, Look
from backup_assets.sets.manifest import Fingerprints, IntegrityResult, Manifest, TableFingerprint
from backup_assets.sets.records import Problem

_SHOWN = 10
Table = tuple[str, str]


@dataclass(frozen=True)
class TableRow:
    """One table in the three places; ``content`` says what its content was compared with, and what came of it."""

    name: str
    restored: int | None
    source: int | None
    content: str


@dataclass(frozen=True)
class Compared:
    """What can be said: found right, worth knowing, wrong. Nothing is called equal that was not compared."""

    tables: tuple[TableRow, ...]
    confirmed: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    equal_content: int
    row_difference: int


def compare(restored: Look, source: Look, shows: datetime, sets: Sequence[Manifest]) -> Compared:
    """Compare what was restored, which shows the moment ``shows``, with the source now and with backup sets around it.

    Wrong is only what no change of the source since then explains: another schema of the same version, a table that
    lost all its rows, nothing as new as the source says it had by then. Everything else is told with its difference.
    """
    # Text of values, and with it the hashes, can be compared within a major version only.
    sets = [one for one in sets if one.server.major == restored.major]
    confirmed: list[str] = []
    notes: list[str] = []
    problems: list[Problem] = []
    for part in (
        _rows(restored),
        _schema(restored, source, shows),
        _emptied(restored, source, sets),
        _newness(restored, source, shows),
        _too_new(restored, source, shows),
        _integrity(restored.fingerprints, source.fingerprints, sets),
        _contents(restored.fingerprints, sets, shows),
    ):
        for said in part:
            if isinstance(said, Problem):
                problems.append(said)
            else:
                (confirmed if said[0] == "right" else notes).append(said[1])
    tables = tuple(_table_rows(restored.fingerprints, source.fingerprints, sets))
    counts = [abs(one.restored - one.source) for one in tables if one.restored is not None and one.source is not None]
    return Compared(
        tables,
        tuple(confirmed),
        tuple(notes),
        tuple(problems),
        sum(one.content.startswith("same") for one in tables),
        sum(counts),
    )


Said = Problem | tuple[str, str]


def _right(text: str) -> Said:
    return "right", text


def _note(text: str) -> Said:
    return "note", text


def _rows(restored: Look) -> Iterator[Said]:
    found = restored.fingerprints
    yield _right(f"all {found.total_rows:,} rows in {len(found.tables)} tables of the restored database can be read")


def _schema(restored: Look, source: Look, shows: datetime) -> Iterator[Said]:
    if restored.major != source.major:
        yield _note(
            f"the schema was not compared: the source is PostgreSQL {source.major} now, the restored one "
            f"{restored.major}"
        )
        return
    different = sorted(
        (part for part in restored.schema.keys() | source.schema.keys() if _differs(part, restored, source)),
    )
    if not different:
        yield _right(f"the schema is that of the source: {len(source.schema)} tables, columns, indexes and the like")
        return
    named = ", ".join(f"{kind} {name}" for kind, name in different[:_SHOWN])
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    if restored.schema_version != source.schema_version:
        yield _note(
            f"the schema is of version {restored.schema_version}, the source's now {source.schema_version}; "
            f"they differ in {named}{more}"
        )
        return
    version = restored.schema_version
    yield Problem(
        what="the schema differs from that of the source" + (f", both of version {version}" if version else ""),
        expected="the same tables, columns, indexes and the like",
        found=named + more,
        remedy=f"if a migration ran since {shows:%Y-%m-%d %H:%M} UTC, repeat the drill after the next snapshot"
        + ("" if version else ", and set `schema_version_query`, by which a drill can tell that")
        + "; if none did, do not rely on this snapshot",
    )


def _differs(part: tuple[str, str], restored: Look, source: Look) -> bool:
    return restored.schema.get(part) != source.schema.get(part)


def _emptied(restored: Look, source: Look, sets: Sequence[Manifest]) -> Iterator[Said]:
    """Yield a problem for each table that has rows before and after the moment, and none in what was restored."""
    now = _by_name(source.fingerprints)
    for table in restored.fingerprints.tables:
        key = _key(table)
        other = now.get(key)
        if table.rows or other is None or not other.rows:
            continue
        if key in restored.unlogged:
            yield _note(f"the unlogged table {_text(key)} is empty: PostgreSQL empties those after every restore")
            continue
        before = [one for manifest in sets if (one := _by_name(manifest.fingerprints).get(key)) is not None]
        if before and all(one.rows for one in before):
            yield Problem(
                what=f"table {_text(key)} is empty in the restored database",
                expected=f"rows, as in the backup sets around it ({before[0].rows:,}) and now ({other.rows:,})",
                found="0 rows",
                remedy="do not rely on this snapshot: take another, and repeat the drill",
            )
        else:
            yield _note(
                f"table {_text(key)} is empty in the restored database and has {other.rows:,} rows now; no backup set "
                "says how many it had then"
            )


def _newness(restored: Look, source: Look, shows: datetime) -> Iterator[Said]:
    limit, there, now = shows - TOLERANCE, restored.glance, source.glance
    if now.newest is None:
        why = f"no time before {limit:%Y-%m-%d %H:%M} UTC on record" if now.times else "no column of time"
        yield _note(f"how new the restored data is was not compared: the source has {why}")
    elif there.newest is None or there.newest < now.newest - TOLERANCE:
        found = f"{there.newest:%Y-%m-%d %H:%M:%S} UTC" if there.newest else "no time at all"
        yield Problem(
            what=f"the restored data is older than the moment that it should show, {shows:%Y-%m-%d %H:%M} UTC",
            expected=f"times up to {now.newest:%Y-%m-%d %H:%M:%S} UTC, which the source has on record",
            found=found,
            remedy="compare newly entered data by hand; where it was not entered later with an earlier date, do not "
            "rely on this snapshot",
        )
    else:
        yield _right(
            f"the newest time on record up to {limit:%Y-%m-%d %H:%M:%S} UTC is {there.newest:%Y-%m-%d %H:%M:%S} UTC "
            f"there, and {now.newest:%Y-%m-%d %H:%M:%S} UTC in the source ({len(now.times)} columns of time)"
        )


def _too_new(restored: Look, source: Look, shows: datetime) -> Iterator[Said]:
    """Yield a problem when there are rows from after the moment: then something else was looked at."""
    newer = restored.glance.newer_than(shows, source.glance)
    if newer:
        named = ", ".join(f"{name}: {newest:%Y-%m-%d %H:%M:%S} UTC" for name, newest in newer[:_SHOWN])
        yield Problem(
            what="the restored database has rows that are newer than the moment that it should show",
            expected=f"nothing later than {shows:%Y-%m-%d %H:%M} UTC",
            found=named,
            remedy="look whether `rds.drill.host` and `rds.drill.port` lead to another server; if they are right, or "
            "left out, look whether these times were planned ahead",
        )


def _integrity(restored: Fingerprints, source: Fingerprints, sets: Sequence[Manifest]) -> Iterator[Said]:
    if not restored.integrity:
        yield _note("no integrity queries were run, because `integrity_sql` is not set")
        return
    references = [("the source now", _results(source))]
    references += [(f"the backup set {one.id}", _results(one.fingerprints)) for one in sets]
    yield _right(f"all {len(restored.integrity)} integrity queries can be run on the restored database")
    for result in restored.integrity:
        same = [name for name, known in references if known.get((result.name, result.query)) == result.rows]
        if same:
            yield _right(f"the integrity query {result.name} gives the same as in {' and in '.join(same)}")
        else:
            yield _note(
                f"the integrity query {result.name} gives {_shown(result)}; in the source now "
                f"{_shown(_of(source, result))}: what was written since explains a difference, and does not prove one"
            )


def _contents(restored: Fingerprints, sets: Sequence[Manifest], shows: datetime) -> Iterator[Said]:
    if not sets:
        yield _note(
            f"no content was compared: there is no backup set with figures around {shows:%Y-%m-%d %H:%M} UTC, and the "
            "source has moved on since"
        )
        return
    same = sum(_content(table, sets).startswith("same") for table in restored.tables)
    text = f"the content of {same} of {len(restored.tables)} tables is the same as in a backup set around that moment"
    names = ", ".join(f"{one.id} of {one.snapshot.taken_at:%Y-%m-%d %H:%M} UTC" for one in sets)
    if same:
        yield _right(f"{text} ({names})")
    else:
        yield _note(f"{text} ({names}): what was written in between explains it, and nothing of it is proven equal")


def _table_rows(restored: Fingerprints, source: Fingerprints, sets: Sequence[Manifest]) -> Iterator[TableRow]:
    ours, theirs = _by_name(restored), _by_name(source)
    for key in sorted(ours.keys() | theirs.keys()):
        own, other = ours.get(key), theirs.get(key)
        content = "not there" if own is None else _content(own, sets)
        yield TableRow(_text(key), own.rows if own else None, other.rows if other else None, content)


def _content(table: TableFingerprint, sets: Sequence[Manifest]) -> str:
    compared = False
    for manifest in sets:
        known = _by_name(manifest.fingerprints).get(_key(table))
        if known is None or known.content_hash is None or table.content_hash is None:
            continue
        compared = True
        if (known.rows, known.content_hash) == (table.rows, table.content_hash):
            return f"same as {manifest.id}"
    return "other than in the sets" if compared else "not compared"


def _by_name(fingerprints: Fingerprints) -> dict[Table, TableFingerprint]:
    return {_key(table): table for table in fingerprints.tables}


def _key(table: TableFingerprint) -> Table:
    return table.table_schema, table.name


def _text(key: Table) -> str:
    return f"{key[0]}.{key[1]}"


def _results(fingerprints: Fingerprints) -> dict[tuple[str, str], tuple[tuple[str | None, ...], ...]]:
    return {(one.name, one.query): one.rows for one in fingerprints.integrity}


def _of(fingerprints: Fingerprints, result: IntegrityResult) -> IntegrityResult | None:
    return next((one for one in fingerprints.integrity if one.name == result.name), None)


def _shown(result: IntegrityResult | None) -> str:
    if result is None:
        return "nothing"
    rows = ["(" + ", ".join("NULL" if value is None else value for value in row) + ")" for row in result.rows[:3]]
    return ("; ".join(rows) or "no rows")[:200] + (" …" if len(result.rows) > 3 else "")
