from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from backup_assets.demo import seaweed
from backup_assets.demo.seaweed import Keys, Weed
from backup_assets.errors import EnvironmentFault
from backup_assets.process import Identity
from backup_assets_tests.stores.object_server import require_weed


@pytest.fixture
def a_server(tmp_path: Path) -> Iterator[Weed]:
    (tmp_path / seaweed.CONFIGURATION).write_bytes(
        seaweed.configuration([seaweed.identity("demo", Keys("key", "secret"))])
    )
    server = Weed(tmp_path, tmp_path, seaweed.free_ports(), "a key")
    yield server
    server.kill()


def test_a_server_answers_on_loopback_alone_and_leaves_nothing_behind_when_killed(a_server: Weed) -> None:
    assert not a_server.running
    a_server.start(require_weed())
    a_server.wait_until_ready()

    assert a_server.running
    assert _listening_beyond_loopback(a_server) == []
    # Not those that a server killed long ago left behind: the ports are chosen at random, and come again.
    made = {path for path in _sockets_of(a_server) if _is_listened_on(path)}
    assert made == set(a_server.ports.sockets)
    a_server.kill()
    assert not a_server.running
    assert not [path for path in made if path.exists()]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{a_server.ports.url}/healthz", timeout=5)  # noqa: S310 - our own http://127.0.0.1


def test_a_program_that_ends_at_once_is_told_with_what_it_said(a_server: Weed, tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    program.chmod(0o755)

    a_server.start(program)

    with pytest.raises(EnvironmentFault, match="did not start") as refused:
        a_server.wait_until_ready()
    assert "out of luck" in refused.value.why


def test_a_program_that_another_user_may_not_execute_is_refused(a_server: Weed, tmp_path: Path) -> None:
    program = tmp_path / "private"
    program.touch(mode=0o700)

    with pytest.raises(EnvironmentFault, match="cannot be executed") as refused:
        a_server.start(program, Identity(65534, 65534))

    assert f"chmod o+rx {program}" in refused.value.remedy


def test_a_port_that_another_program_listens_on_is_not_free() -> None:
    ports = seaweed.free_ports()
    assert ports.free
    assert len(set(astuple(ports))) == 8
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not replace(ports, filer=other.getsockname()[1]).free


def _sockets_of(server: Weed) -> list[Path]:
    ports = set(map(str, astuple(server.ports)))
    return [path for path in Path("/tmp").glob("seaweedfs-*.sock") if path.stem.rpartition("-")[2] in ports]  # noqa: S108


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _listening_beyond_loopback(server: Weed) -> list[str]:
    """Return what a server listens on, of all IPv4 and IPv6 sockets of this machine, outside of 127.0.0.1."""
    ports = {f"{port:04X}" for port in astuple(server.ports)}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    listening = [fields[1] for fields in lines if fields[3] == "0A" and fields[1].rpartition(":")[2] in ports]
    assert len(listening) >= len(ports)
    return [address for address in listening if not address.startswith("0100007F:")]
