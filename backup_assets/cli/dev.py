"""How is the Dagster UI started with the same history as the command line's?"""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from backup_assets.cli.output import tell
from backup_assets.command_runs import abandoned, end_abandoned
from backup_assets.errors import EnvironmentFault
from backup_assets.instance import VARIABLE, dagster_home, dagster_instance
from backup_assets.settings_loading import load_settings

WORKSPACE = "workspace.yaml"
#: `dg dev`, which Dagster recommends instead, takes no workspace file.
_NOT_SAID = "ignore:Function `dev_command` is superseded"


def dev_command(host: str, port: int) -> list[str]:
    """Return the argument list: the workspace file of the current directory, or the installed package."""
    what = ["-w", WORKSPACE] if Path(WORKSPACE).is_file() else ["-m", "backup_assets.definitions"]
    program = Path(sys.executable).with_name("dagster")
    return [str(program), "dev", *what, "--host", host, "--port", str(port)]


def dev(arguments: Namespace) -> int:
    """Become `dagster dev`."""
    load_settings()  # said here in three lines, and not in a traceback of Dagster's
    end_what_was_abandoned(dagster_home())
    argv = dev_command(arguments.host, arguments.port)
    unsaid = ",".join(one for one in (os.environ.get("PYTHONWARNINGS"), _NOT_SAID) if one)
    environment = {**os.environ, VARIABLE: str(dagster_home()), "PYTHONWARNINGS": unsaid}
    become(argv, environment)


def become(argv: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Let a program of Dagster's take the place of this one; raises EnvironmentFault where it cannot be started."""
    # A script starts what goes on behind it with SIGINT ignored. Dagster's programs treat SIGTERM as they treat SIGINT
    # (setup_interrupt_handlers), and so could not be stopped at all.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        os.execve(argv[0], argv, environment)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        raise EnvironmentFault(
            f"{argv[0]} cannot be started", why=str(error), remedy="install dagster and dagster-webserver again"
        ) from error


def end_what_was_abandoned(home: Path) -> None:
    """Show the runs of commands that are gone as failed, and say so."""
    if abandoned(home):  # Dagster itself is loaded only for that
        with dagster_instance() as instance:
            for run_id in end_abandoned(home, instance):
                tell(f"the run {run_id} was left by a command that is gone, and is now shown as failed")
