from __future__ import annotations

from pathlib import Path

from backup_assets.ciphers.age import AgeCipher
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.settings_encryption import EncryptionSettings

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


def test_the_cipher_of_the_settings_encrypts_to_their_recipients() -> None:
    gpg = configured_cipher(EncryptionSettings(recipients=(FINGERPRINT,), gpg_homedir=Path("/keys")))
    assert gpg == GpgCipher(recipients=(FINGERPRINT,), homedir=Path("/keys"))
    age = configured_cipher(EncryptionSettings(cipher="age", recipients=("age1x",), age_identity_file=Path("/id")))
    assert age == AgeCipher(recipients=("age1x",), identities=(Path("/id"),))


def test_what_another_cipher_made_is_read_without_the_recipients_of_the_present_one() -> None:
    settings = EncryptionSettings(cipher="age", recipients=("age1x",), gpg_passphrase_file=Path("/words"))
    assert configured_cipher(settings, "gpg") == GpgCipher(passphrase_file=Path("/words"))
