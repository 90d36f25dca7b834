from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.capture.dump import (
    dump_globals,
    plan_dump,
    read_globals,
    read_whole_archive,
    require_complete_globals,
    roles_in_globals,
)
from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server import Server
from backup_assets.settings_capture import DumpSettings
from backup_assets_tests.conftest import ClusterOf, SourceOf
from backup_assets_tests.full_disk import files_no_larger_than
from backup_assets_tests.other_encodings import make_euc_jp, own_server
from backup_assets_tests.sources import connect, dump_path


@pytest.mark.parametrize(
    ("in_container", "zstd", "parallel", "jobs", "form", "used", "warned"),
    [
        (False, True, False, None, "pg_custom", 1, False),
        (False, True, True, 4, "pg_directory.tar", 4, False),
        (False, False, False, None, "pg_custom.zst", 1, False),
        (False, False, True, 4, "pg_custom.zst", 1, True),
        (True, True, True, 4, "pg_custom", 1, True),
        (True, True, False, None, "pg_custom", 1, False),
    ],
)
def test_the_format_follows_from_what_is_possible(
    in_container: bool, zstd: bool, parallel: bool, jobs: int | None, form: str, used: int, warned: bool
):
    plan, warnings = plan_dump(in_container=in_container, zstd=zstd, parallel=parallel, jobs=jobs, zstd_level=3)

    assert (plan.format, plan.jobs, plan.zstd_level) == (form, used, 3)
    assert bool(warnings) is warned


def test_a_large_database_is_dumped_with_all_cores():
    plan, _ = plan_dump(in_container=False, zstd=True, parallel=True, jobs=None, zstd_level=1)

    assert plan.format == "pg_directory.tar"
    assert plan.jobs >= 2


def test_roles_are_read_from_globals_whatever_their_names():
    script = (
        "CREATE ROLE plain;\nALTER ROLE plain WITH LOGIN PASSWORD 'a;CREATE ROLE fake;';\n"
        'CREATE ROLE "Mixed; ""quoted""";\n-- CREATE ROLE commented;\n'
    )

    assert roles_in_globals(script) == {"plain", 'Mixed; "quoted"'}


def globals_of(cluster: Cluster, database: str, target: Path) -> str:
    clients = choose_clients(find_clients(), 17)
    server = Server.from_settings(cluster.server_settings())
    dump_globals(server, clients, database, target, passwords=True, timeout=60)
    return read_globals(target)


def test_globals_are_utf_8_and_say_so_whatever_the_encoding_of_the_database(tmp_path: Path):
    with own_server() as cluster:
        make_euc_jp(cluster, tmp_path, 'CREATE ROLE "経理"', "COMMENT ON ROLE \"経理\" IS '経理部'")

        script = globals_of(cluster, "erp_euc", tmp_path / "globals.sql")

    assert "SET client_encoding = 'UTF8'" in script
    assert "経理" in roles_in_globals(script)
    assert "COMMENT ON ROLE \"経理\" IS '経理部';" in script


@pytest.mark.parametrize("database", ["postgres", "without_encoding"])
def test_roles_in_two_encodings_are_said_with_what_to_do_and_without_a_password(tmp_path: Path, database: str):
    with own_server() as cluster:
        make_euc_jp(cluster, tmp_path, "CREATE ROLE \"経理\" PASSWORD 'hidden'")
        with connect(cluster, "postgres") as connection:
            connection.execute("CREATE DATABASE without_encoding TEMPLATE template0 ENCODING 'SQL_ASCII'")

        with pytest.raises(EnvironmentFault, match="cannot be written in one encoding") as fault:
            globals_of(cluster, database, tmp_path / "globals.sql")

    assert "RENAME TO" in fault.value.remedy
    assert "SCRAM" not in str(fault.value)


def test_a_disk_that_is_full_while_globals_are_written_is_told_with_its_directory(a_cluster: Cluster, tmp_path: Path):
    with files_no_larger_than(100), pytest.raises(EnvironmentFault) as caught:
        globals_of(a_cluster, "postgres", tmp_path / "globals.sql")

    assert f"could not write globals.sql in {tmp_path}" in caught.value.what
    assert caught.value.remedy


def test_globals_that_are_cut_off_are_no_globals(tmp_path: Path):
    path = tmp_path / "globals.sql"
    path.write_text("CREATE ROLE a;\n--\n-- PostgreSQL database cluster dump complete\n--\n")
    require_complete_globals(path)

    path.write_text("CREATE ROLE a;\n-- PostgreSQL database cluster dump comp")
    with pytest.raises(CheckFailed, match="are cut off"):
        require_complete_globals(path)


FORMATS = {"pg_custom": (17, None), "pg_custom.zst": (18, None), "pg_directory.tar": (17, 2)}


@pytest.mark.parametrize("form", FORMATS)
def test_a_dump_of_any_format_that_is_cut_off_anywhere_is_noticed(
    cluster_of: ClusterOf, source_of: SourceOf, tmp_path: Path, form: str
):
    major, jobs = FORMATS[form]
    source = source_of(cluster_of(major), "CREATE TABLE t AS SELECT md5(n::text) FROM generate_series(1, 5000) n")
    settings = source.settings(dump=DumpSettings(jobs=jobs))
    path = dump_path(settings, source.captured(settings))
    clients = choose_clients(find_clients(), major)
    read_whole_archive(clients, path, form, tmp_path, timeout=60)
    content = path.read_bytes()
    # A tar ends in zeros that say nothing: only a cut into the last member loses anything.
    end = len(content.rstrip(b"\0")) - 1 if form == "pg_directory.tar" else len(content) - 1

    for length in (0, 1, 100, end // 4, end // 2, end * 3 // 4, end - 60, end):
        path.write_bytes(content[:length])
        with pytest.raises(CheckFailed, match=r"read to its end|damaged|cut off") as caught:
            read_whole_archive(clients, path, form, tmp_path, timeout=60)
        assert caught.value.remedy, length


def test_a_file_that_is_no_dump_is_noticed(tmp_path: Path):
    path = tmp_path / "x.dump"
    path.write_bytes(b"PGDMPnot really" * 100)

    for form in FORMATS:
        with pytest.raises(CheckFailed):
            read_whole_archive(choose_clients(find_clients(), 17), path, form, tmp_path, timeout=60)
