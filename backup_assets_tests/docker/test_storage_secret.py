from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "docker" / "storage_secret.py"
ADDRESS = ("storage", "5432", "dagster", "dagster")


def made(directory: Path) -> tuple[str, str]:
    subprocess.run([sys.executable, PROGRAM, directory, *ADDRESS], check=True, timeout=180, capture_output=True)
    return (directory / "password").read_text(), (directory / "pgpass").read_text()


def test_server_and_clients_get_the_same_random_password(tmp_path: Path) -> None:
    password, line = made(tmp_path)
    other = tmp_path / "other"
    other.mkdir()

    assert len(password) == 48
    assert line == f"storage:5432:dagster:dagster:{password}\n"
    assert made(other)[0] != password


def test_the_file_of_the_clients_is_one_that_libpq_takes(tmp_path: Path) -> None:
    made(tmp_path)

    assert (tmp_path / "pgpass").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o444  # the server runs as another user


def test_what_is_there_stays_and_what_is_missing_follows_it(tmp_path: Path) -> None:
    first = made(tmp_path)
    (tmp_path / "pgpass").unlink()
    (tmp_path / "pgpass.partial").write_text("half a li")  # the power failed

    assert made(tmp_path) == first


def test_nothing_is_written_without_the_whole_address(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, PROGRAM, tmp_path], check=False, timeout=180, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
    assert not list(tmp_path.iterdir())
