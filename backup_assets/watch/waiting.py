"""What has been found for so long that it is told now, and what is waited with?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from backup_assets.watch.conditions import Condition, Found


def told_in_time(found: Found, since: Mapping[str, datetime], now: datetime) -> tuple[Found, dict[str, datetime]]:
    """Return what is told at ``now``, and since when what has patience was found, for the next look.

    ``since`` is that of the look before. What is waited with is undecided: one that was told already is not over. What
    could not be judged this time has been found since then all the same.
    """
    begun: dict[str, datetime] = {key: at for key, at in since.items() if found.is_undecided(key)}
    told: list[Condition] = []
    waiting: list[str] = []
    for one in found.conditions:
        if not one.patience:
            told.append(one)
            continue
        # A clock that was ahead once must not make this wait until then.
        first = begun[one.key] = min(since.get(one.key, now), now)
        if now - first < one.patience:
            waiting.append(one.key)
        else:
            told.append(replace(one, since=first))
    return replace(found, conditions=tuple(told), undecided=(*found.undecided, *waiting)), begun
