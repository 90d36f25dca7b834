"""Is what was promised of the backups of a database kept at this moment?"""

from __future__ import annotations

from datetime import timedelta

from backup_assets.progress import human_bytes
from backup_assets.restore.drill_report import duration
from backup_assets.slots import Slots
from backup_assets.watch.copies_rule import copies_objectives
from backup_assets.watch.figures import Objective, ObjectiveState
from backup_assets.watch.forecast import Forecast, newest_drill
from backup_assets.watch.known import HOUR, Known
from backup_assets.watch.looking import Held, Look
from backup_assets.watch.missed import is_filled

DRILL_EVERY = timedelta(days=35)
#: A store that has room for fewer sets than this is nearly full.
LEAST_SETS_OF_SPACE = 5
_RECENT = 30
_TAKE_ONE = "take a backup: `backup-assets backup`"


def objectives_of(
    known: Known, slots: Slots, missed: tuple[str, ...], forecast: Forecast | None
) -> tuple[Objective, ...]:
    """Return every objective that applies, in the order in which they are told."""
    found = (
        _rpo(known, slots),
        _off_site(known),
        _verified(known),
        _drill(known),
        _rto(known, forecast),
        *copies_objectives(known),
        _store_space(known),
        _slots(known, missed),
    )
    return tuple(one for one in found if one is not None)


def late(known: Known, look: Look) -> str:
    """Return one sentence when the newest good set of a store is older than promised or missing, or nothing."""
    newest = known.newest(look)
    if look.error:
        return ""
    if newest is None:
        return f"there is no complete set in {look.name}"
    limit = known.limit if look is known.looks[0] else known.copy_limit
    if known.age(newest) <= limit:
        return ""
    return f"the newest complete set in {look.name} was taken {_ago(known, newest)}; {_promised(known)}"


def _rpo(known: Known, slots: Slots) -> Objective:
    newest, wanted = known.newest_anywhere, known.database.rpo_hours
    unheard = _unheard(known)
    if newest is None:
        return Objective("rpo", "broken", None, wanted, "hours", f"there is no complete set{unheard}: {_TAKE_ONE}")
    where = ", ".join(known.where(newest.id))
    text = f"the newest complete set was taken {_ago(known, newest)} ({where}); {_promised(known)}{unheard}"
    state: ObjectiveState = "met"
    key = slots.current_key(known.now)
    due, every = slots.due_at(key), _length(slots, key)
    if known.age(newest) > known.limit:
        state, text = "broken", f"{text}: {_TAKE_ONE}, and look at the runs that failed"
    elif known.now > due + known.allowance and not is_filled(slots, key, known.all_good):
        since = duration((known.now - due).total_seconds())
        state, text = "warn", f"{text}; the backup of the slot {key} has been due for {since}"
    elif every > wanted * HOUR + timedelta(hours=1):  # a day of 25 hours is still a day
        state, text = "warn", f"{text}; a backup is due only every {duration(every.total_seconds())}: `schedule.every`"
    return Objective("rpo", state, _hours(known.age(newest)), wanted, "hours", text)


def _off_site(known: Known) -> Objective | None:
    away = [look for look in known.looks if look.off_site]
    if not away:
        return None  # one_off_site says so
    wanted = known.database.rpo_hours
    found = [(newest, look) for look in away if (newest := known.newest(look)) is not None]
    presumed = [(one, look) for look in away if (one := known.presumed(look)) is not None]
    silent = "".join(f"; {look.name} does not answer: {look.error}" for look in away if look.error)
    best = max(found, key=lambda pair: pair[0].taken_at, default=None)
    if best is None or known.age(best[0]) > known.copy_limit:
        likely = max(presumed, key=lambda pair: pair[0].taken_at, default=None)
        if likely is not None and known.age(likely[0]) <= known.copy_limit:
            text = f"as recorded here, a set taken {_ago(known, likely[0])} was copied to {likely[1].name}{silent}"
            return Objective("off_site", "warn", _hours(known.age(likely[0])), wanted, "hours", text)
    if best is None:
        names = ", ".join(look.name for look in away)
        text = f"there is no complete set off-site ({names}){silent}: run the copies of the last slots"
        return Objective("off_site", "broken", None, wanted, "hours", text)
    newest, look = best
    text = f"the newest complete set off-site was taken {_ago(known, newest)} ({look.name}); {_promised(known)}{silent}"
    state: ObjectiveState = "warn" if silent else "met"
    if known.age(newest) > known.copy_limit:
        state, text = "broken", f"{text}: look at the copies that failed"
    elif waiting := _not_copied(known, newest):
        state, text = "warn", f"{text}; {waiting.id} is not there yet"
    return Objective("off_site", state, _hours(known.age(newest)), wanted, "hours", text)


def _not_copied(known: Known, away: Held) -> Held | None:
    """Return the newest set that should have been copied by now and was not."""
    due = [one for one in known.all_good if one.taken_at > away.taken_at and known.age(one) > 2 * known.allowance]
    return next(iter(due), None)


