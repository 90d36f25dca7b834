"""How does each of Dagster's services start where it is a process or a container of its own?"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from backup_assets.cli.dev import become, end_what_was_abandoned
from backup_assets.errors import Refused, SettingsError
from backup_assets.instance import KIND_VARIABLE, VARIABLE, dagster_home
from backup_assets.settings_loading import load_settings

#: Where the other services find the code location; `serve code` listens on the same port.
CODE_HOST = "BACKUP_CODE_HOST"
CODE_PORT = "BACKUP_CODE_PORT"
CODE_DEFAULTS = {CODE_HOST: "127.0.0.1", CODE_PORT: "4000"}
UI_PORT = 3000
LOCATION = "backup_assets"
WORKSPACE = Path(__file__).parents[1] / "workspace_grpc.yaml"
#: Instances whose runs are carried out in containers of their own.
_APART = ("docker", "ecs", "kubernetes")


def service_command(service: str, host: str | None, port: int | None, environment: Mapping[str, str]) -> list[str]:
    """Return the argument list of a service, the first one its program. Raises SettingsError for a port that is none.

    The code location is served by `dagster api grpc`, the parent of every run: asked for a run that it does not know,
    it can say that the run is gone. `dagster code-server start`, which can load changed settings while runs go on, asks
    only the newest of its servers, and a run of the one before would be taken for dead.
    """
    directory = Path(sys.executable).parent
    if service == "webserver":
        address = ["--host", host or "127.0.0.1", "--port", str(port or UI_PORT)]
        return [str(directory / "dagster-webserver"), "--workspace", str(WORKSPACE), *address]
    if service == "daemon":
        return [str(directory / "dagster-daemon"), "run", "--workspace", str(WORKSPACE)]
    listening = ["--host", host or "127.0.0.1", "--port", str(port or _code_port(environment))]
    what = ["--module-name", "backup_assets.definitions", "--location-name", LOCATION]
    return [str(directory / "dagster"), "api", "grpc", *what, *listening]


def serve(arguments: Namespace) -> int:
    """Become a service of Dagster. Only the code location reads the settings, and needs what they name."""
    port = _code_port(os.environ)
    if arguments.service == "code":
        _require_servable()
    home = dagster_home()
    if arguments.service == "daemon":
        end_what_was_abandoned(home)
    argv = service_command(
        arguments.service, getattr(arguments, "host", None), getattr(arguments, "port", None), os.environ
    )
    # `{env: …}` in the workspace file has no defaults.
    located = {CODE_HOST: os.environ.get(CODE_HOST) or CODE_DEFAULTS[CODE_HOST], CODE_PORT: str(port)}
    become(argv, {**os.environ, **located, VARIABLE: str(home)})


def _code_port(environment: Mapping[str, str]) -> int:
    given = environment.get(CODE_PORT) or CODE_DEFAULTS[CODE_PORT]
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 65536:
        raise SettingsError(
            f"{CODE_PORT} is {given}, which is no port",
            remedy=f"set {CODE_PORT} to a number from 1 to 65535, or unset it for {CODE_DEFAULTS[CODE_PORT]}",
        )
    return int(given)


def _require_servable() -> None:
    """Say what is wrong with the settings in three lines, and not in a traceback of Dagster's."""
    settings = load_settings()
    kind = os.environ.get(KIND_VARIABLE, "").strip()
    if settings.is_demo and kind in _APART:
        raise Refused(
            f"the embedded demo is not served with {KIND_VARIABLE}={kind}",
            why="its servers live in the container of a run, and two runs would start two of them on the same files",
            remedy=f"configure a database in backup.yaml, or use {KIND_VARIABLE}=postgres for the demo",
        )
