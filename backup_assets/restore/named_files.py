"""What are these files that the operator names, wherever they lie, and can they be compared with a manifest?"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NoReturn

from backup_assets import __version__
from backup_assets.capture.attachments_index import IndexHeader, read_index
from backup_assets.compressed import CompressedReader
from backup_assets.errors import CheckFailed, EnvironmentFault, Refused
from backup_assets.files import sha256_of
from backup_assets.local import local_store, place_of
from backup_assets.restore.fetch import FetchedSet
from backup_assets.sets.backup_id import BackupId, id_in_name
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.envelope import MANIFEST_ROLE
from backup_assets.sets.manifest import (
    Artifact,
    AttachmentsFacts,
    ClientFacts,
    Fingerprints,
    Manifest,
    ServerFacts,
    SnapshotFacts,
)
from backup_assets.sets.place import MANIFEST_SUFFIX, META
from backup_assets.settings import DatabaseSettings, Settings

DumpFormat = Literal["pg_custom", "pg_custom.zst", "pg_directory.tar"]
ARCHIVE_SUFFIX, INDEX_SUFFIX = ".tar.zst", ".index.tsv.zst"
_MAGIC = b"PGDMP"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: The oldest pg_dump that writes an archive version (K_VERS_* in PostgreSQL's pg_backup_archiver.h), from 15 on.
_OLDEST_WRITER = {14: 15, 15: 16, 16: 17}


@dataclass(frozen=True)
class NamedFiles:
    """The files as they were named: a dump, and of the same generation its roles and its attachment archive."""

    dump: Path
    globals: Path | None = None
    assets: Path | None = None


@dataclass(frozen=True)
class OpenedFiles:
    """The files as a set that can be restored.

    ``compared``: a manifest was found and every file equals it, so that the restored database is compared too.
    Without one the manifest in ``fetched`` is made up and holds no figures. ``note`` says which, for the operator.
    """

    fetched: FetchedSet
    compared: bool
    note: str


def open_named_files(files: NamedFiles, database: DatabaseSettings, settings: Settings) -> OpenedFiles:
    """Return the named files, each read to its end, compared with their manifest when one is found.

    The manifest is looked for by the id in the dump's name: beside it, in a ``meta`` folder next to its own, and in
    the local store. Raises CheckFailed when a file is not what the manifest says, Refused when the files are not of one
    generation or are none that can be restored, EnvironmentFault when one cannot be read.
    """
    try:
        return _open(files, database, settings)
    except OSError as error:
        raise EnvironmentFault(
            f"the named file {error.filename} cannot be read", why=str(error), remedy="check its permissions and disk"
        ) from error


def _open(files: NamedFiles, database: DatabaseSettings, settings: Settings) -> OpenedFiles:
    for path in (files.dump, files.globals, files.assets):
        if path is not None and not path.is_file():
            raise Refused(f"there is no file {path}", remedy="correct its path")
    paths = {"dump": files.dump}
    if files.globals is not None:
        paths["globals"] = files.globals
    store, place = local_store(settings), place_of(database, settings)
    stored = store.path_of(place.key("assets/x")).parent
    full: Path | None = None
    header: IndexHeader | None = None
    if files.assets is not None:
        paths["archive"] = files.assets
        paths["index"] = _index_of(files.assets, stored)
        header, _ = read_index(paths["index"])
        if header.full_set != header.set_id:
            full = _beside(files.assets, f"{header.full_set}{ARCHIVE_SUFFIX}", stored)
    set_id = _one_generation(files, header)
    manifest = _manifest_of(set_id, files.dump, Catalog(store, place)) if set_id else None
    if manifest is not None:
        if manifest.encryption is not None:
            _refuse_decrypted(manifest, files.dump)
        _require_equal(manifest, paths)
        note = f"compared: every file equals the manifest of the set {manifest.id}"
        return OpenedFiles(FetchedSet(BackupSet(manifest), paths, full), True, note)
    made_up = _made_up(set_id, files, header, database, settings)
    note = f"not compared: no manifest was found for {files.dump}, so that nothing proves what it should hold"
    return OpenedFiles(FetchedSet(BackupSet(made_up), paths, full), False, note)


def _index_of(archive: Path, stored: Path) -> Path:
    if not archive.name.endswith(ARCHIVE_SUFFIX):
        raise Refused(
            f"{archive} is no attachment archive of a set",
            why=f"those are named <id>{ARCHIVE_SUFFIX}",
            remedy="restore without it, and unpack it with tar",
        )
    return _beside(archive, archive.name.removesuffix(ARCHIVE_SUFFIX) + INDEX_SUFFIX, stored)


def _beside(path: Path, name: str, stored: Path) -> Path:
    """Return the file ``name`` beside ``path`` or in ``stored``, the local store's folder; raises Refused."""
    for found in (path.with_name(name), stored / name):
        if found.is_file():
            return found
    raise Refused(
        f"{path} cannot be restored without {name}",
        why="it is neither beside it nor in the local store",
        remedy="put it beside, or restore the database alone",
    )


def _one_generation(files: NamedFiles, header: IndexHeader | None) -> str | None:
    """Return the id in the files' names, or None; raises Refused when they bear several."""
    ids = {path: id_in_name(path.name) for path in (files.dump, files.globals, files.assets) if path is not None}
    known = {found for found in ids.values() if found}
    if header is not None:
        known.add(header.set_id)
    if len(known) > 1:
        raise Refused(
            "the named files are not of one generation",
            why=", ".join(sorted(known)),
            remedy="name files of the same set: database, roles and attachments belong together",
        )
    return next(iter(known), None)


