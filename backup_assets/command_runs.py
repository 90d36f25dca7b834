"""Which runs belonged to a command that is gone, and are they ended?"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backup_assets.errors import EnvironmentFault
from backup_assets.files import make_private_directory

if TYPE_CHECKING:
    import dagster as dg

FOLDER = "command-line-runs"
#: The tag of a run that a command carries out in its own process, with no launcher and no worker.
STARTED_BY, COMMAND_LINE = "backup_assets/by", "command line"


@contextmanager
def at_work(home: Path, run_id: str) -> Iterator[None]:
    """Show for the block that this process carries out the run ``run_id`` of the instance in ``home``.

    It is a file with a lock that ends with the process, however that ends: the file that a killed process leaves is
    how the next one knows. Raises EnvironmentFault when it cannot be written.
    """
    try:
        path = make_private_directory(home / FOLDER) / run_id
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.pwrite(descriptor, b"1", 0)  # only now is it a file that counts: between the two it looks abandoned
    except OSError as error:
        raise EnvironmentFault(
            f"it cannot be written down in {home} that a run is at work",
            why=str(error),
            remedy="free space there, or correct the permissions",
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def abandoned(home: Path) -> tuple[str, ...]:
    """Return the ids of the runs whose process is gone; costs next to nothing where there are none."""
    folder = home / FOLDER
    return tuple(sorted(path.name for path in folder.iterdir() if _is_free(path))) if folder.is_dir() else ()


def end_abandoned(home: Path, instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Report as failed every run whose process is gone, and return the ids of those that were still at work.

    Until then such a run is shown as started for ever. What it has committed is listed like any other set.
    """
    ended: list[str] = []
    for run_id in abandoned(home):
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(
                run,
                "the command that carried out this run is gone: it was killed, or the machine went down. "
                "What it had committed is in `backup-assets list`; take the backup again",
            )
            ended.append(run_id)
        (home / FOLDER / run_id).unlink(missing_ok=True)
    return tuple(ended)


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # its run has just come to its end
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        # One that has just been made and is not locked yet belongs to a process that lives.
        return os.fstat(descriptor).st_nlink > 0 and os.pread(descriptor, 1, 0) == b"1"
    finally:
        os.close(descriptor)
