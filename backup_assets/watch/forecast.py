"""How long would a restore take, judged by those that were made?"""

from __future__ import annotations

from dataclasses import dataclass

from backup_assets.sets.records import DrillRecord, RestoreRecord
from backup_assets.watch.known import Known
from backup_assets.watch.looking import Held


@dataclass(frozen=True)
class Forecast:
    """The time of a restore in ``seconds``, and from what it is known: half a sentence."""

    seconds: float
    basis: str


def newest_drill(known: Known) -> tuple[DrillRecord, Held] | None:
    """Return the newest drill that any store knows of, with its set."""
    found = [(record, one) for look in known.looks for one in look.sets for record in one.drills]
    return max(found, key=lambda pair: pair[0].started_at, default=None)


def restore_forecast(known: Known) -> Forecast | None:
    """Return the time that restoring the newest set would take, or None when nothing was ever restored.

    The newest drill that got to its end counts, because it is the whole way back; else the newest restore, else the
    newest trial restore, which fetches nothing. Scaled by what is brought back, and never below what was measured.
    """
    newest = known.newest_anywhere
    if newest is None:
        return None
    sets = [one for look in known.looks for one in look.sets]
    drills = [(d.started_at, d.total_seconds, one, "drill") for one in sets for d in one.drills if _ended(d)]
    restores = [(r.started_at, sum(r.stages.values()), one, "restore") for one in sets for r in one.restores if _ok(r)]
    trials = [
        (v.started_at, sum(v.durations.values()), one, "trial restore (fetching not included)")
        for one in sets
        for v in one.verifications
        if v.is_proof and v.durations
    ]
    for found in (drills, restores, trials):
        if found:
            at, seconds, one, what = max(found, key=lambda entry: entry[0])
            scale = max(1.0, newest.restored_bytes / one.restored_bytes) if one.restored_bytes else 1.0
            basis = f"by the {what} of {at:%Y-%m-%d}" + (f", {scale:.1f} times its size" if scale >= 1.05 else "")
            return Forecast(seconds * scale, basis)
    return None


def _ended(drill: DrillRecord) -> bool:
    return drill.within_rto is not None


def _ok(restore: RestoreRecord) -> bool:
    return restore.passed and bool(restore.stages)
