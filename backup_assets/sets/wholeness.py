"""Are the sets of a store whole: is everything there that they consist of, and every set that they need?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.documents import Documents
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import StoredObject
from backup_assets.sets.records import EncryptionRecord, Record
from backup_assets.sets.uncollected import uncollected


def sets_of(documents: Documents) -> dict[str, BackupSet]:
    """Return every set whose manifest can be read, by its id, newest first, with what it lacks."""
    manifests, damaged_manifests = documents.manifests
    records, damaged = documents.records
    with uncollected():
        found = {
            set_id: BackupSet(
                manifest,
                tuple(sorted(records.get(set_id, ()), key=lambda record: record.order)),
                _faults(manifest, records.get(set_id, ()), documents.names),
                tuple(damaged.get(set_id, ())),
            )
            for set_id, manifest in manifests.items()
        }
        lacking = ((one, _faults_of_needs(one, found, manifests, damaged_manifests)) for one in found.values())
        whole = [replace(one, faults=one.faults + faults) if faults else one for one, faults in lacking]
        newest_first = sorted(whole, key=lambda one: (one.taken_at, one.id), reverse=True)
        return {one.id: one for one in newest_first}


def needed_by(manifest: Manifest, manifests: dict[str, Manifest]) -> set[str]:
    """Return the ids of all sets that ``manifest`` needs, directly or through another, present or not."""
    needed: set[str] = set()
    waiting = list(manifest.needs)
    while waiting:
        set_id = waiting.pop()
        if set_id in needed or set_id == manifest.id:
            continue
        needed.add(set_id)
        if set_id in manifests:
            waiting.extend(manifests[set_id].needs)
    return needed


def _faults(manifest: Manifest, records: Sequence[Record], names: Mapping[str, StoredObject]) -> tuple[str, ...]:
    sealed = {file.name: file for one in records if isinstance(one, EncryptionRecord) for file in one.files}
    faults: list[str] = []
    for artifact in manifest.artifacts:
        stored = names.get(artifact.name)
        file = sealed.get(artifact.name)
        if stored is None and file is not None:
            # The plain file was removed after it had been encrypted.
            encrypted = names.get(file.encrypted_name)
            fault = _fault(file.encrypted_name, encrypted, file.encrypted_size_bytes, file.encrypted_sha256)
        else:
            fault = _fault(artifact.name, stored, artifact.size_bytes, artifact.sha256)
        faults += [fault] if fault else []
    return tuple(faults)


def _fault(name: str, stored: StoredObject | None, size: int, sha256: str) -> str:
    if stored is None:
        return f"{name} is missing"
    if stored.size != size:
        return f"{name} has {stored.size} bytes instead of {size}"
    if stored.sha256 is not None and stored.sha256 != sha256:
        return f"{name} has another SHA-256 than its manifest says"
    return ""


def _faults_of_needs(
    one: BackupSet, found: dict[str, BackupSet], manifests: dict[str, Manifest], damaged: Sequence[Damage]
) -> tuple[str, ...]:
    faults: list[str] = []
    for needed in sorted(needed_by(one.manifest, manifests)):
        if needed not in found:
            is_damaged = any(damage.set_id == needed for damage in damaged)
            faults.append(f"it needs the set {needed}, which is {'damaged' if is_damaged else 'missing'}")
        elif found[needed].faults:
            faults.append(f"it needs the set {needed}, which is incomplete: {found[needed].faults[0]}")
    return tuple(faults)
