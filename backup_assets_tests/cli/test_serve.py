from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from backup_assets.cli.serve import CODE_DEFAULTS, LOCATION, WORKSPACE, service_command
from backup_assets.errors import SettingsError
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.cli.test_main import SCRIPT
from backup_assets_tests.docker.test_healthcheck import HEALTHCHECK
from backup_assets_tests.end_to_end.dagster_ui import DagsterUi

REPOSITORY = Path(__file__).parents[2]


def test_the_ui_listens_on_this_machine_alone_unless_told() -> None:
    assert service_command("webserver", None, None, {})[-4:] == ["--host", "127.0.0.1", "--port", "3000"]
    assert service_command("webserver", "0.0.0.0", 80, {})[-4:] == ["--host", "0.0.0.0", "--port", "80"]  # noqa: S104


def test_webserver_and_daemon_find_the_code_location_in_one_file() -> None:
    for service in ("webserver", "daemon"):
        argv = service_command(service, None, None, {})
        assert argv[argv.index("--workspace") + 1] == str(WORKSPACE)


def test_the_location_has_the_name_that_it_has_everywhere() -> None:
    (apart,) = yaml.safe_load(WORKSPACE.read_text())["load_from"]
    (together,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]

    assert apart["grpc_server"]["location_name"] == together["python_module"]["location_name"] == LOCATION
    assert {apart["grpc_server"]["host"]["env"], apart["grpc_server"]["port"]["env"]} == set(CODE_DEFAULTS)
    argv = service_command("code", None, None, {})
    assert argv[argv.index("--location-name") + 1] == LOCATION


def test_the_code_location_listens_where_the_others_look() -> None:
    assert service_command("code", None, None, {})[-1] == CODE_DEFAULTS["BACKUP_CODE_PORT"]
    assert service_command("code", None, None, {"BACKUP_CODE_PORT": "4711"})[-1] == "4711"
    assert service_command("code", None, 5000, {"BACKUP_CODE_PORT": "4711"})[-1] == "5000"


@pytest.mark.parametrize("port", ["http", "0", "65536", "４０００"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match="BACKUP_CODE_PORT is "):
        service_command("code", None, None, {"BACKUP_CODE_PORT": port})


@pytest.mark.parametrize("service", ["webserver", "daemon", "code"])
def test_a_wrong_port_is_told_by_every_service(
    command: Command, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    monkeypatch.setenv("BACKUP_CODE_PORT", "http")
    ended = command("serve", service)
    assert ended.status == 2
    assert ended.err.startswith("error: BACKUP_CODE_PORT is http")


def test_wrong_settings_are_told_before_the_code_location_starts(
    command: Command, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PORT", "5432")
    ended = command("serve", "code")
    assert ended.status == 2
    assert ended.err.startswith("error: ")


def test_the_demo_is_not_served_to_runs_in_containers_of_their_own(
    command: Command, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_INSTANCE", "docker")
    ended = command("serve", "code")
    assert ended.status == 2
    assert "the embedded demo is not served with BACKUP_INSTANCE=docker" in ended.err


@contextmanager
def a_port() -> Iterator[int]:
    """Keep a port for a service that takes its time to listen there: nobody else is given it meanwhile."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the service does, so that both may have it
        kept.bind(("127.0.0.1", 0))
        yield int(kept.getsockname()[1])


@contextmanager
def served(directory: Path, environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    log = directory / f"{arguments[0]}.log"
    with log.open("wb") as handle:
        process = subprocess.Popen(
            [SCRIPT, "serve", *arguments], cwd=directory, env=environment, stdout=handle, stderr=handle
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=180)
        finally:
            process.kill()


def health(process: subprocess.Popen[bytes], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HEALTHCHECK, f"/proc/{process.pid}/cmdline"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def wait_until_healthy(process: subprocess.Popen[bytes], environment: dict[str, str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while (found := health(process, environment)).returncode:
        assert process.poll() is None
        assert time.monotonic() < deadline, found.stderr
        time.sleep(0.5)


@pytest.mark.slow
def test_three_services_are_one_installation_and_the_health_check_knows_each(an_empty_directory: Path) -> None:
    with a_port() as ui_port, a_port() as code_port:
        environment = {**os.environ, "BACKUP_CODE_PORT": str(code_port)}
        require_one_installation(an_empty_directory, environment, ui_port)
    assert (an_empty_directory / "var" / "dagster" / "history" / "runs.db").is_file()


def require_one_installation(directory: Path, environment: dict[str, str], ui_port: int) -> None:
    with served(directory, environment, "code") as code:
        assert "does not answer" in health(code, environment).stderr
        wait_until_healthy(code, environment)
        with (
            served(directory, environment, "webserver", "--port", str(ui_port)) as webserver,
            served(directory, environment, "daemon") as daemon,
        ):
            wait_until_healthy(webserver, environment)
            wait_until_healthy(daemon, environment)
            ui = DagsterUi(f"http://127.0.0.1:{ui_port}")
            ui.wait_until_ready()
            locations = ui.ask("{workspaceOrError{... on Workspace{locationEntries{name}}}}")
            assert locations["workspaceOrError"]["locationEntries"] == [{"name": LOCATION}]
            with urllib.request.urlopen(f"{ui.url}/server_info", timeout=60) as answer:  # noqa: S310
                assert json.load(answer)["dagster_webserver_version"]
