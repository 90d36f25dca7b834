from __future__ import annotations

import os
from pathlib import Path

import pytest

from backup_assets.capture.request import Captured
from backup_assets.named_stores import store_named
from backup_assets.offsite.copies import copy_sets
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import Settings
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.ciphers.keys import AgeKeys
from backup_assets_tests.offsite.copying import folder_store
from backup_assets_tests.restore.restoring import flip_bit, path_of, verified
from backup_assets_tests.sources import Source, catalog_of, no_log, proven


@pytest.fixture
def settings(a_database: Source, tmp_path: Path) -> Settings:
    directory = tmp_path / "attachments"
    directory.mkdir()
    for number in range(3):
        path = directory / f"{number}.pdf"
        path.write_bytes(os.urandom(2000))
        os.utime(path, (1e9, 1e9))
    return a_database.settings(attachments=AttachmentsSettings(directory=directory))


def damage_the_archive(settings: Settings, captured: Captured) -> None:
    archive = path_of(settings, captured.manifest, "archive")
    flip_bit(archive, archive.stat().st_size // 2)


def found(settings: Settings, captured: Captured) -> BackupSet:
    return catalog_of(settings).resolve(captured.manifest.id)


def mode(captured: Captured) -> str:
    assert captured.manifest.attachments is not None
    return captured.manifest.attachments.mode


def test_nothing_builds_on_a_full_archive_whose_damage_a_verification_has_found(a_database: Source, settings: Settings):
    full = a_database.captured(settings)
    damage_the_archive(settings, full)
    assert not verified(settings, full.manifest.id, "stored").record.passed

    said: list[str] = []
    later = a_database.captured(settings, log=said.append)

    assert (mode(later), later.manifest.needs) == ("full", frozenset())
    archive = full.manifest.artifact("archive")
    assert archive is not None
    (warning,) = later.manifest.warnings
    assert f"{archive.name} is not what was written any more" in warning
    assert warning in said
    assert proven(settings, later).record.passed
    assert mode(a_database.captured(settings)) == "differential"


def test_damage_that_the_verification_of_a_differential_has_found_counts_for_its_full_archive(
    a_database: Source, settings: Settings
):
    full, differential = a_database.captured(settings), a_database.captured(settings)
    damage_the_archive(settings, full)
    assert not verified(settings, differential.manifest.id, "stored").record.passed

    assert catalog_of(settings).resolve(full.manifest.id).verifications == ()
    assert mode(a_database.captured(settings)) == "full"


def test_a_full_archive_is_built_on_where_something_else_of_its_set_is_damaged(a_database: Source, settings: Settings):
    full = a_database.captured(settings)
    dump = path_of(settings, full.manifest, "dump")
    flip_bit(dump, dump.stat().st_size // 2)
    assert not verified(settings, full.manifest.id, "stored").record.passed

    later = a_database.captured(settings)

    assert (mode(later), later.manifest.warnings) == ("differential", ())
    assert proven(settings, later).record.passed


def test_nothing_builds_on_a_full_archive_whose_encryption_is_no_longer_on_record(
    a_database: Source, settings: Settings, age_keys: AgeKeys, tmp_path: Path
):
    (tmp_path / "usb").mkdir()
    settings = settings.model_copy(
        update={
            "stores": (folder_store(tmp_path / "usb"),),
            "encryption": EncryptionSettings(cipher="age", recipients=(age_keys.lena,)),
        }
    )
    database = settings.databases[0]
    encrypt_sets(database, settings, [found(settings, a_database.captured(settings))], log=no_log)
    (record,) = settings.backup_dir.rglob("*.encryption.*.json")
    flip_bit(record, 50)

    later = a_database.captured(settings)

    assert mode(later) == "full"
    assert f"{record.name}, the record of its encryption, cannot be read" in later.manifest.warnings[0]
    assert encrypt_sets(database, settings, [found(settings, later)], log=no_log)[0].error is None
    done = copy_sets(database, settings, store_named(settings, "usb"), [found(settings, later)], log=no_log)
    assert [one.state for one in done] == ["copied"]


def test_a_full_archive_whose_index_is_no_longer_right_does_not_stop_the_backup(a_database: Source, settings: Settings):
    index = path_of(settings, a_database.captured(settings).manifest, "index")
    flip_bit(index, index.stat().st_size // 2)

    later = a_database.captured(settings)

    assert mode(later) == "full"
    assert len(later.manifest.warnings) == 1
