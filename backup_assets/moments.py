"""Which moment does a text of the operator's mean?"""

from __future__ import annotations

from datetime import datetime

from backup_assets.errors import Refused


def parse_time(text: str | None) -> datetime | None:
    """Return an ISO time with its zone, or None for None; raises Refused for anything else."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"{text!r} is no time", why=str(error), remedy="write 2026-11-22T02:00+09:00") from error
    if moment.tzinfo is None:
        raise Refused(f"the time {text} has no zone", remedy=f"write {text}+09:00, or {text}Z for UTC")
    return moment
