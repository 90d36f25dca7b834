"""How the files of a set come to this machine, each proven against its manifest before anything uses them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from backup_assets.capture.preflight import require_free_disk
from backup_assets.errors import CheckFailed
from backup_assets.files import CHUNK_BYTES, sha256_of
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import Artifact
from backup_assets.sets.place import Place
from backup_assets.stores.contract import MissingObject, Store
from backup_assets.stores.disk_faults import explained
from backup_assets.stores.folder import FolderStore


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


def needed_artifacts(catalog: Catalog, chosen: BackupSet) -> list[tuple[str, Artifact]]:
    """Return every artifact that a restore of ``chosen`` takes, each with the id of the set that it belongs to."""
    needed = [(chosen.id, artifact) for artifact in chosen.manifest.artifacts]
    for other in catalog.closure(chosen)[:-1]:
        archive = other.manifest.artifact("archive")
        if archive is not None:
            needed.append((other.id, archive))
    return needed


def fetch_set(store: Store, place: Place, catalog: Catalog, chosen: BackupSet, directory: Path) -> FetchedSet:
    """Return ``chosen`` with all its files on this machine, sizes and SHA-256 proven.

    Files of a folder store are read where they are; others are written to ``directory``, 0600. Raises CheckFailed
    naming every file that is missing or damaged, before anything else is touched; EnvironmentFault, before anything
    is fetched, when the disk of ``directory`` has no room for all of them.
    """
    needed = needed_artifacts(catalog, chosen)
    if not isinstance(store, FolderStore):
        require_free_disk(directory, sum(one.size_bytes for _, one in needed), f"the files of the set {chosen.id}")
    paths: dict[str, Path] = {}
    full_archive: Path | None = None
    problems: list[str] = []
    for owner, artifact in needed:
        try:
            path = _fetch(store, place, artifact, directory)
        except (CheckFailed, FileNotFoundError) as error:
            problems.append(str(error).splitlines()[0])
            continue
        if owner == chosen.id:
            paths[artifact.role] = path
        else:
            full_archive = path
    if problems:
        raise CheckFailed(
            f"the set {chosen.id} is damaged in {store.describe()}",
            why="; ".join(problems),
            remedy="use another set, or the same one from another store",
        )
    return FetchedSet(chosen, paths, full_archive)


def _fetch(store: Store, place: Place, artifact: Artifact, directory: Path) -> Path:
    key = place.key(artifact.name)
    if isinstance(store, FolderStore):
        path = store.path_of(key)
        if not path.is_file():
            raise MissingObject(f"{key} is missing")
        _require_equal(artifact, path.stat().st_size, sha256_of(path))
        return path
    target = directory / artifact.name.replace("/", "-")
    digest, size = hashlib.sha256(), 0
    with explained(f"fetch {artifact.name}", directory):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle, store.open(key) as source:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                handle.write(chunk)
    _require_equal(artifact, size, digest.hexdigest())
    return target


def _require_equal(artifact: Artifact, size: int, sha256: str) -> None:
    if size != artifact.size_bytes:
        raise CheckFailed(f"{artifact.name} has {size} bytes instead of {artifact.size_bytes}")
    if sha256 != artifact.sha256:
        raise CheckFailed(f"{artifact.name} has another SHA-256 than its manifest says")
