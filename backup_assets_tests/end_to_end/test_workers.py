"""Several workers at once: the history in PostgreSQL, the real daemon, and each run in a container of its own.

The containers are processes which share nothing with each other but what containers share: the history, the store and
the servers that are backed up. They are launched by Dagster's own launcher through the API of an engine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_representation.external import RemoteJob
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient

from backup_assets.definitions import build_definitions
from backup_assets.instance import instance_config
from backup_assets.local import WORK_DIRECTORY, local_store, place_of, work_directory
from backup_assets.queueing import pool_of
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets_tests.conftest import ClusterOf
from backup_assets_tests.end_to_end.test_monitoring import dumping, locked, sessions
from backup_assets_tests.instances.engine import Container, Engine, an_engine
from backup_assets_tests.instances.history import a_history_on
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.ports import free_port
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, drop_database, make_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = 600.0
#: Two databases on one server, and one on another.
ERP, CRM, WIKI = "erp", "crm", "wiki"
DAEMON = "import backup_assets_tests.end_to_end.hurried; from dagster._daemon.cli import main; main()"
REPOSITORY = Path(__file__).parents[2]
ROWS = (
    "CREATE TABLE invoices (id int PRIMARY KEY, total numeric(12, 2))",
    "INSERT INTO invoices SELECT n, n * 1.5 FROM generate_series(1, 1000) n",
)


@dataclass
class Site:
    """A code location and a daemon, the engine that runs their containers, and the databases that they back up."""

    directory: Path
    engine: Engine
    sources: Mapping[str, Source]
    settings: Settings
    instance: dg.DagsterInstance
    environment: Mapping[str, str]
    context: WorkspaceProcessContext | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, argv: list[str]) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **self.environment}
            self.processes.append(subprocess.Popen(argv, cwd=self.directory, env=environment, stdout=log, stderr=log))

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait(self, what: str, ask: Callable[[], Any]) -> Any:
        """Return the first answer that is true; fails the test when there is none in time, with the end of the logs."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if answer := ask():
                return answer
            time.sleep(0.1)
        logs = sorted([*self.directory.glob("*.log"), *self.engine.directory.glob("*/log")])
        tails = [f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:]) for path in logs]
        pytest.fail(f"{what}: not within {SECONDS:.0f} s\n" + "\n".join(tails))

    def is_reachable(self, port: int) -> bool:
        try:
            DagsterGrpcClient(host="127.0.0.1", port=port).ping("up?")
        except DagsterUserCodeUnreachableError:
            return False
        return True

    def submit(self, database: str) -> str:
        """Queue a backup of a database, as the UI does, and return the run's id."""
        assert self.context is not None
        request = self.context.create_request_context()
        (repository,) = request.get_code_location("backup_assets").get_repositories().values()
        remote: RemoteJob = repository.get_full_job(f"{database}_backup_job")
        definitions = build_definitions(self.settings, datetime.now(UTC)).get_repository_def()
        job = definitions.get_job(f"{database}_backup_job")
        run = self.instance.create_run_for_job(
            job,
            tags={**job.run_tags, "dagster/partition": f"{TODAY}"},
            status=dg.DagsterRunStatus.NOT_STARTED,
            remote_job_origin=remote.get_remote_origin(),
            job_code_origin=remote.get_python_origin(),
            asset_selection=frozenset(job.asset_layer.selected_asset_keys),
        )
        self.instance.submit_run(run.run_id, request)
        return run.run_id

    def record(self, run_id: str) -> RunRecord:
        (found,) = self.instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))
        return found

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        return self.record(run_id).dagster_run.status

    def has(self, run_id: str, status: dg.DagsterRunStatus) -> Callable[[], bool]:
        return lambda: self.status(run_id) == status

    def sets(self, database: str) -> list[BackupSet]:
        configured = self.settings.database(database)
        return list(Catalog(local_store(self.settings), place_of(configured, self.settings)).sets())

    def processes_of(self, run_id: str) -> set[int]:
        """Return the processes in which the steps of a run were carried out."""
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id)]
        return {event.pid for event in events if event is not None and event.is_step_event and event.pid}


def settings_of(sources: Mapping[str, Source]) -> dict[str, Any]:
    # At noon nothing is due: only what a test submits runs.
    schedule = {"every": "day", "timezone": ZONE}
    databases = {}
    for name, source in sources.items():
        server = source.server_settings()
        reached = {"host": server.host, "port": server.port, "user": server.user, "password": {"file": f"{name}.pw"}}
        databases[name] = {"database": source.name, "server": reached, "schedule": schedule}
    return {"env": "production", "backup_dir": "sets", "databases": databases}


@pytest.fixture(scope="module")
def sources(cluster_of: ClusterOf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Source]]:
    directory = tmp_path_factory.mktemp("sources")
    majors = {ERP: 17, CRM: 17, WIKI: 15}
    made = {name: Source(cluster_of(major), f"workers_{name}", directory) for name, major in majors.items()}
    for source in made.values():
        make_database(source.cluster, source.name, *ROWS)
    yield made
    for source in made.values():
        drop_database(source.cluster, source.name)


