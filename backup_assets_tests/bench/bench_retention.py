"""How long does it take to plan the retention of very many sets, and does that grow in proportion to them?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

from backup_assets.sets.retention import plan
from backup_assets.sets.retention_policy import RetentionPolicy
from backup_assets_tests.bench.databases import processor_seconds
from backup_assets_tests.bench.many_sets import NOW, many_sets

#: The last is eleven years of hourly backups.
SIZES = (10_000, 30_000, 100_000)
POLICY = RetentionPolicy(zone=ZoneInfo("Asia/Tokyo"), rpo=timedelta(hours=24), largest_share=1.0)


def _step(count: int) -> str:
    return f"retention of {count:,} sets planned"


#: step, what it is compared with, and the goal for the ratio.
RATIOS = tuple((_step(count), _step(SIZES[0]), f"about {count // SIZES[0]}") for count in SIZES[1:])


def measure(rounds: int, log: Callable[[str], None]) -> dict[str, list[float]]:
    """Return seconds of processor time by step (a plan waits for nothing), one value a round."""
    results: dict[str, list[float]] = {}
    for count in SIZES:
        sets = [one.as_found() for one in many_sets(count, tables=0)][::-1]  # newest first, as a catalog has them
        name = _step(count)
        for number in range(rounds):
            results.setdefault(name, []).append(processor_seconds(lambda sets=sets: plan(sets, POLICY, NOW)))
            log(f"round {number + 1}: {name}: {results[name][-1]:.2f} s")
        planned = plan(sets, POLICY, NOW)
        if len(planned.lines) != count or not planned.deleted:
            raise AssertionError(f"the plan of {count} sets has {len(planned.lines)} lines, {planned.blocked}")
    return results
