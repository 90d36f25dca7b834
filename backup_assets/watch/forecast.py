"""How long would a restore take, judged by those that were made?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from backup_assets.retention.gone import GoneSet
from backup_assets.sets.record_order import is_in_future
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
    """Return the newest drill that any store knows of, those of sets that the retention deleted included.

    One that passed in the future is left out: a clock was wrong, and it would hide every drill until that time. One
    that failed in the future counts unless a newer set was drilled since, or the same one again after it.
    """
    ahead = drill_of_the_future(known)
    if ahead is not None and not ahead.passed:
        return ahead
    return max(_past_drills(known), key=lambda drill: drill.at, default=None)


def drill_of_the_future(known: Known) -> DrillRecord | None:
    """Return the drill that a wrong clock dated ahead, if its set is newer than that of every drill with a right time.

    Where it is older somebody has drilled since, and nothing is to be done any more. Nor is it where the same set has
    a drill with a right time and the one ahead passed: then that drill says all that it could.
    """
    drills = (drill for drill in _standing(known) if is_in_future(drill.at, known.now))
    ahead = max(drills, key=lambda drill: (drill.taken_at, not drill.passed), default=None)
    newest = max((drill.taken_at for drill in _past_drills(known)), default=None)
    if ahead is None or newest is None or newest < ahead.taken_at:
        return ahead
    return ahead if newest == ahead.taken_at and not ahead.passed else None


def _past_drills(known: Known) -> list[DrillRecord]:
    return [drill for drill in _standing(known) if not is_in_future(drill.at, known.now)]


def _standing(known: Known) -> list[DrillRecord]:
    """Return the drills but those after which the same set was drilled again, though they bear a later time.

    One that passed in the future takes none back: nobody knows what was found after it.
    """
    drills = [drill for one in _tried(known) for drill in one.drills]
    counting = [drill for drill in drills if not (drill.passed and is_in_future(drill.at, known.now))]
    before = {(drill.set_id, at) for drill in counting for at in drill.after or ()}
    return [drill for drill in drills if (drill.set_id, drill.at) not in before]


def restore_forecast(known: Known) -> Forecast | None:
    """Return the time that restoring the newest set would take, or None when nothing was ever restored.

    The newest drill that got to its end counts, because it is the whole way back; else the newest restore of all, else
    the newest trial restore, which fetches nothing. Those of the future are left out, as a clock was wrong. Scaled by
    what is brought back, and never below what was measured.
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
    for what, made in tries:
        found = [entry for entry in made if not is_in_future(entry[0], known.now)]
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