def _verified(known: Known) -> Objective:
    wanted = known.database.verified_within_hours
    proofs = [proven for look in known.looks if (proven := known.proven(look)) is not None]
    newest = max(proofs, key=lambda one: one.taken_at, default=None)
    failed = _failed_since(known, newest)
    bad = f"; {failed.id} failed its verification" if failed else ""
    if newest is None or newest.verified is None:
        text = f"no set is proven by a restore{bad}: prove one with `backup-assets verify`"
        return Objective("verified", "broken", None, wanted, "hours", text)
    at = duration(max(0.0, (known.now - newest.verified.at).total_seconds()))
    text = f"the newest set that is proven by a restore was taken {_ago(known, newest)} and proven {at} ago{bad}"
    # By the moment that the set shows: to prove an old set again is no proof that today's can be restored.
    age = known.age(newest)
    state: ObjectiveState = "met"
    if age > wanted * HOUR:
        state, text = "broken", f"{text}; {duration(wanted * 3600)} promised: look at the checks `restored`"
    elif failed is not None:
        state = "warn"
    return Objective("verified", state, _hours(age), wanted, "hours", text)


def _failed_since(known: Known, newest: Held | None) -> Held | None:
    for look in known.looks:
        for one in look.sets:
            verdict = known.verdict(one, look)
            if verdict is not None and not verdict.passed and (newest is None or one.taken_at > newest.taken_at):
                return one
    return None


def _drill(known: Known) -> Objective:
    wanted = DRILL_EVERY / timedelta(days=1)
    found = newest_drill(known)
    if found is None:
        if len(known.looks) == 1:
            text = "no further store is configured, so that the loss of this machine cannot be rehearsed"
            return Objective("drill", "unknown", None, wanted, "days", text)
        oldest = min((one.taken_at for one in known.all_good), default=known.now)
        overdue = known.now - oldest > DRILL_EVERY
        text = "no restore from a further store was ever rehearsed: `backup-assets drill`"
        return Objective("drill", "broken" if overdue else "warn", None, wanted, "days", text)
    drill, _ = found
    age = max(known.now - drill.started_at, timedelta())
    text = f"the last drill, {duration(age.total_seconds())} ago from {drill.store}, "
    if not drill.passed:
        text += f"failed: {'; '.join(map(str, drill.problems[:3]))}"
        return Objective("drill", "broken", _days(age), wanted, "days", text)
    text += f"passed in {duration(drill.total_seconds)}"
    if age > DRILL_EVERY:
        text += "; one is due every month: `backup-assets drill`"
        return Objective("drill", "broken", _days(age), wanted, "days", text)
    return Objective("drill", "met", _days(age), wanted, "days", text)


def _rto(known: Known, forecast: Forecast | None) -> Objective:
    wanted, drilled = known.database.rto_hours, newest_drill(known)
    promised = f"{duration(wanted * 3600)} promised"
    if drilled is not None and drilled[0].within_rto is False:
        seconds = drilled[0].total_seconds
        text = f"the last drill took {duration(seconds)}; {promised}"
        return Objective("rto", "broken", round(seconds / 3600, 4), wanted, "hours", text)
    if forecast is None:
        text = f"nothing was restored yet, so that nobody knows how long it takes; {promised}"
        return Objective("rto", "unknown", None, wanted, "hours", text)
    text = f"a restore would take about {duration(forecast.seconds)} {forecast.basis}; {promised}"
    state: ObjectiveState = "met" if forecast.seconds <= wanted * 3600 else "warn"
    return Objective("rto", state, round(forecast.seconds / 3600, 4), wanted, "hours", text)


def _store_space(known: Known) -> Objective:
    wanted = float(LEAST_SETS_OF_SPACE)
    room: list[tuple[float, Look]] = []
    for look in known.looks:
        # A full archive of attachments is larger than the differentials after it: the largest counts.
        largest = max((one.size_bytes for one in look.sets[:_RECENT]), default=0)
        if look.free_bytes is not None and largest:
            room.append((look.free_bytes / largest, look))
    if not room:
        return Objective("store_space", "unknown", None, wanted, "sets", "no store with a limit holds a set yet")
    least, look = min(room, key=lambda pair: pair[0])
    state: ObjectiveState = "met" if least >= wanted else "warn" if least >= 1 else "broken"
    text = f"{look.name} has {human_bytes(look.free_bytes or 0)} free, room for {int(least)} more sets"
    if state != "met":
        text += ": free some space, or keep fewer sets (docs/retention.md)"
    return Objective("store_space", state, round(least, 2), wanted, "sets", text)


def _slots(known: Known, missed: tuple[str, ...]) -> Objective:
    if not missed:
        return Objective("slots", "met", 0.0, 0.0, "slots", "every slot that is over has a complete set")
    shown = ", ".join(missed[:5]) + (", …" if len(missed) > 5 else "")
    text = f"{len(missed)} slots are over without a complete set: {shown}{_unheard(known)}"
    return Objective("slots", "warn", float(len(missed)), 0.0, "slots", text)


def _length(slots: Slots, key: str) -> timedelta:
    start, end = slots.window(key)
    return end - start


def _promised(known: Known) -> str:
    return f"{duration(known.database.rpo_hours * 3600)} promised"


def _ago(known: Known, one: Held) -> str:
    return f"{duration(known.age(one).total_seconds())} ago"


def _unheard(known: Known) -> str:
    names = ", ".join(look.name for look in known.silent)
    return f"; no answer from {names}" if names else ""


def _hours(age: timedelta) -> float:
    return round(age / HOUR, 3)


def _days(age: timedelta) -> float:
    return round(age / timedelta(days=1), 2)
