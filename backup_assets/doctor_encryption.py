"""Could a set be encrypted now, and next month, and only be read by those who should?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.errors import BackupError
from backup_assets.findings import Finding, failed
from backup_assets.settings import Settings

NAME = "encryption"
#: Long enough to get a new key from those who keep it.
WARNED_BEFORE_SECONDS = 60 * 24 * 3600


def examine_encryption(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the recipients' keys; nothing where nothing is encrypted."""
    encryption = settings.encryption
    if not encryption.encrypts:
        return
    cipher = configured_cipher(encryption)
    try:
        cipher.check()
    except BackupError as error:
        yield failed(NAME, error)
        return
    yield Finding(NAME, "ok", f"{encryption.cipher} to {', '.join(encryption.recipients)}")
    if len(encryption.recipients) == 1:
        yield Finding(
            NAME,
            "warn",
            "there is one recipient only: with that private key every backup is lost",
            "add the key of a second custodian, kept in another place",
        )
    if isinstance(cipher, GpgCipher):
        yield from _of_keyring(cipher)
    elif encryption.age_identity_file is not None:
        yield _private_key_here(str(encryption.age_identity_file))


def _of_keyring(cipher: GpgCipher) -> Iterator[Finding]:
    for key in cipher.expiring_before(time.time() + WARNED_BEFORE_SECONDS):
        until = f"{key.expires:%Y-%m-%d}" if key.expires else "soon"
        yield Finding(
            NAME,
            "warn",
            f"the key {key} expires on {until}: backups would stop then",
            "let its owner extend it, and import the public key again",
        )
    for key in cipher.private_keys_here():
        yield _private_key_here(str(key))


def _private_key_here(key: str) -> Finding:
    return Finding(
        NAME,
        "warn",
        f"the private key {key} is on this host: who takes over the host reads every backup",
        "keep it elsewhere; encrypting needs the public key alone",
    )
