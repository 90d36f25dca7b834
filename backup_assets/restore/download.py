"""How does a set come out of its store into a directory that explains itself?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from backup_assets.errors import CheckFailed, EnvironmentFault, Refused
from backup_assets.files import CHUNK_BYTES, make_private_directory, partial_file, sha256_of, write_durably
from backup_assets.named_stores import catalog_in
from backup_assets.progress import Progress
from backup_assets.restore.fetch import NOT_RESTORED, as_stored, stored_artifacts
from backup_assets.restore.stock_commands import FullArchive, as_text, stock_commands
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.sets.place import Place
from backup_assets.stores.contract import Store

README = "README.txt"
_KEYS = "# AGE_IDENTITY_FILE names the file of the private key.\n"


@dataclass(frozen=True)
class Downloaded:
    """The directory, the files in it, and how many bytes they have together."""

    directory: Path
    files: tuple[Path, ...]
    bytes: int


def download_set(
    store: Store, place: Place, chosen: BackupSet, parent: Path, *, progress: Progress | None = None
) -> Downloaded:
    """Copy every file that a restore of ``chosen`` takes into ``parent``/<id>, with its manifest and a README.txt.

    Each file gets its name only when its size and SHA-256 are those of the manifest; one that is there already and is
    the same stays. Raises CheckFailed for a damaged file, Refused when a file of the same name has other content,
    EnvironmentFault when the directory cannot be written.
    """
    target = parent / chosen.id
    stored = as_stored(store, place, chosen)
    paths: dict[str, Path] = {}
    others: list[Path] = []
    full: FullArchive | None = None
    size = 0
    try:
        make_private_directory(target)
        for owner, artifact in stored_artifacts(store, place, catalog_in(store, place), chosen):
            path = target / artifact.name.rpartition("/")[2]
            _copy(store, place.key(artifact.name), artifact, path, progress)
            size += artifact.size_bytes
            if artifact.role in NOT_RESTORED:
                others.append(path)
            elif owner == chosen.id:
                paths[artifact.role] = path
            else:
                full = FullArchive(path, artifact.sha256)
        manifest = target / f"{chosen.id}.manifest.json"
        _write(manifest, chosen.manifest.to_json())
        readme = target / README
        readme.unlink(missing_ok=True)
        write_durably(readme, _readme(stored, chosen.manifest, paths, full).encode())
    except OSError as error:
        raise EnvironmentFault(
            f"the set cannot be written to {target}",
            why=f"{error.strerror or error}",
            remedy="free space there, correct the permissions, or name another directory with --to",
        ) from error
    files = (*paths.values(), *others, *((Path(full.path),) if full else ()), manifest, readme)
    return Downloaded(target, files, size)


def _copy(store: Store, key: str, artifact: Artifact, path: Path, progress: Progress | None) -> None:
    if path.exists():
        _require_same(path, artifact.sha256)
        return
    digest, size = hashlib.sha256(), 0
    with store.open(key) as source, partial_file(path) as handle:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            handle.write(chunk)
            if progress is not None:
                progress(path.name, size, artifact.size_bytes)
        if (size, digest.hexdigest()) != (artifact.size_bytes, artifact.sha256):  # raised here, no file remains
            raise CheckFailed(
                f"{artifact.name} is damaged in {store.describe()}",
                why=f"{size} bytes with SHA-256 {digest.hexdigest()} were read, the manifest says "
                f"{artifact.size_bytes} and {artifact.sha256}",
                remedy="use another set, or the same one from another store",
            )


def _write(path: Path, content: bytes) -> None:
    if path.exists():
        _require_same(path, hashlib.sha256(content).hexdigest())
        return
    write_durably(path, content)


def _require_same(path: Path, sha256: str) -> None:
    if sha256_of(path) != sha256:
        raise Refused(
            f"{path} exists with other content",
            why="nothing is ever overwritten",
            remedy="move it away, or name another directory with --to",
        )


def _readme(manifest: Manifest, own: Manifest, paths: dict[str, Path], full: FullArchive | None) -> str:
    names = {role: path.name for role, path in paths.items()}
    beside = FullArchive(Path(full.path).name, full.sha256) if full else None
    steps = stock_commands(manifest, own, names, beside)
    ciphers = sorted({a.encryption for a in manifest.artifacts if a.encryption and a.role not in NOT_RESTORED})
    figures = manifest.fingerprints
    content = f"{figures.total_rows} rows in {len(figures.tables)} tables. " if figures.tables else ""
    privacy = (
        f"The files are encrypted with {' and '.join(ciphers)}."
        if ciphers
        else "The files are not encrypted: keep them private."
    )
    return (
        f"# Backup set {manifest.id} of database {manifest.source_database} ({manifest.env}), as it was at\n"
        f"# {manifest.snapshot.taken_at.isoformat()}, PostgreSQL {manifest.server.version}, dumped by pg_dump "
        f"{manifest.client.version}.\n"
        f"# {content}{privacy}\n"
        "#\n"
        "# To restore without any other program than PostgreSQL's own (and zstd, GNU tar, awk"
        f"{''.join(f', {cipher}' for cipher in ciphers)}), in this directory:\n"
        "# `sh -e README.txt`, or one line after the other; stop at the first error.\n"
        "# PGHOST, PGPORT and PGUSER (a superuser) name the server; pg_restore must not be older than pg_dump was.\n"
        f"{_KEYS if 'age' in ciphers else ''}\n" + as_text(steps)
    )
