from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.capture.preflight import examine_source, expected_dump_bytes, require_free_disk
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.session import open_session
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.sources import Source


def test_a_server_says_what_it_is(every_cluster: Cluster, source_of: SourceOf):
    source = source_of(every_cluster, "CREATE EXTENSION citext", "CREATE TABLE t AS SELECT generate_series(1, 100)")

    with open_session(source.server, source.name) as session:
        facts = examine_source(session, "postgres", now=datetime.now(UTC))

    assert facts.server.version == every_cluster.binaries.version
    assert facts.server.major == every_cluster.binaries.major
    assert facts.server.encoding == "UTF8"
    assert set(facts.server.extensions) == {"citext", "plpgsql"}
    assert facts.server.bootstrap_superuser == "postgres"
    assert (facts.server.system_identifier, facts.server.timeline) == (system_of(every_cluster), 1)
    assert facts.server.database_bytes > 1_000_000
    assert (facts.superuser, facts.in_recovery, facts.warnings) == (True, False, ())


def test_a_role_without_any_right_is_told_which_server_it_is_as_well(an_empty_database: Source):
    role = f"{an_empty_database.name}_nobody"
    an_empty_database.execute(f"CREATE ROLE {role}")
    try:
        with open_session(an_empty_database.server, an_empty_database.name) as session:
            session.execute(f"SET ROLE {role}")
            told = examine_source(session, role, now=datetime.now(UTC)).server
    finally:
        an_empty_database.execute(f"DROP ROLE {role}")

    assert told.system_identifier is not None
    assert told.timeline == 1


def test_a_server_that_has_no_control_file_is_not_asked_for_one(an_empty_database: Source):
    an_empty_database.execute("CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql AS $$ SELECT '16.4.0' $$")

    with open_session(an_empty_database.server, an_empty_database.name) as session:
        told = examine_source(session, "postgres", now=datetime.now(UTC)).server

    assert (told.system_identifier, told.timeline) == (None, None)


def system_of(cluster: Cluster) -> str:
    """Return what the control file of a cluster says itself."""
    content = (cluster.data_directory / "global" / "pg_control").read_bytes()
    return str(int.from_bytes(content[:8], sys.byteorder))


def test_roles_that_own_or_may_use_something_are_needed_and_no_others(an_empty_database: Source):
    names = [f"{an_empty_database.name}_{kind}" for kind in ("owner", "Reader", "database", "policy", "idle")]
    owner, reader, of_database, policy, idle = names
    an_empty_database.execute(*(f'CREATE ROLE "{name}"' for name in names))
    try:
        an_empty_database.execute(
            "CREATE TABLE t (id int)",
            f'ALTER TABLE t OWNER TO "{owner}"',
            f'GRANT SELECT (id) ON t TO "{reader}"',
            f'ALTER DATABASE "{an_empty_database.name}" OWNER TO "{of_database}"',
            f'CREATE POLICY p ON t TO "{policy}" USING (true)',
        )
        with open_session(an_empty_database.server, an_empty_database.name) as session:
            roles = examine_source(session, "postgres", now=datetime.now(UTC)).server.roles
    finally:
        an_empty_database.execute("DROP TABLE t", f'ALTER DATABASE "{an_empty_database.name}" OWNER TO postgres')
        an_empty_database.execute(*(f'DROP ROLE "{name}"' for name in names))

    assert {owner, reader, of_database, policy} <= set(roles)
    assert idle not in roles


def test_a_disk_that_is_too_small_is_said_with_figures_and_setting(tmp_path: Path):
    require_free_disk(tmp_path, 0, "the set of erp4")

    with pytest.raises(EnvironmentFault, match="not enough free disk for the set of erp4") as caught:
        require_free_disk(tmp_path, shutil.disk_usage(tmp_path).free, "the set of erp4")

    assert str(tmp_path) in caught.value.why
    assert "BACKUP_DIR" in caught.value.remedy


def test_the_last_dump_is_the_best_guess_of_the_next():
    assert expected_dump_bytes(1000, None) == 500
    assert expected_dump_bytes(1000, 400) == 500
    assert expected_dump_bytes(1000, 4000) == 5000


def test_large_objects_that_the_role_cannot_read_are_refused_before_anything_is_dumped(
    an_empty_database: Source,
):
    role = f"{an_empty_database.name}_reader"
    an_empty_database.execute(
        f'CREATE ROLE "{role}" LOGIN BYPASSRLS',
        f'GRANT pg_read_all_data TO "{role}"',
        "SELECT lo_from_bytea(4711, 'scan')",
    )
    try:
        with open_session(an_empty_database.server, an_empty_database.name) as session:
            session.execute(f'SET ROLE "{role}"')
            with pytest.raises(Refused, match="cannot read 1 large objects"):
                examine_source(session, role, now=datetime.now(UTC))
            session.execute("RESET ROLE")
            session.execute(f'GRANT SELECT ON LARGE OBJECT 4711 TO "{role}"')
            session.execute(f'SET ROLE "{role}"')

            assert not examine_source(session, role, now=datetime.now(UTC)).superuser
    finally:
        an_empty_database.execute(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')
