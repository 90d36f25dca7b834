from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from backup_assets.retention.pruning import prune_all
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.watch.facts import look_at
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.watch.stores_at_work import DAY, HOUR, a_folder, proven, settings_of, taken


def test_a_retention_that_has_to_wait_is_told_and_one_with_nothing_to_do_is_not(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, retention=RetentionSettings(daily=1, weekly=0, monthly=0, all_for_days=0))
    now = datetime.now(UTC)
    taken(settings, now - HOUR)
    assert look_at(settings.databases[0], settings).blocked == ()
    for age in range(3, 9):
        proven(settings, taken(settings, now - age * DAY), at=now - age * DAY)
    for age in range(1, 3):
        taken(settings, now - age * DAY)

    found = look_at(settings.databases[0], settings).blocked

    assert found is not None
    (blocked,) = found
    assert blocked.store == "local"
    assert blocked.why


def test_a_retention_that_waits_for_tonight_s_backup_is_not_told_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, retention=RetentionSettings(daily=1, weekly=0, monthly=0, all_for_days=0))
    now = datetime.now(UTC)
    for age in range(1, 4):
        taken_at = now - age * DAY - HOUR / 60
        proven(settings, taken(settings, taken_at), at=taken_at)

    (local,) = prune_all(settings.databases[0], settings)
    assert local.is_held_up
    assert look_at(settings.databases[0], settings).blocked == ()


def test_a_store_that_cannot_be_asked_is_not_known(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    taken(settings, datetime.now(UTC) - HOUR, stores=("local", "usb"))
    directory = settings.stores[0].directory
    assert directory is not None
    directory.rename(tmp_path / "away")

    assert look_at(settings.databases[0], settings).unknown_stores == ("usb",)


def test_a_store_that_has_just_not_answered_is_not_asked_and_hides_no_other(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, a_folder(tmp_path, "usb"), retention=RetentionSettings(daily=1, weekly=0, monthly=0, all_for_days=0)
    )
    now = datetime.now(UTC)
    for age in range(3, 9):
        proven(settings, taken(settings, now - age * DAY, stores=("local", "usb")), at=now - age * DAY)
    for age in range(1, 3):
        taken(settings, now - age * DAY)

    found = look_at(settings.databases[0], settings, {"usb": "no answer within 120 s"})

    assert found.unknown_stores == ("usb",)
    assert found.blocked is not None
    assert [one.store for one in found.blocked] == ["local"]


def test_a_key_that_is_not_there_ends_the_backups_and_is_told(tmp_path: Path, keyrings: Keyrings) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    encryption = EncryptionSettings(recipients=("0" * 40,), gpg_homedir=tmp_path / "empty")
    settings = settings_of(tmp_path).model_copy(update={"encryption": encryption})

    found = look_at(settings.databases[0], settings).encryption

    assert found is not None
    (concern,) = found
    assert (concern.key, concern.severity) == ("unusable", "error")
    assert "which is not in" in concern.what


def test_without_encryption_there_is_no_concern(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    assert look_at(settings.databases[0], settings).encryption == ()
