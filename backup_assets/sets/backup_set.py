"""What is one set, as it lies in a store: whole, proven, held?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.records import (
    LEVELS,
    CopyRecord,
    EncryptionRecord,
    HoldRecord,
    Record,
    ReleaseRecord,
    VerificationRecord,
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A manifest or record that cannot be read: its key, the set it is about, and one readable text."""

    key: str
    set_id: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class BackupSet:
    """A manifest with what lies beside it in one store.

    ``records`` are oldest first, ``faults`` one sentence for each reason why the set cannot be restored from this
    store, ``damaged_records`` what could not be read. ``manifest`` is the stored one; where that is an envelope and
    was opened, it is the set's own, and ``envelope`` the stored one.
    """

    manifest: Manifest
    records: tuple[Record, ...] = ()
    faults: tuple[str, ...] = ()
    damaged_records: tuple[Damage, ...] = ()
    envelope: Manifest | None = None

    @property
    def id(self) -> str:
        """The set's id."""
        return self.manifest.id

    @property
    def taken_at(self) -> datetime:
        """The moment that the set shows."""
        return self.manifest.snapshot.taken_at

    @property
    def state(self) -> Literal["complete", "incomplete"]:
        """Complete when every artifact is there in its size, and every set that this one needs is complete too."""
        return "incomplete" if self.faults else "complete"

    @property
    def verifications(self) -> tuple[VerificationRecord, ...]:
        """All verifications, oldest first."""
        return tuple(record for record in self.records if isinstance(record, VerificationRecord))

    @property
    def copies(self) -> dict[str, CopyRecord]:
        """The newest copy to each other store, by its name; whether it is still there only that store can tell."""
        return {record.store: record for record in self.records if isinstance(record, CopyRecord)}

    @property
    def encryption(self) -> EncryptionRecord | None:
        """The newest record that the local files were encrypted, or None."""
        found = [record for record in self.records if isinstance(record, EncryptionRecord)]
        return found[-1] if found else None

    @property
    def is_encrypted(self) -> bool:
        """Whether every file of the set is there encrypted."""
        return self.encryption is not None or (self.envelope or self.manifest).encryption is not None

    @property
    def verified(self) -> VerificationRecord | None:
        """The best proof that the set can be restored: highest level, content compared, newest; None without any.

        An incomplete set has none. A later failure at any level voids the proofs of that store's copy: it was good
        once, and is not known to be good now.
        """
        if self.faults:
            return None
        standing: dict[str, list[VerificationRecord]] = {}
        for record in self.verifications:
            if not record.passed:
                standing.pop(record.store, None)
            elif record.is_proof:
                standing.setdefault(record.store, []).append(record)
        proofs = [record for records in standing.values() for record in records]
        return max(proofs, key=lambda proof: (LEVELS.index(proof.level), proof.content, proof.at), default=None)

    def hold_at(self, now: datetime) -> Hold | None:
        """Return the longest hold that is in force at ``now``, or None.

        A hold ends when its time is over or when a later release is recorded. A damaged hold record holds: nobody
        knows how long it was meant to.
        """
        own = self.manifest.hold
        placed = [(self.manifest.generated_at, own)] if own else []
        records = [record for record in self.records if isinstance(record, HoldRecord)]
        placed += [(record.at, Hold(reason=record.reason, until=record.until)) for record in records]
        released = max((r.at for r in self.records if isinstance(r, ReleaseRecord)), default=None)
        holds = [hold for at, hold in placed if released is None or at >= released]
        holds = [hold for hold in holds if hold.until is None or hold.until > now]
        holds += [Hold(reason=f"a hold that is damaged: {d.key}") for d in self.damaged_records if d.kind == "hold"]
        endless = next((hold for hold in holds if hold.until is None), None)
        return endless or max(holds, key=lambda hold: hold.until or now, default=None)
