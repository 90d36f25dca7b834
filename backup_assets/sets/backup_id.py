"""The id of a backup set: its slot, when it was taken, and which run took it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from backup_assets.errors import Refused

_PATTERN = re.compile(r"(?P<slot>[0-9][0-9A-Za-z-]*?)-(?P<taken>[0-9]{8}T[0-9]{6}Z)-(?P<run>[0-9a-f]{8})")
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, order=True)
class BackupId:
    """``<slot>-<UTC time>-<run>``, for example ``2026-11-22-20261121T170003Z-1a2b3c4d``.

    Ordered by time taken, then slot and run; ``taken_at`` has whole seconds in UTC, ``run`` eight hexadecimal digits.
    """

    taken_at: datetime
    slot: str
    run: str

    @classmethod
    def make(cls, slot: str, taken_at: datetime, run_id: str) -> BackupId:
        """Return the id of a set taken now by the run ``run_id`` (a UUID; its first eight digits are kept)."""
        run = run_id.replace("-", "").lower()[:8]
        return cls.parse(f"{slot}-{taken_at.astimezone(UTC).strftime(_TIME_FORMAT)}-{run}")

    @classmethod
    def parse(cls, text: str) -> BackupId:
        """Return the id written as ``text``; raises Refused when it is none."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise Refused(
                f"{text!r} is not the id of a backup set",
                why="an id reads <slot>-<UTC time>-<run>, for example 2026-11-22-20261121T170003Z-1a2b3c4d",
                remedy="take one from `backup-assets list`",
            )
        try:
            taken_at = datetime.strptime(match["taken"], _TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError as error:
            raise Refused(f"{text!r} is not the id of a backup set", why=str(error)) from error
        return cls(taken_at, match["slot"], match["run"])

    def __str__(self) -> str:
        return f"{self.slot}-{self.taken_at.strftime(_TIME_FORMAT)}-{self.run}"


def id_in_name(name: str) -> str | None:
    """Return the id that a file name such as ``ID.dump.zst`` begins with, or None when it does not."""
    text = name.partition(".")[0]
    try:
        return str(BackupId.parse(text))
    except Refused:
        return None
