"""Dagster's own history as one of the databases that are backed up, and as files that are copied."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)

from backup_assets.instance import dagster_instance
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets_tests.cli.conftest import Command, command
from backup_assets_tests.conftest import LASTING
from backup_assets_tests.docs.pages import DOCS, blocks_of
from backup_assets_tests.instances.conftest import InstanceOf, a_history, instance_of
from backup_assets_tests.instances.history import History, url_of
from backup_assets_tests.instances.launching import a_run
from backup_assets_tests.instances.location import hello_job
from backup_assets_tests.sources import drop_database

pytestmark = pytest.mark.slow

__all__ = ["a_history", "command", "instance_of"]

PAGE = {block.name: block.body for block in blocks_of(DOCS / "deployment.md") if block.name}


@pytest.fixture
def a_configured_history(a_history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """The history as a database of the settings that the page shows, only at another address."""
    tree = yaml.safe_load(PAGE["history.yaml"])
    (database,) = tree["databases"].values()
    server = a_history.cluster.server_settings()
    database["database"] = a_history.name
    database["server"] |= {"host": server.host, "port": server.port, "user": server.user, "sslmode": "prefer"}
    (tmp_path / "backup.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.setenv("HISTORY_PASSWORD", a_history.cluster.password)
    return a_history


@pytest.fixture
def another_server(a_history: History) -> Iterator[Cluster]:
    """A server that has neither the database nor its role."""
    with throw_away_cluster(None, a_history.cluster.binaries, settings=LASTING) as cluster:
        yield cluster


def switch_off(instance: dg.DagsterInstance, name: str) -> None:
    """Switch a schedule off, as somebody does in the UI."""
    origin = a_run(instance).remote_job_origin
    assert origin is not None
    instance.add_instigator_state(
        InstigatorState(
            RemoteInstigatorOrigin(origin.repository_origin, name),
            InstigatorType.SCHEDULE,
            InstigatorStatus.STOPPED,
            ScheduleInstigatorData("0 2 * * *"),
        )
    )


def test_the_history_is_backed_up_by_our_own_commands_and_shows_its_runs_on_another_server(
    a_configured_history: History,
    instance_of: InstanceOf,
    another_server: Cluster,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, instance = a_configured_history, instance_of("postgres")
    before = hello_job.execute_in_process(instance=instance).run_id
    switch_off(instance, "erp4_backup_schedule")
    said = [entry.message for entry in instance.all_logs(before)]

    taken = command("backup")
    assert taken.status == 0, taken.err
    drop_database(history.cluster, history.name)
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    monkeypatch.setenv("THERE", another_server.password)
    server = another_server.server_settings()
    there = ["--to-host", server.host, "--to-port", str(server.port), "--to-password-env", "THERE"]
    restored = command("restore", "latest", *there)
    assert restored.status == 0, restored.err

    history.password_file.write_text(history.password_file.read_text().replace(str(history.cluster.port), "*", 1))
    monkeypatch.setenv("DAGSTER_PG_URL", url_of(another_server, history.name, history.name))
    with dagster_instance() as again:
        found = again.get_run_by_id(before)
        assert found is not None
        assert found.status == dg.DagsterRunStatus.SUCCESS
        assert [entry.message for entry in again.all_logs(before)] == said
        states = {state.instigator_name: state.status for state in again.all_instigator_state()}
        assert states["erp4_backup_schedule"] == InstigatorStatus.STOPPED
        # The run that took the set was at work in it.
        (at_work,) = again.get_runs(dg.RunsFilter(job_name="dagster_backup_job"))
        assert at_work.status == dg.DagsterRunStatus.STARTED
        after = hello_job.execute_in_process(instance=again)
        assert {run.run_id for run in again.get_runs()} >= {before, after.run_id}


def test_without_its_server_a_backup_by_hand_needs_only_a_home_of_its_own(
    a_configured_history: History, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_configured_history.password_file.chmod(0o640)  # libpq passes over what others may read
    refused = command("backup")
    assert refused.status == 3
    assert "Traceback" not in refused.err
    assert "Retrying" not in refused.err  # what Dagster logs at each of its attempts
    for said in ("DAGSTER_PG_URL", "no password supplied", "PGPASSFILE", "0600"):
        assert said in refused.err
    assert command("list").status == 0

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("BACKUP_INSTANCE", "sqlite")

    assert command("backup", "--no-verify").status == 0
    assert len(command("list").lines) == 1


def test_the_files_of_a_home_are_copied_while_it_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("sqlite3") is None:
        if "CI" in os.environ:
            pytest.fail("sqlite3 is not installed")
        pytest.skip("sqlite3 is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with dagster_instance() as instance:
        run_id = hello_job.execute_in_process(instance=instance).run_id
        subprocess.run(["sh", "-ec", PAGE["sqlite"]], check=True, timeout=60)
    shutil.rmtree(tmp_path / "home")

    (tmp_path / "copy-of-home").rename(tmp_path / "home")

    (tmp_path / "home" / "dagster.yaml").touch()
    with dagster_instance() as again:
        found = again.get_run_by_id(run_id)
        assert found is not None
        assert found.status == dg.DagsterRunStatus.SUCCESS
        assert any(entry.is_dagster_event for entry in again.all_logs(run_id))
