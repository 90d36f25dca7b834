from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.clients import find_clients
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.session import one_value, open_session
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.restore.scratch import scratch_server
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_restore import VerificationSettings
from backup_assets.settings_server import ServerSettings
from backup_assets_tests.conftest import ClusterOf
from backup_assets_tests.restore.restoring import Erp, reseal, server_state, verified
from backup_assets_tests.sources import catalog_of, make_database


def with_scratch(erp: Erp, scratch: ServerSettings | None) -> Settings:
    return erp.source.settings(verification=VerificationSettings(scratch=scratch))


def marked(settings: Settings, manifest: Manifest) -> str | None:
    with (
        scratch_server(settings.databases[0], settings, manifest) as scratch,
        open_session(scratch.server, "postgres") as session,
    ):
        return one_value(session, "SELECT current_setting('port') || current_setting('unix_socket_directories')")


def test_the_source_is_never_the_scratch_server(an_erp: Erp):
    manifest = an_erp.captured().manifest

    with pytest.raises(Refused, match="the scratch server is the source itself"):
        marked(with_scratch(an_erp, an_erp.source.server_settings()), manifest)


def test_the_source_under_another_name_is_not_the_scratch_server_either(an_erp: Erp, tmp_path: Path):
    manifest = an_erp.captured().manifest
    alias = tmp_path / "alias"
    alias.symlink_to(an_erp.cluster.socket_directory)
    before = an_erp.state()

    with pytest.raises(Refused, match="are one server"):
        verified(with_scratch(an_erp, an_erp.source.server_settings(host=str(alias))), manifest.id)

    before["files"] = an_erp.state()["files"]
    assert an_erp.state() == before


def test_a_lost_source_does_not_stop_a_trial_restore(an_erp: Erp, tmp_path: Path):
    settings = an_erp.source.settings()
    manifest = an_erp.source.captured(settings).manifest
    (binaries,) = (found for found in find_server_binaries() if found.major == 17)
    with throw_away_cluster(None, binaries) as other:
        gone = an_erp.source.server_settings(host=str(tmp_path))
        lost = an_erp.source.settings(server=gone, verification=VerificationSettings(scratch=other.server_settings()))

        assert verified(lost, manifest.id).record.passed


@pytest.fixture
def a_lasting_scratch(an_erp: Erp) -> Iterator[Cluster]:
    (binaries,) = (found for found in find_server_binaries() if found.major == 17)
    with throw_away_cluster(None, binaries) as other:
        yield other


def test_a_lasting_scratch_server_keeps_no_trial_database_not_even_an_abandoned_one(
    an_erp: Erp, a_lasting_scratch: Cluster
):
    settings = with_scratch(an_erp, a_lasting_scratch.server_settings())
    manifest = an_erp.source.captured(settings).manifest
    make_database(a_lasting_scratch, "backup_assets_scratch_by_hand")
    before = server_state(a_lasting_scratch)["databases"]
    make_database(a_lasting_scratch, "backup_assets_scratch_0a__verifying_20260101t000000z")

    proof = verified(settings, manifest.id)

    assert proof.record.passed, proof.record.problems
    assert server_state(a_lasting_scratch)["databases"] == before


def test_clients_that_cannot_read_the_compression_are_never_a_verdict_on_the_set(an_erp: Erp, cluster_of: ClusterOf):
    """The clients of 18 here lack zstd, in which 17 has dumped."""
    settings = with_scratch(an_erp, cluster_of(18).server_settings())
    manifest = an_erp.source.captured(settings).manifest
    if any(clients.major == 18 and clients.zstd for clients in find_clients()):
        assert verified(settings, manifest.id).record.passed
        return

    with pytest.raises(EnvironmentFault, match="no PostgreSQL client programs fit the server's version 18"):
        verified(settings, manifest.id)

    assert catalog_of(settings).sets()[0].records == ()


def test_a_missing_extension_is_named_with_the_settings_that_help(an_erp: Erp):
    manifest = an_erp.captured().manifest
    server = manifest.server.model_copy(update={"extensions": {"plpgsql": "1.0", "postgis": "3.5"}})

    with pytest.raises(EnvironmentFault, match="lacks extensions that the database uses: postgis") as fault:
        marked(an_erp.settings, manifest.model_copy(update={"server": server}))

    assert "SCRATCH_HOST" in fault.value.remedy


def test_a_throw_away_server_is_of_the_major_of_the_source_and_gone_afterwards(an_erp: Erp, a_cluster: Cluster):
    manifest = an_erp.captured().manifest

    with scratch_server(an_erp.settings.databases[0], an_erp.settings, manifest) as scratch:
        assert (scratch.major, scratch.throw_away) == (17, True)
        assert scratch.server.host != str(a_cluster.socket_directory)
        directory = Path(scratch.server.host)
        assert directory.exists()

    assert not directory.exists()


def of_size(tree: dict[str, Any], size: int) -> None:
    tree["server"]["database_bytes"] = size


def test_a_database_that_does_not_fit_beside_is_told_before_it_is_restored_on_trial(
    an_erp: Erp, a_lasting_scratch: Cluster
):
    captured = an_erp.captured().manifest
    reseal(an_erp.settings, captured, lambda tree: of_size(tree, 10**15))

    with pytest.raises(EnvironmentFault, match="not enough free disk for a trial restore") as caught:
        verified(an_erp.settings, captured.id)

    assert "TMPDIR" in caught.value.remedy
    assert "verification.scratch" in caught.value.remedy
    found = catalog_of(an_erp.settings).find(captured.id)
    assert found is not None
    assert found.verifications == ()
    named = with_scratch(an_erp, a_lasting_scratch.server_settings())
    assert verified(named, captured.id).record.passed


def test_some_tables_of_a_large_database_are_restored_on_trial_where_they_fit(an_erp: Erp):
    settings = an_erp.source.settings(important_tables=("customers",))
    captured = an_erp.source.captured(settings, kind="important_tables").manifest
    reseal(settings, captured, lambda tree: of_size(tree, 10**15))

    assert verified(settings, captured.id).record.passed


def test_a_server_that_is_newer_than_any_here_is_a_fault_that_says_what_to_install(an_erp: Erp):
    manifest = an_erp.captured().manifest
    server = manifest.server.model_copy(update={"version": "99.1", "version_num": 990001})

    with pytest.raises(EnvironmentFault, match="no PostgreSQL server of version 99"):
        marked(an_erp.settings, manifest.model_copy(update={"server": server}))
