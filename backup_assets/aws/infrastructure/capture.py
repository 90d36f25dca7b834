"""How do the settings of the infrastructure become a set, and what did they say before?

The set has one artifact, the document. By default it says of every environment variable its name and a hash of its
value, keyed anew for every set. With `values` it is encrypted at capture, and only keyed hashes stay readable here.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from backup_assets import __version__
from backup_assets.aws.access import access_of
from backup_assets.aws.infrastructure.collect import Collected, collect, wanted_of
from backup_assets.aws.infrastructure.diff import Change, changes, changes_by_leaves, leaves
from backup_assets.aws.infrastructure.document import FORMAT, has_values, without_values
from backup_assets.aws.infrastructure.normalise import document_bytes, keyed, rendered
from backup_assets.aws.infrastructure.place import KIND, infrastructure_place
from backup_assets.capture.secrets import unnamed
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import CheckFailed, Refused
from backup_assets.files import make_private_directory, replace_durably, sha256_of
from backup_assets.local import local_store, place_of, work_directory
from backup_assets.named_stores import catalog_in
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import (
    NO_CLIENT,
    NO_SERVER,
    Artifact,
    CipherName,
    Fingerprints,
    Manifest,
    Part,
    Sha256,
    SnapshotFacts,
)
from backup_assets.sets.records import VerificationRecord, record_key
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.read_back import read_back

#: Folder below BACKUP_DIR with what the next capture is compared by; it is never copied.
_STATE = ".infrastructure"
_KEY_BYTES = 32


class _Known(Part):
    """What is known of a set beside it: the key of its hashes, which stands in no document."""

    set_id: str
    key: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    leaves: dict[Sha256, Sha256] = Field(default_factory=dict, repr=False)


class _State(_Known):
    """What is known of the newest set, and ``before`` of the one that it was compared with."""

    format: Literal["backup_assets/infrastructure_state"] = "backup_assets/infrastructure_state"
    version: Literal[1] = 1
    before: _Known | None = None

    def of(self, set_id: str) -> _Known | None:
        """Return what is known of a set, or None."""
        return next((one for one in (self, self.before) if one is not None and one.set_id == set_id), None)


@dataclass(frozen=True)
class Comparison:
    """What is different from the set ``previous``; ``incomplete`` says what could not be compared, and why.

    ``previous`` None: there is nothing before it, which is no change.
    """

    previous: str | None = None
    changes: tuple[Change, ...] = ()
    incomplete: str = ""


@dataclass(frozen=True)
class CapturedInfrastructure:
    """A set of the infrastructure, how many resources are in it, and which are not (one sentence each)."""

    manifest: Manifest
    resources: int
    not_captured: tuple[str, ...]
    comparison: Comparison


def capture_infrastructure(
    settings: Settings,
    wanted: InfrastructureSettings,
    slot: str,
    run_id: str,
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime],
    told: str | None = None,
) -> CapturedInfrastructure:
    """Write the settings in AWS down as a set of the current slot, and compare them with the set before.

    ``slot`` is the current one, which the caller has made sure of. ``told`` is the id of the last set whose changes
    reached somebody: a run that died with its set written down has told nothing. Where that set is not there any
    more, the newest one counts that was read back, which is the last thing that a run does. Raises Refused when
    values are wanted and nothing is encrypted here, what `collect` raises, and what the local store and the cipher
    raise; then no set exists.
    """
    database = infrastructure_place(settings, wanted)
    with local_store(settings).capture_lock(f"{database.store_prefix}-{settings.env}", run=run_id):
        return _Capturing(settings, wanted, database, log, now, told).capture(slot, run_id)


class _Capturing:
    def __init__(
        self,
        settings: Settings,
        wanted: InfrastructureSettings,
        database: DatabaseSettings,
        log: Callable[[str], None],
        now: Callable[[], datetime],
        told: str | None,
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._database = database
        self._store: FolderStore = local_store(settings)
        self._place = place_of(database, settings)
        self._log = log
        self._now = now
        self._told = told
        self._key = os.urandom(_KEY_BYTES)
        self._state_path = state_path(settings)

    def capture(self, slot: str, run_id: str) -> CapturedInfrastructure:
        if self._wanted.values:
            self._require_encryption()  # before anything is read
        begun = time.monotonic()
        started_at = self._now()
        collected = collect(wanted_of(self._settings, self._wanted), access_of(self._settings.aws))
        seconds = {"collect": round(time.monotonic() - begun, 3)}
        set_id = BackupId.make(slot, self._now(), run_id)
        previous, state = self._before(), self._state()
        before = state.of(previous.id) if state is not None and previous is not None else None
        comparison = self._compared(previous, before, collected)
        artifact = self._sealed(set_id, collected) if self._wanted.values else self._plain(set_id, collected)
        manifest = self._commit(slot, set_id, artifact, collected, seconds, started_at)
        self._remember(str(set_id), before, collected)
        self._prove(manifest, artifact, collected)
        for sentence in collected.not_captured.values():
            self._log(sentence)
        return CapturedInfrastructure(manifest, collected.count, tuple(collected.not_captured.values()), comparison)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _plain(self, set_id: BackupId, collected: Collected) -> Artifact:
        name = f"assets/{set_id}.infrastructure.json"
        body = document_bytes(self._document(rendered(collected.tree, keyed(self._key))))
        sha256 = hashlib.sha256(body).hexdigest()
        self._store.put(self._place.key(name), body, sha256=sha256, size=len(body))
        return self._artifact(name, len(body), sha256)

    def _sealed(self, set_id: BackupId, collected: Collected) -> Artifact:
        """Encrypt the document with every value in it: it is in memory, and in the cipher's pipe, and on no disk."""
        body = document_bytes(self._document(rendered(collected.tree, str)))
        encryption = self._settings.encryption
        cipher = configured_cipher(encryption)
        cipher.check()
        name = f"assets/{set_id}.infrastructure.json{cipher.suffix}"
        partial = self._store.partial_for(self._place.key(name))
        try:
            with work_directory(self._settings, KIND) as directory, unnamed(body, directory) as source:
                made = cipher.encrypt(source, partial)
            cipher.verify_message(partial, size_plain=len(body))
            if sha256_of(partial) != made.sha256_cipher:
                raise CheckFailed(
                    "the encrypted document of the infrastructure is not what the cipher wrote",
                    remedy="check the disk, and take it again",
                )
            self._store.adopt(self._place.key(name), partial, sha256=made.sha256_cipher, size=made.size_cipher)
        finally:
            partial.unlink(missing_ok=True)
        return self._artifact(name, made.size_cipher, made.sha256_cipher, encryption.cipher)

    @staticmethod
    def _artifact(name: str, size: int, sha256: str, cipher: CipherName | None = None) -> Artifact:
        return Artifact(
            kind="assets",
            role="infrastructure",
            name=name,
            format="infrastructure.json",
            size_bytes=size,
            sha256=sha256,
            encryption=cipher,
        )

    def _document(self, tree: Any) -> dict[str, Any]:
        return {"format": FORMAT, "version": 1, "env": self._settings.env, "settings": tree}

    def _commit(
        self,
        slot: str,
        set_id: BackupId,
        artifact: Artifact,
        collected: Collected,
        seconds: dict[str, float],
        started_at: datetime,
    ) -> Manifest:
        manifest = Manifest(
            id=str(set_id),
            kind=KIND,
            database=self._database.name,
            source_database=KIND,
            env=self._settings.env,
            tier=self._database.tier,
            slot=slot,
            generated_at=self._now(),
            server=NO_SERVER,
            client=NO_CLIENT,
            # AWS has no moment that all its answers show; none of them is older than this.
            snapshot=SnapshotFacts(taken_at=started_at, lsn="", name=""),
            artifacts=(artifact,),
            fingerprints=Fingerprints(),
            durations=seconds,
            warnings=tuple(collected.not_captured.values()),
            tool_version=__version__,
        )
        content = manifest.to_json()
        key = self._place.manifest_key(manifest.id)
        self._store.put(key, content, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        return manifest

    def _prove(self, manifest: Manifest, artifact: Artifact, collected: Collected) -> None:
        """Read the stored document back, and record that; retention counts what is proven.

        Restoring a document is reading it. Of one that is encrypted at capture, whose private key is not here, the
        whole message was verified instead, and `content` says that it was not compared.
        """
        begun = self._now()
        readable = artifact.encryption is None
        key = self._place.key(artifact.name)
        read_back(self._store, key, sha256=artifact.sha256, size=artifact.size_bytes)
        if readable:
            with self._store.open(key) as handle:
                found = json.loads(handle.read())
            if found["settings"] != rendered(collected.tree, keyed(self._key)):
                raise CheckFailed("the stored document of the infrastructure is not what was captured")
        record = VerificationRecord(
            set_id=manifest.id,
            tool_version=__version__,
            level="restored",
            content=readable,
            store=self._store.name,
            passed=True,
            started_at=begun,
        )
        body = record.to_json()
        self._store.put(record_key(self._place, record), body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))

    def _require_encryption(self) -> None:
        if not self._settings.encryption.encrypts:
            raise Refused(
                "the infrastructure is not captured: its values are wanted, and nothing is encrypted here",
                why="values of environment variables would lie in every store in plain",
                remedy="set `encryption.recipients` (GPG_RECIPIENT or AGE_RECIPIENT), or `aws.infrastructure.values` "
                "to false",
            )

    # -- comparing ---------------------------------------------------------------------------------------------------

    def _before(self) -> BackupSet | None:
        """Return the set to compare with: not simply the newest, whose run may have died before anybody was told."""
        sets = [one for one in catalog_in(self._store, self._place).sets() if one.manifest.kind == KIND]
        told = next((one for one in sets if one.id == self._told), None)
        return told or next((one for one in sets if one.verifications), None)

    def _compared(self, previous: BackupSet | None, known: _Known | None, collected: Collected) -> Comparison:
        if previous is None:
            return Comparison()
        if previous.faults:
            return Comparison(previous.id, incomplete=f"{previous.id} could not be compared with: {previous.faults[0]}")
        if self._wanted.values or previous.manifest.artifacts[0].encryption is not None:
            return self._compared_by_hashes(previous, known, collected)
        return self._compared_by_document(previous, known, collected)

    @staticmethod
    def _compared_by_hashes(previous: BackupSet, known: _Known | None, collected: Collected) -> Comparison:
        if known is None or not known.leaves:
            why = f"{previous.id} could not be compared with: the hashes of its values are not on this machine"
            return Comparison(previous.id, incomplete=why)
        found = changes_by_leaves(known.leaves, rendered(collected.tree, str), bytes.fromhex(known.key))
        return Comparison(previous.id, found)

    def _compared_by_document(self, previous: BackupSet, known: _Known | None, collected: Collected) -> Comparison:
        name = previous.manifest.artifacts[0].name
        try:
            artifact = previous.manifest.artifacts[0]
            read_back(self._store, self._place.key(name), sha256=artifact.sha256, size=artifact.size_bytes)
            with self._store.open(self._place.key(name)) as handle:
                old = json.loads(handle.read())["settings"]
        except CheckFailed as error:
            return Comparison(previous.id, incomplete=f"{previous.id} could not be compared with: {error.what}")
        if known is not None:
            return Comparison(previous.id, changes(old, rendered(collected.tree, keyed(bytes.fromhex(known.key)))))
        found = changes(without_values(old), without_values(rendered(collected.tree, keyed(self._key))))
        why = f"values of environment variables were not compared: the key of {previous.id} is not on this machine"
        return Comparison(previous.id, found, why if has_values(old) else "")

    def _state(self) -> _State | None:
        try:
            return _State.model_validate_json(self._state_path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            self._log(f"{self._state_path} is damaged, and is written anew: values are compared again from now on")
            return None

    def _remember(self, set_id: str, before: _Known | None, collected: Collected) -> None:
        """Write the key of a set down, and keep that of the one before: should this run die, it is asked for again."""
        known = leaves(rendered(collected.tree, str), self._key) if self._wanted.values else {}
        kept = None if before is None else _Known(set_id=before.set_id, key=before.key, leaves=before.leaves)
        state = _State(set_id=set_id, key=self._key.hex(), leaves=known, before=kept)
        make_private_directory(self._state_path.parent)
        replace_durably(self._state_path, state.model_dump_json().encode())


def state_path(settings: Settings) -> Path:
    """Return where the keys of the newest set's hashes and of those of the one before lie."""
    return settings.backup_dir.absolute() / _STATE / f"{settings.env}.json"
