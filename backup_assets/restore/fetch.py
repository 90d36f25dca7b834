"""How the files of a set come to this machine, each proven against its manifest before anything uses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backup_assets.capture.preflight import require_free_disk
from backup_assets.errors import CheckFailed
from backup_assets.restore.fetch_file import decrypt_file, fetch_artifact
from backup_assets.restore.opening import opened
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.envelope import encrypted_files
from backup_assets.sets.manifest import Artifact, CipherName, Manifest
from backup_assets.sets.place import Place
from backup_assets.sets.records import EncryptedFile
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.contract import Store
from backup_assets.stores.folder import FolderStore

#: What no restore of a database takes: they are opened on their own, see docs/secrets.md.
NOT_RESTORED = ("secrets",)


@dataclass(frozen=True)
class FetchedSet:
    """A set whose files lie on this machine: ``paths`` by role, and the full archive that a differential needs."""

    backup_set: BackupSet
    paths: dict[str, Path]
    full_archive: Path | None

    def artifact(self, role: str) -> Artifact:
        """Return the artifact of that role; only for one that is in ``paths``."""
        artifact = self.backup_set.manifest.artifact(role)
        if artifact is None:
            raise AssertionError(f"the set has no {role}")
        return artifact


@dataclass(frozen=True)
class Needed:
    """One file that a restore takes: the set that it belongs to, what it is, and how it lies there encrypted."""

    owner: str
    artifact: Artifact
    encrypted: EncryptedFile | None = None
    cipher: CipherName = "gpg"

    @property
    def bytes_here(self) -> int:
        """Bytes that fetching takes on this machine's disk at most."""
        return self.artifact.size_bytes + (self.encrypted.encrypted_size_bytes if self.encrypted else 0)


def stored_artifacts(store: Store, place: Place, catalog: Catalog, chosen: BackupSet) -> list[tuple[str, Artifact]]:
    """Return what a restore of ``chosen`` takes, as it is stored, each file with the id of its set."""
    needed = [(chosen.id, artifact) for artifact in as_stored(store, place, chosen).artifacts]
    for other in catalog.closure(chosen)[:-1]:
        archive = as_stored(store, place, other).artifact("archive")
        if archive is not None:
            needed.append((other.id, archive))
    return needed


def fetch_set(
    store: Store,
    place: Place,
    catalog: Catalog,
    chosen: BackupSet,
    directory: Path,
    encryption: EncryptionSettings,
    *,
    roles: tuple[str, ...] = (),
) -> FetchedSet:
    """Return ``chosen`` with all its files, or those of ``roles``, in plain on this machine, sizes and SHA-256 proven.

    Plain files of a folder store are read where they are; others are written to ``directory``, 0600. An encrypted set
    comes with its own manifest. Raises CheckFailed naming every file that is missing or damaged, before anything else
    is touched; EnvironmentFault, before anything is fetched, when the disk of ``directory`` has no room for all of
    them or the private key is not here.
    """
    chosen = opened(store, place, chosen, encryption)
    needed = [
        one for one in _needed(store, place, catalog, chosen, encryption) if not roles or one.artifact.role in roles
    ]
    here = isinstance(store, FolderStore)
    taken = sum(one.bytes_here for one in needed if one.encrypted or not here)
    if taken:
        require_free_disk(directory, taken, f"the files of the set {chosen.id}")
    paths: dict[str, Path] = {}
    full_archive: Path | None = None
    problems: list[str] = []
    for one in needed:
        try:
            if one.encrypted:
                path = decrypt_file(store, place, one.encrypted, one.cipher, encryption, directory)
            else:
                path = fetch_artifact(store, place, one.artifact, directory)
        except (CheckFailed, FileNotFoundError) as error:
            problems.append(str(error).splitlines()[0])
            continue
        if one.owner == chosen.id:
            paths[one.artifact.role] = path
        else:
            full_archive = path
    if problems:
        raise _damaged(store, chosen, problems)
    return FetchedSet(chosen, paths, full_archive)


def require_stored(store: Store, place: Place, catalog: Catalog, chosen: BackupSet, directory: Path) -> None:
    """Read every file that a restore of ``chosen`` takes, as it is stored; no private key is needed.

    Raises CheckFailed naming every file that is missing or damaged.
    """
    problems: list[str] = []
    for _, artifact in stored_artifacts(store, place, catalog, chosen):
        try:
            path = fetch_artifact(store, place, artifact, directory)
        except (CheckFailed, FileNotFoundError) as error:
            problems.append(str(error).splitlines()[0])
            continue
        if path.parent == directory:
            path.unlink()
    if problems:
        raise _damaged(store, chosen, problems)


def require_beside(store: Store, place: Place, chosen: BackupSet, directory: Path) -> None:
    """Read what no restore of a database takes, as it is stored: a set is not proven while it is damaged.

    Raises CheckFailed naming what is missing or damaged.
    """
    problems: list[str] = []
    for artifact in chosen.manifest.artifacts:
        if artifact.role not in NOT_RESTORED:
            continue
        try:
            fetch_artifact(store, place, artifact, directory)
        except CheckFailed as error:
            problems.append(str(error).splitlines()[0])
    if problems:
        raise _damaged(store, chosen, problems)


def _damaged(store: Store, chosen: BackupSet, problems: list[str]) -> CheckFailed:
    return CheckFailed(
        f"the set {chosen.id} is damaged in {store.describe()}",
        why="; ".join(problems),
        remedy="use another set, or the same one from another store",
    )


def _needed(
    store: Store, place: Place, catalog: Catalog, chosen: BackupSet, encryption: EncryptionSettings
) -> list[Needed]:
    needed: list[Needed] = []
    for other in catalog.closure(chosen)[:-1]:
        owner = opened(store, place, other, encryption)
        needed += [one for one in _files_of(store, place, owner) if one.artifact.role == "archive"]
    return [*_files_of(store, place, chosen), *needed]


def _files_of(store: Store, place: Place, one: BackupSet) -> list[Needed]:
    sealed = encrypted_files(one)
    encryption = one.encryption if one.envelope is None else one.envelope.encryption
    found: list[Needed] = []
    for artifact in one.manifest.artifacts:
        if artifact.role in NOT_RESTORED:
            continue
        file = sealed.get(artifact.role)
        if file is None or encryption is None or (one.envelope is None and store.stat(place.key(artifact.name))):
            found.append(Needed(one.id, artifact))
        else:
            found.append(Needed(one.id, artifact, file, encryption.cipher))
    return found


def as_stored(store: Store, place: Place, one: BackupSet) -> Manifest:
    """Return the set's manifest with its artifacts as they lie in ``store``: encrypted where the plain one is gone."""
    sealed = encrypted_files(one) if one.envelope is None else {}
    cipher = one.encryption.cipher if one.encryption else None
    artifacts: list[Artifact] = []
    for artifact in (one.envelope or one.manifest).artifacts:
        file = sealed.get(artifact.role)
        if file is not None and store.stat(place.key(artifact.name)) is None:
            update = {"size_bytes": file.encrypted_size_bytes, "sha256": file.encrypted_sha256, "encryption": cipher}
            artifacts.append(artifact.model_copy(update={"name": file.encrypted_name, **update}))
        else:
            artifacts.append(artifact)
    return (one.envelope or one.manifest).model_copy(update={"artifacts": tuple(artifacts)})
