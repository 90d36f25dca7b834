"""What remains known of a set that the retention deleted?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from backup_assets import __version__
from backup_assets.errors import CheckFailed
from backup_assets.local import local_store, place_of
from backup_assets.sets.manifest import Manifest, Part, SetId, SetKind, what_is_wrong
from backup_assets.sets.records import DrillRecord, RestoreRecord, VerificationRecord
from backup_assets.sets.retention_plan import Line
from backup_assets.sets.sealed import seal, unseal
from backup_assets.settings import DatabaseSettings, Settings

#: Folder of the notes beside those of the sets in the local store; listing, copying and sweeping leave it alone.
GONE = "gone"
_TIME = "%Y%m%dT%H%M%SZ"


class GoneSet(Part):
    """A set that was deleted from one store, as it was just before: what a later report still has to know."""

    id: SetId
    kind: SetKind
    slot: str
    label: str | None = None
    taken_at: AwareDatetime
    size_bytes: int = Field(ge=0)
    restored_bytes: int = Field(default=0, ge=0, description="What a restore of it brought back; 0: not known.")
    capture_seconds: float = Field(ge=0)
    complete: bool
    verified: VerificationRecord | None = Field(default=None, description="The proof that stood.")
    verifications: tuple[VerificationRecord, ...] = ()
    drills: tuple[DrillRecord, ...] = ()
    restores: tuple[RestoreRecord, ...] = ()
    copied: dict[str, AwareDatetime] = Field(default_factory=dict, description="When it was whole in which store.")
    reasons: tuple[str, ...] = Field(default=(), description="Codes of the retention: why it could go.")


class GoneNote(Part):
    """The sets that one run of the retention deleted from one store."""

    format: Literal["backup_assets/gone"] = "backup_assets/gone"
    version: Literal[1] = 1
    store: str
    deleted_at: AwareDatetime
    sets: tuple[GoneSet, ...]
    tool_version: str


@dataclass(frozen=True)
class GoneNotes:
    """The notes that can be read, oldest first, and the keys of those that are damaged."""

    notes: tuple[GoneNote, ...]
    damaged: tuple[str, ...]


def note_gone(
    database: DatabaseSettings,
    settings: Settings,
    store: str,
    lines: Iterable[Line],
    deleted: Iterable[str],
    now: datetime,
) -> None:
    """Write down, in the local store, what was known of the sets with the ids ``deleted``; ``lines`` are the plan's.

    After the deletion and not before: where the disk is full, that is what makes room. Raises as `Store.put` does.
    """
    gone = set(deleted)
    sets = tuple(gone_set(line, now) for line in lines if line.set.id in gone)
    if sets:
        put_note(database, settings, GoneNote(store=store, deleted_at=now, sets=sets, tool_version=__version__))


def put_note(database: DatabaseSettings, settings: Settings, note: GoneNote, folder: str = GONE) -> str:
    """Store a note in a folder of the local store and return its key; raises as `Store.put` does."""
    body = seal(note)
    digest = hashlib.sha256(body).hexdigest()
    key = place_of(database, settings).key(f"{folder}/{note.deleted_at.astimezone(UTC):{_TIME}}-{digest[:8]}.json")
    local_store(settings).put(key, body, sha256=digest, size=len(body))
    return key


def read_gone(database: DatabaseSettings, settings: Settings, *, since: datetime) -> GoneNotes:
    """Return the notes that were written at ``since`` or later; raises as `Store.list` does."""
    notes: list[GoneNote] = []
    damaged: list[str] = []
    for key in note_keys(database, settings, since=since):
        try:
            notes.append(read_note(settings, key))
        except CheckFailed:
            damaged.append(key)
    return GoneNotes(tuple(notes), tuple(damaged))


def note_keys(
    database: DatabaseSettings, settings: Settings, *, since: datetime, folder: str = GONE
) -> tuple[str, ...]:
    """Return the keys of the notes of ``since`` or later, oldest first; raises as `Store.list` does.

    A note never changes, and its key has a part of its checksum: a key that was read before need not be read again.
    """
    earliest = f"{since.astimezone(UTC):{_TIME}}"
    listed = local_store(settings).list(place_of(database, settings).key(folder))
    return tuple(one.key for one in listed if one.key.rpartition("/")[2][: len(earliest)] >= earliest)


def read_note(settings: Settings, key: str) -> GoneNote:
    """Return the note of a key; raises CheckFailed when it is damaged, and as `Store.open` does."""
    with local_store(settings).open(key) as handle:
        return _parse(handle.read(), key)


def restored_bytes(manifest: Manifest) -> int:
    """Return how much a restore of a set brings back: the database and the attachments."""
    return manifest.server.database_bytes + (manifest.attachments.bytes if manifest.attachments else 0)


def _parse(content: bytes, where: str) -> GoneNote:
    try:
        return GoneNote.model_validate_json(unseal(content))
    except ValueError as error:
        raise CheckFailed(
            f"the note {where} is damaged or from a newer version",
            why=what_is_wrong(error),
            remedy="nothing needs it but reports of past months, and the watch to know of drills of deleted sets",
        ) from error


def gone_set(line: Line, now: datetime) -> GoneSet:
    """Return what is known at ``now`` of a set that goes."""
    one = line.set
    return GoneSet(
        id=one.id,
        kind=one.manifest.kind,
        slot=one.manifest.slot,
        label=one.manifest.label,
        taken_at=one.taken_at,
        size_bytes=one.manifest.size_bytes,
        restored_bytes=restored_bytes(one.manifest),
        capture_seconds=sum(one.manifest.durations.values()),
        complete=not one.faults,
        verified=one.proof_at(now),
        verifications=one.verifications,
        drills=tuple(record for record in one.records if isinstance(record, DrillRecord)),
        restores=tuple(record for record in one.records if isinstance(record, RestoreRecord)),
        copied={name: record.copied_at for name, record in one.copies.items()},
        reasons=tuple(reason.code for reason in line.reasons),
    )
