from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import CheckFailed, SettingsError
from backup_assets.local import local_store
from backup_assets.offsite.copies import sets_of_slot
from backup_assets.offsite.encrypted import EncryptedSet, encrypt_sets, remove_plain_files
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.records import VerificationRecord
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.contract import ConflictingObject
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings
from backup_assets_tests.offsite.copying import (
    SLOT,
    copied,
    file_in,
    flip_a_bit,
    folder_store,
    hold,
    local_set,
    sets_in,
    settings_with,
)
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, a_verification, put_record
from backup_assets_tests.sources import no_log


@pytest.fixture
def settings(tmp_path: Path, age_keys: AgeKeys) -> Settings:
    (tmp_path / "usb").mkdir()
    made = settings_with(tmp_path / "local", folder_store(tmp_path / "usb"))
    return made.model_copy(update={"encryption": EncryptionSettings(cipher="age", recipients=(age_keys.lena,))})


def plain(settings: Settings) -> Settings:
    return settings.model_copy(update={"encryption": EncryptionSettings()})


def encrypted(settings: Settings, slot: str = SLOT) -> dict[str, EncryptedSet]:
    database = settings.databases[0]
    wanted = sets_of_slot(database, settings, slot)
    return {one.set_id: one for one in encrypt_sets(database, settings, wanted, log=no_log)}


def content_of(directory: Path) -> dict[str, bytes]:
    return {
        str(Path(root, file).relative_to(directory)): Path(root, file).read_bytes()
        for root, _, files in os.walk(directory)
        for file in files
        if "/." not in root
    }


def proven(settings: Settings, manifest: Manifest) -> None:
    put_record(local_store(settings), a_verification(manifest.id))


def test_every_file_and_the_manifest_are_encrypted_and_both_hashes_recorded(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)

    done = encrypted(settings)[manifest.id]

    assert done.now and done.error is None
    record = local_set(settings, manifest).encryption
    assert record is not None and record == done.record
    assert {file.role: (file.size_bytes, file.sha256) for file in record.files if file.role != "manifest"} == {
        artifact.role: (artifact.size_bytes, artifact.sha256) for artifact in manifest.artifacts
    }
    for file in record.files:
        stored = settings.backup_dir / ERP4.key(file.encrypted_name)
        assert stored.stat().st_size == file.encrypted_size_bytes
        assert stored.stat().st_mode & 0o777 == 0o600
        assert stored.read_bytes().startswith(b"age-encryption.org/v1")
    assert local_set(settings, manifest).state == "complete"


