from __future__ import annotations

from pathlib import Path

from backup_assets.doctor_encryption import examine_encryption
from backup_assets.findings import Finding
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, gpg, new_home, new_key
from backup_assets_tests.offsite.copying import settings_with


def findings(tmp_path: Path, **encryption: object) -> list[Finding]:
    chosen = EncryptionSettings.model_validate(encryption)
    return list(examine_encryption(settings_with(tmp_path).model_copy(update={"encryption": chosen})))


def test_nothing_is_said_where_nothing_is_encrypted(tmp_path: Path) -> None:
    assert findings(tmp_path) == []


def test_two_usable_recipients_whose_private_keys_are_elsewhere_are_fine(tmp_path: Path, keyrings: Keyrings) -> None:
    found = findings(tmp_path, recipients=(keyrings.lena, keyrings.rob), gpg_homedir=keyrings.host)
    assert [one.state for one in found] == ["ok"]


def test_a_single_recipient_is_a_risk(tmp_path: Path, keyrings: Keyrings) -> None:
    found = findings(tmp_path, recipients=(keyrings.lena,), gpg_homedir=keyrings.host)
    assert [one.state for one in found] == ["ok", "warn"]
    assert "one recipient only" in found[1].found


def test_a_recipient_that_cannot_be_used_fails(tmp_path: Path, keyrings: Keyrings) -> None:
    found = findings(tmp_path, recipients=(keyrings.lena, keyrings.expired), gpg_homedir=keyrings.host)
    assert [one.state for one in found] == ["fail"]
    assert "expired" in found[0].found


def test_a_private_key_on_the_host_is_told(tmp_path: Path, keyrings: Keyrings, age_keys: AgeKeys) -> None:
    found = findings(tmp_path, recipients=(keyrings.lena, keyrings.rob), gpg_homedir=keyrings.vault)
    assert [one.state for one in found] == ["ok", "warn", "warn"]
    assert keyrings.lena in found[1].found
    found = findings(
        tmp_path, cipher="age", recipients=(age_keys.lena, age_keys.rob), age_identity_file=age_keys.rob_file
    )
    assert [one.state for one in found] == ["ok", "warn"]


def test_a_key_that_expires_soon_is_told_in_time(tmp_path: Path, keyrings: Keyrings) -> None:
    home = new_home(keyrings.vault.parent / "soon")
    soon, later = new_key(home, "Soon"), new_key(home, "Later")
    gpg(home, "--quick-set-expire", soon, "30d")
    found = findings(tmp_path, recipients=(soon, later), gpg_homedir=home)
    assert any(soon in one.found and "expires on" in one.found for one in found)
    assert not any(later in one.found and "expires on" in one.found for one in found)
