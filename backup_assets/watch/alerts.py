"""What is told to whom: each condition once, again after a while, and when it is over?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict

from backup_assets.watch.conditions import THE_WATCH, Condition, Found, key_of
from backup_assets.watch.kinds import Kind, Severity

Occasion = Literal["new", "worse", "reminder", "over"]
#: What could not be delivered for so long is no longer tried, once it is over.
UNDELIVERED_FOR = timedelta(days=7)


class Alert(BaseModel):
    """A condition that is told, as it is remembered from look to look.

    ``announced_at`` is when the present ``occasion`` arose; ``told`` is, by the key of a channel, the ``announced_at``
    that was last delivered there. A channel whose entry differs is still to be told. ``over_at`` is when it was found
    to be over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str
    kind: Kind
    subject: str
    severity: Severity
    title: str
    cause: str = ""
    safe: str = ""
    remedy: str = ""
    slot: str = ""
    link: str = ""
    lasting: bool = True
    since: AwareDatetime
    announced_at: AwareDatetime
    occasion: Occasion = "new"
    over_at: AwareDatetime | None = None
    told: Mapping[str, AwareDatetime] = {}

    @property
    def key(self) -> str:
        """The key of its condition."""
        return key_of(self.database, self.kind, self.subject)


class Hearer(Protocol):
    """Who is told: remembered by ``key``, and named in alerts by ``name``."""

    @property
    def key(self) -> str:
        """What stays the same as long as the same is told."""
        ...

    @property
    def name(self) -> str:
        """What people know it by."""
        ...


def decide(alerts: Iterable[Alert], found: Found, now: datetime, reminder: timedelta) -> tuple[Alert, ...]:
    """Return what is to be remembered after a look at ``now``; what changed is due on every channel."""
    earlier = {alert.key: alert for alert in alerts}
    decided = [_still(earlier.pop(one.key, None), one, now, reminder) for one in found.conditions]
    for key, alert in earlier.items():
        if key in found.dropped:
            continue
        is_open = alert.over_at is None
        if is_open and not found.is_undecided(key):
            # An event has no end to be told, but those who have not heard of it yet still do.
            change: dict[str, object] = {"over_at": now}
            if alert.lasting:
                change |= {"announced_at": now, "occasion": "over"}
            alert = alert.model_copy(update=change)
        elif is_open and _is_due_again(alert, now, reminder):
            alert = alert.model_copy(update={"announced_at": now, "occasion": "reminder"})
        decided.append(alert)
    return tuple(decided)


def due(alerts: Iterable[Alert], channel: Hearer) -> tuple[Alert, ...]:
    """Return what a channel is still to be told, the worst first; never that this very channel fails."""
    waiting = [
        alert
        for alert in alerts
        if alert.told.get(channel.key) != alert.announced_at and not _is_of(alert, channel.name)
    ]
    return tuple(sorted(waiting, key=lambda one: (one.occasion == "over", one.severity == "warn", one.since, one.key)))


def delivered(alerts: Iterable[Alert], channel: Hearer, told: Sequence[Alert]) -> tuple[Alert, ...]:
    """Return the alerts after ``told`` has reached a channel."""
    reached = {one.key: one.announced_at for one in told}
    return tuple(
        alert.model_copy(update={"told": {**alert.told, channel.key: alert.announced_at}})
        if reached.get(alert.key) == alert.announced_at
        else alert
        for alert in alerts
    )


def remembered(alerts: Iterable[Alert], channels: Sequence[Hearer], now: datetime) -> tuple[Alert, ...]:
    """Return the alerts without those that are over and known to every channel, and without channels that are gone."""
    kept, keys = [], {channel.key for channel in channels}
    for alert in alerts:
        pending = any(due((alert,), channel) for channel in channels)
        if alert.over_at is not None and (not pending or now - alert.over_at >= UNDELIVERED_FOR):
            continue
        told = {key: at for key, at in alert.told.items() if key in keys}
        kept.append(alert if told == alert.told else alert.model_copy(update={"told": told}))
    return tuple(kept)


def _still(earlier: Alert | None, condition: Condition, now: datetime, reminder: timedelta) -> Alert:
    told = {
        "database": condition.database,
        "kind": condition.kind,
        "subject": condition.subject,
        "severity": condition.severity,
        "title": condition.title,
        "cause": condition.cause,
        "safe": condition.safe,
        "remedy": condition.remedy,
        "slot": condition.slot,
        "link": condition.link,
        "lasting": condition.lasting,
    }
    if earlier is None or earlier.over_at is not None:
        return Alert.model_validate({**told, "since": condition.since or now, "announced_at": now})
    if earlier.severity == "warn" and condition.severity == "error":
        told |= {"announced_at": now, "occasion": "worse"}
    elif _is_due_again(earlier, now, reminder):
        told |= {"announced_at": now, "occasion": "reminder"}
    return earlier.model_copy(update=told)


def _is_due_again(alert: Alert, now: datetime, reminder: timedelta) -> bool:
    # Either way: a clock that was wrong must not silence an alert for years.
    return alert.lasting and abs(now - alert.announced_at) >= reminder


def _is_of(alert: Alert, channel: str) -> bool:
    return (alert.database, alert.kind, alert.subject) == (THE_WATCH, "channel_failed", channel)
