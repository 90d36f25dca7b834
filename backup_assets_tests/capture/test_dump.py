from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.capture.dump import plan_dump, read_whole_archive, require_complete_globals, roles_in_globals
from backup_assets.errors import CheckFailed
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.settings import DumpSettings
from backup_assets_tests.conftest import ClusterOf, SourceOf
from backup_assets_tests.sources import dump_path


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
