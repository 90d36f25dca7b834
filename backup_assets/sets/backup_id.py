"""The id of a backup set: its slot, when it was taken, and which run took it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from backup_assets.errors import Refused

_PATTERN = re.compile(r"(?P<slot>[0-9][0-9A-Za-z-]*?)-(?P<taken>[0-9]{8}T[0-9]{6}Z)-(?P<run>[0-9a-f]{8})")
#: How many ids are remembered: a catalog asks for the same one many times over.
_REMEMBERED = 65536


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
        return cls.parse(f"{slot}-{_digits(taken_at.astimezone(UTC))}-{run}")

    @classmethod
    def parse(cls, text: str) -> BackupId:
        """Return the id written as ``text``; raises Refused when it is none."""
        return _parsed(text)

    def __str__(self) -> str:
        return f"{self.slot}-{_digits(self.taken_at)}-{self.run}"


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> BackupId:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise Refused(
            f"{text!r} is not the id of a backup set",
            why="an id reads <slot>-<UTC time>-<run>, for example 2026-11-22-20261121T170003Z-1a2b3c4d",
            remedy="take one from `backup-assets list`",
        )
    taken = match["taken"]
    parts = (taken[0:4], taken[4:6], taken[6:8], taken[9:11], taken[11:13], taken[13:15])
    try:
        # By hand: strptime takes ten times as long, and ten thousand sets have a hundred thousand names.
        taken_at = datetime(*(int(part) for part in parts), tzinfo=UTC)
    except ValueError as error:
        raise Refused(f"{text!r} is not the id of a backup set", why=str(error)) from error
    return BackupId(taken_at, match["slot"], match["run"])


def _digits(moment: datetime) -> str:
    day, at = moment.date(), moment.time()
    return f"{day.year:04}{day.month:02}{day.day:02}T{at.hour:02}{at.minute:02}{at.second:02}Z"


def id_in_name(name: str) -> str | None:
    """Return the id that a file name such as ``ID.dump.zst`` begins with, or None when it does not."""
    text = name.partition(".")[0]
    try:
        _parsed(text)
    except Refused:
        return None
    return text  # an id is written in one way only
