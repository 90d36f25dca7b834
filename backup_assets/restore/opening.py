"""How does an encrypted set tell its own manifest to somebody who holds a key?"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import CheckFailed
from backup_assets.restore.fetch_file import fetch_artifact
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.envelope import MANIFEST_ROLE, require_inner
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import Place
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.contract import Store


def opened(store: Store, place: Place, chosen: BackupSet, encryption: EncryptionSettings) -> BackupSet:
    """Return ``chosen`` with its own manifest, which is decrypted where the store has an envelope.

    Raises MissingPrivateKey or LockedPrivateKey where it cannot be decrypted here, CheckFailed when the encrypted
    manifest is damaged or that of another set.
    """
    envelope = chosen.manifest
    if envelope.encryption is None:
        return chosen
    sealed = envelope.artifact(MANIFEST_ROLE)
    if sealed is None:
        raise CheckFailed(
            f"the envelope of {chosen.id} names no encrypted manifest",
            remedy="use another set, or the same one from another store",
        )
    with tempfile.TemporaryDirectory(prefix="backup-assets-") as name:  # a few megabytes at most, 0700
        directory = Path(name)
        encrypted = fetch_artifact(store, place, sealed, directory)
        plain = directory / "manifest.json"
        cipher = configured_cipher(encryption, envelope.encryption.cipher)
        cipher.decrypt(encrypted, plain, sha256_cipher=sealed.sha256)
        inner = Manifest.from_json(plain.read_bytes(), sealed.name)
    require_inner(envelope, inner)
    return replace(chosen, manifest=inner, envelope=envelope)
