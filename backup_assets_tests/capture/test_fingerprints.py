from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.capture.fingerprints import dumped_tables, parse_integrity_file, tables_below, take_fingerprints
from backup_assets.errors import EnvironmentFault, SettingsError
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.session import open_session
from backup_assets.restore.comparison import differences
from backup_assets.sets.manifest import Fingerprints
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.sources import Source

ROWS = (
    "CREATE TABLE t (id int PRIMARY KEY, a text, b numeric)",
    "INSERT INTO t SELECT n, 'a' || n, n FROM generate_series(1, 100) n",
    "CREATE TABLE doubles (a int)",
    "INSERT INTO doubles SELECT n % 5 FROM generate_series(1, 100) n",
    "SELECT lo_from_bytea(1001, convert_to(repeat('x', 20000000), 'UTF8'))",
    "SELECT lo_from_bytea(1002, 'abc')",
)


def fingerprints(source: Source) -> Fingerprints:
    with open_session(source.server, source.name) as session:
        return take_fingerprints(
            session,
            tables=dumped_tables(session),
            hashed=None,
            everything=True,
            queries=(),
            path="public",
            hash_large_objects=True,
        )


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        ("UPDATE t SET a = 'changed' WHERE id = 50", "content of public.t"),
        ("UPDATE t SET a = NULL WHERE id = 50", "content of public.t"),
        ("UPDATE t SET b = 50.0 WHERE id = 50", "content of public.t"),
        ("DELETE FROM t WHERE id = 50", "rows of public.t"),
        ("INSERT INTO t VALUES (101, 'a101', 101)", "rows of public.t"),
        ("UPDATE t SET a = 'a' || 3 - id WHERE id IN (1, 2)", "content of public.t"),
        ("UPDATE t SET id = 1000 WHERE id = 1", "content of public.t"),
        ("UPDATE doubles SET a = 9 WHERE a = 1", "content of public.doubles"),
        ("SELECT lo_put(1001, 19999999, 'y')", "content of large objects"),
        ("SELECT lo_put(1001, 0, 'y')", "content of large objects"),
        ("SELECT lo_put(1001, 20000000, 'x')", "content of large objects"),
        ("SELECT lo_unlink(1002)", "large objects"),
        ("SELECT lo_unlink(1002), lo_from_bytea(1003, 'abc')", "content of large objects"),
        ("CREATE TABLE another (id int)", "table public.another"),
        ("DROP TABLE doubles", "table public.doubles"),
        ("ALTER TABLE doubles RENAME TO triples", "table public.doubles"),
    ],
)
def test_every_change_of_content_is_noticed(a_cluster: Cluster, source_of: SourceOf, change: str, noticed: str):
    source = source_of(a_cluster, *ROWS)
    before = fingerprints(source)
    assert differences(before, fingerprints(source), content=True) == ()

    source.execute(change)

    found = differences(before, fingerprints(source), content=True)
    assert noticed in [problem.what for problem in found]


def test_the_order_of_rows_and_their_place_on_disk_do_not_matter(a_cluster: Cluster, source_of: SourceOf):
    source = source_of(a_cluster, *ROWS)
    before = fingerprints(source)

    source.execute("CREATE INDEX backwards ON t (id DESC)", "CLUSTER t USING backwards", "VACUUM FULL doubles")

    assert differences(before, fingerprints(source), content=True) == ()


def test_a_session_with_other_habits_sees_the_same(a_cluster: Cluster, source_of: SourceOf):
    source = source_of(
        a_cluster,
        "CREATE TABLE shown (f float8, d date, ts timestamptz, i interval, b bytea, m money, r regclass)",
        "CREATE TABLE elsewhere (id int)",
        "INSERT INTO shown VALUES (0.1::float4, now(), now(), '1 day 2:03', '\\x00ff', 12.5, 'elsewhere')",
    )
    before = fingerprints(source)
    name = source.name

    for habit in (
        "extra_float_digits = -10", "datestyle = 'German, DMY'", "timezone = 'Asia/Tokyo'", "bytea_output = 'escape'",
        "intervalstyle = 'iso_8601'", "search_path = 'pg_catalog'", "row_security = off", "lc_monetary = 'C.UTF-8'",
        "statement_timeout = '1s'",
    ):  # fmt: skip
        source.execute(f"ALTER DATABASE {name} SET {habit}")

    assert differences(before, fingerprints(source), content=True) == ()