@pytest.fixture(scope="module")
def site(sources: dict[str, Source], cluster_of: ClusterOf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    for name, source in sources.items():
        (directory / f"{name}.pw").touch(0o600)
        (directory / f"{name}.pw").write_text(source.cluster.password)
    tree = settings_of(sources)
    file = directory / "backup.yaml"
    file.write_text(yaml.safe_dump(tree))
    # In a container the store and the secrets have the same paths everywhere.
    absolute = yaml.safe_dump(tree).replace("file: ", f"file: {directory}/").replace(": sets", f": {directory}/sets")
    (directory / "of-containers.yaml").write_text(absolute)
    with ExitStack() as stack:
        history = stack.enter_context(a_history_on(cluster_of(17), directory, "docker"))
        engine = stack.enter_context(an_engine(directory / "engine", directory / "of-containers.yaml"))
        environment = {
            **history.environment,
            "DOCKER_HOST": engine.address,
            "BACKUP_IMAGE": "registry.example/backup-assets:1",
            "BACKUP_DOCKER_NETWORK": "backup",
            "BACKUP_DOCKER_VOLUMES_FROM": "code",
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        quick = yaml.safe_load(instance_config("docker", environment))
        quick["run_monitoring"]["poll_interval_seconds"] = 1
        quick["run_coordinator"] = {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": 1},
        }
        history.home.mkdir(mode=0o700)
        (history.home / "dagster.yaml").write_text(yaml.safe_dump(quick))
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(history.home)))
        settings = load_settings({}, directory)
        made = Site(directory, engine, sources, settings, instance, environment)
        stack.callback(made.stop)
        port = free_port()
        served = ["--module-name", "backup_assets.definitions", "--location-name", "backup_assets"]
        dagster = str(Path(sys.executable).with_name("dagster"))
        made.start("code", [dagster, "api", "grpc", *served, "--host", "127.0.0.1", "--port", str(port)])
        made.wait("the code location", lambda: made.is_reachable(port))
        location = {"host": "127.0.0.1", "port": port, "location_name": "backup_assets"}
        (directory / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": location}]}))
        made.start("daemon", [sys.executable, "-c", DAEMON, "run", "-w", "workspace.yaml"])
        target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="backup_assets")
        made.context = stack.enter_context(create_test_daemon_workspace_context(target, instance))
        yield made


def test_databases_of_two_servers_are_captured_at_once_and_those_of_one_never(site: Site) -> None:
    erp = site.sources[ERP]
    with locked(erp):
        first = site.submit(ERP)
        site.wait("the first capture", lambda: dumping(erp))
        waiting, other = site.submit(CRM), site.submit(WIKI)
        site.wait("the capture of the other server", site.has(other, dg.DagsterRunStatus.SUCCESS))
        assert site.status(first) == dg.DagsterRunStatus.STARTED
        assert site.status(waiting) == dg.DagsterRunStatus.QUEUED
    for run_id in (first, waiting):
        site.wait("the captures of the first server", site.has(run_id, dg.DagsterRunStatus.SUCCESS))

    ended, begun = site.record(first).end_time, site.record(waiting).start_time
    assert ended is not None
    assert begun is not None
    assert begun >= ended
    pools = {name: pool_of(site.settings.database(name)) for name in (ERP, CRM, WIKI)}
    assert pools[ERP] == pools[CRM] != pools[WIKI]
    workers: set[int] = set()
    for database, run_id in {ERP: first, CRM: waiting, WIKI: other}.items():
        (taken,) = site.sets(database)
        assert taken.id.rpartition("-")[2] == run_id[:8]
        assert proof_of(taken) is not None
        (worker,) = site.processes_of(run_id)
        assert worker == process_of(site.engine.of_run(run_id))
        workers.add(worker)
    assert len(workers) == 3


def process_of(container: Container) -> int:
    assert container.process is not None
    return container.process.pid


def test_a_killed_worker_loses_its_run_and_no_other_waits_for_it(site: Site) -> None:
    erp, store = site.sources[ERP], local_store(site.settings)
    complete = {one.id for one in site.sets(ERP)}
    with locked(erp):
        killed = site.submit(ERP)
        site.wait("the capture", lambda: dumping(erp))
        waiting = site.submit(CRM)

        site.engine.of_run(killed).kill()

        site.wait("the end of the run", site.has(killed, dg.DagsterRunStatus.FAILURE))
        site.wait("the capture that had to wait", site.has(waiting, dg.DagsterRunStatus.SUCCESS))
    said = [entry.dagster_event.message or "" for entry in site.instance.all_logs(killed) if entry.dagster_event]
    assert any("Container status is exited" in message for message in said)
    (again,) = (
        record.dagster_run.run_id
        for record in site.instance.get_run_records(dg.RunsFilter(tags={"dagster/parent_run_id": killed}))
    )
    site.wait("the second attempt", site.has(again, dg.DagsterRunStatus.SUCCESS))
    site.wait("the end of all sessions", lambda: not sessions(erp))

    taken = {one.id for one in site.sets(ERP)} - complete
    assert {set_id.rpartition("-")[2] for set_id in taken} == {again[:8]}
    assert store.sweep(datetime.now(UTC)) == []
    (swept,) = store.sweep(datetime.now(UTC) + timedelta(days=2))
    assert f"-{killed[:8]}." in swept.key
    assert {one.id for one in site.sets(ERP)} == complete | taken
    (left,) = (store.root / WORK_DIRECTORY).iterdir()
    os.utime(left, times=(0, 0))
    with work_directory(site.settings, "another run"):
        assert not left.exists()