def _manifest_of(set_id: str, dump: Path, catalog: Catalog) -> Manifest | None:
    """Return the set's own manifest, else the envelope of the encrypted set, else None."""
    name = f"{set_id}{MANIFEST_SUFFIX}"
    envelope: Manifest | None = None
    for path in (dump.with_name(name), dump.absolute().parent.parent / META / name):
        if path.is_file():
            manifest = Manifest.from_json(path.read_bytes(), str(path))
            if manifest.id != set_id:
                raise CheckFailed(f"the manifest {path} is that of another set, {manifest.id}")
            if manifest.encryption is None:
                return manifest
            envelope = manifest
    found = catalog.find(set_id)
    return found.manifest if found else envelope


def _refuse_decrypted(envelope: Manifest, dump: Path) -> NoReturn:
    artifacts = {artifact.role: artifact.name.rpartition("/")[2] for artifact in envelope.artifacts}
    sealed = artifacts.get(MANIFEST_ROLE)
    raise Refused(
        f"{dump} is decrypted, and the manifest that was found for it describes the encrypted files",
        why=f"the one of the decrypted files is encrypted itself, as {sealed}",
        remedy=f"name the encrypted file, {artifacts.get('dump')}, and its roles and attachments likewise: they are "
        f"decrypted with that manifest, and compared; or decrypt {sealed} by hand, too, and put it beside "
        f"{dump.name} as {envelope.id}{MANIFEST_SUFFIX}",
    )


def _require_equal(manifest: Manifest, paths: dict[str, Path]) -> None:
    problems = []
    for role, path in paths.items():
        artifact = manifest.artifact(role)
        if artifact is None:
            problems.append(f"the set has no {role}")
        elif path.stat().st_size != artifact.size_bytes:
            problems.append(f"{path} has {path.stat().st_size} bytes instead of {artifact.size_bytes}")
        elif sha256_of(path) != artifact.sha256:
            problems.append(f"{path} has another SHA-256 than the manifest says")
    if problems:
        raise CheckFailed(
            f"the named files are not those of the set {manifest.id}",
            why="; ".join(problems),
            remedy="use another copy or another set",
        )


def _made_up(
    set_id: str | None, files: NamedFiles, header: IndexHeader | None, database: DatabaseSettings, settings: Settings
) -> Manifest:
    changed = datetime.fromtimestamp(files.dump.stat().st_mtime, UTC)
    made_id = set_id or str(BackupId.make(f"{changed:%Y-%m-%d}", changed, "00000000"))
    form, major = _dump_format(files.dump)
    dump = Artifact(
        kind="db",
        role="dump",
        name=f"db/{made_id}.dump",
        format=form,
        size_bytes=files.dump.stat().st_size,
        sha256=sha256_of(files.dump),
    )
    attachments = None
    if header is not None:
        attachments = AttachmentsFacts(
            mode="full" if header.full_set == header.set_id else "differential",
            full_set=header.full_set,
            files=0,
            bytes=0,
            archived_files=0,
            archived_bytes=0,
        )
    return Manifest(
        id=made_id,
        database=database.name,
        source_database=database.database,
        env=settings.env,
        tier=database.tier,
        slot=BackupId.parse(made_id).slot,
        generated_at=changed,
        server=ServerFacts(version=str(major), version_num=major * 10000, encoding="", database_bytes=0),
        client=ClientFacts(version=str(major), directory=""),
        snapshot=SnapshotFacts(taken_at=changed, lsn="", name=""),
        artifacts=(dump,),
        fingerprints=Fingerprints(),
        attachments=attachments,
        tool_version=__version__,
    )


def _dump_format(path: Path) -> tuple[DumpFormat, int]:
    """Return how a dump is stored, and the oldest major version of the programs that read it."""
    try:
        with path.open("rb") as handle:
            head = handle.read(7)
        if head.startswith(_ZSTD_MAGIC):
            with CompressedReader(path) as reader:
                return "pg_custom.zst", _writer_of(path, reader.read(7))
        if head.startswith(_MAGIC):
            return "pg_custom", _writer_of(path, head)
        with tarfile.open(path, "r:") as archive:
            contents = archive.extractfile("toc.dat")
            return "pg_directory.tar", _writer_of(path, contents.read(7) if contents else b"")
    except (tarfile.TarError, KeyError):
        _refuse_no_dump(path)


def _writer_of(path: Path, head: bytes) -> int:
    if not head.startswith(_MAGIC) or len(head) < 7:
        _refuse_no_dump(path)
    version = head[6]
    return _OLDEST_WRITER.get(version, min(_OLDEST_WRITER.values()) if version < 14 else max(_OLDEST_WRITER.values()))


def _refuse_no_dump(path: Path) -> NoReturn:
    raise Refused(
        f"{path} is no dump that can be restored here",
        why="it is neither in pg_dump's custom format (also compressed with zstd) nor a tar of its directory format",
        remedy="restore a plain SQL script with `psql --set=ON_ERROR_STOP=1 --file`, "
        "and look for its closing line `PostgreSQL database dump complete`",
    )
