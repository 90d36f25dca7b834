"""What a test hands to a launcher, and what it makes of the command that the launcher passes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from backup_assets_tests.instances.location import hello_job

IMAGE = "registry.example/backup-assets:1"
REPOSITORY = Path(__file__).parents[2]


def a_run(instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> dg.DagsterRun:
    """Return a run of a code location that was loaded from IMAGE, about to be launched."""
    location = GrpcServerCodeLocationOrigin(host="code", port=4000, location_name="backup_assets")
    remote = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), hello_job.name)
    pointer = ModuleCodePointer("backup_assets_tests.instances.location", "defs", str(REPOSITORY))
    code = RepositoryPythonOrigin(sys.executable, pointer, container_image=IMAGE, entry_point=["dagster"])
    return instance.create_run_for_job(
        hello_job,
        status=dg.DagsterRunStatus.STARTING,
        tags=tags,
        remote_job_origin=remote,
        job_code_origin=JobPythonOrigin(hello_job.name, code),
    )


def launch(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    """Launch a run as the daemon does, and return it as it is stored then."""
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return stored(instance, run)


def stored(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def carried_out(command: Sequence[str]) -> None:
    """Carry out what a launcher gave to a container, which finds `dagster` on its PATH."""
    program = Path(sys.executable).with_name(command[0])
    ended = subprocess.run([str(program), *command[1:]], capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
