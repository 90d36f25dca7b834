from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sources import Source

CANARY = "correct horse battery staple"


@pytest.fixture
def env_file(an_empty_directory: Path) -> Path:
    path = an_empty_directory / ".env"
    path.write_text(f"JWT_SECRET={CANARY}\n")
    return path


@pytest.fixture
def a_set(
    command: Command, a_configured_database: Source, env_file: Path, keyrings: Keyrings, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The id of a set that was taken with secrets, without any private key."""
    monkeypatch.setenv("SECRET_FILES", str(env_file))
    monkeypatch.setenv("GPG_RECIPIENT", keyrings.lena)
    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.host))
    ended = command("backup", "--no-verify")
    assert ended.status == 0, ended.err
    return ended.value("set")


def everything_below(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_the_secrets_of_the_newest_set_come_back(
    command: Command, a_set: str, env_file: Path, keyrings: Keyrings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.lena_home))

    ended = command("secrets", "extract", "--to", str(tmp_path / "out"))

    assert ended.status == 0, ended.err
    assert (tmp_path / "out" / "files" / ".env").read_text() == env_file.read_text()
    assert ended.lines == [["file", ".env", "40", str(tmp_path / "out" / "files" / ".env")]]
    assert CANARY not in ended.out + ended.err


def test_they_come_back_from_a_further_store_too(
    command: Command,
    a_configured_database: Source,
    keyrings: Keyrings,
    env_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "usb"))
    set_id = request.getfixturevalue("a_set")
    assert CANARY.encode() not in everything_below(tmp_path / "usb")
    assert b".env" not in everything_below(tmp_path / "usb")
    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.lena_home))

    ended = command(
        "secrets", "extract", "--set", set_id, "--store", "folder", "--to", str(tmp_path / "out"), "--json"
    )  # fmt: skip

    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert (told["set"], told["files"][0]["name"]) == (set_id, ".env")
    assert Path(told["files"][0]["path"]).read_text() == env_file.read_text()


def test_without_a_key_it_is_one_clear_message(command: Command, a_set: str, tmp_path: Path) -> None:
    ended = command("secrets", "extract", "--to", str(tmp_path / "out"))

    assert ended.status == 3
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_a_set_with_secrets_is_listed_shown_and_downloaded_as_any_other(
    command: Command, a_set: str, tmp_path: Path
) -> None:
    assert command("list").lines[0][4] == "complete"
    assert f"secrets/{a_set}.tar.gpg" in command("show").out

    ended = command("download", "latest", "--to", str(tmp_path))

    assert ended.status == 0, ended.err
    assert (tmp_path / a_set / f"{a_set}.tar.gpg").is_file()


def test_a_backup_leaves_no_value_in_dagsters_home_or_the_store(
    command: Command, a_set: str, a_configured_database: Source, an_empty_directory: Path, env_file: Path
) -> None:
    env_file.unlink()

    assert CANARY.encode() not in everything_below(an_empty_directory)
    assert CANARY.encode() not in everything_below(a_configured_database.backup_dir)
    assert a_set.encode() in everything_below(an_empty_directory), "the event log is not where it was looked for"


def test_a_denied_secret_fails_the_backup_with_one_message(
    command: Command,
    a_configured_database: Source,
    keyrings: Keyrings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRETS_MANAGER_NAMES", "prod/erp4/gone")
    monkeypatch.setenv("GPG_RECIPIENT", keyrings.lena)
    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.host))
    with mock_aws():
        ended = command("backup", "--no-verify")

    assert ended.status == 3
    assert "could not read the secret prod/erp4/gone in ap-northeast-1: it does not exist or has no value" in ended.err
    assert "Traceback" not in ended.err
    assert command("list").out == ""


@pytest.fixture
def manager() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("secretsmanager", "ap-northeast-3")


def test_push_makes_a_version_and_says_when_nothing_changed(command: Command, env_file: Path, manager: Any) -> None:
    arguments = ("secrets", "push", str(env_file), "erp4/env", "--region", "ap-northeast-3")
    refused = command(*arguments)
    assert (refused.status, "--create" in refused.err) == (2, True)

    created = command(*arguments, "--create")
    again = command(*arguments, "--json")

    assert created.status == 0, created.err
    assert created.value("state") == "created"
    assert json.loads(again.out)["version_id"] == created.value("version")
    assert json.loads(again.out)["state"] == "unchanged"
    assert manager.get_secret_value(SecretId="erp4/env")["SecretString"] == env_file.read_text()
    assert CANARY not in created.out + created.err + again.out + again.err


def test_push_says_in_words_that_nothing_changed(command: Command, env_file: Path, manager: Any) -> None:
    manager.create_secret(Name="erp4/env", SecretString=env_file.read_text())

    ended = command("secrets", "push", str(env_file), "erp4/env", "--region", "ap-northeast-3")

    assert ended.status == 0
    assert "nothing was pushed" in ended.err
