"""What is asked of a capture, and what does it give back?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from backup_assets.capture.quick_checks import CheckOutcome
from backup_assets.sets.manifest import Hold, Manifest

Kind = Literal["full", "important_tables"]


@dataclass(frozen=True)
class PastMoment:
    """What a set shows that is dumped from a server restored as of ``moment`` (aware, whole seconds).

    ``source`` and ``server`` are as in `RebuiltFacts`; ``notes`` are kept as warnings.
    """

    moment: datetime
    source: str
    server: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaptureRequest:
    """What one run asks for. ``content_hashes`` overrides the setting when given.

    With ``past`` the database is captured alone: attachments and secrets have no past that could be gone back to.
    """

    slot: str
    run_id: str
    kind: Kind = "full"
    label: str | None = None
    hold: Hold | None = None
    content_hashes: Literal["always", "important", "never"] | None = None
    past: PastMoment | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything configured belongs into the set."""
        return self.kind == "full" and self.past is None


@dataclass(frozen=True)
class Captured:
    """A committed set and what the quick checks found."""

    manifest: Manifest
    checks: tuple[CheckOutcome, ...]
