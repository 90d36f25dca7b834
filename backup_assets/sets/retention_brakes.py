"""When is nothing deleted at all, whatever the numbers say?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from backup_assets.sets.retention_generations import Candidate, Quality
from backup_assets.sets.retention_plan import Reason
from backup_assets.sets.retention_policy import HOUR, RetentionPolicy


def brakes(
    sets: Sequence[Candidate], held: Collection[str], policy: RetentionPolicy, now: datetime
) -> Iterator[Reason]:
    """Yield why nothing of a store may be deleted; ``sets`` are all of it, newest first, ``held`` some of their ids."""
    if not sets:
        return
    # One that is held was looked at by somebody, and says no more about this machine's clock.
    future = [candidate for candidate in sets if candidate.in_future and candidate.id not in held]
    if future:
        text = f"now is {time_text(now)}, and {future[0].id} was taken at {time_text(future[0].taken_at)}"
        remedy = "correct this machine's clock; if it was wrong when that set was taken, hold the set"
        yield Reason("clock_skew", f"{text}: {remedy}")
    # The sets of the infrastructure have a place of their own, in which they are what everything is measured by.
    full = [c for c in sets if c.kind != "important_tables" and c.quality.is_complete and not c.in_future]
    if not full:
        yield Reason("no_complete_set", "there is no complete set: take a backup first")
        return
    newest = full[0]
    age = now - newest.taken_at
    if age > policy.rpo:
        text = (
            f"the newest complete set is {age / HOUR:.1f} h old, and no more than {policy.rpo / HOUR:g} h may be lost"
        )
        yield Reason("older_than_rpo", f"{text}: take a backup first")
    if newest.quality is Quality.FAILED:
        text = f"the newest complete set {newest.id} failed its verification"
        yield Reason("verification_failed", f"{text}: take a backup and verify it")
    # All of them, not only the newest: where sets come faster than the grace passes, the newest would always be young.
    waiting = [c for c in full if c.quality is not Quality.VERIFIED]
    verified = next((c.taken_at for c in full if c.quality is Quality.VERIFIED), None)
    waiting = [c for c in waiting if verified is None or c.taken_at > verified]
    if waiting and now - waiting[-1].taken_at > policy.grace:
        text = f"no set is verified since {waiting[-1].id}, which waits longer than {policy.grace / HOUR:g} h"
        yield Reason("unverified", f"{text}: verify the newest one")


def too_large_a_share(going: int, total: int, policy: RetentionPolicy) -> Iterator[Reason]:
    """Yield why nothing is deleted when ``going`` of ``total`` sets would be."""
    if going > policy.always_allowed and going > policy.largest_share * total:
        text = f"{going} of {total} sets would be deleted, more than {policy.largest_share * 100:g} %"
        yield Reason("too_large_a_share", f"{text}: look at every line, then allow it this once")


def time_text(moment: datetime) -> str:
    """Return a moment in UTC to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
