"""Real containers with a PostgreSQL server that only their own programs reach, made without pulling an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backup_assets.postgres.clients import find_clients
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_server import ContainerSettings, ServerSettings

#: `docker` where a daemon runs (found by DOCKER_HOST); everywhere else podman, which needs none.
ENGINE = os.environ.get("CONTAINER_ENGINE", "podman")
START_SECONDS = 300
#: As official images do: the programs on PATH, the socket where they look for it, root as the user of `exec`.
_START = """#!/bin/sh
set -e
export LC_ALL=C
mkdir -p /run/postgresql
chown postgres /run/postgresql
as_postgres="setpriv --reuid=postgres --regid=postgres --clear-groups"
cd /var/lib/postgresql
$as_postgres initdb --pgdata=data --username=postgres --auth=scram-sha-256 --pwfile=/etc/password \
  --no-sync --encoding=UTF8 --locale=C
exec $as_postgres postgres -D data -c listen_addresses= -c unix_socket_directories=/run/postgresql,/tmp -c fsync=off
"""


@dataclass(frozen=True)
class Box:
    """A running container; ``password`` is the superuser's."""

    name: str
    password: str

    def exec(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Run a program inside and return what it printed."""
        done = subprocess.run(
            [ENGINE, "exec", "-i", "-e", "PGPASSWORD", self.name, *argv],
            input=stdin,
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def sql(self, script: str, database: str = "postgres") -> str:
        """Run statements, stopping at the first error, and return what they print."""
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self.exec("psql", *options, "--username=postgres", f"--dbname={database}", stdin=script)

    def new_database(self, script: str = "") -> str:
        """Make a database with a name of its own, run a script in it, and return the name."""
        name = f"erp_{uuid.uuid4().hex[:8]}"
        self.sql(f"CREATE DATABASE {name}")
        self.sql(script, name)
        return name

    def server_settings(self, **changes: Any) -> ServerSettings:
        """Return how it is reached."""
        fields = {
            "user": "postgres",
            "password": SecretStr(self.password),
            "container": ContainerSettings(name=self.name, engine=ENGINE),
        }
        return ServerSettings.model_validate({**fields, **changes})

    def settings(self, backup_dir: Path, database: str, **fields: Any) -> Settings:
        """Return settings that back up one of its databases under the name ``erp4``."""
        described = DatabaseSettings(
            **{"name": "erp4", "database": database, "server": self.server_settings(), **fields}
        )
        return Settings(backup_dir=backup_dir, databases=(described,))


def require_engine() -> None:
    """Skip the test where there is no engine, and fail it where there has to be one."""
    missing = "" if shutil.which(ENGINE) else f"{ENGINE} is not installed"
    if os.geteuid() != 0:
        missing = "these containers are made as root"
    if missing and "CI" in os.environ:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@contextmanager
def a_box(directory: Path, major: int) -> Iterator[Box]:
    """Yield a container of this machine's programs whose PostgreSQL answers; it is removed at the end."""
    require_engine()
    box = Box(f"backup-assets-test-{uuid.uuid4().hex[:12]}", f"s3cret {uuid.uuid4().hex}")
    programs = next(clients.directory for clients in find_clients() if clients.major == major)
    root = _root(directory / box.name, box.password)
    if not programs.is_relative_to("/usr"):  # a wheel: what lies below /usr is mounted anyway
        shutil.copytree(programs.parent, root / "opt" / "postgres", symlinks=True)
        programs = Path("/opt/postgres/bin")
    with _running(box, root, f"{programs}:/usr/bin:/bin", "/start"):
        deadline = time.monotonic() + START_SECONDS
        while box.exec("psql", "-U", "postgres", "-qAt", "-c", "SELECT 'ready'", check=False) != "ready":
            assert time.monotonic() < deadline, _engine("logs", box.name, check=False)
            time.sleep(0.1)
        yield box
        log = _engine("logs", box.name)
        # The server is process 1, as in the official images: a stray process that a signal ends looks like a crash.
        assert "crash of another server process" not in log, log


@contextmanager
def a_box_without_postgres(directory: Path) -> Iterator[Box]:
    """Yield a running container that has no programs at all on its PATH."""
    require_engine()
    box = Box(f"backup-assets-test-{uuid.uuid4().hex[:12]}", "unused")
    root = _root(directory / box.name, box.password)
    with _running(box, root, "/nowhere", "/usr/bin/sleep", "3600"):
        yield box


def _root(root: Path, password: str) -> Path:
    """Make the container's own root directory; programs and libraries are those of /usr."""
    for name in ("etc", "usr", "opt", "run", "tmp", "proc", "sys", "dev", "var/lib/postgresql"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/run").symlink_to("/run")
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\npostgres:x:999:\n")
    (root / "etc/password").write_text(password + "\n")
    shutil.copy("/etc/ld.so.cache", root / "etc")
    os.chown(root / "var/lib/postgresql", 999, 999)
    (root / "start").write_text(_START)
    (root / "start").chmod(0o755)
    return root


@contextmanager
def _running(box: Box, root: Path, path: str, *command: str) -> Iterator[None]:
    # /run is memory of the container: nothing outside it can reach the socket.
    options = ["--name", box.name, "--network=none", "--tmpfs=/run", "--volume=/usr:/usr:ro", f"--env=PATH={path}"]
    image = f"{box.name}:test"
    if ENGINE == "docker":
        tar = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True).stdout
        subprocess.run([ENGINE, "import", "-", image], input=tar, check=True, capture_output=True)
        argv = ["run", "--detach", *options, image]
    else:
        # crun refuses a machine with both versions of control groups; runc runs on every one. The limits are ours to
        # lower and not to raise, which not every machine allows.
        runtime = ["--runtime=runc"] if shutil.which("runc") else []
        limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
        argv = ["--cgroup-manager=cgroupfs", *runtime, "run", "--detach", *limits, *options, "--rootfs", str(root)]
    try:
        _engine(*argv, *command)
        yield
    finally:
        _engine("rm", "--force", "--volumes", box.name, check=False)
        if ENGINE == "docker":
            _engine("rmi", "--force", image, check=False)


def _engine(*arguments: str, check: bool = True) -> str:
    done = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, check=False, timeout=400)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def stop(box: Box) -> None:
    """Stop a container at once; it stays known to the engine."""
    _engine("kill", box.name)
    deadline = time.monotonic() + START_SECONDS
    while _engine("inspect", "--format={{.State.Running}}", box.name).strip() != "false":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def inspected(box: Box) -> str:
    """Return everything that the engine tells about a container."""
    return _engine("inspect", box.name)
