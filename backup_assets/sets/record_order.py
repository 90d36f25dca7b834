"""Which word about a copy is the last one, when a clock was wrong?

Every verification bears the time of the host that made it, and the last one counts. A pass that a wrong clock dated
ahead would outvote every failure until that time has come. So a pass from the future is not believed; and whoever
verifies a set that bears a later time already says in the new record that it counts after that. Nor does a pass that
looked less closely take a failure back: that all bytes are there says nothing about a restore that failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from backup_assets.sets.records import LEVELS, PROVING_LEVELS, VerificationRecord

#: Clocks of a host, a server and a store differ; what is further in the future than this was a wrong clock.
CLOCK_TOLERANCE = timedelta(minutes=10)
_JUST_AFTER = timedelta(microseconds=1)


def is_in_future(moment: datetime, now: datetime) -> bool:
    """Tell whether only a clock that was wrong can have given ``moment``."""
    return moment - now > CLOCK_TOLERANCE


def is_believed(record: VerificationRecord, now: datetime) -> bool:
    """Tell whether a verification counts: a pass from the future does not, as nobody knows what was found after it.

    A failure counts whatever its time: to verify a set once more harms nobody.
    """
    return not record.passed or record.started_at - now <= CLOCK_TOLERANCE


def believed(verifications: Iterable[VerificationRecord], now: datetime) -> list[VerificationRecord]:
    """Return the verifications that count, in their order, the last one last.

    After a failure of a store's copy its passes count from the first one on that looked as closely as what failed.
    """
    found: list[VerificationRecord] = []
    failed: dict[str, tuple[int, bool]] = {}
    for one in sorted([one for one in verifications if is_believed(one, now)], key=lambda record: record.order):
        closeness = _closeness(one)
        if not one.passed:
            failed[one.store] = max(closeness, failed.get(one.store, closeness))
        elif closeness < failed.get(one.store, closeness):
            continue
        else:
            failed.pop(one.store, None)
        found.append(one)
    return found


def _closeness(record: VerificationRecord) -> tuple[int, bool]:
    """Return what orders verifications by how closely they look; one restore is as good as another."""
    level = LEVELS[-1] if record.level in PROVING_LEVELS else record.level
    return LEVELS.index(level), record.content


def order_after(earlier: Iterable[VerificationRecord], started_at: datetime) -> datetime | None:
    """Return the `ordered_at` of a verification that begins at ``started_at``, where ``earlier`` ones are there.

    None, which is usual: its own time is the latest.
    """
    return moment_after((record.order for record in earlier), started_at)


def moment_after(earlier: Iterable[datetime], at: datetime) -> datetime | None:
    """Return the moment as of which what happens ``at`` counts after all that is ``earlier``; None: its own time."""
    latest = max(earlier, default=None)
    return None if latest is None or latest < at else latest + _JUST_AFTER
