from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
    with _Server(("127.0.0.1", 0), _Ui) as server:
        return server.port


def checked(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    main_process = tmp_path / "cmdline"
    main_process.write_bytes(b"".join(argument.encode() + b"\0" for argument in command))
    return subprocess.run(
        [sys.executable, HEALTHCHECK, main_process], capture_output=True, text=True, timeout=30, check=False
    )


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


@pytest.mark.parametrize("arguments", [("backup", "--label", "dev"), ("demo",), ("verify", "--all"), ("dev-set",)])
def test_other_commands_are_healthy_while_they_run(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert checked(tmp_path, "/opt/bin/python3", "/opt/bin/backup-assets", *arguments).returncode == 0
