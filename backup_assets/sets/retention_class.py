"""How long may a bucket keep a set that only its lifecycle rules remove: as a daily, weekly or monthly one?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, tzinfo
from types import MappingProxyType
from typing import Literal

from backup_assets.sets.manifest import Manifest
from backup_assets.sets.servers import server_of

RetentionClass = Literal["daily", "weekly", "monthly"]
#: Days after which the lifecycle rules remove what is tagged with a class: 14 daily, 8 weekly, 12 monthly.
KEPT_DAYS: Mapping[RetentionClass, int] = MappingProxyType({"daily": 14, "weekly": 56, "monthly": 365})
#: What is tagged with the class of a held set instead of its own is removed by no rule.
HELD = "held"
#: The longest distance between full archives, in days, with which every differential is outlived by its full one. The
#: 12 days that 56 leaves besides these and the 14 of a differential are for copies that are made late.
LONGEST_FULL_EVERY_DAYS = 30


def retention_class(manifest: Manifest, known: Iterable[Manifest], zone: tzinfo) -> RetentionClass:
    """Return the class of a set, given the sets that the store knows; those taken later do not matter.

    Only a set that can be restored alone is ever weekly or monthly. It is monthly when it is the first such set of its
    kind in its month, weekly when it is the first in its ISO week, both by the day in ``zone``. One that needs another
    set (a differential archive of attachments) is always daily. A full archive is never daily, even the second one of
    a week: differentials may come to build on it, and a lifecycle rule asks nobody whether one still does. So the full
    archive of a daily set always lives longer than the set, as long as full archives are at most
    ``LONGEST_FULL_EVERY_DAYS`` apart and a set is copied within 12 days of its capture; later than that, the full
    archive may be gone up to as many days before the set expires.

    A set that is held from its capture on, and needs no other, is monthly: a lifecycle rule knows no holds, and this
    is the longest that there is. The class of a set does not change when later ones come. That an earlier set is
    forgotten, or of another server, can only make a class longer.
    """
    if manifest.needs:
        return "daily"
    own, server = _order(manifest), server_of(manifest)
    earlier = [
        _day(other, zone)
        for other in known
        if other.kind == manifest.kind
        and not other.needs
        and other.id != manifest.id
        and _order(other) < own
        and (server is None or server_of(other) in (server, None))
    ]
    day = _day(manifest, zone)
    if manifest.hold or not any((other.year, other.month) == (day.year, day.month) for other in earlier):
        return "monthly"
    if manifest.attachments or not any(other.isocalendar()[:2] == day.isocalendar()[:2] for other in earlier):
        return "weekly"
    return "daily"


def _order(manifest: Manifest) -> tuple[datetime, str]:
    return manifest.snapshot.taken_at, manifest.id


def _day(manifest: Manifest, zone: tzinfo) -> date:
    return manifest.snapshot.taken_at.astimezone(zone).date()
