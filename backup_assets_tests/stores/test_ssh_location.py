from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.stores.ssh import SshStore
from backup_assets.stores.ssh_location import SshLocation, private_directory, remote_shell
from backup_assets_tests.sets.examples import put
from backup_assets_tests.stores.conformance import KEY
from backup_assets_tests.stores.ssh_server import SshServer

LOCATION = SshLocation("backup.example", "/srv/backups/")


def resolved(location: SshLocation) -> dict[str, str]:
    """Return ssh's own reading of its arguments."""
    printed = subprocess.run([*location.ssh(), "-G", location.host], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in printed.splitlines() if " " in line)


def test_the_host_key_is_always_checked_and_nothing_is_asked_or_forwarded() -> None:
    found = resolved(LOCATION)
    assert found["stricthostkeychecking"] in {"true", "yes"}
    for name in ("forwardagent", "forwardx11", "permitlocalcommand"):
        assert found[name] == "no"
    assert (found["batchmode"], found["clearallforwardings"], found["requesttty"]) == ("yes", "yes", "false")
    assert (found["connecttimeout"], found["serveraliveinterval"], found["serveralivecountmax"]) == ("20", "15", "3")


def test_only_the_given_key_and_known_hosts_count() -> None:
    location = replace(LOCATION, ssh_key=Path("/k/my key 5%"), known_hosts=Path("/k/known hosts"), user="bk", port=2222)
    found = resolved(location)
    assert (found["identityfile"], found["identitiesonly"]) == ("/k/my key 5%%", "yes")
    assert found["userknownhostsfile"].strip('"') == "/k/known hosts"
    assert found["globalknownhostsfile"] == "/dev/null"
    assert (found["user"], found["port"]) == ("bk", "2222")


def test_a_connection_is_shared_only_by_those_who_would_make_the_same(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("a")
    location = replace(LOCATION, known_hosts=known)
    first = resolved(location)["controlpath"]
    others = [replace(location, user="x"), replace(location, ssh_key=known), replace(location, known_hosts=None)]

    assert resolved(location)["controlpath"] == first
    assert first not in {resolved(other)["controlpath"] for other in others}
    known.write_text("ab")
    assert resolved(location)["controlpath"] != first


def test_an_address_names_user_host_and_directory() -> None:
    assert LOCATION.describe() == "backup.example:/srv/backups"
    other = replace(LOCATION, host="fd00::1", user="bk", port=2222)
    assert other.describe() == "bk@[fd00::1]:/srv/backups, port 2222"
    assert other.address("erp4/x") == "bk@[fd00::1]:/srv/backups/erp4/x"


@pytest.fixture
def a_short_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files, whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="ba-") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def test_a_shared_directory_is_not_used_for_connections(a_short_directory: Path) -> None:
    assert private_directory().parent == a_short_directory
    assert private_directory().stat().st_mode & 0o777 == 0o700

    private_directory().chmod(0o755)
    with pytest.raises(EnvironmentFault, match="not a private directory"):
        private_directory()

    name = a_short_directory / f"backup-assets-ssh-{os.getuid()}"
    name.rmdir()
    (a_short_directory / "elsewhere").mkdir(mode=0o700)
    name.symlink_to(a_short_directory / "elsewhere")
    with pytest.raises(EnvironmentFault, match="not a private directory"):
        private_directory()


def test_words_survive_rsyncs_own_splitting() -> None:
    assert remote_shell(["ssh", "-oA=it's", "-p", "22"]) == "ssh '-oA=it''s' -p 22"


def test_the_command_that_is_shown_fetches_an_object(another_host: SshServer, tmp_path: Path) -> None:
    store = SshStore(another_host.location(tmp_path / "it's there"), "remote")
    put(store, KEY, b"content")

    subprocess.run(store.location.fetch_command(KEY, "./a.dump"), shell=True, check=True, cwd=tmp_path)  # noqa: S602

    assert (tmp_path / "a.dump").read_bytes() == b"content"
