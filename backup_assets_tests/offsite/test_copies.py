from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import CheckFailed, EnvironmentFault, Refused, TransientFault
from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.offsite.copies import newest_in, whole_in
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.records import HoldRecord
from backup_assets.settings import Settings
from backup_assets.stores.contract import ConflictingObject
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.s3 import S3Store
from backup_assets_tests.offsite.copying import (
    SLOT,
    copied,
    copied_sets,
    file_in,
    flip_a_bit,
    folder_store,
    hold,
    local_set,
    sets_in,
    settings_with,
)
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, a_verification, proof_of, put_record
from backup_assets_tests.stores.faulty import Fault, FaultyStore, Stopped
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer, object_server

LATER = NOW + timedelta(hours=1)
LAST_WEEK = NOW - timedelta(days=7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A local store and a folder on other media."""
    (tmp_path / "usb").mkdir()
    return settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))


@pytest.fixture
def a_set(settings: Settings) -> Manifest:
    manifest = a_manifest()
    hold(settings, manifest)
    return manifest


def everything_below(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def usb(settings: Settings) -> Path:
    directory = settings.stores[0].directory
    assert directory is not None
    return directory


def test_a_set_is_copied_whole_and_byte_for_byte(settings: Settings, a_set: Manifest) -> None:
    before = everything_below(settings.backup_dir)

    outcome = copied(settings)[a_set.id]

    assert (outcome.state, outcome.sent_bytes, outcome.artifacts) == ("copied", a_set.size_bytes, 2)
    assert everything_below(usb(settings)) == before
    assert sets_in(settings)[a_set.id].state == "complete"


def test_copies_are_private(settings: Settings, a_set: Manifest) -> None:
    copied(settings)

    below = list(usb(settings).rglob("*"))
    assert {oct(path.stat().st_mode & 0o777) for path in below if path.is_file()} == {"0o600"}
    assert {oct(path.stat().st_mode & 0o777) for path in below if path.is_dir()} == {"0o700"}


def test_a_copy_is_on_record_in_the_local_store_only(settings: Settings, a_set: Manifest) -> None:
    outcome = copied(settings)[a_set.id]

    record = local_set(settings, a_set).copies["usb"]
    assert local_set(settings, a_set).records == (record,)
    assert (record.kind, record.set_id, record.bytes) == ("copy", a_set.id, a_set.size_bytes)
    assert record.seconds == outcome.seconds
    assert {(a.name, a.size_bytes, a.sha256) for a in record.artifacts} == {
        (a.name, a.size_bytes, a.sha256) for a in a_set.artifacts
    }
    assert sets_in(settings)[a_set.id].records == ()


def test_copying_again_sends_nothing_and_records_nothing(settings: Settings, a_set: Manifest) -> None:
    copied(settings)
    before = (everything_below(usb(settings)), everything_below(settings.backup_dir))

    outcome = copied(settings)[a_set.id]

    assert (outcome.state, outcome.sent_bytes) == ("present", 0)
    assert (everything_below(usb(settings)), everything_below(settings.backup_dir)) == before


def test_a_copy_whose_record_was_lost_is_recorded_again(settings: Settings, a_set: Manifest) -> None:
    copied(settings)
    for path in settings.backup_dir.rglob("*.copy.*"):
        path.unlink()

    assert copied(settings)[a_set.id].state == "present"

    assert set(local_set(settings, a_set).copies) == {"usb"}


def test_what_is_missing_of_a_copy_is_added(settings: Settings, a_set: Manifest) -> None:
    copied(settings)
    file_in(settings, a_set, "archive", "usb").unlink()

    outcome = copied(settings)[a_set.id]

    archive = a_set.artifact("archive")
    assert archive is not None
    assert (outcome.state, outcome.sent_bytes) == ("copied", archive.size_bytes)
    assert sets_in(settings)[a_set.id].state == "complete"


def test_a_copy_that_was_altered_there_is_told_and_not_overwritten(settings: Settings, a_set: Manifest) -> None:
    copied(settings)
    flip_a_bit(file_in(settings, a_set, "dump", "usb"))
    altered = everything_below(usb(settings))

    outcome = copied(settings)[a_set.id]

    assert outcome.state == "failed"
    assert isinstance(outcome.error, ConflictingObject)
    assert everything_below(usb(settings)) == altered


def test_a_differential_brings_the_whole_full_set_that_it_requires_first(settings: Settings) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    differential = a_manifest(full_set=full.id)
    hold(settings, full, differential)

    outcome = copied(settings)

    assert list(outcome) == [full.id, differential.id]
    assert [one.required for one in outcome.values()] == [True, False]
    assert {set_id: one.state for set_id, one in sets_in(settings).items()} == {
        full.id: "complete",
        differential.id: "complete",
    }
    assert file_in(settings, full, "dump", "usb").exists()


def test_a_required_set_that_is_there_is_not_read_again(settings: Settings) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    hold(settings, full, a_manifest(full_set=full.id))
    copied(settings)
    hold(settings, a_manifest(LATER, full_set=full.id))
    flip_a_bit(file_in(settings, full, "dump"))

    outcome = copied(settings)

    assert outcome[full.id].state == "listed"
    assert str(outcome[full.id]) == f"{full.id} is in usb already: listed, not compared"
    assert [one.state for one in outcome.values() if not one.required] == ["present", "copied"]


def test_a_required_set_that_is_not_on_record_as_proven_there_is_compared(settings: Settings) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    hold(settings, full, a_manifest(full_set=full.id))
    copied(settings)
    for path in settings.backup_dir.rglob("*.copy.*"):
        path.unlink()

    assert {one.state for one in copied(settings).values()} == {"present"}
    assert set(local_set(settings, full).copies) == {"usb"}
    for path in settings.backup_dir.rglob("*.copy.*"):
        path.unlink()
    flip_a_bit(file_in(settings, full, "archive", "usb"))
    assert {one.state for one in copied(settings).values()} == {"failed"}


def test_a_differential_does_not_go_when_its_full_set_is_damaged_here(settings: Settings) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    differential = a_manifest(full_set=full.id)
    hold(settings, full, differential)
    flip_a_bit(file_in(settings, full, "archive"))

    outcome = copied(settings)

    assert [one.state for one in outcome.values()] == ["failed", "failed"]
    assert full.id in str(outcome[differential.id].error)
    assert everything_below(usb(settings)) == {}


@pytest.mark.parametrize("role", ["dump", "archive"])
@pytest.mark.parametrize("damage", ["altered", "short", "gone"])
def test_a_damaged_local_set_leaves_nothing_there_and_the_others_go(settings: Settings, damage: str, role: str) -> None:
    good, bad = a_manifest(LATER), a_manifest()
    hold(settings, good, bad)
    path = file_in(settings, bad, role)
    if damage == "altered":
        flip_a_bit(path)
    elif damage == "short":
        path.write_bytes(b"short")
    else:
        path.unlink()

    outcome = copied(settings)

    assert (outcome[bad.id].state, outcome[good.id].state) == ("failed", "copied")
    assert isinstance(outcome[bad.id].error, CheckFailed)
    assert set(sets_in(settings)) == {good.id}
    assert not [name for name in everything_below(usb(settings)) if bad.id in name]
    assert local_set(settings, bad).copies == {}


@pytest.mark.parametrize("role", ["dump", "archive"])
def test_a_local_file_that_was_damaged_since_it_was_copied_is_told(
    settings: Settings, a_set: Manifest, role: str
) -> None:
    copied(settings)
    flip_a_bit(file_in(settings, a_set, role))

    outcome = copied(settings)[a_set.id]

    assert outcome.state == "failed"
    assert "damaged in the local store" in str(outcome.error)


def test_the_largest_file_goes_first_because_its_transfer_is_its_proof(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    target = FaultyStore(store_named(settings, "usb"), Fault("put", "fail", nth=99))

    copied(settings, to=target)

    sizes = {ERP4.key(artifact.name): artifact.size_bytes for artifact in manifest.artifacts}
    first = next(key for operation, key in target.calls if operation == "put")
    assert sizes[first] == max(sizes.values())


def test_a_damaged_manifest_of_the_slot_is_a_failure_and_not_passed_over(settings: Settings) -> None:
    good, bad = a_manifest(LATER), a_manifest()
    hold(settings, good, bad)
    flip_a_bit(settings.backup_dir / ERP4.manifest_key(bad.id))

    outcome = copied(settings)

    assert (outcome[bad.id].state, outcome[good.id].state) == ("failed", "copied")


def test_only_the_sets_of_the_slot_and_the_kind_are_copied(settings: Settings) -> None:
    wanted, other_day = a_manifest(), a_manifest(LAST_WEEK)
    tables = a_manifest(LATER, kind="important_tables")
    hold(settings, wanted, other_day, tables)

    assert list(copied(settings)) == [wanted.id]
    assert list(copied(settings, kind="important_tables")) == [tables.id]
    assert list(sets_in(settings)) == [tables.id, wanted.id]


def test_a_slot_without_a_set_is_refused(settings: Settings, a_set: Manifest) -> None:
    with pytest.raises(Refused, match="the slot 2026-11-21 of erp4 has no set"):
        copied(settings, slot="2026-11-21")


def test_the_target_lists_a_set_only_when_it_is_whole(settings: Settings, a_set: Manifest) -> None:
    inner = store_named(settings, "usb")

    for nth in range(3):
        with pytest.raises(Stopped):
            copied(settings, to=FaultyStore(inner, Fault("put", "stop", nth=nth)))
        assert sets_in(settings) == {}
        assert local_set(settings, a_set).copies == {}

    assert copied(settings)[a_set.id].state == "copied"
    assert sets_in(settings)[a_set.id].state == "complete"


def test_a_target_that_fails_stops_the_copying_and_what_was_copied_stays(settings: Settings) -> None:
    first, second = a_manifest(), a_manifest(LATER)
    hold(settings, first, second)
    failing = FaultyStore(store_named(settings, "usb"), Fault("put", "fail", part=f"db/{second.id}"))

    with pytest.raises(TransientFault):
        copied(settings, to=failing)

    assert set(sets_in(settings)) == {first.id}
    assert set(local_set(settings, first).copies) == {"usb"}
    assert {one.state for one in copied(settings).values()} == {"present", "copied"}


def test_proofs_and_holds_follow_their_sets_whenever_they_were_made(settings: Settings, a_set: Manifest) -> None:
    copied(settings)
    local = local_store(settings)
    put_record(local, a_verification(a_set.id))
    put_record(local, HoldRecord(set_id=a_set.id, tool_version="1", placed_at=NOW, reason="audit"))
    tomorrow = a_manifest(NOW + timedelta(days=1))
    hold(settings, tomorrow)

    copied(settings, slot=tomorrow.slot)

    there = sets_in(settings)[a_set.id]
    assert proof_of(there) is not None
    assert there.hold_at(NOW) is not None


def test_a_damaged_record_is_told_and_holds_up_nothing(settings: Settings, a_set: Manifest) -> None:
    key = put_record(local_store(settings), a_verification(a_set.id))
    flip_a_bit(settings.backup_dir / key)
    lines: list[str] = []

    outcome = copied(settings, log=lines.append)

    assert outcome[a_set.id].state == "copied"
    assert [line for line in lines if "is damaged" in line and key in line]
    assert sets_in(settings)[a_set.id].damaged_records == ()


def test_a_folder_that_is_missing_is_refused_and_not_made(settings: Settings, a_set: Manifest) -> None:
    usb(settings).rmdir()

    with pytest.raises(EnvironmentFault, match="does not exist") as fault:
        copied(settings)

    assert "mount" in fault.value.remedy
    assert not usb(settings).exists()


def test_a_folder_that_must_be_a_mount_and_is_none_gets_nothing(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    settings = settings_with(tmp_path / "backups", folder_store(tmp_path / "usb", must_be_mount=True))
    hold(settings, a_manifest())

    with pytest.raises(EnvironmentFault, match="nothing is mounted at"):
        copied(settings)

    assert everything_below(tmp_path / "usb") == {}


@pytest.fixture
def a_mounted_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 4 MiB, mounted."""
    directory = tmp_path / "usb"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(directory)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_mounted_disk_without_room_is_told_before_anything_is_copied(a_mounted_disk: Path, tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "backups", folder_store(a_mounted_disk, must_be_mount=True))
    hold(settings, a_manifest())

    with pytest.raises(EnvironmentFault, match="has no room for the set"):
        copied(settings)

    assert everything_below(a_mounted_disk) == {}


def test_a_mounted_disk_takes_copies(a_mounted_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_assets.offsite.copies.MARGIN_BYTES", 1_000_000)
    settings = settings_with(tmp_path / "backups", folder_store(a_mounted_disk, must_be_mount=True))
    manifest = a_manifest()
    hold(settings, manifest)

    assert copied(settings)[manifest.id].state == "copied"

    assert sets_in(settings)[manifest.id].state == "complete"


def test_chosen_sets_of_several_slots_are_copied_oldest_first(settings: Settings) -> None:
    old, new = a_manifest(LAST_WEEK), a_manifest()
    hold(settings, old, new)

    done = copied_sets(settings, local_set(settings, new), local_set(settings, old))

    assert [one.set_id for one in done] == [old.id, new.id]
    assert copied_sets(settings) == []


def test_what_a_store_lists_whole_is_told_by_names_alone(settings: Settings, a_set: Manifest) -> None:
    target = store_named(settings, "usb")
    assert newest_in(target, ERP4) is None
    copied(settings)
    listing = FaultyStore(target, Fault("open", "fail", nth=None))

    assert whole_in(listing, ERP4, [BackupSet(a_set)]) == {a_set.id}
    assert str(newest_in(listing, ERP4)) == a_set.id

    file_in(settings, a_set, "dump", "usb").write_bytes(b"short")
    assert whole_in(listing, ERP4, [BackupSet(a_set)]) == frozenset()


@pytest.fixture(scope="module")
def a_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.mark.parametrize("options", [{"sse_s3": True}, {"kms_key_id": KMS_KEY}], ids=["sse-s3", "sse-kms"])
def test_a_bucket_gets_encrypted_objects_that_say_what_they_belong_to(
    settings: Settings, a_set: Manifest, a_server: ObjectServer, options: dict[str, Any]
) -> None:
    bucket = a_server.bucket()
    target = S3Store(a_server.location(bucket, prefix="offsite", **options), "s3")

    first, second = copied(settings, to=target)[a_set.id], copied(settings, to=target)[a_set.id]

    assert (first.state, second.state) == ("copied", "present")
    assert whole_in(target, ERP4, [BackupSet(a_set)]) == {a_set.id}
    dump = a_set.artifact("dump")
    assert dump is not None
    head = a_server.client().head_object(Bucket=bucket, Key=f"offsite/{ERP4.key(dump.name)}")
    assert head["ServerSideEncryption"] == ("aws:kms" if "kms_key_id" in options else "AES256")
    assert head["Metadata"]["env"] == "prod"
    assert head["Metadata"]["set-id"] == a_set.id
    assert head["Metadata"]["generated-at"] == a_set.generated_at.isoformat()


@pytest.fixture
def in_a_bucket(settings: Settings, a_server: ObjectServer) -> tuple[S3Store, Manifest]:
    """A bucket with a full set, and a differential of today that needs it."""
    full = a_manifest(LAST_WEEK, run="f" * 8)
    hold(settings, full, a_manifest(full_set=full.id))
    target = S3Store(a_server.location(a_server.bucket()), "s3")
    copied(settings, to=target)
    return target, full


def test_a_bucket_proves_a_required_set_by_the_checksums_that_it_stored(
    settings: Settings, in_a_bucket: tuple[S3Store, Manifest]
) -> None:
    target, full = in_a_bucket
    unread = FaultyStore(target, Fault("open", "fail", nth=None))

    assert copied(settings, to=unread)[full.id].state == "present"


def test_a_required_set_that_was_replaced_in_a_bucket_is_told(
    settings: Settings, in_a_bucket: tuple[S3Store, Manifest]
) -> None:
    target, full = in_a_bucket
    archive = full.artifact("archive")
    assert archive is not None
    other, key = b"x" * archive.size_bytes, ERP4.key(archive.name)
    target.delete(key)
    target.put(key, other, sha256=hashlib.sha256(other).hexdigest(), size=len(other))

    outcome = copied(settings, to=target)

    assert isinstance(outcome[full.id].error, ConflictingObject)
    assert {one.state for one in outcome.values()} == {"failed"}


def test_a_required_set_is_only_listed_where_this_role_may_not_look_at_objects(
    settings: Settings, a_server: ObjectServer
) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    differential = a_manifest(full_set=full.id)
    hold(settings, full, differential)
    target = S3Store(a_server.location(a_server.bucket(), "writer"), "s3")
    copied(settings, to=target)

    outcome = copied(settings, to=target)

    assert {set_id: one.state for set_id, one in outcome.items()} == {full.id: "listed", differential.id: "present"}


@pytest.mark.parametrize("role", ["dump", "archive"])
def test_a_damaged_set_leaves_nothing_in_a_bucket(a_server: ObjectServer, settings: Settings, role: str) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    flip_a_bit(file_in(settings, manifest, role))
    store = S3Store(a_server.location(a_server.bucket()), "bucket")

    outcome = copied(settings, to=store)[manifest.id]

    assert "damaged in the local store" in str(outcome.error)
    assert list(store.list("")) == []


def test_a_role_that_may_only_write_copies_and_recognises_what_it_copied(
    settings: Settings, a_set: Manifest, a_server: ObjectServer
) -> None:
    bucket = a_server.bucket()
    target = S3Store(a_server.location(bucket, "writer"), "s3")

    assert copied(settings, to=target)[a_set.id].state == "copied"
    assert copied(settings, to=target)[a_set.id].state == "present"

    reader = S3Store(a_server.location(bucket, "reader"), "s3")
    assert whole_in(reader, ERP4, [BackupSet(a_set)]) == {a_set.id}


def test_every_object_of_a_set_bears_its_class_and_keeps_it(a_server: ObjectServer, settings: Settings) -> None:
    full = a_manifest(NOW, run="00000001")
    differential = a_manifest(LATER, run="00000002", full_set=full.id)
    hold(settings, full, differential)
    put_record(local_store(settings), a_verification(differential.id))
    bucket = a_server.bucket()
    target = S3Store(a_server.location(bucket, retention_tags=True), "s3")

    def classes() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for stored in target.list(ERP4.root):
            tags = a_server.client().get_object_tagging(Bucket=bucket, Key=stored.key)["TagSet"]
            found.setdefault(full.id if full.id in stored.key else differential.id, set()).update(
                f"{tag['Key']}={tag['Value']}" for tag in tags
            )
        return found

    copied(settings, to=target)

    assert classes() == {full.id: {"retention=monthly"}, differential.id: {"retention=daily"}}
    earlier = a_manifest(NOW - timedelta(hours=1), run="00000003")
    hold(settings, earlier)
    again = copied(settings, to=target)  # the full set is no longer the first of its month
    assert (again[full.id].state, again[earlier.id].state) == ("present", "copied")
    assert classes()[full.id] == {"retention=monthly"}


def test_a_set_that_never_arrived_is_not_the_first_of_its_week(a_server: ObjectServer, settings: Settings) -> None:
    damaged, good = a_manifest(NOW, run="00000001"), a_manifest(LATER, run="00000002")
    hold(settings, damaged, good)
    flip_a_bit(file_in(settings, damaged, "dump"))
    bucket = a_server.bucket()

    done = copied(settings, to=S3Store(a_server.location(bucket, retention_tags=True), "s3"))

    assert (done[damaged.id].state, done[good.id].state) == ("failed", "copied")
    tags = a_server.client().get_object_tagging(Bucket=bucket, Key=ERP4.manifest_key(good.id))["TagSet"]
    assert tags == [{"Key": "retention", "Value": "monthly"}]


def test_a_bucket_that_does_not_answer_is_a_transient_fault(
    settings: Settings, a_set: Manifest, a_server: ObjectServer
) -> None:
    location = replace(a_server.location(a_server.bucket()), endpoint_url="http://127.0.0.1:9", attempts=1)

    with pytest.raises(TransientFault, match="cannot be reached"):
        copied(settings, to=S3Store(location, "s3"))


def test_a_folder_that_lost_a_file_is_not_whole(settings: Settings, a_set: Manifest) -> None:
    copied(settings)
    store = store_named(settings, "usb")
    assert isinstance(store, FolderStore)
    store.delete(ERP4.manifest_key(a_set.id))

    assert whole_in(store, ERP4, [BackupSet(a_set)]) == frozenset()
    assert copied(settings, slot=SLOT)[a_set.id].state == "copied"
