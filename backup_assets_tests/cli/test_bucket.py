"""`bucket plan` and `bucket apply` against a real server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_assets_tests.cli.conftest import Command, Ended
from backup_assets_tests.stores.object_server import REGION, ObjectServer, object_server

#: The test server knows no public access blocks.
UNKNOWN = "public access (unknown)"


@pytest.fixture(scope="module")
def a_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def a_bucket(a_server: ObjectServer, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bare bucket that variables name."""
    bucket = a_server.bucket()
    keys = a_server.credentials("admin")
    for name, value in {
        "DB_NAME": "erp4",
        "S3_BUCKET": bucket,
        "S3_PREFIX": "offsite",
        "S3_REGION": REGION,
        "S3_ENDPOINT_URL": a_server.url,
        "S3_ADDRESSING_STYLE": "path",
        "SSE_S3": "AES256",
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
    }.items():
        monkeypatch.setenv(name, value)
    return bucket


def lines(ended: Ended) -> dict[str, str]:
    return {line[1]: line[2] for line in ended.lines}


def versioning(server: ObjectServer, bucket: str) -> str | None:
    return server.client().get_bucket_versioning(Bucket=bucket).get("Status")


def test_a_plan_shows_what_differs_and_changes_nothing(command: Command, a_bucket: str, a_server: ObjectServer) -> None:
    ended = command("bucket", "plan")

    assert ended.status == 1  # for what the server does not know
    found = lines(ended)
    assert (found["versioning"], found["public access"]) == ("to change", "unknown")
    assert (found["default encryption"], found["lifecycle: old versions"]) == ("to change", "to change")
    assert "4 to change: `backup-assets bucket apply`" in ended.err
    assert f"left to you: s3: {UNKNOWN}" in ended.err
    assert versioning(a_server, a_bucket) is None


def test_apply_shows_the_plan_first_and_without_confirmation_changes_nothing(
    command: Command, a_bucket: str, a_server: ObjectServer
) -> None:
    ended = command("bucket", "apply")

    assert ended.status == 2
    assert lines(ended)["versioning"] == "to change"
    assert "not confirmed" in ended.err
    assert versioning(a_server, a_bucket) is None


def test_a_second_apply_has_nothing_to_do(command: Command, a_bucket: str, a_server: ObjectServer) -> None:
    first = command("bucket", "apply", "s3", "--yes")
    assert versioning(a_server, a_bucket) == "Enabled"
    assert first.status == 1
    assert "s3: versioning changed\ns3: default encryption changed\ns3: lifecycle changed\n" in first.err

    second = command("bucket", "apply", "--yes")

    assert second.status == 1
    assert "nothing to do that this command can do" in second.err
    assert "changed" not in second.err
    assert set(lines(second).values()) == {"as wanted", "unknown"}


def answered(answer: str) -> tuple[int, str]:
    """Run `bucket apply` in a terminal of its own and write ``answer`` there; return its status and what it said."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "backup_assets.cli.main", "bucket", "apply"],
        stdin=theirs, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    return done.returncode, done.stderr


def test_in_a_terminal_only_yes_is_a_confirmation(a_bucket: str, a_server: ObjectServer) -> None:
    status, said = answered("y")
    assert (status, versioning(a_server, a_bucket)) == (2, None)
    assert f"Change s3://{a_bucket}/offsite as shown?" in said

    answered("yes")

    assert versioning(a_server, a_bucket) == "Enabled"


def test_a_missing_bucket_is_made_with_create_alone(
    command: Command, a_bucket: str, a_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET", f"{a_bucket}-2")
    assert lines(command("bucket", "plan"))["bucket"] == "to create"
    refused = command("bucket", "apply", "--yes")
    assert refused.status == 2
    assert "repeat with --create" in refused.err

    ended = command("bucket", "apply", "--yes", "--create")

    assert f"s3: bucket created in {REGION}" in ended.err
    assert versioning(a_server, f"{a_bucket}-2") == "Enabled"


def test_json_has_the_plan_and_what_became_of_it(command: Command, a_bucket: str) -> None:
    (planned,) = json.loads(command("bucket", "plan", "--json").out)
    assert (planned["store"], planned["bucket"], planned["exists"]) == ("s3", a_bucket, True)

    (done,) = json.loads(command("bucket", "apply", "--yes", "--json").out)

    assert [one["name"] for one in done["applied"]] == ["versioning", "default encryption", "lifecycle"]
    assert {line["name"] for line in done["lines"] if line["state"] != "as wanted"} == {"public access"}


def test_without_a_bucket_or_with_another_kind_of_store_it_is_refused(
    command: Command, an_empty_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_NAME", "erp4")
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "usb"))

    nothing, folder, unknown = (command("bucket", "plan", *name) for name in ((), ("folder",), ("far",)))

    assert [one.status for one in (nothing, folder, unknown)] == [2, 2, 2]
    assert "no store of kind s3 is configured" in nothing.err
    assert "the store folder is no bucket" in folder.err
    assert "there is no store far" in unknown.err


def test_another_profile_can_look_and_apply(
    command: Command, a_bucket: str, a_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, admin = a_server.credentials("writer"), a_server.credentials("admin")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", writer.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", writer.secret_access_key)
    # A second name of the server, so that nothing of the first role is remembered.
    monkeypatch.setenv("S3_ENDPOINT_URL", a_server.url.replace("127.0.0.1", "localhost"))
    profile = f"[admin]\naws_access_key_id={admin.access_key_id}\naws_secret_access_key={admin.secret_access_key}\n"
    (tmp_path / "credentials").write_text(profile)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    seen = command("bucket", "plan")
    assert (seen.status, set(lines(seen).values())) == (1, {"not seen"})

    assert lines(command("bucket", "plan", "--profile", "admin"))["versioning"] == "to change"


def findings(command: Command, name: str) -> list[dict[str, Any]]:
    return [one for one in json.loads(command("doctor", "--json").out) if one["name"] == name]


def test_doctor_tells_of_a_bucket_what_is_not_as_it_should_be(command: Command, a_bucket: str) -> None:
    before = findings(command, "bucket s3")
    assert [one["found"].partition(":")[0] for one in before] == [
        "versioning", "public access", "encryption", "abandoned uploads", "expiry", "object lock",
    ]  # fmt: skip
    assert {one["state"] for one in before} == {"warn"}

    command("bucket", "apply", "--yes")

    assert [one["found"].partition(":")[0] for one in findings(command, "bucket s3")] == [
        "public access",
        "object lock",
    ]


def test_doctor_says_in_one_line_that_its_role_may_not_look(
    command: Command, a_bucket: str, a_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = a_server.credentials("writer")
    monkeypatch.setenv("S3_ENDPOINT_URL", a_server.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", writer.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", writer.secret_access_key)

    (one,) = findings(command, "bucket s3")

    assert one["state"] == "warn"
    assert one["found"] == ("this role may not look at versioning, public access, encryption, lifecycle, object lock")
    assert findings(command, "store s3")[0]["state"] == "warn"  # it answers, and no set is there yet
