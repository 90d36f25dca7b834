from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_assets.cli.main import main
from backup_assets.settings_variables import VARIABLES
from backup_assets_tests.sources import Source, connect

OURS = {variable.name for variable in VARIABLES}
OTHERS = ("BACKUP_FILE", "BACKUP_GLOBALS_FILE", "BACKUP_ASSETS_FILE", "RESTORE_CONFIRM", "DAGSTER_HOME")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The tab-separated lines of a pipe."""
        return [line.split("\t") for line in self.out.splitlines()]

    def value(self, name: str) -> str:
        """The value that is written with a name."""
        return next(line[1] for line in self.lines if line[0] == name)


Command = Callable[..., Ended]


@pytest.fixture
def an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a directory of its own where nothing is configured."""
    for name in (*OURS, *OTHERS):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    # Set and taken back, so that what a command sets in this process does not outlive the test.
    monkeypatch.setenv("DAGSTER_HOME", str(directory / "var" / "dagster"))
    return directory


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `backup-assets` with arguments in this process."""

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        status = main(arguments)
        written = capfd.readouterr()
        return Ended(status, written.out, written.err)

    return run


def variables_of(source: Source) -> dict[str, str]:
    """Return the variables that configure a database for the command line."""
    server = source.server_settings()
    return {
        "DB_HOST": server.host,
        "DB_PORT": str(server.port),
        "DB_USER": server.user,
        "DB_PASSWORD": source.cluster.password,
        "DB_NAME": source.name,
        "BACKUP_PREFIX": "erp4",
        "BACKUP_DIR": str(source.backup_dir),
    }


@pytest.fixture
def a_configured_database(
    a_database: Source, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Source]:
    """A database that the environment names, as it is in use."""
    for name, value in variables_of(a_database).items():
        monkeypatch.setenv(name, value)
    yield a_database
    with connect(a_database.cluster, "postgres") as connection:
        made = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{a_database.name}\\_%",))
        for (name,) in made.fetchall():
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@pytest.fixture
def attachments(a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two attachments, configured with the database, one named by a row."""
    directory = tmp_path / "attachments"
    (directory / "invoices").mkdir(parents=True)
    (directory / "invoices" / "1.pdf").write_bytes(b"%PDF the first")
    (directory / "logo.png").write_bytes(os.urandom(2000))
    a_configured_database.execute(
        "ALTER TABLE invoices ADD pdf text", "UPDATE invoices SET pdf='invoices/1.pdf' WHERE id=1"
    )
    monkeypatch.setenv("ASSET_DIR", str(directory))
    monkeypatch.setenv("PDF_PROVIDER", "local")
    monkeypatch.setenv("ASSET_FILE_COLUMN", "invoices.pdf")
    return directory
