"""How long would a restore take, judged by those that were made?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from backup_assets.retention.gone import GoneSet
from backup_assets.sets.records import DrillRecord, RestoreRecord
from backup_assets.watch.known import Known
from backup_assets.watch.looking import Held


@dataclass(frozen=True)
class Forecast:
    """The time of a restore in ``seconds``, and from what it is known: ``what`` of when, scaled by the growth since."""

    seconds: float
    what: Literal["drill", "restore", "trial"]
    at: datetime
    scale: float


def newest_drill(known: Known) -> DrillRecord | None:
    """Return the newest drill that any store knows of, those of sets that the retention deleted included."""
    return max((drill for one in _tried(known) for drill in one.drills), key=lambda drill: drill.at, default=None)


def restore_forecast(known: Known) -> Forecast | None:
    """Return the time that restoring the newest set would take, or None when nothing was ever restored.

    The newest drill that got to its end counts, because it is the whole way back; else the newest restore of all, else
    the newest trial restore, which fetches nothing. Scaled by what is brought back, and never below what was measured.
    """
    newest = known.newest_anywhere
    if newest is None:
        return None
    sets = _tried(known)
    drills = [(d.started_at, d.total_seconds, one) for one in sets for d in one.drills if _ended(d)]
    restores = [(r.started_at, sum(r.stages.values()), one) for one in sets for r in one.restores if _ok(r)]
    trials = [
        (v.started_at, sum(v.durations.values()), one)
        for one in sets
        for v in one.verifications
        if v.is_proof and v.durations
    ]
    tries: tuple[tuple[Literal["drill", "restore", "trial"], list[tuple[datetime, float, Held | GoneSet]]], ...] = (
        ("drill", drills),
        ("restore", restores),
        ("trial", trials),
    )
    for what, found in tries:
        if found:
            at, seconds, one = max(found, key=lambda entry: entry[0])
            scale = max(1.0, newest.restored_bytes / one.restored_bytes) if one.restored_bytes else 1.0
            return Forecast(seconds * scale, what, at, scale)
    return None


def _tried(known: Known) -> Sequence[Held | GoneSet]:
    return [one for look in known.looks for one in (*look.sets, *look.gone.tried)]


def _ended(drill: DrillRecord) -> bool:
    return drill.within_rto is not None


def _ok(restore: RestoreRecord) -> bool:
    return restore.passed and bool(restore.stages) and not restore.partial
