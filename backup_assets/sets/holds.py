"""Which hold does an operator ask for?"""

from __future__ import annotations

from datetime import UTC, datetime

from backup_assets.errors import Refused
from backup_assets.sets.manifest import Hold


def hold_from(reason: str | None, until: str | None) -> Hold | None:
    """Return the hold that is asked for; raises Refused when the end is no time, or there is no reason."""
    if reason is None:
        if until is not None:
            raise Refused("a hold needs a reason", why=f"hold_until is {until!r}, hold is left out", remedy="set hold")
        return None
    if until is None:
        return Hold(reason=reason)
    try:
        end = datetime.fromisoformat(until)
    except ValueError as error:
        raise Refused(
            f"{until!r} is no time", why=str(error), remedy="write 2027-01-31 or 2027-01-31T18:00+09:00"
        ) from error
    return Hold(reason=reason, until=end if end.tzinfo else end.replace(tzinfo=UTC))
