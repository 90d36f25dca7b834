"""What is still known of every set of a database, those that the retention deleted included?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from backup_assets.named_stores import LOCAL
from backup_assets.retention.gone import GoneNote, GoneSet
from backup_assets.sets.record_order import believed
from backup_assets.sets.records import DrillRecord, RestoreRecord, VerificationRecord
from backup_assets.watch.looking import Held, Look

Recorded = TypeVar("Recorded", VerificationRecord, DrillRecord, RestoreRecord)


@dataclass(frozen=True)
class KnownSet:
    """One set of the kind `full`, whatever stores have it or had it; moments in UTC, sizes in bytes.

    ``complete``: whole in one store at least, or when the last one deleted it. ``proven_at`` is when the first proof
    that still stands was begun, in any store. ``failed_at``: the last check of a set without a proof failed then.
    ``copied`` says when it was whole in which other store (None: it is there, and nobody wrote down since when).
    ``gone`` says when which store deleted it; ``stores`` are those that have it now.
    """

    id: str
    slot: str
    label: str | None
    taken_at: datetime
    size_bytes: int
    capture_seconds: float
    complete: bool
    proven_at: datetime | None
    failed_at: datetime | None
    hold: str | None
    stores: tuple[str, ...]
    copied: dict[str, datetime | None]
    gone: dict[str, datetime]
    verifications: tuple[VerificationRecord, ...]
    drills: tuple[DrillRecord, ...]
    restores: tuple[RestoreRecord, ...]

    @property
    def is_good(self) -> bool:
        """Whether it is whole and nothing is known against it."""
        return self.complete and self.failed_at is None


@dataclass
class _Found:
    held: list[tuple[str, Held]] = field(default_factory=list)
    gone: list[tuple[GoneNote, GoneSet]] = field(default_factory=list)


def known_sets(looks: Iterable[Look], notes: Iterable[GoneNote], now: datetime) -> tuple[KnownSet, ...]:
    """Return every set that a store lists or that a note speaks of, as known at ``now``, oldest first."""
    found: dict[str, _Found] = {}
    for look in looks:
        for one in look.sets:
            found.setdefault(one.id, _Found()).held.append((look.name, one))
    for note in notes:
        for gone in note.sets:
            if gone.kind == "full":
                found.setdefault(gone.id, _Found()).gone.append((note, gone))
    return tuple(sorted((_known(one, now) for one in found.values()), key=lambda one: (one.taken_at, one.id)))


def first_proof(records: Iterable[VerificationRecord], now: datetime) -> datetime | None:
    """Return when the first proof that still stands was begun; a later failure voids those of its store."""
    standing: dict[str, datetime] = {}
    for record in believed(records, now):
        if not record.passed:
            standing.pop(record.store, None)
        elif record.is_proof:
            standing.setdefault(record.store, record.at)
    return min(standing.values(), default=None)


def _known(found: _Found, now: datetime) -> KnownSet:
    first = found.held[0][1] if found.held else found.gone[0][1]
    sources: list[Held | GoneSet] = [*(one for _, one in found.held), *(one for _, one in found.gone)]
    whole = [(store, one) for store, one in found.held if not one.faults]
    complete = bool(whole) or (not found.held and any(one.complete for _, one in found.gone))
    # A drill is recorded in the local store and in the one that was drilled: told once.
    verifications = _once(record for one in sources for record in one.verifications)
    proven_at = first_proof(verifications, now) if complete else None
    counting = believed(verifications, now)
    failed = counting and not counting[-1].passed and proven_at is None
    return KnownSet(
        id=first.id,
        slot=first.slot,
        label=first.label,
        taken_at=first.taken_at,
        size_bytes=first.size_bytes,
        capture_seconds=max(one.capture_seconds for one in sources),
        complete=complete,
        proven_at=proven_at,
        failed_at=counting[-1].at if failed else None,
        hold=next((one.hold for _, one in found.held if one.hold is not None), None),
        stores=tuple(store for store, _ in whole),
        copied=_copied(found, whole),
        gone={note.store: note.deleted_at for note, _ in found.gone},
        verifications=verifications,
        drills=_once(record for one in sources for record in one.drills),
        restores=_once(record for one in sources for record in one.restores),
    )


def _copied(found: _Found, whole: Sequence[tuple[str, Held]]) -> dict[str, datetime | None]:
    copied: dict[str, datetime | None] = {store: None for store, _ in whole if store != LOCAL}
    copied |= {note.store: None for note, _ in found.gone if note.store != LOCAL}
    for one in (*(held for _, held in found.held), *(gone for _, gone in found.gone)):
        copied |= one.copied
    return copied


def _once(records: Iterable[Recorded]) -> tuple[Recorded, ...]:
    """Return records in the order of their times; one that two stores have counts once."""
    told: dict[tuple[datetime, bool, str], Recorded] = {}
    for record in records:
        told.setdefault((record.at, record.passed, getattr(record, "store", "")), record)
    return tuple(sorted(told.values(), key=lambda record: record.at))
