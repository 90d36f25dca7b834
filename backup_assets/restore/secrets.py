"""How do the settings and secrets of a set come back into files?"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backup_assets.capture.secret_archive import MOST_ARCHIVE_BYTES, Secret, path_of, unpack
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import CheckFailed, Refused
from backup_assets.files import fsync_directory, make_private_directory, write_durably
from backup_assets.restore.fetch_file import fetch_artifact
from backup_assets.restore.opening import opened
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.place import Place
from backup_assets.settings import Settings
from backup_assets.stores.contract import Store
from backup_assets.stores.disk_faults import explained


@dataclass(frozen=True)
class ExtractedSecret:
    """One value that was written to ``path``; ``size_bytes`` is its size."""

    kind: Literal["file", "secrets_manager", "ssm_parameter"]
    name: str
    path: Path
    size_bytes: int


def extract_secrets(
    settings: Settings, store: Store, place: Place, chosen: BackupSet, target: Path
) -> tuple[ExtractedSecret, ...]:
    """Write every value that ``chosen`` carries to a file of its own, 0600, below ``target``, 0700.

    ``target`` is new, or an empty directory that nobody else may enter. Everything is decrypted and compared with its
    keyed hash before the first file is written. Raises Refused for another ``target`` or a set without secrets;
    CheckFailed when the archive is damaged; MissingPrivateKey, LockedPrivateKey; EnvironmentFault for the disk.
    """
    if chosen.manifest.artifact("secrets") is None:
        raise Refused(
            f"the set {chosen.id} carries no secrets",
            why="none were configured when it was taken, or it is not of kind full",
            remedy="choose another set: `backup-assets show ID` lists the files of a set",
        )
    made = _require_empty(target)
    done = False
    try:
        with explained("make the directory", target.parent):
            make_private_directory(target)
        secrets = _decrypted(settings, store, place, chosen, target)
        with explained("write the secrets", target):
            written = tuple(_write(secret, target) for secret in secrets)
            fsync_directory(target)
        done = True
    finally:
        if made and not done:  # it was not there before
            shutil.rmtree(target, ignore_errors=True)
    return written


def _require_empty(target: Path) -> bool:
    """Return whether ``target`` is to be made; raises Refused when it may not be used as it is."""
    if not os.path.lexists(target):
        return True
    status = target.lstat()
    if not stat.S_ISDIR(status.st_mode) or any(target.iterdir()):
        raise Refused(
            f"{target} exists and is no empty directory", why="nothing is ever overwritten", remedy="name a new one"
        )
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise Refused(
            f"others may enter {target}", why="secrets are written there", remedy="name a new directory, or chmod 700"
        )
    return False


def _decrypted(settings: Settings, store: Store, place: Place, chosen: BackupSet, target: Path) -> tuple[Secret, ...]:
    own = opened(store, place, chosen, settings.encryption)
    artifact = own.manifest.artifact("secrets")
    if artifact is None or artifact.encryption is None:
        raise CheckFailed(f"the manifest of {chosen.id} says that its secrets are not encrypted", remedy="use another")
    if artifact.size_bytes > MOST_ARCHIVE_BYTES:
        raise CheckFailed(f"{artifact.name} is larger than secrets can be", remedy="use another set")
    with tempfile.TemporaryDirectory(prefix=".decrypting-", dir=target) as private:
        encrypted = fetch_artifact(store, place, artifact, Path(private))
        plain = Path(private) / "secrets.tar"
        cipher = configured_cipher(settings.encryption, artifact.encryption)
        cipher.decrypt(encrypted, plain, sha256_cipher=artifact.sha256)
        if plain.stat().st_size > MOST_ARCHIVE_BYTES:
            raise CheckFailed(f"{artifact.name} holds more than secrets can be", remedy="use another set")
        return unpack(plain.read_bytes(), own.manifest.secrets, artifact.name)


def _write(secret: Secret, target: Path) -> ExtractedSecret:
    path = target / path_of(secret)
    make_private_directory(path.parent)
    write_durably(path, secret.value)
    return ExtractedSecret(secret.kind, secret.name, path, len(secret.value))
