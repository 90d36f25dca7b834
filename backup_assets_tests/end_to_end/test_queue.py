"""In which order Dagster's own queue lets the runs of several databases go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_representation.external import RemoteJob
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets.definitions import build_definitions
from backup_assets.settings_loading import load_settings
from backup_assets_tests.offsite.test_assets import LOCATION

pytestmark = pytest.mark.slow

#: One at a time, each carried out before the queue is looked at again.
ONE_AT_A_TIME = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"},
    "concurrency": {"runs": {"max_concurrent_runs": 1}, "pools": {"granularity": "run", "default_limit": 1}},
}


@pytest.fixture
def a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceProcessContext]:
    """The daemon's view of two databases whose servers are away: every run ends at once, and its place counts."""
    databases = {
        "wiki": {"server": {"host": "127.0.0.1", "port": 1}},
        "erp": {"server": {"host": "127.0.0.1", "port": 1}, "tier": "important"},
    }
    tree = {"env": "prod", "backup_dir": "local", "databases": databases}
    (tmp_path / "backup.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "location.py").write_text(LOCATION)
    target = PythonFileTarget("location.py", attribute=None, working_directory=None, location_name="backup_assets")
    with dg.instance_for_test(overrides=ONE_AT_A_TIME) as instance:
        instance.wipe()
        with create_test_daemon_workspace_context(target, instance) as context:
            yield context


def submit(context: WorkspaceProcessContext, job: str, tags: dict[str, str]) -> str:
    """Queue a run of a job with what its schedule, or nobody, adds to the job's own tags; return its id."""
    request = context.create_request_context()
    (repository,) = request.get_code_location("backup_assets").get_repositories().values()
    remote: RemoteJob = repository.get_full_job(job)
    repository_def = build_definitions(load_settings(), datetime.now(UTC)).get_repository_def()
    definition = repository_def.get_job(job)
    partition = {"dagster/partition": f"{datetime.now(UTC).date()}"} if "backup" in job else {}
    run = context.instance.create_run_for_job(
        definition,
        # No run is tried again after minutes: who sits before it sees at once that the server is away.
        tags={**definition.run_tags, **tags, **partition, STARTED_BY: COMMAND_LINE},
        status=dg.DagsterRunStatus.NOT_STARTED,
        remote_job_origin=remote.get_remote_origin(),
        job_code_origin=remote.get_python_origin(),
        asset_selection=frozenset(definition.asset_layer.selected_asset_keys),
    )
    context.instance.submit_run(run.run_id, request)
    return run.run_id


def tags_of_schedule(name: str) -> dict[str, str]:
    """Return the tags that the schedule gives to its run at its next tick."""
    repository = build_definitions(load_settings(), datetime.now(UTC)).get_repository_def()
    schedule = repository.get_schedule_def(name)
    with dg.DagsterInstance.ephemeral() as instance:
        now = datetime.now(UTC) - timedelta(seconds=1)
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=now, repository_def=repository)
        (request,) = schedule.evaluate_tick(context).run_requests or []
    return dict(request.tags)


def test_by_hand_goes_before_scheduled_and_important_before_ordinary(a_queue: WorkspaceProcessContext) -> None:
    names = {}
    for job, tags in (
        ("wiki_retention_job", tags_of_schedule("wiki_retention_schedule")),
        ("wiki_backup_job", tags_of_schedule("wiki_backup_schedule")),
        ("erp_backup_job", tags_of_schedule("erp_backup_schedule")),
        ("erp_retention_job", tags_of_schedule("erp_retention_schedule")),
        ("wiki_backup_job", {}),
        ("wiki_release_backup_job", {}),
    ):
        names[submit(a_queue, job, tags)] = f"{job} {'scheduled' if tags else 'by hand'}"
    statuses = {run.status for run in a_queue.instance.get_runs()}
    assert statuses == {dg.DagsterRunStatus.QUEUED}
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)

    started: list[str] = []
    for _ in range(2 * len(names)):
        list(daemon.run_iteration(a_queue))
        ended = [run.run_id for run in a_queue.instance.get_runs() if run.is_finished]
        assert len(ended) <= len(started) + 1
        started += [run_id for run_id in ended if run_id not in started]

    assert [names[run_id] for run_id in started] == [
        "wiki_release_backup_job by hand",
        "wiki_backup_job by hand",
        "erp_backup_job scheduled",
        "wiki_backup_job scheduled",
        "erp_retention_job scheduled",
        "wiki_retention_job scheduled",
    ]
