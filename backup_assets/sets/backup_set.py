"""What is one set, as it lies in a store: whole, proven, held?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.record_order import believed, is_in_future
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
    """A manifest or record that cannot be read: its key, the set it is about, and one readable text.

    ``denied``: nothing is known against the document, only this role may not read it.
    """

    key: str
    set_id: str
    kind: str
    text: str
    denied: bool = False


@dataclass(frozen=True, slots=True)
class BackupSet:
    """A manifest with what lies beside it in one store.

    ``records`` are in their order, the last one last, ``faults`` one sentence for each reason why the set cannot be
    restored from this store, ``damaged_records`` what could not be read. ``manifest`` is the stored one; where that is
    an envelope and was opened, it is the set's own, and ``envelope`` the stored one.
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
        """All verifications, the last one last."""
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

    def proof_at(self, now: datetime) -> VerificationRecord | None:
        """Return the best proof that the set can be restored: highest level, content compared, newest; or None.

        An incomplete set has none. A later failure at any level voids the proofs of that store's copy: it was good
        once, and is not known to be good now. A pass from the future is none: see `record_order`.
        """
        if self.faults:
            return None
        standing: dict[str, list[VerificationRecord]] = {}
        for record in believed(self.verifications, now):
            if not record.passed:
                standing.pop(record.store, None)
            elif record.is_proof:
                standing.setdefault(record.store, []).append(record)
        proofs = [record for records in standing.values() for record in records]
        return max(proofs, key=lambda proof: (LEVELS.index(proof.level), proof.content, proof.order), default=None)

    def hold_at(self, now: datetime) -> Hold | None:
        """Return the longest hold that is in force at ``now``, or None.

        A hold ends when its time is over or when a later release is recorded. A release from the future ends nothing
        before its time: a clock was wrong, and nobody knows which holds were placed after it. A damaged hold record
        holds: nobody knows how long it was meant to.
        """
        own, released = self.manifest.hold, self._released_at(now)
        holds = [own] if own and (released is None or self.manifest.generated_at >= released) else []
        holds = [hold for hold in holds if hold.until is None or hold.until > now]
        holds += [Hold(reason=record.reason, until=record.until) for record in self.hold_records_at(now)]
        holds += [Hold(reason=f"a hold that is damaged: {d.key}") for d in self.damaged_records if d.kind == "hold"]
        endless = next((hold for hold in holds if hold.until is None), None)
        return endless or max(holds, key=lambda hold: hold.until or now, default=None)

    def hold_records_at(self, now: datetime) -> tuple[HoldRecord, ...]:
        """Return the records whose holds are in force at ``now``."""
        released = self._released_at(now)
        records = [record for record in self.records if isinstance(record, HoldRecord)]
        standing = [record for record in records if released is None or record.order >= released]
        return tuple(record for record in standing if record.until is None or record.until > now)

    def _released_at(self, now: datetime) -> datetime | None:
        """Return the moment up to which every hold is released, of what is known at ``now``."""
        releases = [record for record in self.records if isinstance(record, ReleaseRecord)]
        return max((record.order for record in releases if not is_in_future(record.at, now)), default=None)
