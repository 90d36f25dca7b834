"""Whether a restored database equals the figures of its manifest, difference by difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backup_assets.sets.manifest import Fingerprints, IntegrityResult
from backup_assets.sets.records import Problem


def differences(expected: Fingerprints, found: Fingerprints, *, content: bool) -> tuple[Problem, ...]:
    """Return every difference. ``content``: content hashes count too, wherever the manifest has them.

    Sequences stand outside of snapshots, and a busy source moves them on while it is dumped: only one that is missing
    is a difference.
    """
    return (
        *_tables(expected, found, content=content),
        *_sequences(expected, found),
        *_large_objects(expected, found, content=content),
        *_integrity(expected.integrity, found.integrity),
    )


def _tables(expected: Fingerprints, found: Fingerprints, *, content: bool) -> Iterator[Problem]:
    restored = {(table.table_schema, table.name): table for table in found.tables}
    for table in expected.tables:
        name = f"{table.table_schema}.{table.name}"
        other = restored.pop((table.table_schema, table.name), None)
        if other is None:
            yield Problem(what=f"table {name}", expected=f"{table.rows} rows", found="no such table")
        elif other.rows != table.rows:
            yield Problem(what=f"rows of {name}", expected=str(table.rows), found=str(other.rows))
        elif content and table.content_hash is not None and table.content_hash != other.content_hash:
            yield Problem(what=f"content of {name}", expected=table.content_hash, found=str(other.content_hash))
    for schema, name in restored:
        yield Problem(what=f"table {schema}.{name}", expected="no such table", found="an unknown table")


def _sequences(expected: Fingerprints, found: Fingerprints) -> Iterator[Problem]:
    restored = {(sequence.table_schema, sequence.name) for sequence in found.sequences}
    for sequence in expected.sequences:
        if (sequence.table_schema, sequence.name) not in restored:
            name = f"{sequence.table_schema}.{sequence.name}"
            yield Problem(what=f"sequence {name}", expected=str(sequence.last_value), found="no such sequence")


def _large_objects(expected: Fingerprints, found: Fingerprints, *, content: bool) -> Iterator[Problem]:
    ours, theirs = expected.large_objects, found.large_objects
    if ours.count != theirs.count:
        yield Problem(what="large objects", expected=str(ours.count), found=str(theirs.count))
    elif content and ours.content_hash is not None and ours.content_hash != theirs.content_hash:
        yield Problem(what="content of large objects", expected=ours.content_hash, found=str(theirs.content_hash))


def _integrity(expected: Sequence[IntegrityResult], found: Sequence[IntegrityResult]) -> Iterator[Problem]:
    restored = {result.name: result for result in found}
    for result in expected:
        other = restored.get(result.name)
        if other is None or other.rows != result.rows:
            yield Problem(
                what=f"integrity query {result.name}",
                expected=_shown(result),
                found=_shown(other) if other else "not run",
            )


def _shown(result: IntegrityResult) -> str:
    rows = ["(" + ", ".join("NULL" if value is None else value for value in row) + ")" for row in result.rows[:5]]
    more = f" and {len(result.rows) - 5} more rows" if len(result.rows) > 5 else ""
    return "; ".join(rows)[:500] + more or "no rows"
