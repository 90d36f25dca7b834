"""Are the sets beside the full ones, of the important tables and of the infrastructure, as young as promised?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from backup_assets.sets.manifest import SetKind
from backup_assets.watch.figures import Objective
from backup_assets.watch.known import HOUR, Known
from backup_assets.watch.looking import Held
from backup_assets.watch.losses import UNKNOWN_TO_US

Beside = Literal["important_tables", "infrastructure"]
WEEK = timedelta(days=7)
#: A week in which the clocks are turned back is longer by so much.
_CLOCK_CHANGE = HOUR


def important_tables(known: Known) -> Objective | None:
    """Return whether the weekly sets of a database are taken and copied; None where no such tables are configured."""
    if not known.database.important_tables:
        return None
    return _objective("important_tables", known, _of(known, "important_tables"), WEEK)


def infrastructure(known: Known, written_down: Known) -> Objective:
    """Return whether the infrastructure is written down every day; it is told with the first database, ``known``."""
    wanted = written_down.database.rpo_hours * HOUR
    return _objective("infrastructure", known, _of(written_down, "infrastructure"), wanted)


def _of(known: Known, kind: SetKind) -> Known:
    return replace(known, looks=tuple(look.of(kind) for look in known.looks))


def _objective(name: Beside, full: Known, known: Known, wanted: timedelta) -> Objective:
    say, newest, local = known.words.say, known.newest_anywhere, known.looks[0]
    promised = say("promised", time=known.words.span(wanted.total_seconds()))
    hours, unit = wanted / HOUR, "hours"
    # They are due when the full set is, read the same server, and wait for it.
    allowance = known.allowance + full.allowance
    limit = wanted + _CLOCK_CHANGE + allowance
    late = newest is None or known.age(newest) > limit
    if late and local.error:
        # Every one is taken there: none that is known elsewhere need be the newest.
        return Objective(name, "unknown", None, hours, unit, say(f"{name}.unknown", error=local.error))
    if newest is None:
        overdue = known.now - _backed_up_since(full) > limit
        return Objective(name, "broken" if overdue else "warn", None, hours, unit, say(f"{name}.none"))
    age = round(known.age(newest) / HOUR, 3)
    text = say(
        name,
        age=known.words.span(known.age(newest).total_seconds()),
        where=known.words.join("listed", list(known.where(newest.id))),
        promised=promised,
    )
    if late:
        return Objective(name, "broken", age, hours, unit, say(f"{name}.older", text=text))
    if behind := _behind(known, newest, limit + allowance):
        names = known.words.join("listed", behind)
        return Objective(name, "warn", age, hours, unit, say("beside.behind", text=text, names=names))
    return Objective(name, "met", age, hours, unit, text)


def _behind(known: Known, newest: Held, limit: timedelta) -> list[str]:
    """Return the stores that answer and have no copy that is young enough."""
    behind = []
    for look in known.looks[1:]:
        there = known.newest(look)
        # What was copied and is gone again is told as that, where it is known who removes there.
        told = look.name in newest.copied and look.removed_by not in UNKNOWN_TO_US
        if not look.error and not told and (there is None or known.age(there) > limit):
            behind.append(look.name)
    return behind


def _backed_up_since(full: Known) -> datetime:
    """Return when the oldest full set was taken that is still known of, or now."""
    gone = [look.gone.oldest for look in full.looks if look.gone.oldest is not None]
    return min((*(one.taken_at for one in full.all_good), *gone), default=full.now)
