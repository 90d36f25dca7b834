"""Which run goes first when several wait, and how long may one take?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from backup_assets.settings import DatabaseSettings

Purpose = Literal["restore", "release", "backup", "drill", "verification", "retention"]
#: Whose work waits least. What is behind one of these is decided by the tier, and then by who came first.
_ORDER: Mapping[Purpose, int] = {
    "restore": 60,
    "release": 50,
    "backup": 40,
    "drill": 20,
    "retention": 10,
    "verification": 10,
}
_IMPORTANT = 5
#: Somebody waits for a run that was started by hand.
_BY_HAND = 100
#: Deleting takes minutes; a store that hangs longer is told.
_RETENTION_HOURS = 4.0
#: Ending a restore in its middle helps nobody: it replaces nothing before it is whole, and somebody watches it.
_RESTORE_HOURS = 168.0
#: Tag of a run that ended well and says nothing of what it is about, because AWS is still at work, or was done before.
NO_OUTCOME = "backup-assets/no-outcome"
#: The one queue for what goes through older sets: never two at a time, and never one that deletes what another reads.
UPKEEP_POOL = "upkeep"


def priority(purpose: Purpose, database: DatabaseSettings, *, by_hand: bool) -> int:
    """Return the place in the queue: the greater number goes first."""
    return _ORDER[purpose] + _IMPORTANT * (database.tier == "important") + _BY_HAND * by_hand


def time_limit_hours(purpose: Purpose, database: DatabaseSettings) -> float:
    """Return after how many hours a run is taken for hanging, made of the limits of what it does."""
    dump, restore = database.dump.timeout_hours, database.verification.timeout_hours
    if purpose in ("backup", "release"):
        return dump + restore
    if purpose == "drill":
        return 2 * restore
    if purpose == "verification":
        return restore * max(1, database.verification.nightly_limit)
    return _RETENTION_HOURS if purpose == "retention" else _RESTORE_HOURS


def job_tags(purpose: Purpose, database: DatabaseSettings) -> dict[str, str]:
    """Return the tags of a job, which a run by hand keeps: its place in the queue and its time limit in seconds."""
    tags = {
        "dagster/priority": str(priority(purpose, database, by_hand=True)),
        "dagster/max_runtime": str(int(time_limit_hours(purpose, database) * 3600)),
    }
    # What replaces a live database is never started again by itself, hours after somebody wanted it.
    return {**tags, "dagster/max_retries": "0"} if purpose == "restore" else tags


def scheduled_tags(purpose: Purpose, database: DatabaseSettings) -> dict[str, str]:
    """Return the tags that a schedule puts in the place of the job's."""
    return {"dagster/priority": str(priority(purpose, database, by_hand=False))}


def pool_of(database: DatabaseSettings) -> str:
    """Return the name of the pool that bounds the work on one source server."""
    server = database.server
    place = server.container.name if server.container else "demo" if server.embedded else f"{server.host}_{server.port}"
    return "postgres_" + "".join(c if c.isalnum() else "_" for c in place).strip("_").lower()
