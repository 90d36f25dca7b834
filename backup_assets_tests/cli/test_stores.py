"""The way back from a further store: `--store` with every command that takes it, and what doctor says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings_loading import load_settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, capture, listed
from backup_assets_tests.stores.object_server import REGION, ObjectServer, object_server


@pytest.fixture
def usb(a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to which every set is copied."""
    (tmp_path / "usb").mkdir()
    monkeypatch.setenv("FOLDER_COPY_DIR", str(tmp_path / "usb"))
    return tmp_path / "usb"


@pytest.fixture(scope="module")
def a_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def a_bucket(a_server: ObjectServer, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket to which every set is copied, configured by variables alone."""
    bucket = a_server.bucket()
    keys = a_server.credentials("admin")
    for name, value in {
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


def sets_in(name: str) -> list[BackupSet]:
    settings = load_settings()
    return catalog_in(store_named(settings, name), place_of(settings.databases[0], settings)).sets()


def backed_up(command: Command) -> str:
    ended = command("backup", "--no-verify")
    assert ended.status == 0, ended.err
    return ended.value("set")


def lose_the_local_store(source: Source) -> None:
    for path in source.backup_dir.rglob("*"):
        if path.is_file():
            path.unlink()
    assert listed(source.settings()) == []


def finding(command: Command, name: str) -> dict[str, str]:
    return next(one for one in json.loads(command("doctor", "--json").out) if one["name"] == name)


def test_a_backup_is_copied_and_list_says_where_to(command: Command, a_configured_database: Source, usb: Path) -> None:
    set_id = backed_up(command)

    assert command("list").lines[0][-1] == "folder"
    there = command("list", "--store", "folder")
    assert (there.status, there.lines[0][0], there.lines[0][4]) == (0, set_id, "complete")
    assert [line[0] for line in command("show").lines if line[0] == "copy"] == ["copy"]


def test_an_empty_store_is_no_error_and_an_unknown_one_is_refused(
    command: Command, a_configured_database: Source, usb: Path
) -> None:
    capture(a_configured_database.settings())

    empty = command("list", "--store", "folder")
    assert (empty.status, empty.out) == (0, "")
    assert f"no backup set of erp4/local in the folder {usb}" in empty.err
    nothing = command("restore", "--store", "folder")
    assert nothing.status == 2
    assert f"there is no backup set in the folder {usb}" in nothing.err
    unknown = command("list", "--store", "dropbox")
    assert unknown.status == 2
    assert "there is no store dropbox" in unknown.err
    assert "configured: local, folder" in unknown.err


@pytest.mark.parametrize("arguments", ["list", "show", "download latest", "verify", "restore"])
def test_a_store_that_is_not_there_is_one_clear_message(
    command: Command, a_configured_database: Source, usb: Path, arguments: str
) -> None:
    usb.rmdir()

    ended = command(*arguments.split(), "--store", "folder")

    assert ended.status == 3
    assert ended.err.startswith(f"error: the folder {usb} does not exist")
    assert "Traceback" not in ended.err


def test_a_half_written_copy_is_no_set(command: Command, a_configured_database: Source, usb: Path) -> None:
    set_id = backed_up(command)
    (manifest,) = usb.rglob("*.manifest.json")
    manifest.unlink()

    ended = command("restore", set_id, "--store", "folder")

    assert ended.status == 2
    assert "there is no backup set in" in ended.err


def test_a_copy_that_lost_a_file_is_told_to_be_incomplete(
    command: Command, a_configured_database: Source, usb: Path
) -> None:
    set_id = backed_up(command)
    (globals_file,) = usb.rglob("*.sql")
    globals_file.unlink()

    assert command("list", "--store", "folder").lines[0][4] == "incomplete"
    ended = command("restore", "--store", "folder")
    assert ended.status == 1
    assert "globals" in ended.err
    assert command("list").lines[0][:5:4] == [set_id, "complete"]


def test_with_the_local_store_lost_everything_comes_back_from_the_folder(
    command: Command,
    a_configured_database: Source,
    attachments: Path,
    usb: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture(load_settings())
    (attachments / "new.pdf").write_bytes(b"%PDF a second generation")
    set_id = backed_up(command)
    lose_the_local_store(a_configured_database)
    a_configured_database.execute("DROP TABLE invoices")
    (attachments / "invoices" / "1.pdf").unlink()

    assert command("verify", "--store", "folder").status == 0
    assert command("download", "latest", "--store", "folder", "--to", str(tmp_path / "to")).status == 0
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    ended = command("restore", "--store", "folder")

    assert ended.status == 0, ended.err
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
    assert (attachments / "invoices" / "1.pdf").read_bytes() == b"%PDF the first"
    (one,) = [one for one in sets_in("folder") if one.id == set_id]
    assert [(r.kind, getattr(r, "store", "")) for r in one.records] == [("verification", "folder"), ("restore", "")]


def test_with_the_local_store_lost_everything_comes_back_from_the_bucket(
    command: Command, a_configured_database: Source, attachments: Path, a_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = backed_up(command)
    lose_the_local_store(a_configured_database)
    a_configured_database.execute("DROP TABLE invoices")
    (attachments / "invoices" / "1.pdf").unlink()

    assert command("list", "--store", "s3").lines[0][0] == set_id
    verified = command("verify", "--store", "s3")
    assert verified.status == 0, verified.err
    refused = command("restore", "--store", "s3")
    assert (refused.status, a_configured_database.value("SELECT count(*) FROM customers")) == (2, 50)
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    ended = command("restore", "--store", "s3")

    assert ended.status == 0, ended.err
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
    assert (attachments / "invoices" / "1.pdf").read_bytes() == b"%PDF the first"
    (one,) = sets_in("s3")
    assert [(r.kind, getattr(r, "store", "")) for r in one.records] == [("verification", "s3"), ("restore", "")]
    assert list((a_configured_database.backup_dir / ".work").iterdir()) == []


def test_with_everything_else_lost_it_comes_back_from_the_second_bucket(
    command: Command, a_configured_database: Source, attachments: Path, a_bucket: str, a_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in {
        "S3_COPY_BUCKET": a_server.bucket(),
        "S3_COPY_ENDPOINT_URL": a_server.url,
        "S3_COPY_ADDRESSING_STYLE": "path",
        "S3_COPY_SSE_S3": "AES256",
    }.items():
        monkeypatch.setenv(name, value)
    set_id = backed_up(command)
    lose_the_local_store(a_configured_database)
    for stored in a_server.client().list_objects_v2(Bucket=a_bucket)["Contents"]:
        a_server.client().delete_object(Bucket=a_bucket, Key=stored["Key"])
    a_configured_database.execute("DROP TABLE invoices")
    (attachments / "invoices" / "1.pdf").unlink()

    assert command("list", "--store", "s3").out == ""
    assert command("list", "--store", "s3_copy").lines[0][:5:4] == [set_id, "complete"]
    verified = command("verify", "--store", "s3_copy")
    assert verified.status == 0, verified.err
    monkeypatch.setenv("RESTORE_CONFIRM", "1")
    ended = command("restore", "--store", "s3_copy")

    assert ended.status == 0, ended.err
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
    assert (attachments / "invoices" / "1.pdf").read_bytes() == b"%PDF the first"


def test_a_finding_that_may_not_be_written_there_is_kept_in_the_local_store(
    command: Command, a_configured_database: Source, a_bucket: str, a_server: ObjectServer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    set_id = backed_up(command)
    reader = a_server.credentials("reader")
    # A second name of the same bucket, so that nothing of the first role is remembered.
    monkeypatch.setenv("S3_ENDPOINT_URL", a_server.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", reader.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", reader.secret_access_key)

    ended = command("verify", "--store", "s3", "--level", "stored")

    assert ended.status == 0, ended.err
    assert "the verification is recorded in the local store, because s3 did not take it" in ended.err
    (one,) = listed(a_configured_database.settings())
    assert (one.id, [record.store for record in one.verifications]) == (set_id, ["s3"])
    assert sets_in("s3")[0].records == ()


def test_an_altered_copy_in_the_bucket_fails_and_the_local_set_keeps_its_proof(
    command: Command, a_configured_database: Source, a_bucket: str, a_server: ObjectServer
) -> None:
    backed_up(command)
    assert command("verify", "--level", "restored").status == 0
    client = a_server.client()
    (key,) = [o["Key"] for o in client.list_objects_v2(Bucket=a_bucket)["Contents"] if "/db/" in o["Key"]]
    content = bytearray(client.get_object(Bucket=a_bucket, Key=key)["Body"].read())
    content[len(content) // 2] ^= 1
    client.put_object(Bucket=a_bucket, Key=key, Body=bytes(content))

    ended = command("verify", "--store", "s3", "--level", "stored")

    assert ended.status == 1
    assert "another SHA-256" in ended.err
    assert proof_of(listed(a_configured_database.settings())[0]) is not None


def test_a_bucket_that_cannot_be_reached_is_one_clear_message(
    command: Command, a_configured_database: Source, a_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")

    ended = command("list", "--store", "s3")

    assert ended.status == 3
    assert "cannot be reached" in ended.err
    assert "S3_ENDPOINT_URL" in ended.err


def test_files_that_are_named_and_a_store_exclude_each_other(
    command: Command, a_configured_database: Source, usb: Path
) -> None:
    ended = command("restore", "--file", "x.dump", "--store", "folder")
    assert ended.status == 2
    assert "named files and --store exclude each other" in ended.err


def test_doctor_tells_of_a_folder_on_the_same_disk_that_it_is_no_other_medium(
    command: Command, a_configured_database: Source, usb: Path
) -> None:
    assert finding(command, "store folder")["state"] == "warn"  # nothing is in it yet
    set_id = backed_up(command)

    there = finding(command, "store folder")
    assert there["state"] == "ok"
    assert "the newest set was taken 0.0 h ago" in there["found"]
    off_site = finding(command, "off-site")
    assert off_site["state"] == "warn"
    assert "folder is on the same file system as BACKUP_DIR" in off_site["found"]
    assert set_id in off_site["found"]


@pytest.fixture
def another_disk(usb: Path) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=512m", "none", str(usb)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed")
    yield usb
    subprocess.run(["umount", str(usb)], check=True)


def test_doctor_says_which_sets_are_on_another_medium_and_which_are_not(
    command: Command, a_configured_database: Source, another_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDER_COPY_MUST_BE_MOUNT", "true")
    backed_up(command)
    good = finding(command, "off-site")
    assert (good["state"], "all 1 sets are on another medium too (1 in folder)" in good["found"]) == ("ok", True)

    alone = capture(a_configured_database.settings()).manifest

    assert finding(command, "store folder")["state"] == "warn"
    off_site = finding(command, "off-site")
    assert off_site["state"] == "warn"
    assert f"1 of 2 sets are on this medium only, the newest of them {alone.id}" in off_site["found"]
    assert alone.slot in off_site["remedy"]


def test_doctor_fails_for_a_store_that_does_not_answer(
    command: Command, a_configured_database: Source, usb: Path
) -> None:
    usb.rmdir()
    ended = command("doctor", "--json")
    found = {one["name"]: one for one in json.loads(ended.out)}
    assert ended.status == 3
    assert found["store folder"]["state"] == "fail"
    assert "folder does not answer" in found["off-site"]["found"]
