"""How does one stored file come to this machine, proven, and decrypted where it must be?"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import CheckFailed
from backup_assets.files import CHUNK_BYTES, sha256_of
from backup_assets.sets.manifest import Artifact, CipherName
from backup_assets.sets.place import Place
from backup_assets.sets.records import EncryptedFile
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.contract import MissingObject, Store
from backup_assets.stores.disk_faults import explained
from backup_assets.stores.folder import FolderStore

#: How a disk or file system answers that has a file and cannot give its content.
CONTENT_IS_LOST = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)


def fetch_artifact(store: Store, place: Place, artifact: Artifact, directory: Path) -> Path:
    """Return the path of an artifact's stored file on this machine; see :func:`fetch_file`."""
    return fetch_file(store, place, artifact.name, artifact.size_bytes, artifact.sha256, directory)


def fetch_file(store: Store, place: Place, name: str, size: int, sha256: str, directory: Path) -> Path:
    """Return the path of a stored file on this machine, its ``size`` in bytes and its SHA-256 proven.

    A file of a folder store is read where it is; another is written to ``directory``, 0600. Raises MissingObject,
    CheckFailed when it is not what was recorded or the disk cannot give it, EnvironmentFault as the store does.
    """
    key = place.key(name)
    if isinstance(store, FolderStore):
        path = store.path_of(key)
        with _read_in(store, name):
            if not path.is_file():
                raise MissingObject(f"{key} is missing")
            _require_equal(name, path.stat().st_size, size)
            _require_hash(name, sha256_of(path), sha256)
        return path
    target = directory / name.replace("/", "-")
    digest, found = hashlib.sha256(), 0
    with explained(f"fetch {name}", directory):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle, store.open(key) as source:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                found += len(chunk)
                handle.write(chunk)
    _require_equal(name, found, size)
    _require_hash(name, digest.hexdigest(), sha256)
    return target


def decrypt_file(
    store: Store, place: Place, file: EncryptedFile, cipher: CipherName, encryption: EncryptionSettings, directory: Path
) -> Path:
    """Return the path of a file's plain content in ``directory``, 0600, the hashes of both forms proven.

    Nothing is used before the end of the message was reached and confirmed. Raises as :func:`fetch_file` does, and as
    `Cipher.decrypt`: MissingPrivateKey and LockedPrivateKey where it cannot be read here.
    """
    encrypted = fetch_file(
        store, place, file.encrypted_name, file.encrypted_size_bytes, file.encrypted_sha256, directory
    )
    target = directory / file.name.replace("/", "-")
    try:
        configured_cipher(encryption, cipher).decrypt(
            encrypted, target, sha256_plain=file.sha256 or None, sha256_cipher=file.encrypted_sha256
        )
    finally:
        if encrypted.parent == directory:  # a copy, and the disk is needed
            encrypted.unlink(missing_ok=True)
    return target


@contextmanager
def _read_in(store: FolderStore, name: str) -> Iterator[None]:
    """Tell what an error of the system says of a file: its content is lost, or this process may not ask for it."""
    try:
        yield
    except OSError as error:
        if error.errno in CONTENT_IS_LOST:
            raise CheckFailed(
                f"{name} cannot be read: {error.strerror}",
                why=str(error),
                remedy="look into the kernel's log, the disk may be failing; use the same set from another store",
            ) from error
        with explained(f"read {name}", store.root):
            raise


def _require_equal(name: str, found: int, size: int) -> None:
    if found != size:
        raise CheckFailed(f"{name} has {found} bytes instead of {size}")


def _require_hash(name: str, found: str, sha256: str) -> None:
    if found != sha256:
        raise CheckFailed(f"{name} has another SHA-256 than its manifest says")
