"""Which tags say that something in AWS is ours, and what it is?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

Role = Literal["snapshot", "copy", "drill", "rebuild"]
DATABASE = "backup-assets:database"
ENV = "backup-assets:env"
SLOT = "backup-assets:slot"
ROLE = "backup-assets:role"
#: When we began, and (of a restored server) when it is over at the latest, as `moment_text` writes it.
STARTED = "backup-assets:started"
DEADLINE = "backup-assets:deadline"
#: The moment that the data shows, on copies.
TAKEN = "backup-assets:taken-at"
#: When a run took note that AWS was done with it, well or badly; what bears none has something to be told.
RECORDED = "backup-assets:recorded"
#: What the last drill said about a snapshot, and what became of what a server was restored for: `drill_text`.
DRILL = "backup-assets:drill"
#: The reason why it must not be deleted, and until when; without the second, for ever.
HOLD = "backup-assets:hold"
HOLD_UNTIL = "backup-assets:hold-until"


def tags_of(database: str, env: str, slot: str, role: Role, started: datetime) -> dict[str, str]:
    """Return the tags of what is made for a slot of a database."""
    return {DATABASE: database, ENV: env, SLOT: slot, ROLE: role, STARTED: moment_text(started)}


def is_ours(tags: Mapping[str, str], database: str, env: str, *roles: Role) -> bool:
    """Tell whether something was made by us for this database, as one of ``roles``."""
    return tags.get(DATABASE) == database and tags.get(ENV) == env and tags.get(ROLE) in roles


def moment_text(moment: datetime) -> str:
    """Return a moment as tags hold it: `2026-11-22T17:30:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(tags: Mapping[str, str], name: str) -> datetime | None:
    """Return the moment that a tag holds, in UTC; None without the tag, and where it holds none."""
    try:
        moment = datetime.fromisoformat(tags.get(name, ""))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def drill_text(*, passed: bool, at: datetime) -> str:
    """Return what the tag `backup-assets:drill` holds: `passed 2026-11-22T17:30:00Z` or `failed …`."""
    return f"{'passed' if passed else 'failed'} {moment_text(at)}"


def drill_of(tags: Mapping[str, str]) -> tuple[bool, datetime] | None:
    """Return whether the last drill from a snapshot passed, and when; None without a tag that says it.

    What begins with neither word, or has no moment, was not written by us and says nothing.
    """
    word, _, at = tags.get(DRILL, "").partition(" ")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    if word not in {"passed", "failed"} or moment.tzinfo is None:
        return None
    return word == "passed", moment.astimezone(UTC)