def test_encrypting_again_changes_nothing(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    before = content_of(settings.backup_dir)

    again = encrypted(settings)[manifest.id]

    assert not again.now
    assert content_of(settings.backup_dir) == before


def test_nothing_of_the_content_leaves_the_host(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    failed = VerificationRecord.model_validate(
        {
            **a_verification(manifest.id).model_dump(),
            "passed": False,
            "problems": [{"what": "rows of public.table_0", "expected": "4711 invoices", "found": "4710 invoices"}],
        }
    )
    put_record(local_store(settings), failed)
    encrypted(settings)

    done = copied(settings)[manifest.id]

    assert done.state == "copied"
    # Each is too long, or has letters, so that no hash holds it by chance.
    secrets = [f"the dump of {manifest.id}".encode(), b"table_0", b"table_1", b"4711 invoices", b"1234567890"]
    secrets += [artifact.sha256.encode() for artifact in manifest.artifacts]
    for name, content in content_of(tmp_path / "usb").items():
        assert not [secret for secret in secrets if secret in content], name
    there = sets_in(settings)[manifest.id]
    assert there.state == "complete"
    assert there.is_encrypted
    assert [record.passed for record in there.verifications] == [False]
    assert {artifact.role for artifact in there.manifest.artifacts} == {"dump", "archive", "manifest"}


def test_a_set_that_is_not_encrypted_is_not_copied(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)

    done = copied(settings)[manifest.id]

    assert done.error is not None
    assert "is not encrypted yet" in done.error.what
    assert content_of(tmp_path / "usb") == {}


def test_a_full_set_of_another_slot_is_encrypted_with_the_differential_that_requires_it(settings: Settings) -> None:
    full = a_manifest(NOW - timedelta(days=1))
    differential = a_manifest(full_set=full.id)
    hold(settings, full, differential)

    done = encrypted(settings)

    assert [(one.set_id, one.now) for one in done.values()] == [(full.id, True), (differential.id, True)]
    assert {one.state for one in copied(settings).values()} == {"copied"}
    assert sets_in(settings)[full.id].is_encrypted
    assert list(encrypted(settings)) == [differential.id]  # once is enough


def test_a_copy_made_before_encryption_was_set_stays_and_is_not_sent_again(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    copied(plain(settings))
    before = content_of(tmp_path / "usb")
    encrypted(settings)
    proven(settings, manifest)
    assert remove_plain_files(settings.databases[0], settings, log=no_log).freed_bytes > 0
    lines: list[str] = []

    done = copied(settings, log=lines.append)[manifest.id]

    assert done.state == "present"
    assert "lies unencrypted in usb" in "\n".join(lines)
    assert {name: body for name, body in content_of(tmp_path / "usb").items() if name in before} == before


@pytest.mark.parametrize("plain_is_here", [True, False], ids=["plain-here", "plain-gone"])
def test_a_copy_made_before_encryption_was_set_that_is_damaged_there_is_told(
    settings: Settings, plain_is_here: bool
) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    copied(plain(settings))
    encrypted(settings)
    if not plain_is_here:
        proven(settings, manifest)
        remove_plain_files(settings.databases[0], settings, log=no_log)
    assert file_in(settings, manifest, "dump").exists() == plain_is_here
    flip_a_bit(file_in(settings, manifest, "dump", "usb"))

    done = copied(settings)[manifest.id]

    assert done.state == "failed"
    assert f"{manifest.id}.dump" in str(done.error)


def test_a_set_that_was_encrypted_goes_encrypted_after_encryption_was_switched_off(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)

    assert copied(plain(settings))[manifest.id].state == "copied"

    assert sets_in(settings)[manifest.id].is_encrypted


def test_copying_an_encrypted_set_again_sends_nothing(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    copied(settings)
    before = content_of(tmp_path / "usb")

    assert copied(settings)[manifest.id].state == "present"

    assert content_of(tmp_path / "usb") == before


def test_damage_in_an_encrypted_file_is_found_before_anything_is_sent(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    flip_a_bit(settings.backup_dir / ERP4.key(f"db/{manifest.id}.dump.age"))

    done = copied(settings)[manifest.id]

    assert done.error is not None and "is damaged" in done.error.what
    assert content_of(tmp_path / "usb") == {}


def test_damage_in_a_plain_file_is_not_encrypted(settings: Settings) -> None:
    manifest, other = a_manifest(), a_manifest(NOW + timedelta(minutes=1))
    hold(settings, manifest, other)
    flip_a_bit(file_in(settings, manifest, "dump"))

    done = encrypted(settings)

    assert isinstance(done[manifest.id].error, CheckFailed)
    assert local_set(settings, manifest).encryption is None
    assert done[other.id].now


def test_what_an_encryption_that_died_left_behind_is_replaced(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    orphan = settings.backup_dir / ERP4.key(f"db/{manifest.id}.dump.age")
    orphan.write_bytes(b"age-encryption.org/v1 of another attempt")

    assert encrypted(settings)[manifest.id].now
    assert copied(settings)[manifest.id].state == "copied"


def test_an_encrypted_file_that_is_gone_is_told_and_not_made_anew(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    (settings.backup_dir / ERP4.key(f"db/{manifest.id}.dump.age")).unlink()

    done = encrypted(settings)[manifest.id]

    assert done.error is not None and "no longer whole" in done.error.what


def test_a_recipient_that_cannot_be_used_stops_before_anything_is_written(
    settings: Settings, keyrings: Keyrings
) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    before = content_of(settings.backup_dir)
    wrong = EncryptionSettings(recipients=(keyrings.expired,), gpg_homedir=keyrings.host)

    with pytest.raises(SettingsError, match="expired"):
        encrypted(settings.model_copy(update={"encryption": wrong}))

    assert content_of(settings.backup_dir) == before


# -- the plain files ---------------------------------------------------------------------------------------------------


def removed(settings: Settings, **encryption: Any) -> set[str]:
    settings = settings.model_copy(
        update={"encryption": settings.encryption.model_copy(update=encryption) if encryption else settings.encryption}
    )
    before = set(content_of(settings.backup_dir))
    remove_plain_files(settings.databases[0], settings, log=no_log)
    return {Path(name).name for name in before - set(content_of(settings.backup_dir))}


def test_plain_files_stay_until_the_set_is_proven(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    assert removed(settings) == set()

    proven(settings, manifest)

    assert removed(settings) == {f"{manifest.id}.dump"}  # later sets build on its attachments
    assert local_set(settings, manifest).state == "complete"
    assert copied(settings)[manifest.id].state == "copied"


def test_plain_files_stay_where_the_set_is_not_encrypted(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    proven(settings, manifest)

    assert removed(settings) == set()


def test_plain_files_stay_where_the_settings_keep_them(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    proven(settings, manifest)

    assert removed(settings, keep_plain=True) == set()


def test_the_attachments_that_later_sets_build_on_stay(settings: Settings) -> None:
    full = a_manifest(NOW - timedelta(minutes=2))
    first = a_manifest(NOW - timedelta(minutes=1), full_set=full.id)
    hold(settings, full, first)
    encrypted(settings)
    proven(settings, full)
    proven(settings, first)

    assert removed(settings) == {f"{full.id}.dump", f"{first.id}.dump", f"{first.id}.tar.zst"}

    newer = a_manifest(NOW)
    hold(settings, newer)

    assert removed(settings) == {f"{full.id}.tar.zst"}


def test_the_attachments_that_later_sets_build_on_stay_beside_a_set_that_a_wrong_clock_dated_ahead(
    settings: Settings,
) -> None:
    full, ahead = a_manifest(NOW), a_manifest(datetime.now(UTC) + timedelta(days=400))
    hold(settings, full, ahead)
    encrypted(settings)
    proven(settings, full)

    assert removed(settings) == {f"{full.id}.dump"}  # nothing builds on the other one before its time


def test_the_attachments_that_an_unproven_set_needs_stay(settings: Settings) -> None:
    full = a_manifest(NOW - timedelta(minutes=2))
    first = a_manifest(NOW - timedelta(minutes=1), full_set=full.id)
    newer = a_manifest(NOW)
    hold(settings, full, first, newer)
    encrypted(settings)
    proven(settings, full)

    assert f"{full.id}.tar.zst" not in removed(settings)


def test_plain_files_stay_where_the_encrypted_one_is_not_whole(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    proven(settings, manifest)
    hold(settings, a_manifest(NOW + timedelta(minutes=1)))
    (settings.backup_dir / ERP4.key(f"db/{manifest.id}.dump.age")).write_bytes(b"short")

    assert removed(settings) == set()


def test_plain_files_stay_where_the_encrypted_one_is_damaged_and_the_others_go(settings: Settings) -> None:
    bad, good = a_manifest(), a_manifest(NOW + timedelta(minutes=1))
    hold(settings, bad, good)
    encrypted(settings)
    proven(settings, bad)
    proven(settings, good)
    flip_a_bit(settings.backup_dir / ERP4.key(f"db/{bad.id}.dump.age"))

    done = remove_plain_files(settings.databases[0], settings, log=no_log)

    assert file_in(settings, bad, "dump").exists()
    assert not file_in(settings, good, "dump").exists()
    assert list(done.damaged) == [bad.id]
    error = done.error()
    assert error is not None
    assert f"db/{bad.id}.dump.age" in error.why
    assert f"meta/{bad.id}.encryption.*" in error.remedy


def test_what_is_told_of_a_damaged_encrypted_file_makes_the_set_good_again(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    proven(settings, manifest)
    flip_a_bit(settings.backup_dir / ERP4.key(f"db/{manifest.id}.dump.age"))
    assert remove_plain_files(settings.databases[0], settings, log=no_log).damaged

    for path in (settings.backup_dir / ERP4.key("meta")).glob(f"{manifest.id}.encryption.*"):
        path.unlink()

    assert encrypted(settings)[manifest.id].now
    assert copied(settings)[manifest.id].state == "copied"
    assert removed(settings) == {f"{manifest.id}.dump"}


def test_nobody_is_told_to_encrypt_anew_what_is_left_encrypted_only(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    proven(settings, manifest)
    assert removed(settings) == {f"{manifest.id}.dump"}
    hold(settings, a_manifest(NOW + timedelta(minutes=1)))
    flip_a_bit(settings.backup_dir / ERP4.key(f"assets/{manifest.id}.tar.zst.age"))

    error = remove_plain_files(settings.databases[0], settings, log=no_log).error()

    assert error is not None
    assert "take another backup" in error.remedy
    assert "remove" not in error.remedy
    assert file_in(settings, manifest, "archive").exists()


def test_a_set_whose_record_of_encryption_is_damaged_is_not_encrypted_again(settings: Settings) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    (record,) = (settings.backup_dir / ERP4.key("meta")).glob("*.encryption.*")
    flip_a_bit(record)
    before = content_of(settings.backup_dir)

    done = encrypted(settings)[manifest.id]

    assert done.error is not None
    assert "is not encrypted again" in done.error.what
    assert record.name in done.error.why
    assert f"meta/{manifest.id}.encryption.*" in done.error.remedy
    assert content_of(settings.backup_dir) == before


def test_the_same_set_encrypted_differently_is_never_mixed(settings: Settings, tmp_path: Path) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypted(settings)
    copied(settings)
    usb = content_of(tmp_path / "usb")
    record = local_set(settings, manifest).encryption
    assert record is not None
    for file in record.files:
        (settings.backup_dir / ERP4.key(file.encrypted_name)).unlink()
    for path in (settings.backup_dir / ERP4.key("meta")).glob("*.encryption.*"):
        path.unlink()
    encrypted(settings)

    done = copied(settings)[manifest.id]

    assert isinstance(done.error, ConflictingObject)
    assert content_of(tmp_path / "usb") == usb
