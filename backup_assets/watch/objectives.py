"""Is what was promised of the backups of a database kept at this moment?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

from backup_assets.capture.preflight import MARGIN_BYTES
from backup_assets.progress import human_bytes
from backup_assets.sets.record_order import is_believed
from backup_assets.sets.records import VerificationRecord
from backup_assets.slots import Slots
from backup_assets.watch.copies_rule import copies_objectives
from backup_assets.watch.figures import Objective, ObjectiveState
from backup_assets.watch.forecast import Forecast, drill_of_the_future, newest_drill
from backup_assets.watch.known import HOUR, Known
from backup_assets.watch.looking import Held, Look
from backup_assets.watch.missed import is_filled

DRILL_EVERY = timedelta(days=35)
#: A store that has room for fewer sets than this is nearly full.
LEAST_SETS_OF_SPACE = 5
_RECENT = 30
#: A growth that is told: less is not worth a word.
LEAST_SCALE = 1.05
#: Which part of the time allowed for a capture may pass until its slot is called late: where a backup is due exactly
#: as often as promised, the warning must come before the promise is broken.
LATE_AFTER = 0.75


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
    newest, say = known.newest(look), known.words.say
    if look.error:
        return ""
    if newest is None:
        return say("late.none", store=look.name)
    limit = known.limit if look is known.looks[0] else known.copy_limit
    if known.age(newest) <= limit:
        return ""
    return say("late", store=look.name, age=_age(known, newest), promised=_promised(known))


def _rpo(known: Known, slots: Slots) -> Objective:
    newest, wanted, say = known.newest_anywhere, known.database.rpo_hours, known.words.say
    unheard = _unheard(known)
    if newest is None:
        return Objective("rpo", "broken", None, wanted, "hours", say("rpo.none", unheard=unheard))
    where = known.words.join("listed", list(known.where(newest.id)))
    text = say("rpo", age=_age(known, newest), where=where, promised=_promised(known), unheard=unheard)
    state: ObjectiveState = "met"
    key = slots.current_key(known.now)
    due, every = slots.due_at(key), _length(slots, key)
    if known.age(newest) > known.limit:
        state, text = "broken", say("rpo.older", text=text)
    elif known.now > due + LATE_AFTER * known.allowance and not is_filled(slots, key, known.all_good):
        since = known.words.time((known.now - due).total_seconds())
        state, text = "warn", say("rpo.due", text=text, slot=key, time=since)
    elif every > wanted * HOUR + timedelta(hours=1):  # a day of 25 hours is still a day
        state, text = "warn", say("rpo.seldom", text=text, time=known.words.time(every.total_seconds()))
    return Objective("rpo", state, _hours(known.age(newest)), wanted, "hours", text)


def _off_site(known: Known) -> Objective | None:
    away = [look for look in known.looks if look.off_site]
    if not away:
        return None  # one_off_site says so
    wanted, say = known.database.rpo_hours, known.words.say
    found = [(newest, look) for look in away if (newest := known.newest(look)) is not None]
    presumed = [(one, look) for look in away if (one := known.presumed(look)) is not None]
    silent = "".join(say("off_site.silent", store=look.name, error=look.error) for look in away if look.error)
    best = max(found, key=lambda pair: pair[0].taken_at, default=None)
    if best is None or known.age(best[0]) > known.copy_limit:
        likely = max(presumed, key=lambda pair: pair[0].taken_at, default=None)
        if likely is not None and known.age(likely[0]) <= known.copy_limit:
            text = say("off_site.presumed", age=_age(known, likely[0]), store=likely[1].name, silent=silent)
            return Objective("off_site", "warn", _hours(known.age(likely[0])), wanted, "hours", text)
    if best is None:
        names = known.words.join("listed", [look.name for look in away])
        text = say("off_site.none", names=names, silent=silent)
        return Objective("off_site", "broken", None, wanted, "hours", text)
    newest, look = best
    text = say("off_site", age=_age(known, newest), store=look.name, promised=_promised(known), silent=silent)
    state: ObjectiveState = "warn" if silent else "met"
    if known.age(newest) > known.copy_limit:
        state, text = "broken", say("off_site.older", text=text)
    elif waiting := _not_copied(known, newest):
        state, text = "warn", say("off_site.waiting", text=text, set=waiting.id)
    return Objective("off_site", state, _hours(known.age(newest)), wanted, "hours", text)


def _not_copied(known: Known, away: Held) -> Held | None:
    """Return the newest set that should have been copied by now and was not."""
    due = [one for one in known.all_good if one.taken_at > away.taken_at and known.age(one) > 2 * known.allowance]
    return next(iter(due), None)


def _verified(known: Known) -> Objective:
    wanted, say = known.database.verified_within_hours, known.words.say
    proofs = [proven for look in known.looks if (proven := known.proven(look)) is not None]
    newest = max(proofs, key=lambda one: one.taken_at, default=None)
    failed = _failed_since(known, newest)
    bad = say("verified.failed", set=failed.id) if failed else ""
    future = _proof_to_come(known, newest)
    if future is not None:
        bad += say("verified.future", set=future.set_id, at=f"{future.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    if newest is None or newest.verified is None:
        return Objective("verified", "broken", None, wanted, "hours", say("verified.none", failed=bad))
    at = known.words.time(max(0.0, (known.now - newest.verified.at).total_seconds()))
    text = say("verified", age=_age(known, newest), at=at, failed=bad)
    # By the moment that the set shows: to prove an old set again is no proof that today's can be restored.
    age = known.age(newest)
    state: ObjectiveState = "met"
    if age > wanted * HOUR:
        state, text = "broken", say("verified.older", text=text, promised=_promised(known, wanted))
    elif failed is not None or future is not None:
        state = "warn"
    return Objective("verified", state, _hours(age), wanted, "hours", text)


def _failed_since(known: Known, newest: Held | None) -> Held | None:
    for look in known.looks:
        for one in look.sets:
            verdict = known.verdict(one, look)
            if verdict is not None and not verdict.passed and (newest is None or one.taken_at > newest.taken_at):
                return one
    return None


def _proof_to_come(known: Known, newest: Held | None) -> VerificationRecord | None:
    """Return the proof of the newest set whose time is still to come, where that set would be newer than ``newest``."""
    found = [
        (one.taken_at, record)
        for look in known.looks
        for one in known.good(look)
        for record in one.verifications
        if record.is_proof and not is_believed(record, known.now)
    ]
    taken_at, record = max(found, key=lambda pair: pair[0], default=(None, None))
    return None if taken_at is None or (newest is not None and taken_at <= newest.taken_at) else record


def _drill(known: Known) -> Objective:
    """Return the objective, at best to be looked at where a drill that passed bears a time which is to come."""
    found, ahead = _drill_by_its_time(known), drill_of_the_future(known)
    if ahead is None or not ahead.passed:
        return found
    at = f"{ahead.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    text = known.words.say("drill.future", text=found.text, set=ahead.set_id, at=at)
    return replace(found, state="broken" if found.state == "broken" else "warn", text=text)


def _drill_by_its_time(known: Known) -> Objective:
    wanted, say = DRILL_EVERY / timedelta(days=1), known.words.say
    drill = newest_drill(known)
    if drill is None:
        if len(known.looks) == 1:
            return Objective("drill", "unknown", None, wanted, "days", say("drill.alone"))
        # A short retention leaves nothing that is older than a month: what it deleted was there as well.
        gone = [look.gone.oldest for look in known.looks if look.gone.oldest is not None]
        oldest = min((*(one.taken_at for one in known.all_good), *gone), default=known.now)
        overdue = known.now - oldest > DRILL_EVERY
        return Objective("drill", "broken" if overdue else "warn", None, wanted, "days", say("drill.none"))
    age = max(known.now - drill.started_at, timedelta())
    ago = known.words.time(age.total_seconds())
    if not drill.passed:
        problems = "; ".join(map(str, drill.problems[:3]))
        text = say("drill.failed", age=ago, store=drill.store, problems=problems)
        return Objective("drill", "broken", _days(age), wanted, "days", text)
    text = say("drill.passed", age=ago, store=drill.store, time=known.words.time(drill.total_seconds))
    if age > DRILL_EVERY:
        return Objective("drill", "broken", _days(age), wanted, "days", say("drill.older", text=text))
    return Objective("drill", "met", _days(age), wanted, "days", text)


def _rto(known: Known, forecast: Forecast | None) -> Objective:
    wanted, drilled, say = known.database.rto_hours, newest_drill(known), known.words.say
    promised = _promised(known, wanted)
    if drilled is not None and drilled.within_rto is False:
        seconds = drilled.total_seconds
        text = say("rto.drilled", time=known.words.time(seconds), promised=promised)
        return Objective("rto", "broken", round(seconds / 3600, 4), wanted, "hours", text)
    if forecast is None:
        return Objective("rto", "unknown", None, wanted, "hours", say("rto.none", promised=promised))
    text = say(
        "rto.scaled" if forecast.scale >= LEAST_SCALE else "rto.forecast",
        time=known.words.time(forecast.seconds),
        what=say(f"rto.{forecast.what}"),
        day=f"{forecast.at:%Y-%m-%d}",
        scale=forecast.scale,
        promised=promised,
    )
    state: ObjectiveState = "met" if forecast.seconds <= wanted * 3600 else "warn"
    return Objective("rto", state, round(forecast.seconds / 3600, 4), wanted, "hours", text)


def _store_space(known: Known) -> Objective:
    wanted, say = float(LEAST_SETS_OF_SPACE), known.words.say
    room: list[tuple[float, Look]] = []
    for look in known.looks:
        # A full archive of attachments is larger than the differentials after it: the largest counts.
        largest = max((one.size_bytes for one in look.sets[:_RECENT]), default=0)
        if look.free_bytes is not None and largest:
            # What a capture would refuse to fill is no room for one.
            usable = look.free_bytes - (MARGIN_BYTES if look is known.looks[0] else 0)
            room.append((max(0, usable) / largest, look))
    if not room:
        return Objective("store_space", "unknown", None, wanted, "sets", say("store_space.none"))
    least, look = min(room, key=lambda pair: pair[0])
    state: ObjectiveState = "met" if least >= wanted else "warn" if least >= 1 else "broken"
    text = say("store_space", store=look.name, free=human_bytes(look.free_bytes or 0), n=int(least))
    if state != "met":
        text = say("store_space.little", text=text)
    return Objective("store_space", state, round(least, 2), wanted, "sets", text)


def _slots(known: Known, missed: tuple[str, ...]) -> Objective:
    if not missed:
        return Objective("slots", "met", 0.0, 0.0, "slots", known.words.say("slots"))
    shown = known.words.join("listed", [*missed[:5], *(["…"] if len(missed) > 5 else [])])
    text = known.words.say("slots.missed", n=len(missed), shown=shown, unheard=_unheard(known))
    return Objective("slots", "warn", float(len(missed)), 0.0, "slots", text)


def _length(slots: Slots, key: str) -> timedelta:
    start, end = slots.window(key)
    return end - start


def _promised(known: Known, hours: float | None = None) -> str:
    promised = known.database.rpo_hours if hours is None else hours
    return known.words.say("promised", time=known.words.time(promised * 3600))


def _age(known: Known, one: Held) -> str:
    return known.words.time(known.age(one).total_seconds())


def _unheard(known: Known) -> str:
    names = known.words.join("listed", [look.name for look in known.silent])
    return known.words.say("unheard", names=names) if names else ""


def _hours(age: timedelta) -> float:
    return round(age / HOUR, 3)


def _days(age: timedelta) -> float:
    return round(age / timedelta(days=1), 2)
