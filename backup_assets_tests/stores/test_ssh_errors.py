"""Whatever keeps this machine from the other host's directory is told in one clear error."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.stores.ssh import SshStore
from backup_assets.stores.ssh_location import SshLocation
from backup_assets_tests.sets.examples import put
from backup_assets_tests.stores.conformance import KEY, MIB, keys, noise
from backup_assets_tests.stores.ssh_server import SshServer, as_another_user, free_port, link_to, make_key


@pytest.fixture
def location(another_host: SshServer, tmp_path: Path) -> SshLocation:
    return another_host.location(tmp_path / "there")


def fault_of(location: SshLocation, **changes: Any) -> EnvironmentFault:
    """Return the error of looking into the changed location; it is one text without a trace."""
    with pytest.raises(EnvironmentFault) as caught:
        keys(SshStore(replace(location, **changes), "remote"))
    assert caught.value.what.startswith("could not list the stored files in ")
    assert caught.value.remedy
    assert "Traceback" not in str(caught.value)
    return caught.value


def test_an_unknown_host_is_refused_with_the_command_that_adds_its_key(location: SshLocation, tmp_path: Path) -> None:
    empty = tmp_path / "known hosts of 100%"
    empty.touch()

    fault = fault_of(location, known_hosts=empty)

    assert "127.0.0.1 is not a known host" in fault.what
    assert f"ssh-keyscan -p {location.port} 127.0.0.1 >> '{empty}'" in fault.remedy
    assert not isinstance(fault, TransientFault)
    assert empty.read_text() == ""


def test_a_host_with_another_key_than_the_known_one_is_refused(location: SshLocation, tmp_path: Path) -> None:
    other = make_key(tmp_path / "another_host_key")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{location.port} {other}\n")
    keys(SshStore(location, "remote"))  # a connection that is open already does not help

    fault = fault_of(location, known_hosts=known)

    assert "shows another host key than the one that is known" in fault.what
    assert f"ssh-keygen -R '[127.0.0.1]:{location.port}' -f {known}" in fault.remedy
    assert "@@@" not in fault.why


def test_a_key_that_is_not_authorized_is_said(location: SshLocation, tmp_path: Path) -> None:
    make_key(tmp_path / "my key")

    fault = fault_of(location, ssh_key=tmp_path / "my key")

    assert "127.0.0.1 does not accept the key" in fault.what
    assert "authorized_keys" in fault.remedy


def test_a_key_that_others_may_read_is_said(location: SshLocation, another_host: SshServer, tmp_path: Path) -> None:
    shutil.copy(another_host.directory / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o644)

    fault = fault_of(location, ssh_key=tmp_path / "key")

    assert "others may read it" in fault.what
    assert "chmod 600" in fault.remedy


def test_a_port_where_nobody_answers_is_worth_another_attempt(location: SshLocation) -> None:
    fault = fault_of(location, port=free_port())

    assert isinstance(fault, TransientFault)
    assert "REMOTE_PORT" in fault.remedy


def test_a_name_that_no_host_has_is_said(location: SshLocation) -> None:
    assert "backup.invalid" in fault_of(location, host="backup.invalid").what


def test_a_connection_that_stalls_is_given_up(another_host: SshServer, location: SshLocation) -> None:
    with link_to(another_host) as link:
        stalled = replace(location, port=link.port, alive_seconds=1, connect_seconds=15)
        keys(SshStore(stalled, "remote"))
        link.stall()

        assert isinstance(fault_of(stalled), TransientFault)


def test_a_transfer_that_stalls_is_given_up(another_host: SshServer, location: SshLocation, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(noise(8 * MIB))
    with link_to(another_host) as link:
        link.limit, link.at_limit = 2 * MIB, link.stall
        store = SshStore(replace(location, port=link.port, alive_seconds=1, connect_seconds=15), "remote")

        with pytest.raises(TransientFault) as caught:
            store.put(KEY, source, sha256="0" * 64, size=8 * MIB)

    assert "what was sent is used again" in caught.value.remedy


def test_a_directory_that_does_not_exist_is_never_created(location: SshLocation, tmp_path: Path) -> None:
    missing = tmp_path / "not mounted"
    store = SshStore(replace(location, remote_dir=str(missing)), "remote")

    for attempt in (lambda: put(store, KEY, b"x"), store.check, lambda: keys(store), store.free_bytes):
        with pytest.raises(EnvironmentFault, match=r"there is no directory .*not mounted on 127\.0\.0\.1") as caught:
            attempt()
        assert "REMOTE_DIR" in caught.value.remedy
    assert not missing.exists()


def test_a_file_in_the_place_of_the_directory_is_said(location: SshLocation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in fault_of(location, remote_dir=str(tmp_path / "file")).what


def test_a_directory_of_another_user_is_said(another_host: SshServer) -> None:
    with as_another_user(another_host) as (location, directory):
        directory.chmod(0o500)
        store = SshStore(location, "remote")
        for attempt in (lambda: put(store, KEY, b"x"), store.check):
            with pytest.raises(EnvironmentFault, match="permission denied"):
                attempt()

        directory.chmod(0)
        assert "may not be entered" in fault_of(location).what


@pytest.fixture
def a_host_without_rsync(another_host: SshServer, tmp_path: Path) -> Iterator[None]:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "bash", "sha256sum", "stat", "find", "sync", "cat", "rm", "mkdir", "env", "ln", "df"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    profile = another_host.home / ".bashrc"
    profile.write_text(f"PATH={programs}\n")
    yield
    profile.unlink()


@pytest.mark.usefixtures("a_host_without_rsync")
def test_a_host_without_rsync_is_told_before_anything_is_sent(location: SshLocation, tmp_path: Path) -> None:
    store = SshStore(location, "remote")
    source = tmp_path / "source"
    source.write_bytes(noise(2 * MIB))

    for attempt in (store.check, lambda: store.put(KEY, source, sha256="0" * 64, size=2 * MIB)):
        with pytest.raises(EnvironmentFault, match=r"a program is missing on 127\.0\.0\.1") as caught:
            attempt()
        assert "rsync was not found" in caught.value.why


def test_a_login_that_runs_no_commands_is_said(another_host: SshServer, location: SshLocation, tmp_path: Path) -> None:
    key = make_key(tmp_path / "forced")
    authorized = another_host.directory / "authorized_keys"
    before = authorized.read_text()
    authorized.write_text(f'{before}restrict,command="echo no commands here" {key}\n')
    store = SshStore(replace(location, ssh_key=tmp_path / "forced"), "remote")
    try:
        for attempt in (lambda: keys(store), lambda: put(store, KEY, b"x"), lambda: store.open(KEY).__enter__()):
            with pytest.raises(EnvironmentFault, match="does not run commands") as caught:
                attempt()
            assert "forced command" in caught.value.remedy
    finally:
        authorized.write_text(before)
