"""Runs in containers, launched by the kind `docker` through an engine's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets_tests.instances.conftest import InstanceOf
from backup_assets_tests.instances.engine import Engine, an_engine
from backup_assets_tests.instances.history import History
from backup_assets_tests.instances.launching import IMAGE, a_run, launch, stored

VARIABLES = {
    "BACKUP_IMAGE": "registry.example/unused:1",
    "BACKUP_DOCKER_NETWORK": "backup",
    "BACKUP_DOCKER_VOLUMES_FROM": "backup_code_1",
}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with an_engine(tmp_path / "engine") as started:
        monkeypatch.setenv("DOCKER_HOST", started.address)
        yield started


@pytest.fixture
def an_instance(instance_of: InstanceOf, engine: Engine) -> dg.DagsterInstance:
    return instance_of("docker", **VARIABLES)


def test_a_run_is_carried_out_in_a_container_that_has_what_the_code_location_has(
    an_instance: dg.DagsterInstance, engine: Engine, a_history: History
) -> None:
    run = launch(an_instance, a_run(an_instance))

    (container,) = engine.containers
    assert container.process is not None
    assert container.process.wait(300) == 0, container.log
    assert stored(an_instance, run).status == dg.DagsterRunStatus.SUCCESS
    assert container.asked["Image"] == IMAGE
    assert container.asked["HostConfig"]["VolumesFrom"] == ["backup_code_1"]
    assert container.asked["HostConfig"]["NetworkMode"] == "backup"
    assert container.asked["HostConfig"]["Init"] is True
    assert container.environment["PGPASSFILE"] == str(a_history.password_file)
    assert "dagster-only" not in str(container.asked)


def test_the_monitoring_learns_that_a_container_is_gone(an_instance: dg.DagsterInstance, engine: Engine) -> None:
    run = launch(an_instance, a_run(an_instance))
    assert an_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING

    engine.of_run(run.run_id).kill()

    found = an_instance.run_launcher.check_run_worker_health(run)
    assert found.status == WorkerStatus.FAILED
    engine.containers.clear()
    assert an_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.NOT_FOUND


def test_a_run_that_is_ended_gets_the_signal_on_which_it_cleans_up(
    an_instance: dg.DagsterInstance, engine: Engine
) -> None:
    run = launch(an_instance, a_run(an_instance))

    assert an_instance.run_launcher.terminate(run.run_id)

    assert engine.of_run(run.run_id).asked["StopSignal"] == "SIGINT"
    assert stored(an_instance, run).status == dg.DagsterRunStatus.CANCELING


def test_a_run_of_the_command_line_is_neither_judged_nor_ended(an_instance: dg.DagsterInstance, engine: Engine) -> None:
    run = a_run(an_instance, {STARTED_BY: COMMAND_LINE})
    assert an_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert not an_instance.run_launcher.terminate(run.run_id)
    assert stored(an_instance, run).status == dg.DagsterRunStatus.STARTING
