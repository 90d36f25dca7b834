"""How is work said whose end nobody waits for: a snapshot, a copy or a drill that takes AWS hours?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_assets.errors import EnvironmentFault


@dataclass(frozen=True)
class Waiting:
    """AWS is at work on ``what`` since ``since``, and should be done by ``deadline``; all aware, in UTC.

    A function that advances work returns this instead of its result: whoever calls it comes back later.
    """

    what: str
    since: datetime
    deadline: datetime

    def is_overdue(self, now: datetime) -> bool:
        """Whether it takes longer than it may."""
        return now >= self.deadline

    def __str__(self) -> str:
        """One sentence for a log."""
        return f"{self.what} since {self.since:%Y-%m-%d %H:%M} UTC, until {self.deadline:%Y-%m-%d %H:%M} UTC at most"


@dataclass(frozen=True)
class Pending:
    """Something happened to the work on a slot, and a run should see to it.

    ``run_key`` is made of what happened, so that each event asks for one run only; ``what`` says it in a sentence.
    """

    partition_key: str
    run_key: str
    what: str


def waiting_for(what: str, since: datetime | None, hours: float, now: datetime) -> Waiting:
    """Return how long AWS may be at work on ``what``; raises EnvironmentFault once the time is up.

    ``since`` None: AWS does not say yet when it began.
    """
    begun = since or now
    waiting = Waiting(what, begun, begun + timedelta(hours=hours))
    if waiting.is_overdue(now):
        raise overdue(waiting, now)
    return waiting


def overdue(waiting: Waiting, now: datetime) -> EnvironmentFault:
    """Return the error about work that takes longer than it may."""
    hours = (now - waiting.since) / timedelta(hours=1)
    return EnvironmentFault(
        f"{waiting.what} for {hours:.1f} hours, longer than it may",
        why=f"it began at {waiting.since:%Y-%m-%d %H:%M} UTC and was to end by {waiting.deadline:%Y-%m-%d %H:%M} UTC",
        remedy="look at it and at its events in the RDS console; if it is merely slow, set a longer time "
        "(`rds.snapshot_timeout_hours`, `rds.drill.timeout_hours`) and launch the slot again",
    )
