"""Is the ECS task of a run still there, and which runs have none?"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_aws.ecs import EcsRunLauncher

from backup_assets.run_workers import HAS_NO_WORKER, is_of_a_command


class TaskRunLauncher(EcsRunLauncher):
    """Dagster's own launcher of ECS tasks, which leaves the runs of the command line to their commands.

    Nor does it take a task that has ended in order for a run that goes on.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the task of a run lives; raises what boto3 does when AWS does not answer."""
        if is_of_a_command(run):
            return HAS_NO_WORKER
        found = super().check_run_worker_health(run)
        if found.status is not WorkerStatus.SUCCESS:
            return found
        # Only runs that have not ended are asked for, and the monitoring looks once more whether this one has. Left as
        # a success, it would be shown as started until its time limit, and hold its place in the pool.
        return CheckRunHealthResult(
            WorkerStatus.FAILED, "its task has ended, and the run has not", run_worker_id=found.run_worker_id
        )

    def terminate(self, run_id: str) -> bool:
        """Stop the task of a run; return whether it was asked to."""
        return not is_of_a_command(self._instance.get_run_by_id(run_id)) and super().terminate(run_id)
