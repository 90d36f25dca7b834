"""Where does Dagster keep its history, and with which instance settings?"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from backup_assets.errors import EnvironmentFault, Refused, SettingsError
from backup_assets.files import make_private_directory, replace_durably, write_durably

if TYPE_CHECKING:
    import dagster as dg

VARIABLE = "DAGSTER_HOME"
KIND_VARIABLE = "BACKUP_INSTANCE"
URL_VARIABLE = "DAGSTER_PG_URL"
CONFIG_NAME = "dagster.yaml"
DEFAULT_HOME = Path("var/dagster")
#: What an installed package brings; equal to the file at the top of the repository.
PACKAGED_CONFIG = Path(__file__).with_name(CONFIG_NAME)
#: What is added to it for each kind of instance but the first, which is the default.
ADDITIONS = Path(__file__).with_name("instances")
KINDS = ("sqlite", "postgres", "docker", "ecs", "kubernetes")
#: The one driver with which dagster-postgres can write events: SQLAlchemy's own choice for `postgresql` is another.
SCHEME = "postgresql+psycopg2"
#: What a kind needs that is not installed with the package itself.
_EXTRAS = {"docker": "dagster_docker", "kubernetes": "dagster_k8s"}
_MARK = "# Made by backup-assets for "
_TOP_LEVEL = re.compile(r"^(\w+):", re.MULTILINE)
_VARIABLES = re.compile(r"\{env: (\w+)\}|\$\{(\w+)\}")


def dagster_home() -> Path:
    """Return the home of Dagster's instance: DAGSTER_HOME, else ``var/dagster`` below the current directory.

    One that does not exist is created with a ``dagster.yaml``; the default home's follows ``./dagster.yaml`` where
    there is one. With BACKUP_INSTANCE the file is the one for that kind, written again when it is another one of ours.
    Raises Refused for a relative DAGSTER_HOME and for a ``dagster.yaml`` of somebody else's in the way of
    BACKUP_INSTANCE, SettingsError as :func:`instance_config` does, EnvironmentFault when nothing can be written.
    """
    given = os.environ.get(VARIABLE, "").strip()
    home = Path(given).expanduser() if given else Path.cwd() / DEFAULT_HOME
    if not home.is_absolute():
        raise Refused(
            f"{VARIABLE} is the relative path {given}",
            why="Dagster takes absolute paths only, since its processes run in other directories",
            remedy=f"set {VARIABLE}={Path.cwd() / given}, or leave it out for {DEFAULT_HOME}",
        )
    kind = os.environ.get(KIND_VARIABLE, "").strip()
    wanted = instance_config(kind, os.environ) if kind else None
    own = Path.cwd() / CONFIG_NAME
    source = own if own.is_file() else PACKAGED_CONFIG
    try:
        # An existing DAGSTER_HOME belongs to whoever set it, with or without a dagster.yaml of theirs.
        made = not given or not home.exists()
        if made:
            make_private_directory(home)
        if wanted is not None:
            _replace_ours(home / CONFIG_NAME, wanted, kind)
        elif made:
            _copy_config(source.read_bytes(), home / CONFIG_NAME, replace=source is own and not given)
        if not home.is_dir():
            raise NotADirectoryError(f"{home} is no directory")
    except OSError as error:
        raise EnvironmentFault(
            f"the home of Dagster's instance {home} cannot be used",
            why=str(error),
            remedy=f"correct the permissions, or set {VARIABLE} to another directory",
        ) from error
    return home


def instance_config(kind: str, environment: Mapping[str, str]) -> bytes:
    """Return the instance settings of a kind, which the environment completes.

    Raises SettingsError for an unknown kind, and naming every variable that the kind needs and that is not set or
    cannot work; EnvironmentFault when the launcher of the kind is not installed.
    """
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, n=1)
        raise SettingsError(
            f"{KIND_VARIABLE} is {kind}, which is no kind of instance",
            why=f"there are {', '.join(KINDS)}",
            remedy=f"set {KIND_VARIABLE}={close[0]}" if close else "choose one of them",
        )
    common = PACKAGED_CONFIG.read_text(encoding="utf-8")
    if kind == KINDS[0]:
        return common.encode()
    more = (ADDITIONS / f"{kind}.yaml").read_text(encoding="utf-8")
    needed = {name for pair in _VARIABLES.findall(more) for name in pair if name}
    missing = sorted(name for name in needed if not environment.get(name))
    if missing:
        raise SettingsError(
            f"{KIND_VARIABLE}={kind} needs {', '.join(missing)}, not set",
            remedy=f"set {'it' if len(missing) == 1 else 'them'}: docs/deployment.md says what each is",
        )
    scheme = environment[URL_VARIABLE].partition("://")[0]
    if scheme != SCHEME:
        raise SettingsError(
            f"{URL_VARIABLE} does not begin with {SCHEME}://",
            why="with another driver Dagster starts and then fails to write what happens",
            remedy=f"set {URL_VARIABLE}={SCHEME}://USER@HOST:PORT/DATABASE, and the password in the file PGPASSFILE",
        )
    if kind in _EXTRAS and find_spec(_EXTRAS[kind]) is None:
        raise EnvironmentFault(
            f"{KIND_VARIABLE}={kind} needs {_EXTRAS[kind]}, which is not installed",
            remedy=f"install backup-assets[{kind}], or build the image with that extra",
        )
    own = frozenset(_TOP_LEVEL.findall(more))
    kept = "\n\n".join(part for part in common.split("\n\n") if not own & set(_TOP_LEVEL.findall(part)))
    return f"{_MARK}{KIND_VARIABLE}={kind}.\n{kept.rstrip()}\n\n{Template(more).safe_substitute(environment)}".encode()


def _replace_ours(target: Path, content: bytes, kind: str) -> None:
    found = target.read_bytes() if target.is_file() else None
    if (
        found is not None
        and not found.startswith(_MARK.encode())
        and found not in {content, PACKAGED_CONFIG.read_bytes()}
    ):
        raise Refused(
            f"{target} is not one that {KIND_VARIABLE}={kind} may replace",
            why="somebody wrote or changed it",
            remedy=f"unset {KIND_VARIABLE} to use it as it is, or remove it",
        )
    _copy_config(content, target, replace=True)


def _copy_config(content: bytes, target: Path, *, replace: bool) -> None:
    if target.exists() and (not replace or target.read_bytes() == content):
        return
    if replace:  # at once: a service that starts now must not find the file missing
        replace_durably(target, content)
        return
    try:
        write_durably(target, content)
    except FileExistsError:
        return  # another process has just written the same


def dagster_instance() -> dg.DagsterInstance:
    """Return the instance in :func:`dagster_home`.

    Raises as that does, and EnvironmentFault when its history lies in a PostgreSQL that cannot be reached.
    """
    import dagster as dg  # costs a second: only commands that run something pay it

    os.environ[VARIABLE] = str(dagster_home())
    with _database_explained():
        return dg.DagsterInstance.get()


@contextmanager
def _database_explained() -> Iterator[None]:
    """Say in a sentence that the database of the history cannot be used, instead of what every attempt logs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except Exception as error:
        # Its class is not imported for this: without PostgreSQL nobody needs that.
        if type(error).__name__ != "DagsterPostgresException":
            raise
        cause = getattr(error.__cause__, "orig", None) or error.__cause__ or error
        raise EnvironmentFault(
            f"the database of Dagster's history, which {URL_VARIABLE} names, cannot be used",
            why=" ".join(str(cause).split()),
            remedy="start that server, or correct the URL or the line in the file PGPASSFILE (which must be 0600); "
            "`backup-assets list`, `verify`, `restore` and `status` work without it",
        ) from error
    finally:
        logging.disable(disabled)
