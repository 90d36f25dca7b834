"""Which cipher do the settings mean?"""

from __future__ import annotations

from typing import Literal

from backup_assets.ciphers.age import AgeCipher
from backup_assets.ciphers.contract import Cipher
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.settings_encryption import EncryptionSettings

CipherName = Literal["gpg", "age"]


def configured_cipher(encryption: EncryptionSettings, name: CipherName | None = None) -> Cipher:
    """Return the cipher to encrypt with, or the one called ``name``, to read what was made with it.

    The latter may be another one than is configured today: its recipients are then unknown, and only decrypting works.
    """
    name = name or encryption.cipher
    recipients = encryption.recipients if name == encryption.cipher else ()
    if name == "age":
        return AgeCipher(
            recipients=recipients,
            identities=(encryption.age_identity_file,) if encryption.age_identity_file else (),
            program=encryption.age_program,
        )
    return GpgCipher(
        recipients=recipients,
        homedir=encryption.gpg_homedir,
        program=encryption.gpg_program,
        passphrase_file=encryption.gpg_passphrase_file,
    )
