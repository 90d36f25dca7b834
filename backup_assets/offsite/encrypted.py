"""How does a set become unreadable for everybody but its recipients, before any of it leaves this host?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backup_assets import __version__
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.contract import Cipher
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.envelope import MANIFEST_ROLE, encrypted_files
from backup_assets.sets.place import Place
from backup_assets.sets.record_order import is_in_future
from backup_assets.sets.records import EncryptedFile, EncryptionRecord, record_key
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.read_back import read_back

#: A cipher's program works on one core: the dump and the attachments need not wait for each other.
FILES_AT_ONCE = 2


@dataclass(frozen=True)
class EncryptedSet:
    """What became of one set: encrypted ``now`` or before, or ``error``."""

    set_id: str
    record: EncryptionRecord | None = None
    now: bool = False
    error: BackupError | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the encrypted files together."""
        return sum(file.encrypted_size_bytes for file in self.record.files) if self.record else 0

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.set_id} is not encrypted whole: {self.error.what}"
        return f"{self.set_id} {'encrypted' if self.now else 'was encrypted before'}: {self.size_bytes} bytes"


@dataclass(frozen=True)
class PlainFiles:
    """What became of plain files: the bytes that are free now, and by set why some stay that should have gone."""

    freed_bytes: int = 0
    damaged: Mapping[str, CheckFailed] = field(default_factory=dict)

    def error(self) -> CheckFailed | None:
        """Return one error for everything that is damaged, None when nothing is."""
        errors = list(self.damaged.values())
        if len(errors) < 2:
            return errors[0] if errors else None
        return CheckFailed(
            f"the encrypted files of {len(errors)} sets are damaged in the local store; their plain files stay",
            why="; ".join(f"{error.what}: {error.why}" for error in errors),
            remedy=errors[0].remedy,
        )


