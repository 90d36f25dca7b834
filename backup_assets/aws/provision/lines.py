"""What is one thing that is wanted of AWS, how is it, and who changes it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backup_assets.errors import BackupError

State = Literal["as wanted", "to change", "pending", "refused", "left"]


@dataclass(frozen=True)
class Line:
    """One property as it is and as it is wanted; ``place`` is a stack, a database or a store.

    ``to change``: `aws apply` does it. ``pending``: it was asked for, and AWS does it by itself. ``refused``: making it
    so would take something away, so it is done by hand or not at all. ``left``: somebody must decide. ``how`` says how
    it is, or would be, done.
    """

    place: str
    name: str
    state: State
    found: str
    wanted: str
    how: str = ""

    @property
    def differs(self) -> bool:
        """Whether it is not as wanted."""
        return self.state != "as wanted"


@dataclass(frozen=True)
class Applied:
    """What became of one change; ``error`` says why it could not be made."""

    place: str
    text: str
    error: BackupError | None = None
