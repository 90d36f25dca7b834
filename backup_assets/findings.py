"""What did somebody who looked at the environment find, and how bad is it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from backup_assets.errors import BackupError

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: what was looked at, how it is, what was found, what to do."""

    name: str
    state: State
    found: str
    remedy: str = ""


def failed(name: str, error: BackupError) -> Finding:
    """Return the finding that an error is."""
    return Finding(name, "fail", error.what + (f": {error.why}" if error.why else ""), error.remedy)


def tried(name: str, look: Callable[[], Finding]) -> Finding:
    """Return what ``look`` finds, or the error of ours that it meets."""
    try:
        return look()
    except BackupError as error:
        return failed(name, error)
