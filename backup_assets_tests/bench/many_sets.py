"""Thousands of sets of one database: an hour apart, nearly all verified, a full archive every tenth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Artifact, AttachmentsFacts, Manifest
from backup_assets.sets.place import Place
from backup_assets.sets.records import VerificationRecord, record_key
from backup_assets_tests.sets.examples import ERP4, a_manifest, a_verification

HOUR = timedelta(hours=1)
#: The newest set is half an hour old.
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
#: As many as a small business system has; every one is a member of every manifest.
TABLES = 30
#: Every artifact is as large as this: listing looks at sizes and names, not into the files.
CONTENT = b"0123456789"


@dataclass(frozen=True)
class OneOfMany:
    """A set as it is stored."""

    manifest: Manifest
    record: VerificationRecord | None

    def as_found(self) -> BackupSet:
        """Return what a catalog makes of it."""
        return BackupSet(self.manifest, (self.record,) if self.record else ())

    def objects(self, place: Place = ERP4) -> Iterator[tuple[str, bytes]]:
        """Yield what lies in a store: keys and contents."""
        for artifact in self.manifest.artifacts:
            yield place.key(artifact.name), CONTENT
        yield place.manifest_key(self.manifest.id), self.manifest.to_json()
        if self.record:
            yield record_key(place, self.record), self.record.to_json()


def many_sets(count: int, *, tables: int = TABLES) -> Iterator[OneOfMany]:
    """Yield ``count`` sets, oldest first; made from one that was validated, which would take most of the time."""
    template = a_manifest(NOW, tables=tables)
    proof = a_verification(template.id, at=NOW)
    full = ""
    for number in range(count):
        taken_at = NOW - HOUR / 2 - HOUR * (count - 1 - number)
        slot = f"{taken_at:%Y-%m-%d}"
        set_id = str(BackupId.make(slot, taken_at, f"{number:08x}"))
        full = set_id if number % 10 == 0 else full
        record = proof.model_copy(update={"set_id": set_id, "started_at": taken_at + HOUR / 4})
        manifest = template.model_copy(
            update={
                "id": set_id,
                "slot": slot,
                "generated_at": taken_at,
                "snapshot": template.snapshot.model_copy(update={"taken_at": taken_at}),
                "artifacts": tuple(_renamed(artifact, set_id) for artifact in template.artifacts),
                "attachments": _attachments(template, set_id, full),
            }
        )
        yield OneOfMany(manifest, record if number % 50 else None)


def _renamed(artifact: Artifact, set_id: str) -> Artifact:
    folder, _, name = artifact.name.partition("/")
    name = f"{folder}/{set_id}.{name.partition('.')[2]}"
    return artifact.model_copy(update={"name": name, "size_bytes": len(CONTENT)})


def _attachments(template: Manifest, set_id: str, full: str) -> AttachmentsFacts:
    assert template.attachments is not None
    mode = "full" if full == set_id else "differential"
    return template.attachments.model_copy(update={"mode": mode, "full_set": full})
