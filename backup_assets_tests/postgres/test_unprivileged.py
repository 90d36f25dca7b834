from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.server_binaries import ServerBinaries
from backup_assets.postgres.unprivileged import (
    copy_tree,
    grants,
    may_reach,
    reachable_binaries,
    scratch_parent,
    server_identity,
    verify_ours,
)
from backup_assets.process import Identity

STRANGER = Identity(uid=54321, gid=54321)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")


@pytest.fixture
def a_closed_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def an_open_directory(a_closed_directory: Path) -> Path:
    a_closed_directory.chmod(0o755)
    return a_closed_directory


def test_an_ordinary_user_runs_servers_itself():
    assert server_identity(effective_uid=1000) is None


def test_root_runs_servers_as_somebody_else():
    identity = server_identity(effective_uid=0)

    assert identity is not None
    assert identity.uid != 0


@pytest.mark.parametrize(
    ("mode", "owner", "group", "granted"),
    [
        (0o755, 0, 0, True),
        (0o711, 0, 0, True),
        (0o750, 0, 0, False),
        (0o710, 0, 54321, True),
        (0o701, 0, 54321, False),
        (0o100, 54321, 0, True),
        (0o077, 54321, 54321, False),
    ],
)
def test_only_the_bits_of_the_closest_class_count(mode: int, owner: int, group: int, granted: bool):
    assert grants(mode, owner, group, STRANGER, 1) is granted


def test_a_directory_below_a_closed_one_is_out_of_reach(a_closed_directory: Path):
    inside = a_closed_directory / "inside"
    inside.mkdir(mode=0o755)

    assert not may_reach(inside, STRANGER)
    a_closed_directory.chmod(0o711)
    assert may_reach(inside, STRANGER)


def test_we_ourselves_reach_everything(a_closed_directory: Path):
    assert may_reach(a_closed_directory, None)


def test_data_goes_where_it_was_wanted_if_the_server_can_go_there(an_open_directory: Path):
    assert scratch_parent(an_open_directory, STRANGER) == an_open_directory


def test_data_goes_elsewhere_when_the_server_cannot_go_there(a_closed_directory: Path):
    chosen = scratch_parent(a_closed_directory, STRANGER)

    assert chosen != a_closed_directory
    assert may_reach(chosen, STRANGER)
    assert stat.S_IMODE(a_closed_directory.stat().st_mode) == 0o700


def test_the_temporary_directory_of_the_environment_is_preferred(
    an_open_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR", str(an_open_directory))

    assert scratch_parent(None, STRANGER) == an_open_directory


def test_binaries_within_reach_stay_where_they_are(an_open_directory: Path):
    binaries = ServerBinaries(an_open_directory, 17, "17.1")

    assert reachable_binaries(binaries, STRANGER) is binaries


def test_a_tree_is_copied_readable_for_all(a_closed_directory: Path):
    source = a_closed_directory / "pginstall"
    (source / "bin").mkdir(parents=True, mode=0o700)
    (source / "bin" / "postgres").write_text("program")
    (source / "bin" / "postgres").chmod(0o700)
    (source / "share").mkdir(mode=0o700)
    (source / "share" / "postgres.bki").write_text("data")
    (source / "share" / "postgres.bki").chmod(0o600)

    copy_tree(source, a_closed_directory / "copy")

    modes = {
        str(path.relative_to(a_closed_directory / "copy")): stat.S_IMODE(path.stat().st_mode)
        for path in (a_closed_directory / "copy").rglob("*")
    }
    assert modes == {"bin": 0o755, "bin/postgres": 0o755, "share": 0o755, "share/postgres.bki": 0o644}
    assert stat.S_IMODE((source / "bin").stat().st_mode) == 0o700
    assert sorted(path.name for path in a_closed_directory.iterdir()) == ["copy", "pginstall"]


def test_the_copy_of_a_faster_process_stays(a_closed_directory: Path):
    (a_closed_directory / "source").mkdir()
    (a_closed_directory / "copy").mkdir()
    (a_closed_directory / "copy" / "theirs").touch()

    copy_tree(a_closed_directory / "source", a_closed_directory / "copy")

    assert [path.name for path in (a_closed_directory / "copy").iterdir()] == ["theirs"]


def test_a_copy_that_others_can_write_to_is_not_trusted(an_open_directory: Path):
    verify_ours(an_open_directory)
    an_open_directory.chmod(0o777)

    with pytest.raises(EnvironmentFault, match="not to be trusted"):
        verify_ours(an_open_directory)


def test_a_link_in_place_of_the_copy_is_not_trusted(an_open_directory: Path, tmp_path: Path):
    link = tmp_path / "copy"
    link.symlink_to(an_open_directory)

    with pytest.raises(EnvironmentFault, match="not to be trusted"):
        verify_ours(link)


@as_root
def test_a_copy_of_another_user_is_not_trusted(an_open_directory: Path):
    os.chown(an_open_directory, STRANGER.uid, STRANGER.gid)

    with pytest.raises(EnvironmentFault, match="not to be trusted"):
        verify_ours(an_open_directory)


def test_programs_out_of_reach_that_are_no_wheel_are_refused(a_closed_directory: Path):
    directory = a_closed_directory / "usr" / "bin"
    directory.mkdir(parents=True)

    with pytest.raises(EnvironmentFault, match="cannot be executed by the user it has to run as"):
        reachable_binaries(ServerBinaries(directory, 17, "17.1"), STRANGER)
