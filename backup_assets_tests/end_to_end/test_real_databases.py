from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.capture.dump import LOCK_WAIT
from backup_assets.capture.request import Captured
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.postgres.cluster import Cluster
from backup_assets.settings import Settings
from backup_assets.settings_capture import DumpSettings
from backup_assets_tests.conftest import ClusterOf, SourceOf
from backup_assets_tests.end_to_end.stock_tools import (
    content_of,
    definitions_of,
    load,
    make_roles,
    restored_by_hand,
)
from backup_assets_tests.sources import Source, connect, listed, proven

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "shared" / "data"
ODD_NAMES = (
    'it\'s a "quoted"; -- $$ 100% %s back\\slash.dot',
    "a=b",
    "postgresql://elsewhere/x",
    "Größe 日本",
    "-dash",
    "postgres",
)


def programs(cluster: Cluster) -> Path:
    return choose_clients(find_clients(), cluster.binaries.major).directory


def differences(left: dict[str, object], right: dict[str, object]) -> dict[str, tuple[object, object]]:
    return {k: (left.get(k), right.get(k)) for k in left.keys() | right.keys() if left.get(k) != right.get(k)}


def prove_both_ways(source: Source, settings: Settings, workdir: Path) -> Captured:
    captured = source.captured(settings)

    record = proven(settings, captured).record
    assert record.passed, record.problems
    assert record.content
    with restored_by_hand(source, settings, captured, workdir) as copy:
        assert differences(content_of(source), content_of(copy)) == {}
        tools = programs(source.cluster)
        assert definitions_of(copy, tools) == definitions_of(source, tools)
    assert [one.id for one in listed(settings)] == [captured.manifest.id]
    return captured


@pytest.mark.parametrize("sample", ["pagila", "chinook"])
def test_a_sample_database_comes_back_equal(every_cluster: Cluster, source_of: SourceOf, tmp_path: Path, sample: str):
    script = DATA / f"{sample}.sql"
    if not script.exists():
        pytest.skip("the folder of sample data is not there")
    source = source_of(every_cluster)
    load(source, script, programs(every_cluster))

    captured = prove_both_ways(source, source.settings(), tmp_path)

    assert captured.manifest.fingerprints.total_rows > 15_000


def a_tortured_database(cluster: Cluster, source_of: SourceOf, name: str | None = None) -> Source:
    make_roles(cluster)
    source = source_of(cluster, name=name)
    load(source, HERE / "torture.sql", programs(cluster))
    return source


def test_everything_that_a_database_can_hold_comes_back_equal(
    every_cluster: Cluster, source_of: SourceOf, tmp_path: Path
):
    source = a_tortured_database(every_cluster, source_of)

    captured = prove_both_ways(source, source.settings(), tmp_path)

    tables = {(table.table_schema, table.name): table for table in captured.manifest.fingerprints.tables}
    assert tables["public", "nothing"].rows == 7
    assert tables["public", "new\nline"].rows == 1
    assert tables["public", "by_range_2026_odd"].rows > 0
    assert ("public", "by_range") not in tables
    assert all(table.content_hash is not None for table in tables.values())
    assert captured.manifest.fingerprints.large_objects.count == 4
    assert {"torture_owner", "torture Reader"} <= set(captured.manifest.server.roles)


def test_a_parallel_dump_in_directory_format_comes_back_equal(a_cluster: Cluster, source_of: SourceOf, tmp_path: Path):
    source = a_tortured_database(a_cluster, source_of)

    captured = prove_both_ways(source, source.settings(dump=DumpSettings(jobs=2)), tmp_path)

    dump = captured.manifest.artifact("dump")
    assert dump is not None
    assert (dump.format, dump.name.rsplit(".", 1)[1]) == ("pg_directory.tar", "tar")


@pytest.mark.parametrize("major", [15, 18])
def test_clients_without_zstd_dump_uncompressed_and_are_compressed_by_us(
    cluster_of: ClusterOf, source_of: SourceOf, tmp_path: Path, major: int
):
    cluster = cluster_of(major)
    if choose_clients(find_clients(), major).zstd:
        pytest.skip(f"the clients of {major} here have zstd")
    source = source_of(cluster, "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n")

    captured = prove_both_ways(source, source.settings(dump=DumpSettings(jobs=2)), tmp_path)

    dump = captured.manifest.artifact("dump")
    assert dump is not None
    assert dump.format == "pg_custom.zst"
    assert any("lacks zstd" in warning for warning in captured.manifest.warnings)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_database_may_have_any_name(a_cluster: Cluster, source_of: SourceOf, tmp_path: Path, name: str):
    if name == "postgres":
        source = Source(a_cluster, name, tmp_path / "backups")
        source.execute("DROP TABLE IF EXISTS only_here", "CREATE TABLE only_here AS SELECT 1 AS id")
    else:
        source = source_of(a_cluster, "CREATE TABLE only_here AS SELECT 1 AS id", name=name)

    captured = prove_both_ways(source, source.settings(), tmp_path)

    assert captured.manifest.source_database == name
    assert [table.name for table in captured.manifest.fingerprints.tables] == ["only_here"]


def test_the_properties_of_a_database_come_back_and_do_not_hinder_the_proof(a_database: Source):
    name = a_database.name
    with connect(a_database.cluster, "postgres") as connection:
        for statement in (
            f"ALTER DATABASE {name} SET default_transaction_read_only = on",
            f"ALTER DATABASE {name} CONNECTION LIMIT 7",
            f"COMMENT ON DATABASE {name} IS 'ON DATABASE x; it''s'",
            f"ALTER ROLE postgres IN DATABASE {name} SET search_path = 'elsewhere'",
        ):
            connection.execute(statement.encode())
    try:
        settings = a_database.settings()
        record = proven(settings, a_database.captured(settings)).record
    finally:
        with connect(a_database.cluster, "postgres") as connection:
            connection.execute(f"ALTER DATABASE {name} RESET ALL".encode())

    assert record.passed, record.problems


@pytest.mark.slow
def test_two_thousand_tables_come_back_equal(a_cluster: Cluster, source_of: SourceOf, tmp_path: Path):
    source = source_of(
        a_cluster,
        "DO $$ BEGIN FOR n IN 1..2000 LOOP "
        "EXECUTE format('CREATE TABLE t%s AS SELECT %s AS id', n, n); END LOOP; END $$",
    )

    captured = prove_both_ways(source, source.settings(), tmp_path)

    assert len(captured.manifest.fingerprints.tables) == 2000


def test_a_dump_waits_for_locks_a_bounded_time_only():
    assert LOCK_WAIT == "10min"