def encrypt_sets(
    database: DatabaseSettings,
    settings: Settings,
    wanted: Sequence[BackupSet],
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[EncryptedSet, ...]:
    """Encrypt every file of the sets of the local store, manifest included, beside it, and record the hashes of both.

    So is, first, every set that one of them requires: it was perhaps taken before encryption was configured, and
    without it the others could not be copied. One that was encrypted before stays as it is, whoever the recipients
    are now: what was copied is that. A set that is damaged is among the results with its error, and the others go on.
    Raises SettingsError or EnvironmentFault when nothing can be encrypted: a recipient without a
    usable key, no program, no room; Refused when another process encrypts sets of this database.
    """
    cipher = configured_cipher(settings.encryption)
    store, place = local_store(settings), place_of(database, settings)
    done: list[EncryptedSet] = []
    with store.capture_lock(f"{database.name}.encryption"):
        catalog = catalog_in(store, place)  # as it is now that nobody else encrypts
        current = [*_required(catalog, wanted), *(catalog.find(one.id) or one for one in wanted)]
        if any(one.encryption is None for one in current):
            cipher.check()
        for one in current:
            try:
                found = one.encryption
                if found is not None:
                    _require_there(store, place, one, found)
                made = found or _encrypt(store, place, one, cipher, settings, now)
                outcome = EncryptedSet(one.id, made, found is None)
            except (CheckFailed, Refused) as error:
                outcome = EncryptedSet(one.id, error=error)
            log(str(outcome))
            done.append(outcome)
    return tuple(done)


def _required(catalog: Catalog, wanted: Sequence[BackupSet]) -> list[BackupSet]:
    """Return the sets that ``wanted`` need beside themselves and that are not encrypted yet, oldest first."""
    ids = {needed for one in wanted for needed in catalog.closure_ids(one)} - {one.id for one in wanted}
    found = [one for set_id in ids if (one := catalog.find(set_id)) is not None and one.encryption is None]
    return sorted(found, key=lambda one: (one.taken_at, one.id))


def _require_there(store: FolderStore, place: Place, one: BackupSet, record: EncryptionRecord) -> None:
    missing = [
        file.encrypted_name
        for file in record.files
        if (stored := store.stat(place.key(file.encrypted_name))) is None or stored.size != file.encrypted_size_bytes
    ]
    if missing:
        raise CheckFailed(
            f"the set {one.id} was encrypted, and its files are no longer whole in the local store",
            why=f"{', '.join(missing)} is missing or has another size",
            remedy="copies made before are not affected: use one of those, and take another backup",
        )


def _require_no_damaged_record(one: BackupSet) -> None:
    """Raise CheckFailed when a set was encrypted before, and the record of it cannot be read.

    Encrypted once more it would be other bytes under the same names: what other stores hold could never be compared
    again, nor added to.
    """
    damaged = [damage for damage in one.damaged_records if damage.kind == "encryption"]
    if damaged:
        raise CheckFailed(
            f"the set {one.id} was encrypted, and the record of it is damaged: it is not encrypted again",
            why=f"{damaged[0].key} cannot be read, and other stores may hold what it tells of",
            remedy=f"check that disk; put that file back from another copy of it, or {_anew(one, not one.faults)}",
        )


def _anew(one: BackupSet, plain_is_whole: bool) -> str:
    """Return what makes an encrypted form of a set that is lost good again; with the plain files gone, nothing does."""
    if not plain_is_whole:
        return "take another backup"
    return (
        f"take another backup; where no other store has the set (`backup-assets list --store NAME`), remove "
        f"meta/{one.id}.encryption.* instead, and materialize `encrypted` for the slot {one.manifest.slot}"
    )


def _encrypt(
    store: FolderStore,
    place: Place,
    one: BackupSet,
    cipher: Cipher,
    settings: Settings,
    now: Callable[[], datetime],
) -> EncryptionRecord:
    _require_no_damaged_record(one)
    if one.faults:
        raise CheckFailed(
            f"the set {one.id} is incomplete in the local store and is not encrypted",
            why="; ".join(one.faults),
            remedy="take another backup; `backup-assets show` tells what is missing",
        )
    begun = time.monotonic()
    manifest_key = place.manifest_key(one.id)
    with store.open(manifest_key) as handle:
        body = handle.read()
    plain = [(a.role, a.name, a.size_bytes, a.sha256) for a in one.manifest.artifacts if a.encryption is None]
    plain.append((MANIFEST_ROLE, place.name(manifest_key), len(body), hashlib.sha256(body).hexdigest()))
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        files = tuple(pool.map(lambda file: _encrypt_file(store, place, cipher, *file), plain))
    record = EncryptionRecord(
        set_id=one.id,
        tool_version=__version__,
        cipher=settings.encryption.cipher,
        recipients=settings.encryption.recipients,
        encrypted_at=now(),
        seconds=round(time.monotonic() - begun, 3),
        files=files,
    )
    content = record.to_json()
    store.put(record_key(place, record), content, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    return record


def _encrypt_file(
    store: FolderStore, place: Place, cipher: Cipher, role: str, name: str, size: int, sha256: str
) -> EncryptedFile:
    target = f"{name}{cipher.suffix}"
    key = place.key(target)
    store.delete(key)  # of an attempt that died before its record: without one nobody has used it
    partial = store.partial_for(key)
    made = cipher.encrypt(store.path_of(place.key(name)), partial, sha256_plain=sha256)
    if made.size_plain != size:
        raise AssertionError(f"{name} has the SHA-256 and not the size of its manifest")
    store.adopt(key, partial, sha256=made.sha256_cipher, size=made.size_cipher)
    return EncryptedFile(
        role=role,
        name=name,
        size_bytes=size,
        sha256=sha256,
        encrypted_name=target,
        encrypted_size_bytes=made.size_cipher,
        encrypted_sha256=made.sha256_cipher,
    )


def remove_plain_files(
    database: DatabaseSettings,
    settings: Settings,
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PlainFiles:
    """Remove the plain files of every local set that is proven and encrypted whole; return what became of them.

    Nothing is removed where ``keep_plain`` is set or nothing is encrypted. What a later differential builds on stays:
    the attachment archive and index of the newest full one, and those that a set which is not proven yet needs. The
    manifest stays, too. Before a plain file goes, the encrypted one is read to its end: it is all that is left then.
    Where that is not what was recorded, the plain files of the set stay, and it is among the ``damaged``.
    """
    if settings.encryption.keep_plain or not settings.encryption.encrypts:
        return PlainFiles()
    store, place = local_store(settings), place_of(database, settings)
    catalog = catalog_in(store, place)
    moment = now()
    needed = _needed_fulls(catalog, moment)
    freed = 0
    damaged: dict[str, CheckFailed] = {}
    for one in catalog.sets():
        if one.encryption is None or one.proof_at(moment) is None:
            continue
        sealed = encrypted_files(one)
        plain = [artifact for artifact in one.manifest.artifacts if artifact.encryption is None]
        there = [artifact for artifact in plain if store.stat(place.key(artifact.name)) is not None]
        kept = ("archive", "index") if one.id in needed else ()
        going = [artifact for artifact in there if artifact.role in sealed and artifact.role not in kept]
        problems = _unlike_their_record(store, place, [sealed[artifact.role] for artifact in going])
        if problems:
            damaged[one.id] = _damaged(one, problems, len(there) == len(plain))
            log(f"{one.id} stays in plain: {damaged[one.id]}")
            continue
        for artifact in going:
            store.delete(place.key(artifact.name))
            freed += artifact.size_bytes
            log(f"removed {artifact.name}: the set is proven and encrypted")
    return PlainFiles(freed, damaged)


def _unlike_their_record(store: FolderStore, place: Place, files: Sequence[EncryptedFile]) -> list[str]:
    """Read encrypted files to their end, and return a sentence for each that is not what its record says."""
    problems: list[str] = []
    for file in files:
        key = place.key(file.encrypted_name)
        try:
            read_back(store, key, sha256=file.encrypted_sha256, size=file.encrypted_size_bytes)
        except (CheckFailed, EnvironmentFault) as error:
            problems.append(f"{error.what}: {error.why}" if error.why else error.what)
    return problems


def _damaged(one: BackupSet, problems: Sequence[str], plain_is_whole: bool) -> CheckFailed:
    return CheckFailed(
        f"the encrypted files of {one.id} are damaged in the local store; what is left of its plain files stays",
        why="; ".join(problems),
        remedy="check that disk; put them back from a store that has the set (`backup-assets show "
        f"{one.id} --store NAME` says how), or {_anew(one, plain_is_whole)}",
    )


def _needed_fulls(catalog: Catalog, now: datetime) -> set[str]:
    """Return the ids of sets whose plain attachments something is still to be compared with."""
    with_attachments = [one for one in catalog.sets() if one.manifest.attachments is not None]  # newest first
    fulls = [one for one in with_attachments if not one.manifest.needs]
    # One that a wrong clock dated ahead is no base before its time (capture/full_archive.py): the one below it is.
    newest = next((number for number, one in enumerate(fulls) if not is_in_future(one.taken_at, now)), 0)
    unproven = [one for one in with_attachments if one.proof_at(now) is None]
    return {
        *(one.id for one in fulls[: newest + 1]),
        *(needed for one in unproven for needed in catalog.closure_ids(one)),
    }
