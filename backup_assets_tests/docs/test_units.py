"""The units of systemd as systemd itself reads them, and the one of launchd."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from backup_assets.cli.arguments import parser
from backup_assets.settings_loading import load_settings
from backup_assets_tests.docs.pages import DOCS, blocks_of

SYSTEMD = DOCS / "units" / "systemd"
PLIST = DOCS / "units" / "launchd" / "com.example.backup-assets.plist"
PROGRAM = "/opt/backup-assets/bin/backup-assets"
SERVICES = ("code", "daemon", "webserver", "status")
COMMON = SYSTEMD / "backup-assets-.service.d" / "common.conf"


def settings_of(path: Path) -> dict[str, list[str]]:
    """Return what a unit sets, in order; comments and sections are left out."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def service(name: str) -> dict[str, list[str]]:
    return settings_of(SYSTEMD / f"backup-assets-{name}.service")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are installed, with a program that exists here."""
    shutil.copytree(SYSTEMD, tmp_path / "system")
    for unit in (tmp_path / "system").glob("*.service"):
        unit.write_text(unit.read_text().replace(PROGRAM, "/usr/bin/true"))
    return tmp_path / "system"


def verified(directory: Path) -> str:
    """Return what systemd says of units; nothing when they are as they should be."""
    if shutil.which("systemd-analyze") is None:
        if "CI" in os.environ:
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    units = [str(path) for path in sorted(directory.glob("backup-assets*.*")) if path.is_file()]
    assert len(units) == len(SERVICES) + 2
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "backup-assets" in line]
    return "\n".join(said) or ("" if done.returncode == 0 else done.stderr)


def test_systemd_accepts_every_unit(installed: Path) -> None:
    assert verified(installed) == ""


@pytest.mark.parametrize("line", ["Restart=perhaps", "ProtectSytem=strict"])
def test_a_mistake_in_a_unit_is_noticed(installed: Path, line: str) -> None:
    drop_in = installed / "backup-assets-.service.d" / "common.conf"
    drop_in.write_text(f"{drop_in.read_text()}{line}\n")
    assert verified(installed) != ""


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    (command,) = service(name)["ExecStart"]
    program, *arguments = shlex.split(command)
    assert program == PROGRAM
    parser().parse_args(arguments)


def test_the_target_starts_everything_that_runs_all_the_time() -> None:
    (wanted,) = settings_of(SYSTEMD / "backup-assets.target")["Wants"]
    running = [name for name in SERVICES if "Type" not in service(name)]
    assert sorted(wanted.split()) == sorted(f"backup-assets-{name}.service" for name in running)
    for name in running:
        assert service(name)["PartOf"] == ["backup-assets.target"]
        assert service(name)["Restart"] == ["always"]


def test_only_what_backs_up_and_what_asks_for_it_get_secrets_and_write_to_the_store() -> None:
    for name in SERVICES:
        given = service(name)
        secret = "LoadCredential" in given
        assert secret == (name in ("code", "status"))
        assert ("ReadWritePaths" in given) == secret
        assert ("BindReadOnlyPaths" in given) == secret


def test_every_service_is_confined_and_is_ended_by_an_interrupt() -> None:
    common = settings_of(COMMON)
    assert common["User"] == ["backup-assets"]
    assert common["KillSignal"] == ["SIGINT"]
    assert "KillMode" not in common  # to every process: a run takes back what it has begun
    for name, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "CapabilityBoundingSet": "",
        "PrivateTmp": "yes",
        "UMask": "0077",
    }.items():
        assert common[name] == [value]


def test_a_command_by_hand_has_the_secrets_and_the_store_of_the_services() -> None:
    script = (SYSTEMD / "backup-assets").read_text()
    code = service("code")
    for name in ("LoadCredential", "ReadWritePaths"):
        for value in code[name]:
            assert f"--property={name}={value}" in script
    assert 'unit="backup-assets-' in script  # so that the settings of all services hold for it
    assert PROGRAM in script
    assert subprocess.run(["sh", "-n", str(SYSTEMD / "backup-assets")], check=False).returncode == 0


def test_the_settings_of_the_page_name_the_secret_that_the_units_bring(tmp_path: Path) -> None:
    (block,) = (one.body for one in blocks_of(DOCS / "deployment.md") if one.name == "systemd.yaml")
    (tmp_path / "backup.yaml").write_text(block)
    (credential,) = service("code")["LoadCredential"]
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / credential.partition(":")[0]).write_text("s3cret")
    settings = load_settings({}, tmp_path)
    assert [str(settings.backup_dir)] == service("code")["ReadWritePaths"]
    assert settings.databases[0].server.password is not None


def test_the_launchd_example_starts_a_command_that_exists_and_keeps_it_running() -> None:
    with PLIST.open("rb") as handle:
        job = plistlib.load(handle)
    program, *arguments = job["ProgramArguments"]
    assert program == PROGRAM
    assert parser().parse_args(arguments).host == "127.0.0.1"
    assert f"{job['Label']}.plist" == PLIST.name
    assert job["RunAtLoad"]
    assert job["KeepAlive"]
    assert job["Umask"] == 0o077
    assert job["UserName"] != "root"
    assert Path(job["EnvironmentVariables"]["DAGSTER_HOME"]).is_absolute()
