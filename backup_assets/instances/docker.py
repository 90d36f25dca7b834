"""Is the container of a run still there, and which runs have none?"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult
from dagster_docker import DockerRunLauncher

from backup_assets.run_workers import HAS_NO_WORKER, is_of_a_command


class ContainerRunLauncher(DockerRunLauncher):
    """Dagster's own launcher of containers, which leaves the runs of the command line to their commands."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the container of a run lives; raises what the engine's client does when it does not answer."""
        return HAS_NO_WORKER if is_of_a_command(run) else super().check_run_worker_health(run)

    def terminate(self, run_id: str) -> bool:
        """Stop the container of a run; return whether it was asked to."""
        return not is_of_a_command(self._instance.get_run_by_id(run_id)) and super().terminate(run_id)
