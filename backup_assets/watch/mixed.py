"""Do several servers write into a store under one name?"""

from __future__ import annotations

from datetime import datetime, timedelta

from backup_assets.sets.record_order import is_in_future
from backup_assets.sets.servers import series_of
from backup_assets.watch.looking import Held, Look

#: A server that has written within so long, or within two RPOs where that is longer, is one that goes on.
_GOES_ON = timedelta(days=2)


def mixed(look: Look, now: datetime, rpo: timedelta) -> tuple[Held, ...]:
    """Return the newest set of each server that goes on writing there, the newest first, where they are several.

    A server that has replaced another is none of several: the sets of that one end before its own begin.
    """
    past = [one for one in look.sets if not is_in_future(one.taken_at, now)]
    numbers = series_of([one.server for one in reversed(past)])[::-1]
    newest: dict[int, Held] = {}
    for number, one in zip(numbers, past, strict=True):  # newest first
        if one.server is not None:  # what tells no server does not tell either that this one goes on
            newest.setdefault(number, one)
    found = [one for one in newest.values() if now - one.taken_at <= max(_GOES_ON, 2 * rpo)]
    return tuple(found) if len(found) > 1 else ()
