"""Runs as Dagster stores them, carried out by real processes that end."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon import get_default_daemon_logger
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._grpc.client import DagsterGrpcClient

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets.run_workers import LocalRunLauncher, is_run_worker
from backup_assets_tests.ports import free_port

HERE: dict[str, object] = {"host": "localhost", "socket": "/nowhere/code-server"}
LAUNCHER = {"module": "backup_assets.run_workers", "class": "LocalRunLauncher"}


@dg.op
def nothing() -> None: ...


@dg.job
def a_job() -> None:
    nothing()


def _work(begun: Connection) -> None:
    begun.send("begun")
    time.sleep(600)


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test({"run_launcher": LAUNCHER, "run_monitoring": {"enabled": True}}) as instance:
        yield instance


@pytest.fixture
def a_worker() -> Iterator[BaseProcess]:
    """A process as a code server starts one for each run, which has begun its work."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_work, args=(there,))
    process.start()
    assert here.poll(300)  # before that it may still be a copy of this process, under this process's command line
    yield process
    process.kill()
    process.join()


def a_started_run(instance: dg.DagsterInstance, pid: int, server: dict[str, object] = HERE) -> dg.DagsterRun:
    tags = {GRPC_INFO_TAG: json.dumps(server)}
    run = instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))
    return run


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    assert isinstance(instance.run_launcher, LocalRunLauncher)
    return instance.run_launcher.check_run_worker_health(run).status


def test_a_run_whose_process_lives_runs(an_instance: dg.DagsterInstance, a_worker: BaseProcess) -> None:
    assert a_worker.pid is not None
    assert health(an_instance, a_started_run(an_instance, a_worker.pid)) == WorkerStatus.RUNNING


def test_the_monitoring_ends_a_run_whose_process_was_killed_and_no_other(
    an_instance: dg.DagsterInstance, a_worker: BaseProcess
) -> None:
    other = multiprocessing.get_context("spawn").Process(target=print)
    other.start()
    other.join()
    assert a_worker.pid is not None
    assert other.pid is not None
    killed, living = a_started_run(an_instance, other.pid), a_started_run(an_instance, a_worker.pid)

    with create_test_daemon_workspace_context(EmptyWorkspaceTarget(), an_instance) as context:
        list(execute_run_monitoring_iteration(context, get_default_daemon_logger("monitoring")))

    ended = an_instance.get_run_by_id(killed.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    said = [entry.dagster_event.message or "" for entry in an_instance.all_logs(killed.run_id) if entry.dagster_event]
    assert any(f"its process {other.pid} is gone" in message for message in said)
    still = an_instance.get_run_by_id(living.run_id)
    assert still is not None
    assert still.status == dg.DagsterRunStatus.STARTED


def test_a_process_that_has_ended_and_that_nobody_has_asked_for_is_gone(a_worker: BaseProcess) -> None:
    assert a_worker.pid is not None
    assert is_run_worker(a_worker.pid)
    a_worker.kill()
    os.waitid(os.P_PID, a_worker.pid, os.WEXITED | os.WNOWAIT)

    assert not is_run_worker(a_worker.pid)


def test_a_number_that_another_program_has_now_is_no_run_s_process(an_instance: dg.DagsterInstance) -> None:
    assert health(an_instance, a_started_run(an_instance, 1)) == WorkerStatus.NOT_FOUND


def test_a_run_on_another_host_is_never_judged_from_here(
    an_instance: dg.DagsterInstance, a_worker: BaseProcess
) -> None:
    assert a_worker.pid is not None
    run = a_started_run(an_instance, a_worker.pid, {"host": "code-location", "port": 4000})
    a_worker.kill()
    a_worker.join()

    assert health(an_instance, run) == WorkerStatus.RUNNING


@pytest.fixture
def a_server_elsewhere(tmp_path: Path) -> Iterator[tuple[str, int, subprocess.Popen[bytes]]]:
    """A code location that is not on the loopback address, and has begun no run."""
    host, port = "127.0.0.2", free_port()
    program = str(Path(sys.executable).with_name("dagster"))
    served = ["-m", "backup_assets_tests.instances.location", "--working-directory", str(Path(__file__).parents[1])]
    server = subprocess.Popen([program, "api", "grpc", "--host", host, "--port", str(port), *served], cwd=tmp_path)
    client = DagsterGrpcClient(host=host, port=port)
    until = time.monotonic() + 300
    while server.poll() is None and time.monotonic() < until:
        try:
            client.ping("up?")
            break
        except DagsterUserCodeUnreachableError:
            time.sleep(0.1)
    yield host, port, server
    server.kill()
    server.wait()


def test_a_code_location_elsewhere_is_asked_for_the_run_and_believed_only_when_it_answers(
    an_instance: dg.DagsterInstance, a_server_elsewhere: tuple[str, int, subprocess.Popen[bytes]]
) -> None:
    host, port, server = a_server_elsewhere
    run = a_started_run(an_instance, 1, {"host": host, "port": port})
    assert health(an_instance, run) == WorkerStatus.NOT_FOUND

    server.kill()
    server.wait()

    assert health(an_instance, run) == WorkerStatus.RUNNING


def test_a_run_of_the_command_line_is_not_ended_from_the_ui(an_instance: dg.DagsterInstance) -> None:
    run = an_instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED, tags={STARTED_BY: COMMAND_LINE})
    assert health(an_instance, run) == WorkerStatus.RUNNING
    assert not an_instance.run_launcher.terminate(run.run_id)
    still = an_instance.get_run_by_id(run.run_id)
    assert still is not None
    assert still.status == dg.DagsterRunStatus.STARTED


def test_a_run_of_which_no_process_is_known_is_never_judged(an_instance: dg.DagsterInstance) -> None:
    tags = {GRPC_INFO_TAG: json.dumps(HERE)}
    run = an_instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED, tags=tags)

    assert health(an_instance, run) == WorkerStatus.RUNNING
