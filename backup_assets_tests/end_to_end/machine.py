"""What is a machine that backs up by itself: its database, its disk, its daemon, and the clock that a test moves?"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorTick, TickStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from backup_assets.instance import PACKAGED_CONFIG
from backup_assets.postgres.cluster import Cluster
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets_tests.end_to_end.moved_clock import MovedClock
from backup_assets_tests.ports import free_port

STARTED_WITHIN = 300.0
#: What programs import first, so that they wait for seconds where they would for minutes.
HURRIED = "backup_assets_tests.end_to_end.hurried"
DAEMON = """
import {hurried}
from dagster._daemon.cli import main
main()
"""
CODE_SERVER = """
from {hurried} import fork_runs
from dagster._cli import main
fork_runs()
main()
"""
WEBSERVER = "from dagster_webserver.cli import main; main()"
REPOSITORY = Path(__file__).parents[2]


@dataclass
class Machine:
    """A machine in ``directory``, started and stopped by a test; what it does is in the instance and the stores."""

    directory: Path
    clock: MovedClock
    cluster: Cluster
    environment: dict[str, str]
    settings: Settings
    instance: dg.DagsterInstance
    hurried: str = HURRIED
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start the code location and the daemon, as the services of a machine do when it comes up."""
        port = free_port()
        location = {"host": "127.0.0.1", "port": port, "location_name": "backup_assets"}
        (self.directory / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": location}]}))
        serve = ["api", "grpc", "--host", "127.0.0.1", "--port", str(port), "-m", "backup_assets.definitions"]
        server = self._program("code-server", CODE_SERVER, *serve, "--location-name", "backup_assets")
        self.wait("the code location", lambda: _answers(port) or server.poll() is not None, STARTED_WITHIN)
        assert server.poll() is None, self.log("code-server")
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start the daemon, beside a code location that runs, and wait until it is at work."""
        begun = self.clock.now()
        self._program("daemon", DAEMON, "run", "-w", "workspace.yaml")
        self.wait("a look of the watch", lambda: self.looked("watch_sensor", begun), STARTED_WITHIN)
        # A schedule counts from the moment at which the daemon sees it for the first time.
        self.wait("the schedules", self._schedules_are_known, STARTED_WITHIN)

    def lose_power(self) -> None:
        """End everything of Dagster, and what it runs, as a power failure does."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def kill_daemon(self) -> None:
        """End the daemon alone, in the middle of whatever it does."""
        daemon = self.processes.pop()
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()

    def stop(self) -> None:
        """End the programs as an operator does."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()

    def start_webserver(self) -> str:
        """Start the web server, and return its address when it has loaded everything."""
        port = free_port()
        serve = ["-w", "workspace.yaml", "--host", "127.0.0.1", "--port", str(port)]
        server = self._program("webserver", WEBSERVER, *serve)
        self.wait("the web server", lambda: _answers(port) or server.poll() is not None, STARTED_WITHIN)
        assert server.poll() is None, self.log("webserver")
        return f"http://127.0.0.1:{port}"

    def wait(self, what: str, ask: Callable[[], Any], seconds: float) -> Any:
        """Return the first answer that is true; fails the test when there is none in time, with the end of the logs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := ask():
                return answer
            time.sleep(0.2)
        logs = "\n".join(f"--- {name}\n{self.log(name)}" for name in ("code-server", "daemon"))
        pytest.fail(f"{what}: not within {seconds:.0f} s, at {self.clock.now()}\n{logs}")

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""

    def runs(self, job: str | None = None) -> list[dg.DagsterRun]:
        """Return the runs of a job, or of all, newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(job_name=job)))

    def is_idle(self) -> bool:
        """Whether no run waits or is at work."""
        return not self.instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))

    def turn_off(self, schedule: str) -> None:
        """Stop a schedule, as one can in the UI."""
        for state in self.instance.all_instigator_state():
            if state.instigator_name == schedule:
                self.instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))

    def is_at_work(self, job: str) -> bool:
        """Whether a run of a job has begun and not ended."""
        return any(run.status == dg.DagsterRunStatus.STARTED for run in self.runs(job))

    def succeeded(self, job: str, partition: str) -> bool:
        """Whether a run of a job has succeeded for a slot."""
        of_slot = [run for run in self.runs(job) if run.tags.get("dagster/partition") == partition]
        return any(run.status == dg.DagsterRunStatus.SUCCESS for run in of_slot)

    def ticks(self, name: str) -> list[InstigatorTick]:
        """Return the newest ticks of a schedule or sensor."""
        for state in self.instance.all_instigator_state():
            if state.instigator_name == name:
                return list(self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=5))
        return []

    def looked(self, name: str, since: datetime) -> bool:
        """Whether a schedule or sensor has a tick that began at ``since`` or later and is over."""
        return any(
            tick.timestamp >= since.timestamp() and tick.status != TickStatus.STARTED for tick in self.ticks(name)
        )

    def _schedules_are_known(self) -> bool:
        known = {state.instigator_name for state in self.instance.all_instigator_state()}
        return all(f"{one.name}_backup_schedule" in known for one in self.settings.databases)

    def _program(self, name: str, code: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code.format(hurried=self.hurried), *arguments],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **self.environment, **self.clock.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process


@contextmanager
def a_machine(
    directory: Path,
    clock: MovedClock,
    cluster: Cluster,
    tree: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    hurried: str = HURRIED,
) -> Iterator[Machine]:
    """Yield a machine with the settings ``tree``, not started."""
    home = directory / "home"
    home.mkdir(mode=0o700)
    instance_settings = yaml.safe_load(PACKAGED_CONFIG.read_text())
    instance_settings["run_monitoring"]["poll_interval_seconds"] = 1
    instance_settings["run_coordinator"] = {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1},
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings))
    (directory / "backup.yaml").write_text(yaml.safe_dump(dict(tree)))
    own = {"DAGSTER_HOME": str(home), **environment}
    settings = load_settings(own, directory)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        machine = Machine(directory, clock, cluster, own, settings, instance, hurried)
        try:
            yield machine
        finally:
            machine.stop()


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(1)
        return asking.connect_ex(("127.0.0.1", port)) == 0
