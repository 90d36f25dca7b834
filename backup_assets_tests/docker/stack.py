"""Dagster's services as containers of a real engine, put together by the project's own Compose files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backup_assets_tests.end_to_end.dagster_ui import REPOSITORY, DagsterUi

DOCKER = REPOSITORY / "docker"
#: Nothing is built or pulled: BACKUP_IMAGE and BACKUP_POSTGRES_IMAGE name images that are there.
WANTED = "BACKUP_COMPOSE_TEST"
START_SECONDS = 300.0

_HOLD_A_LOCK = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=False) as connection:
    connection.execute("LOCK TABLE " + sys.argv[2])
    print("locked", flush=True)
    sys.stdin.read()
"""


def require_engine() -> None:
    """Skip the test unless it was asked for: no image can be built without the network, and CI runs no engine."""
    if not os.environ.get(WANTED):
        pytest.skip(f"{WANTED} is not set; docs/deployment.md says how this is run")
    for name in ("BACKUP_IMAGE", "BACKUP_POSTGRES_IMAGE"):
        assert os.environ.get(name), f"{WANTED} is set, but {name} is not"
    assert os.geteuid() == 0, "killing what runs in containers takes root"
    run("docker", "version")


def run(*argv: str | Path, stdin: str = "", check: bool = True, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(
        [str(word) for word in argv], input=stdin, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def compose_program() -> list[str]:
    """Return Compose as a plugin of the engine's client where it is one, else the program of its own."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=60)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    assert shutil.which("docker-compose"), "neither `docker compose` nor `docker-compose` is installed"
    return ["docker-compose"]


@dataclass(frozen=True)
class Stack:
    """The services of a project; ``files`` are its Compose files."""

    files: Sequence[Path]
    environment: Mapping[str, str]
    project: str = field(default_factory=lambda: f"backup-test-{uuid.uuid4().hex[:8]}")

    @property
    def ui(self) -> DagsterUi:
        """The UI as the host reaches it."""
        return DagsterUi(f"http://127.0.0.1:{self.environment['BACKUP_UI_PORT']}")

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run Compose on the project."""
        files = [word for path in self.files for word in ("-f", str(path))]
        argv = [*compose_program(), "-p", self.project, *files, *arguments]
        return run(*argv, check=check, environment={**self.environment, "BACKUP_NETWORK": self.project})

    def up(self) -> None:
        """Start everything and wait until it works."""
        self.compose("up", "--detach", "--no-build")
        self.ui.wait_until_ready()

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        return self.compose("ps", "-q", service).strip()

    def exec(self, service: str, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Run a program in a service's container."""
        return run("docker", "exec", "-i", self.container(service), *argv, stdin=stdin, check=check)

    def inspected(self, service: str) -> dict[str, Any]:
        """Return what the engine says about a service's container."""
        return json.loads(run("docker", "inspect", self.container(service)))[0]

    def sets(self) -> dict[str, dict[str, Any]]:
        """Return the sets as the command line lists them, by their ids."""
        listed = json.loads(self.exec("code", "backup-assets", "list", "--json"))
        return {one["id"]: one for one in listed}

    def crash(self, service: str) -> None:
        """End a service's container as a lack of memory does: without notice, and its restart is up to the engine."""
        crash(self.container(service))

    @contextmanager
    def lock(self, address: str, table: str) -> Iterator[None]:
        """Hold a lock that pg_dump has to wait for, from within the container of the code location."""
        argv = ["docker", "exec", "-i", self.container("code"), "python3", "-c", _HOLD_A_LOCK, address, table]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            try:
                yield
            finally:
                holder.kill()
                holder.stdin.close()


def crash(container: str) -> None:
    """Kill the first process of a container from outside, of which the engine knows nothing."""
    before = json.loads(run("docker", "inspect", container))[0]["State"]
    os.kill(before["Pid"], signal.SIGKILL)

    def ended() -> bool:
        found = run("docker", "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", container, check=False)
        return found.split() != [str(before["Pid"]), before["StartedAt"]]

    wait_until("the container's end", ended, 30)


def wait_until(what: str, condition: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition holds; return how long that took, in seconds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - begun


@contextmanager
def a_stack(*files: Path, **environment: str) -> Iterator[Stack]:
    """Yield a running project with volumes of its own; everything of it is removed at the end."""
    require_engine()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    stack = Stack([DOCKER / "compose.yaml", *files], {"BACKUP_UI_PORT": port, **environment})
    try:
        stack.up()
        yield stack
    finally:
        if directory := os.environ.get("COMPOSE_LOGS"):
            Path(directory, f"{stack.project}.log").write_text(stack.compose("logs", "--no-color", check=False))
        stack.compose("down", "--volumes", "--remove-orphans", check=False)
