"""Sets on another host: copied there by the same steps as everywhere, and restored from there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.named_stores import store_named
from backup_assets.offsite.assets import copy_asset_keys
from backup_assets.settings import Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.cli.conftest import Command, a_configured_database, an_empty_directory, command
from backup_assets_tests.offsite.copying import copied, hold, sets_in, settings_with
from backup_assets_tests.sets.examples import a_manifest
from backup_assets_tests.sources import Source, listed
from backup_assets_tests.stores.ssh_server import SshServer, ssh_server

__all__ = ["a_configured_database", "an_empty_directory", "command"]


@pytest.fixture(scope="module")
def another_host() -> Iterator[SshServer]:
    with ssh_server() as server:
        yield server


def host_store(server: SshServer, directory: Path, name: str = "remote") -> StoreSettings:
    location = server.location(directory)
    return StoreSettings(
        name=name,
        kind="ssh",
        host=location.host,
        port=location.port,
        user=location.user,
        remote_dir=location.remote_dir,
        ssh_key=location.ssh_key,
        known_hosts=location.known_hosts,
    )


@pytest.fixture
def settings(another_host: SshServer, tmp_path: Path) -> Settings:
    return settings_with(tmp_path / "backups", host_store(another_host, tmp_path / "there"))


def test_a_set_is_copied_once_and_then_found_equal(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)

    first = copied(settings, to="remote")[manifest.id]
    again = copied(settings, to="remote")[manifest.id]

    assert (first.state, again.state) == ("copied", "present")
    assert sets_in(settings, "remote")[manifest.id].state == "complete"
    for artifact in manifest.artifacts:
        there = tmp_path / "there" / "erp4" / "prod" / artifact.name
        assert there.stat().st_size == artifact.size_bytes


def test_a_copy_that_was_damaged_there_is_told_and_not_replaced(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    copied(settings, to="remote")
    (dump,) = (tmp_path / "there").rglob("*.dump")
    damaged = b"?" + dump.read_bytes()[1:]
    dump.write_bytes(damaged)

    done = copied(settings, to="remote")[manifest.id]

    assert done.state == "failed"
    assert "with other content" in str(done.error)
    assert dump.read_bytes() == damaged


def test_the_copy_is_an_asset_of_its_own(settings: Settings, another_host: SshServer, tmp_path: Path) -> None:
    assert copy_asset_keys(settings.databases[0], settings) == [["erp4", "remote_copy"]]
    assert "127.0.0.1" in store_named(settings, "remote").describe()


@pytest.fixture
def there(
    another_host: SshServer, a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A directory on another host, to which every set is copied, configured by variables alone."""
    location = another_host.location(tmp_path / "there")
    for name, value in {
        "REMOTE_HOST": location.host,
        "REMOTE_DIR": location.remote_dir,
        "REMOTE_PORT": location.port,
        "REMOTE_USER": location.user,
        "REMOTE_SSH_KEY": location.ssh_key,
        "REMOTE_KNOWN_HOSTS": location.known_hosts,
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "there"


def test_a_database_comes_back_from_another_host_alone(
    command: Command, a_configured_database: Source, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = command("backup", "--no-verify")
    assert ended.status == 0, ended.err
    set_id = ended.value("set")
    doctor = {line[0]: line for line in command("doctor").lines}
    assert doctor["store remote"][1] == "ok"
    assert "remote is this machine itself" in doctor["off-site"][2]

    for path in a_configured_database.backup_dir.rglob("*"):
        if path.is_file():
            path.unlink()
    assert listed(a_configured_database.settings()) == []

    assert command("list", "--store", "remote").lines[0][:5:4] == [set_id, "complete"]
    shown = command("show", set_id, "--store", "remote")
    fetching = [line for line in shown.out.splitlines() if line.startswith("rsync ")]
    (tmp_path / "by hand").mkdir()
    for line in fetching:
        subprocess.run(line, shell=True, check=True, cwd=tmp_path / "by hand")  # noqa: S602
    assert len(list((tmp_path / "by hand").iterdir())) == len(fetching) >= 2
    download = command("download", set_id, "--store", "remote", "--to", str(tmp_path / "handover"))
    assert download.status == 0, download.err
    proof = command("verify", set_id, "--store", "remote")
    assert proof.status == 0, proof.err
    assert list((there / "erp4").rglob("*.verification.*.json"))

    a_configured_database.execute("DELETE FROM invoices")
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    restored = command("restore", set_id, "--store", "remote")
    assert restored.status == 0, restored.err
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
