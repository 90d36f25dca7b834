"""Which hold does an operator ask for?"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from backup_assets.errors import Refused
from backup_assets.sets.manifest import Hold


def hold_from(reason: str | None, until: str | None, zone: tzinfo, *, now: datetime | None = None) -> Hold | None:
    """Return the hold asked for at ``now``; raises Refused without a reason, or for an end that is over or no time.

    ``until`` is read as :func:`end_of_hold` does.
    """
    if reason is None:
        if until is not None:
            raise Refused("a hold needs a reason", why=f"hold_until is {until!r}, hold is left out", remedy="set hold")
        return None
    if until is None:
        return Hold(reason=reason)
    try:
        end = end_of_hold(until, zone)
    except ValueError as error:
        raise Refused(
            f"{until!r} is no time", why=str(error), remedy="write 2027-01-31 or 2027-01-31T18:00+09:00"
        ) from error
    if end <= (now or datetime.now(UTC)):
        raise Refused(
            "the hold would be over already",
            why=f"it ends {end.isoformat()}",
            remedy="give a later end, or leave it out: then it holds until it is released",
        )
    return Hold(reason=reason, until=end)


def end_of_hold(text: str, zone: tzinfo) -> datetime:
    """Return, in UTC, the end that people write of a hold; raises ValueError where it is none.

    A day alone means its end, so that nothing goes on the day until which it was to be kept. A day, and a time without
    an offset, are those of ``zone``.
    """
    try:
        end = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time())
    except ValueError:
        end = datetime.fromisoformat(text)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    try:
        return (end if end.tzinfo else end.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
