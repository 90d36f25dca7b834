"""Does the application work on what was restored?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from backup_assets.errors import CheckFailed, Refused
from backup_assets.postgres.server import Server
from backup_assets.restore.drill_http import require_answer, require_nobody_answers
from backup_assets.restore.drill_program import Program, running
from backup_assets.restore.verification import Stages
from backup_assets.settings_restore import DrillSettings

#: How long an application that is asked nothing must at least stay up.
SETTLE_SECONDS = 2.0
ATTACHMENTS_VARIABLE = "BACKUP_DRILL_ATTACHMENTS"
_PASSED_ON = ("PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT")


def require_reachable(drill: DrillSettings) -> None:
    """Raise Refused where the application could not reach the drill's server, or nothing would be checked by it."""
    if drill.http_checks and not drill.start_command:
        raise Refused(
            "the drill has HTTP checks, but no application to ask",
            why="without drill.start_command nothing runs on the restored database: whatever answered would be another "
            "system, such as the live one",
            remedy="set drill.start_command in backup.yaml, or leave drill.http_checks (DRILL_HTTP_URL) out",
        )
    if drill.server is not None and drill.server.container is not None and (drill.start_command or drill.command):
        raise Refused(
            "the drill's programs cannot reach a server inside a container",
            why="they connect with PGHOST and PGPORT, and drill.server names a container",
            remedy="publish the container's port and give drill.server a host and a port",
        )


def application_variables(server: Server, name: str, attachments: Path | None) -> dict[str, str]:
    """Return the variables with which a program finds the restored database and attachments; holds the password."""
    variables = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user, "PGDATABASE": name}
    variables |= {key: value for key, value in server.environment().items() if key in _PASSED_ON}
    if attachments is not None:
        variables[ATTACHMENTS_VARIABLE] = str(attachments)
    return variables


def try_application(
    drill: DrillSettings,
    variables: Mapping[str, str],
    workdir: Path,
    stages: Stages,
    *,
    timeout: float,
    passed: Callable[[str], None],
) -> None:
    """Start the application, ask it what is configured, run the command; tell ``passed`` each thing that is right.

    ``timeout`` in seconds bounds the command. Raises CheckFailed at the first thing that does not; the programs are
    ended in any case.
    """
    with _application(drill, variables, workdir) as application:
        if application is not None:
            with stages("application"):
                for check in drill.http_checks:
                    passed(require_answer(check, lambda: _require_running(application)))
                if not drill.http_checks:
                    application.wait(SETTLE_SECONDS)
                    _require_running(application)
                    passed(f"the application {application.name} started and stayed up for {SETTLE_SECONDS:g} s")
        if drill.command:
            with stages("command"):
                passed(_command(drill, variables, workdir, timeout))
        if application is not None:
            _require_running(application)


@contextmanager
def _application(drill: DrillSettings, variables: Mapping[str, str], workdir: Path) -> Iterator[Program | None]:
    if not drill.start_command:
        yield None
        return
    for check in drill.http_checks:
        require_nobody_answers(check)
    with running(drill.start_command, variables, workdir / "application.log") as application:
        yield application


def _require_running(application: Program) -> None:
    if application.ended():
        raise CheckFailed(
            f"the application {application.name} ended with status {application.status()} while it was needed",
            why=application.tail(),
            remedy="start it by hand on a restored copy to see why; drill.start_command must stay in the foreground",
        )


def _command(drill: DrillSettings, variables: Mapping[str, str], workdir: Path, timeout: float) -> str:
    begun = time.monotonic()
    with running(drill.command, variables, workdir / "command.log") as command:
        if not command.wait(timeout):
            raise CheckFailed(
                f"the command {command.name} did not end within {timeout:.0f} s",
                why=command.tail(),
                remedy="make it quicker, or raise verification.timeout_hours",
            )
        if command.status() != 0:
            raise CheckFailed(
                f"the command {command.name} ended with status {command.status()}",
                why=command.tail(),
                remedy="its output above says what it missed; run it by hand on a restored copy",
            )
    return f"the command {command.name} ended with status 0 after {time.monotonic() - begun:.1f} s"
