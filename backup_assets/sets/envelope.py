"""What does a further store get to see of a set that is encrypted?

An **envelope**: a manifest whose artifacts are the encrypted files, among them the set's own manifest. It says what
listing, copying and retention need (ids, times, sizes, holds) and nothing of the content: no figures, no names of
tables, roles or files, and no hash of anything plain, by which a guessed secret could be confirmed.
"""

from __future__ import annotations

from backup_assets.errors import CheckFailed
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Artifact, Encryption, Fingerprints, Manifest
from backup_assets.sets.records import DrillRecord, EncryptedFile, EncryptionRecord, Problem, Record, RestoreRecord

#: Role of the artifact that is the set's own manifest.
MANIFEST_ROLE = "manifest"
#: Kinds of records that are about the local store alone and are never copied.
LOCAL_KINDS = frozenset({"copy", "encryption"})
_WITHHELD = "told only by the record in the store where it was made"


def envelope_of(manifest: Manifest, record: EncryptionRecord) -> Manifest:
    """Return the envelope of a set that was encrypted as ``record`` says; the same input gives the same bytes."""
    artifacts = [
        artifact if artifact.encryption else _sealed(artifact, record, artifact.role) for artifact in manifest.artifacts
    ]
    own = Artifact(
        kind="meta", role=MANIFEST_ROLE, name="meta/-", format="manifest.json", size_bytes=0, sha256="0" * 64
    )
    attachments = manifest.attachments
    if attachments is not None:
        attachments = attachments.model_copy(update={"vanished": (), "changing": (), "skipped": ()})
    return manifest.model_copy(
        update={
            "encryption": Encryption(cipher=record.cipher, recipients=record.recipients),
            "artifacts": (*artifacts, _sealed(own, record, MANIFEST_ROLE)),
            "fingerprints": Fingerprints(),
            "server": manifest.server.model_copy(
                update={"roles": (), "extensions": {}, "bootstrap_superuser": "postgres"}
            ),
            "client": manifest.client.model_copy(update={"directory": ""}),
            "attachments": attachments,
            "secrets": None,
            "only_tables": (),
            "warnings": (),
        }
    )


def _sealed(artifact: Artifact, record: EncryptionRecord, role: str) -> Artifact:
    file = record.file(role)
    if file is None:
        raise CheckFailed(
            f"the set {record.set_id} is not encrypted whole",
            why=f"its record of encryption has no file of role {role}",
            remedy="take another backup",
        )
    return artifact.model_copy(
        update={
            "name": file.encrypted_name,
            "size_bytes": file.encrypted_size_bytes,
            "sha256": file.encrypted_sha256,
            "encryption": record.cipher,
        }
    )


def require_inner(envelope: Manifest, inner: Manifest) -> None:
    """Raise CheckFailed unless ``inner``, decrypted, is the manifest that ``envelope`` was made of."""
    shown = {artifact.role: artifact.format for artifact in envelope.artifacts if artifact.role != MANIFEST_ROLE}
    own = {artifact.role: artifact.format for artifact in inner.artifacts}
    same = (envelope.id, envelope.kind, envelope.source_database, envelope.snapshot.taken_at, shown)
    if same != (inner.id, inner.kind, inner.source_database, inner.snapshot.taken_at, own):
        raise CheckFailed(
            f"the encrypted manifest of {envelope.id} is that of another set",
            why=f"it is of {inner.id}, taken at {inner.snapshot.taken_at.isoformat()}",
            remedy="use another set, or the same one from another store",
        )


def encrypted_files(one: BackupSet) -> dict[str, EncryptedFile]:
    """Return by role what of a set, whose own manifest is known, lies encrypted in its store."""
    if one.envelope is None:
        return {file.role: file for file in one.encryption.files} if one.encryption else {}
    found: dict[str, EncryptedFile] = {}
    for artifact in one.manifest.artifacts:
        sealed = one.envelope.artifact(artifact.role)
        if sealed is not None and artifact.encryption is None:  # the secrets are encrypted since their capture
            found[artifact.role] = EncryptedFile(
                role=artifact.role,
                name=artifact.name,
                size_bytes=artifact.size_bytes,
                sha256=artifact.sha256,
                encrypted_name=sealed.name,
                encrypted_size_bytes=sealed.size_bytes,
                encrypted_sha256=sealed.sha256,
            )
    return found


def disclosed(record: Record) -> Record:
    """Return what a record may say beside an envelope: whether and when, not what was found or where."""
    changes: dict[str, object] = {}
    if getattr(record, "problems", ()):
        changes["problems"] = (Problem(what=_WITHHELD),)
    if isinstance(record, RestoreRecord):
        changes |= {"target": _WITHHELD, "database": _WITHHELD, "kept_old_database": None}
    if isinstance(record, DrillRecord):
        changes |= {"database_bytes": 0, "attachment_files": 0, "attachment_bytes": 0}
    return record.model_copy(update=changes) if changes else record
