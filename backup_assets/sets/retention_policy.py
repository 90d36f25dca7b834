"""How many sets are kept, and what is never put at risk?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.record_order import CLOCK_TOLERANCE, believed, is_believed
from backup_assets.sets.records import VerificationRecord

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class RetentionPolicy:
    """What is kept of one database in one store.

    ``daily``, ``weekly`` and ``monthly`` are numbers of days, ISO weeks and months in ``zone``, the newest first, each
    of which keeps one set. ``all_for``: every set that is as young as this is kept. ``keep_days`` takes the place of
    all of these in a store that is pruned by age alone. Sets of the important tables follow the weekly and monthly
    numbers only, and ``all_for``.

    Nothing is deleted while the newest complete set is older than ``rpo``, while sets wait for their proof longer
    than ``grace``, or when more than ``largest_share`` (of 1) of all sets would go, and more than ``always_allowed``.
    What is incomplete or failed its verification stays at least ``damaged_for``.
    """

    zone: tzinfo
    rpo: timedelta
    daily: int = 14
    weekly: int = 8
    monthly: int = 12
    all_for: timedelta = 2 * DAY
    keep_days: int | None = None
    grace: timedelta = 24 * HOUR
    damaged_for: timedelta = 7 * DAY
    largest_share: float = 0.5
    always_allowed: int = 3

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if min(self.daily, self.weekly, self.monthly, self.always_allowed) < 0:
            raise ValueError("a number of sets that are kept cannot be negative")
        if min(self.rpo, self.all_for, self.grace, self.damaged_for) < timedelta():
            raise ValueError("a time cannot be negative")
        if self.keep_days is not None and self.keep_days < 1:
            raise ValueError("keep_days is at least 1")
        if not 0 < self.largest_share <= 1:
            raise ValueError("the largest share lies between 0 and 1")


@dataclass(frozen=True)
class Elsewhere:
    """What other stores know of the same database, by the ids of its sets.

    ``last_verified``: which stores have the set as their last verified one. ``held``: the reason of a hold that is in
    force there. ``verifications``: those recorded there, of whichever store's copy.
    """

    last_verified: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    verifications: Mapping[str, tuple[VerificationRecord, ...]] = field(default_factory=dict)


def known_elsewhere(stores: Mapping[str, Iterable[BackupSet]], now: datetime) -> Elsewhere:
    """Return what the sets of other stores, by the store's name, tell about those of one more store."""
    last_verified: dict[str, tuple[str, ...]] = {}
    held: dict[str, str] = {}
    verifications: dict[str, tuple[VerificationRecord, ...]] = {}
    for store, listed in stores.items():
        sets = list(listed)
        for kind in sorted({one.manifest.kind for one in sets}):
            proven = [one for one in sets if one.manifest.kind == kind and one.taken_at <= now + CLOCK_TOLERANCE]
            newest = max(
                (one for one in proven if is_verified(one, store, now=now)),
                key=lambda one: (one.taken_at, one.id),
                default=None,
            )
            if newest is not None:
                last_verified[newest.id] = (*last_verified.get(newest.id, ()), store)
        for one in sets:
            hold = one.hold_at(now)
            if hold is not None:
                held.setdefault(one.id, hold.reason)
            if one.verifications:
                verifications[one.id] = (*verifications.get(one.id, ()), *one.verifications)
    return Elsewhere(last_verified, held, verifications)


def has_failed(verifications: Iterable[VerificationRecord], store: str, now: datetime) -> bool:
    """Tell whether the last word about the copy in ``store`` at ``now`` is a failure."""
    own = believed([record for record in verifications if record.store == store], now)
    return bool(own) and not own[-1].passed


def is_verified(one: BackupSet, store: str, known: Sequence[VerificationRecord] = (), *, now: datetime) -> bool:
    """Tell whether a set of ``store`` can be restored from there, as far as anybody knows at ``now``.

    Copies are proven equal when they are made, so that a proof of one store's copy is one of all; a failure is one of
    that copy alone. ``known`` are verifications of the set that were recorded elsewhere.
    """
    if one.faults:
        return False
    proven = False
    for record in (*one.records, *known) if known else one.records:
        if record.kind == "verification":
            if not record.passed:
                break
            proven = proven or (record.is_proof and is_believed(record, now))
    else:
        return proven  # nothing ever failed: the usual case, and the quickest to tell
    records = believed((*one.verifications, *known), now)
    merged = BackupSet(one.manifest, tuple(records))
    return merged.proof_at(now) is not None and not has_failed(records, store, now)
