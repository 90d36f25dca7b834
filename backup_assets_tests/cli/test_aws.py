from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from backup_assets_tests.aws.examples import ACCOUNT, TOKYO_KEY
from backup_assets_tests.cli.conftest import Command


@pytest.fixture
def a_bucket(an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in AWS that variables configure."""
    for name, value in {
        "S3_BUCKET": "erp4-tokyo",
        "S3_PREFIX": "backups",
        "S3_REGION": "ap-northeast-1",
        "SSE_KMS_KEY_ID": TOKYO_KEY,
        "DB_NAME": "erp4",
        "DB_HOST": "localhost",
    }.items():
        monkeypatch.setenv(name, value)


def test_the_policies_are_printed_as_json(command: Command, a_bucket: None) -> None:
    ended = command("aws", "policies")
    assert ended.status == 0
    assert "policies/uploader-s3.json" in json.loads(ended.out)


def test_names_of_roles_and_people_are_filled_in(command: Command, a_bucket: None) -> None:
    ended = command("aws", "policies", "--restorer", "restores", "--trust", "restorer=alice", "--trust", "restorer=bob")
    documents = json.loads(ended.out)
    users = [f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in ("alice", "bob")]
    assert documents["trust/restorer.json"]["Statement"][0]["Principal"]["AWS"] == users
    assert f"arn:aws:iam::{ACCOUNT}:role/restores" in json.dumps(documents)
    assert "backup-restorer" not in ended.out


def test_files_are_written_privately_with_the_commands_that_apply_them(
    command: Command, a_bucket: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = command("aws", "policies", "--output", str(out))
    assert ended.status == 0
    assert "put-key-policy" in (out / "README.md").read_text()
    assert json.loads((out / "buckets" / "erp4-tokyo.json").read_text())["Version"] == "2012-10-17"
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert f"{len(files)} files written" in ended.out


def test_writing_again_changes_nothing_and_other_content_is_never_replaced(
    command: Command, a_bucket: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command("aws", "policies", "--output", str(out))
    assert "has them already" in command("aws", "policies", "--output", str(out)).out

    changed = out / "policies" / "uploader-s3.json"
    changed.write_text("{}")
    (out / "README.md").unlink()
    ended = command("aws", "policies", "--output", str(out))

    assert ended.status == 2
    assert f"{changed} exists with other content" in ended.err
    assert changed.read_text() == "{}"
    assert not (out / "README.md").exists()


def test_without_a_store_in_aws_the_error_says_what_to_configure(command: Command, an_empty_directory: Path) -> None:
    ended = command("aws", "policies")
    assert ended.status == 2
    assert ended.out == ""
    assert "no store in AWS is configured" in ended.err
    assert "tokyo (the demo)" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [("--store", "osaka"), ("--account", "12"), ("--trust", "alice")])
def test_wrong_arguments_are_one_clear_error(command: Command, a_bucket: None, arguments: tuple[str, str]) -> None:
    ended = command("aws", "policies", *arguments)
    assert ended.status == 2
    assert arguments[1] in ended.err
    assert "next:" in ended.err
