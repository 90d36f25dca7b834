"""Is the Kubernetes job of a run still there, and which runs have none?"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

from backup_assets.run_workers import HAS_NO_WORKER, is_of_a_command

_GONE = "could not be found"


class JobRunLauncher(K8sRunLauncher):
    """Dagster's own launcher of jobs, which leaves the runs of the command line to their commands.

    Nor does it take a run for lost because the cluster's API is away for a moment: the run would be shown as failed and
    be begun a second time, while the first goes on.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the job of a run lives; when nobody can say, it does."""
        if is_of_a_command(run):
            return HAS_NO_WORKER
        found = super().check_run_worker_health(run)
        if found.status is not WorkerStatus.UNKNOWN:
            return found
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND if _GONE in (found.msg or "") else WorkerStatus.RUNNING, found.msg
        )

    def terminate(self, run_id: str) -> bool:
        """Delete the job of a run; return whether it was deleted."""
        if is_of_a_command(self._instance.get_run_by_id(run_id)):
            return False
        return bool(super().terminate(run_id))