def test_tables_of_extensions_and_temporary_ones_are_not_ours(a_cluster: Cluster, source_of: SourceOf):
    source = source_of(
        a_cluster,
        "CREATE TABLE ours (id int)",
        "CREATE TABLE theirs (id int)",
        "CREATE EXTENSION citext",
        "ALTER EXTENSION citext ADD TABLE theirs",
    )

    with source.connect() as other:
        other.execute("CREATE TEMPORARY TABLE passing (id int)")
        with open_session(source.server, source.name) as session:
            assert dumped_tables(session) == [("public", "ours")]


def test_a_table_in_the_schema_of_an_extension_is_ours_when_pg_dump_dumps_it(a_cluster: Cluster, source_of: SourceOf):
    source = source_of(
        a_cluster,
        "CREATE SCHEMA theirs",
        "CREATE EXTENSION citext",
        "ALTER EXTENSION citext ADD SCHEMA theirs",
        "CREATE TABLE theirs.ours AS SELECT 1 AS id",
    )
    captured = source.captured()

    assert [(t.table_schema, t.name, t.rows) for t in captured.manifest.fingerprints.tables] == [("theirs", "ours", 1)]


def test_the_rows_of_a_partitioned_table_are_counted_where_they_lie(a_cluster: Cluster, source_of: SourceOf):
    source = source_of(
        a_cluster,
        "CREATE TABLE p (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p_high PARTITION OF p DEFAULT PARTITION BY HASH (id)",
        "CREATE TABLE p_high_0 PARTITION OF p_high FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "INSERT INTO p SELECT generate_series(0, 29)",
        'CREATE TABLE "Other" (id int)',
    )

    with open_session(source.server, source.name) as session:
        assert tables_below(session, ["p"]) == [("public", "p_high_0"), ("public", "p_low")]
        assert tables_below(session, ["public.Other"]) == [("public", "Other")]
    assert {t.name: t.rows for t in fingerprints(source).tables} == {"p_low": 10, "p_high_0": 20, "Other": 0}


def test_an_important_table_that_does_not_exist_is_a_mistake_in_the_settings(an_empty_database: Source):
    with (
        open_session(an_empty_database.server, an_empty_database.name) as session,
        pytest.raises(SettingsError, match=r"the important table public\.invioces does not exist") as caught,
    ):
        tables_below(session, ["invioces"])

    assert "IMPORTANT_TABLES" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("SELECT 1;\n-- name: a\nSELECT 2;", ":1: a query stands before the first name"),
        ("-- name: a\nSELECT 1; SELECT 2;", ":1: a has 2 statements"),
        ("\n-- name: a\n-- only a comment", ":2: a has 0 statements"),
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 1;", ":3: the name 'a' is empty or used twice"),
        ("-- name:\nSELECT 1;", ":1: the name '' is empty"),
        ("-- nothing", "names no query"),
    ],
)
def test_a_wrong_integrity_file_is_named_with_its_line(tmp_path: Path, text: str, where: str):
    path = tmp_path / "integrity.sql"
    path.write_text(text)

    with pytest.raises(SettingsError) as caught:
        parse_integrity_file(path)

    assert str(path) in caught.value.what
    assert where in caught.value.what


def test_a_missing_integrity_file_names_its_setting(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        parse_integrity_file(tmp_path / "none.sql")

    assert "INTEGRITY_SQL" in caught.value.remedy


def test_an_integrity_file_is_read_query_by_query(tmp_path: Path):
    path = tmp_path / "integrity.sql"
    path.write_text("-- our sums\n--name: one\nSELECT ';' -- a;b\n, 1;\n-- Name: two words\nSELECT /* x; */ 2")

    first, second = parse_integrity_file(path)

    assert (first.name, second.name) == ("one", "two words")
    assert first.query.split() == ["SELECT", "';'", ",", "1"]
    assert second.query.split() == ["SELECT", "2"]


def test_a_failing_integrity_query_is_named(a_database: Source, tmp_path: Path):
    path = tmp_path / "integrity.sql"
    path.write_text("-- name: total\nSELECT sum(totl) FROM invoices;")

    with pytest.raises(EnvironmentFault, match="the integrity query total failed") as caught:
        a_database.captured(a_database.settings(integrity_sql=path))

    assert 'column "totl" does not exist' in caught.value.why
