from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.capture.preflight import examine_source, expected_dump_bytes, require_free_disk
from backup_assets.errors import EnvironmentFault
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
    assert facts.server.database_bytes > 1_000_000
    assert (facts.superuser, facts.in_recovery, facts.warnings) == (True, False, ())


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
