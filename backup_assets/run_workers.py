"""Is the process that carries out a run of Dagster still there?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MOST_EVENTS = 50
_ANSWER_SECONDS = 5
#: What is said of a run that a command carries out itself. The monitoring would end one of which no worker is known.
HAS_NO_WORKER = CheckRunHealthResult(WorkerStatus.RUNNING, "a command carries it out")


class LocalRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, which also tells the run monitoring when the process of a run is gone.

    The code server notices when one of its processes dies, but not its own end: after a power loss its runs would be
    shown as started, and their places in the pools be taken, until their time limit. Runs of the command line are left
    to their commands: asked to end one, Dagster would show it as cancelled while it goes on.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether :meth:`check_run_worker_health` may be asked: yes."""
        return True

    def terminate(self, run_id: str) -> bool:
        """End the process of a run; return whether it was asked to."""
        return not is_of_a_command(self._instance.get_run_by_id(run_id)) and super().terminate(run_id)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return that the process of a run is gone, or that it runs; what cannot be seen from here runs."""
        pid = _pid_of(self._instance, run)
        if pid is None or (_is_of_this_machine(run) and is_run_worker(pid)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        known = self._is_known_to_its_server(run)
        if known or (known is None and not _is_of_this_machine(run)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"its process {pid} is gone: it was killed, or the machine went down"
        )

    def _is_known_to_its_server(self, run: DagsterRun) -> bool | None:
        """Whether the code server that started a run has it: its processes may be hidden from us. None: no answer."""
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return None
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_ANSWER_SECONDS)
        except DagsterUserCodeUnreachableError:
            return None
        return deserialize_value(answer, CanCancelExecutionResult).can_cancel


def is_of_a_command(run: DagsterRun | None) -> bool:
    """Return whether a run is carried out by a command in its own process, not by a worker."""
    return run is not None and run.tags.get(STARTED_BY) == COMMAND_LINE


def is_run_worker(pid: int) -> bool:
    """Whether a process exists that may be carrying out a run: a number is given again, after a restart at the latest.

    Where the system does not say what a process does, every process may be.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and it may be a code server's
    if not Path("/proc/self/cmdline").exists():
        return True
    try:
        # Empty for a process that has ended and was not taken notice of.
        return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or between that and the reading
        return False


def _is_of_this_machine(run: DagsterRun) -> bool:
    """Whether a run's code server was reached through a socket file or the loopback address."""
    address = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return "socket" in address or address.get("host") in _LOOPBACK


def _pid_of(instance: dg.DagsterInstance, run: DagsterRun) -> int | None:
    found = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ENGINE_EVENT, limit=_MOST_EVENTS)
    for record in found.records:
        event = record.event_log_entry.dagster_event
        if event is not None and (pid := event.engine_event_data.metadata.get("pid")) is not None:
            return int(str(pid.value))
    return None
