from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from dagster import DagsterInstance, instance_for_test
from dagster._daemon.types import DaemonHeartbeat
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from backup_assets.postgres.cluster import Cluster
from backup_assets_tests.ports import free_port
from backup_assets_tests.sources import Source

HEALTHCHECK = Path(__file__).parents[2] / "docker" / "healthcheck.py"


class _Ui(BaseHTTPRequestHandler):
    """Answers as the server's ``status`` says, and only at the address that Dagster has."""

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/server_info" else 404)  # type: ignore[attr-defined]
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Server(ThreadingHTTPServer):
    status = 200

    @property
    def port(self) -> str:
        return str(self.server_address[1])


@pytest.fixture
def ui() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Ui) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> str:
    return str(free_port())


def checked(tmp_path: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    main_process = tmp_path / "cmdline"
    main_process.write_bytes(b"".join(argument.encode() + b"\0" for argument in command))
    return subprocess.run(
        [sys.executable, HEALTHCHECK, main_process],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


DAGSTER_DEV = ("/opt/bin/python3", "/opt/bin/dagster", "dev", "-w", "workspace.yaml")


def test_a_ui_that_answers_is_healthy(tmp_path: Path, ui: _Server) -> None:
    assert checked(tmp_path, *DAGSTER_DEV, "--host", "127.0.0.1", "--port", ui.port).returncode == 0


def test_a_ui_that_listens_on_every_address_is_asked_on_its_own(tmp_path: Path, ui: _Server) -> None:
    assert checked(tmp_path, *DAGSTER_DEV, "--host", "0.0.0.0", "--port", ui.port).returncode == 0  # noqa: S104


def test_a_ui_that_does_not_listen_is_unhealthy_and_its_address_is_named(tmp_path: Path, closed_port: str) -> None:
    result = checked(tmp_path, *DAGSTER_DEV, "--host", "127.0.0.1", "--port", closed_port)
    assert result.returncode == 1
    assert f"http://127.0.0.1:{closed_port}/server_info does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_ui_that_answers_with_an_error_is_unhealthy(tmp_path: Path, ui: _Server) -> None:
    ui.status = 500
    result = checked(tmp_path, *DAGSTER_DEV, "--port", ui.port)
    assert result.returncode == 1
    assert "answers with status 500" in result.stderr


def test_dev_below_an_init_process_is_found(tmp_path: Path, closed_port: str) -> None:
    command = ("/sbin/docker-init", "--", "backup-assets", "dev", f"--port={closed_port}")
    assert checked(tmp_path, *command).returncode == 1


def test_dev_that_has_not_yet_become_dagster_is_unhealthy(tmp_path: Path, closed_port: str) -> None:
    command = ("/opt/bin/python3", "/opt/bin/backup-assets", "dev", "--port", closed_port)
    assert checked(tmp_path, *command).returncode == 1


@pytest.mark.parametrize(
    "command",
    [
        ("/usr/bin/python3", "/opt/bin/dagster-webserver", "--workspace", "w.yaml"),
        ("/sbin/docker-init", "--", "backup-assets", "serve", "webserver"),
    ],
)
def test_a_webserver_is_asked_before_and_after_it_is_dagster_s(
    tmp_path: Path, ui: _Server, closed_port: str, command: tuple[str, ...]
) -> None:
    assert checked(tmp_path, *command, "--port", ui.port).returncode == 0
    assert checked(tmp_path, *command, "--port", closed_port).returncode == 1


@pytest.fixture
def code_server() -> Iterator[tuple[health.HealthServicer, str]]:
    """A gRPC server with a health service as the code location has one, and its port."""
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, str(port)
    server.stop(None)


CODE = ("/opt/bin/python3", "/opt/bin/dagster", "api", "grpc", "--module-name", "backup_assets.definitions", "--host")


def test_a_code_location_is_healthy_once_it_serves(
    tmp_path: Path, code_server: tuple[health.HealthServicer, str]
) -> None:
    servicer, port = code_server
    assert checked(tmp_path, *CODE, "0.0.0.0", "--port", port).returncode == 1  # noqa: S104
    servicer.set("DagsterApi", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert "does not serve yet" in checked(tmp_path, *CODE, "127.0.0.1", "--port", port).stderr
    servicer.set("DagsterApi", health_pb2.HealthCheckResponse.SERVING)
    assert checked(tmp_path, *CODE, "0.0.0.0", "--port", port).returncode == 0  # noqa: S104
    served = ("/sbin/docker-init", "--", "backup-assets", "serve", "code", "--host", "0.0.0.0")  # noqa: S104
    assert checked(tmp_path, *served, BACKUP_CODE_PORT=port).returncode == 0


def test_a_code_location_that_does_not_listen_is_unhealthy_in_one_sentence(tmp_path: Path, closed_port: str) -> None:
    result = checked(tmp_path, *CODE, "127.0.0.1", "--port", closed_port)
    assert result.returncode == 1
    assert result.stderr == f"the code location at 127.0.0.1:{closed_port} does not answer: UNAVAILABLE\n"


DAEMON = ("/opt/bin/python3", "/opt/bin/dagster-daemon", "run", "--workspace", "w.yaml")
PARTS = ("BACKFILL", "MONITORING", "QUEUED_RUN_COORDINATOR", "SCHEDULER", "SENSOR")


def beat(instance: DagsterInstance, when: datetime, *parts: str) -> None:
    for part in parts:
        instance.add_daemon_heartbeat(DaemonHeartbeat(when.timestamp(), part, "an id", []))


def test_a_daemon_all_of_whose_parts_work_is_healthy(tmp_path: Path) -> None:
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        beat(instance, datetime.now(UTC), *PARTS)
        assert checked(tmp_path, *DAEMON, DAGSTER_HOME=str(tmp_path)).returncode == 0


def test_a_daemon_one_of_whose_parts_hangs_is_unhealthy_and_the_part_is_named(tmp_path: Path) -> None:
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        beat(instance, datetime.now(UTC), *PARTS)
        beat(instance, datetime.now(UTC) - timedelta(minutes=11), "SENSOR")
        result = checked(tmp_path, *DAEMON, DAGSTER_HOME=str(tmp_path))
    assert result.stderr == "no heartbeat of SENSOR for 10 minutes\n"


def test_a_daemon_that_has_never_written_a_heartbeat_is_unhealthy(tmp_path: Path) -> None:
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        beat(instance, datetime.now(UTC), *PARTS[1:])
        assert "BACKFILL" in checked(tmp_path, *DAEMON, DAGSTER_HOME=str(tmp_path)).stderr


def test_heartbeats_that_cannot_be_read_are_told_in_one_sentence(tmp_path: Path) -> None:
    result = checked(tmp_path, *DAEMON, DAGSTER_HOME=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("the daemon's heartbeats cannot be read: ")
    assert "Traceback" not in result.stderr


def test_heartbeats_in_postgresql_are_read_whatever_the_time_zone_of_its_sessions(
    tmp_path: Path, a_cluster: Cluster, an_empty_database: Source
) -> None:
    password = tmp_path / "pgpass"
    password.write_text(f"*:*:*:*:{a_cluster.password}\n")
    password.chmod(0o600)
    address = f"{a_cluster.superuser}@/{an_empty_database.name}?host={a_cluster.socket_directory}&port={a_cluster.port}"
    an_empty_database.execute(
        f"ALTER DATABASE {an_empty_database.name} SET timezone TO 'Asia/Tokyo'",
        "CREATE TABLE daemon_heartbeats (daemon_type text, body text)",
    )
    given = {"DAGSTER_PG_URL": f"postgresql+psycopg2://{address}", "PGPASSFILE": str(password)}

    assert "BACKFILL" in checked(tmp_path, *DAEMON, **given).stderr
    home = tmp_path / "home"
    home.mkdir()
    with instance_for_test(temp_dir=str(home)) as instance:
        beat(instance, datetime.now(UTC), *PARTS)
    with closing(sqlite3.connect(home / "history" / "runs.db")) as written:
        rows = written.execute("SELECT daemon_type, body FROM daemon_heartbeats").fetchall()
    assert {json.loads(body)["__class__"] for _, body in rows} == {"DaemonHeartbeat"}
    with an_empty_database.connect() as connection:
        connection.cursor().executemany("INSERT INTO daemon_heartbeats VALUES (%s, %s)", rows)
    assert checked(tmp_path, *DAEMON, **given).returncode == 0
    password.write_text("*:*:*:*:wrong\n")
    assert "password authentication failed" in checked(tmp_path, *DAEMON, **given).stderr


@pytest.mark.parametrize("arguments", [("backup", "--label", "dev"), ("demo",), ("verify", "--all"), ("dev-set",)])
def test_other_commands_are_healthy_while_they_run(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert checked(tmp_path, "/opt/bin/python3", "/opt/bin/backup-assets", *arguments).returncode == 0
