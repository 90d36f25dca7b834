"""Where does Dagster keep its history, and with which instance settings?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.files import make_private_directory, write_durably

if TYPE_CHECKING:
    import dagster as dg

VARIABLE = "DAGSTER_HOME"
CONFIG_NAME = "dagster.yaml"
DEFAULT_HOME = Path("var/dagster")
#: What an installed package brings; equal to the file at the top of the repository.
PACKAGED_CONFIG = Path(__file__).with_name(CONFIG_NAME)


def dagster_home() -> Path:
    """Return the home of Dagster's instance: DAGSTER_HOME, else ``var/dagster`` below the current directory.

    One that does not exist is created with a ``dagster.yaml``; the default home's follows ``./dagster.yaml`` where
    there is one. Raises Refused for a relative DAGSTER_HOME, EnvironmentFault when it cannot be created.
    """
    given = os.environ.get(VARIABLE, "").strip()
    home = Path(given).expanduser() if given else Path.cwd() / DEFAULT_HOME
    if not home.is_absolute():
        raise Refused(
            f"{VARIABLE} is the relative path {given}",
            why="Dagster takes absolute paths only, since its processes run in other directories",
            remedy=f"set {VARIABLE}={Path.cwd() / given}, or leave it out for {DEFAULT_HOME}",
        )
    own = Path.cwd() / CONFIG_NAME
    source = own if own.is_file() else PACKAGED_CONFIG
    try:
        # An existing DAGSTER_HOME belongs to whoever set it, with or without a dagster.yaml of theirs.
        if not given or not home.exists():
            make_private_directory(home)
            _copy_config(source, home / CONFIG_NAME, replace=source is own and not given)
        if not home.is_dir():
            raise NotADirectoryError(f"{home} is no directory")
    except OSError as error:
        raise EnvironmentFault(
            f"the home of Dagster's instance {home} cannot be used",
            why=str(error),
            remedy=f"correct the permissions, or set {VARIABLE} to another directory",
        ) from error
    return home


def _copy_config(source: Path, target: Path, *, replace: bool) -> None:
    content = source.read_bytes()
    if target.exists() and (not replace or target.read_bytes() == content):
        return
    target.unlink(missing_ok=True)
    try:
        write_durably(target, content)
    except FileExistsError:
        return  # another process has just written the same


def dagster_instance() -> dg.DagsterInstance:
    """Return the instance in :func:`dagster_home`; raises as that does."""
    import dagster as dg  # costs a second: only commands that run something pay it

    os.environ[VARIABLE] = str(dagster_home())
    return dg.DagsterInstance.get()
