"""How does a program run inside a container without outliving us, and what do the engine's own failures mean?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.process import ProgramFailed

#: Ends the program when its standard input does. An engine does not pass signals on, and a program that runs in a
#: container stays there when the engine's `exec` is killed; but every engine closes the input of what it ran.
#: The shell waits for both of its children: what it left behind would become a child of process 1, which is the
#: postmaster itself in most images, and that takes a stranger ended by a signal for a crashed backend and restarts all.
_TETHER = """
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
( read -r _; kill "$program" ) <&3 3<&- >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$program"
status=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
"""
#: They only write. The others read their input, and end with it by themselves.
_TETHERED = ("pg_dump", "pg_dumpall")
#: How messages of docker and podman begin.
_ENGINE_SPEAKS = re.compile(
    r"Error: |Error response from daemon|OCI runtime|Cannot connect to (?:the Docker daemon|Podman)"
    r"|failed to connect to the docker API|(?:Got )?permission denied while trying to connect"
)
#: How those of PostgreSQL's programs and servers do: the latter with a severity in their language, and two spaces.
_POSTGRESQL_SPEAKS = re.compile(r"(?:pg_\w+|psql): |[^\s:]+:  ")
NAME_SETTING = "DB_CONTAINER (server.container.name in backup.yaml)"
ENGINE_SETTING = "DB_CONTAINER_ENGINE (server.container.engine in backup.yaml)"


@dataclass(frozen=True)
class Container:
    """A running container that holds the server and its client programs."""

    engine: str
    name: str

    def __str__(self) -> str:
        return f"container {self.name} ({self.engine})"

    def argv(self, environment: Mapping[str, str], program: str, *arguments: str) -> list[str]:
        """Return the argument list that runs ``program`` inside; ``environment`` is handed over by name only.

        pg_dump and pg_dumpall end as soon as their standard input is closed: start them with a pipe there, and keep
        it open until they have ended.
        """
        # `-e NAME` without a value hands over our own variable: a password is in no argument list.
        handed = [part for name in environment for part in ("-e", name)]
        tether = ["sh", "-c", _TETHER, "sh"] if program in _TETHERED else []
        return [self.engine, "exec", "-i", *handed, self.name, *tether, program, *arguments]

    def plain_argv(self, program: str) -> list[str]:
        """Return the beginning of an argument list that runs ``program`` inside without input, in English."""
        return [self.engine, "exec", "-e", "LC_ALL=C", self.name, program]


@contextmanager
def container_faults(container: Container | None, program: str) -> Iterator[None]:
    """Raise what fails in the block, which runs a program inside ``container``, as :func:`container_fault` says."""
    try:
        yield
    except EnvironmentFault as fault:
        raise (container_fault(container, program, fault) if container else fault) from fault.__cause__


def container_fault(container: Container, program: str, fault: EnvironmentFault) -> EnvironmentFault:
    """Return what `process` raised about the engine's ``exec``, in words of the program and of the settings.

    An EnvironmentFault for a container or an engine that is not there, a TransientFault for one that does not run;
    ProgramFailed, naming the program instead of the engine, when the program itself failed; else ``fault`` itself.
    """
    if isinstance(fault, ProgramFailed):
        return _engine_fault(container, program, fault) or ProgramFailed(
            f"{program} in {container} failed with exit status {fault.returncode}",
            why=fault.why,
            remedy=fault.remedy,
            returncode=fault.returncode,
            stderr=fault.stderr,
        )
    if isinstance(fault.__cause__, FileNotFoundError | PermissionError):
        return EnvironmentFault(
            f"the container engine {container.engine} cannot be started",
            why=str(fault.__cause__),
            remedy=f"install it, or correct {ENGINE_SETTING}",
        )
    return fault


def _engine_speaks(said: str) -> bool:
    """Tell whether the engine says something before the program does, which then was not even run.

    What follows the program's own words is none of the engine's: a statement may have any line in it.
    """
    for line in said.splitlines():
        if _ENGINE_SPEAKS.match(line):
            return True
        if _POSTGRESQL_SPEAKS.match(line):
            return False
    return False


def _engine_fault(container: Container, program: str, failure: ProgramFailed) -> EnvironmentFault | None:
    """Return what went wrong before or around the program, None when the program failed by itself."""
    code, said = failure.returncode, failure.stderr
    lower = said.lower()
    # 125 to 127: the engine, or the shell, could not run it. From 128 on it was killed, below 0 the engine was.
    if not (code >= 125 or code < 0 or _engine_speaks(said)):
        return None
    if "no such container" in lower or "no container with name" in lower:
        return EnvironmentFault(
            f"there is no container {container.name} for {container.engine}",
            why=failure.why,
            remedy=f"look at `{container.engine} ps --all`; correct {NAME_SETTING}, or {ENGINE_SETTING} when another "
            "engine runs it",
        )
    if "not running" in lower or "container state improper" in lower or "paused" in lower:
        return TransientFault(
            f"the container {container.name} is not running",
            why=failure.why,
            remedy=f"start it with `{container.engine} start {container.name}`, or correct {NAME_SETTING}",
        )
    if code in (126, 127) or "executable file" in lower:
        return EnvironmentFault(
            f"{program} cannot be run in {container}",
            why=failure.why,
            remedy=f"name the container of the PostgreSQL server in {NAME_SETTING}; it needs sh, and PostgreSQL's "
            "client programs on its PATH",
        )
    if code >= 128 or code < 0:
        return TransientFault(
            f"{program} in {container} was killed",
            why=f"exit status {code}: {said or 'this is what a container that is stopped looks like'}",
            remedy=f"look at `{container.engine} logs {container.name}`, and whether {NAME_SETTING} runs",
        )
    return TransientFault(
        f"the container engine {container.engine} does not work for {container.name}",
        why=said,
        remedy=f"try `{container.engine} exec {container.name} true` as the user of this program; is its service "
        f"running, may this user use it, are {NAME_SETTING} and {ENGINE_SETTING} right?",
    )
