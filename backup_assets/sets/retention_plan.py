"""What does a retention plan say: which sets go, which stay, and why?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backup_assets.sets.backup_set import BackupSet

Decision = Literal["keep", "delete"]
Code = Literal[
    # why a set is kept
    "newest",
    "newest_complete",
    "last_verified",
    "last_verified_elsewhere",
    "held",
    "recent",
    "daily",
    "weekly",
    "monthly",
    "young",
    "required",
    "may_be_required",
    "damaged_recently",
    "no_newer_verified",
    "from_the_future",
    "blocked",
    # why a set is deleted
    "superseded",
    "outlived",
    "incomplete",
    "failed",
    # why nothing is deleted
    "clock_skew",
    "no_complete_set",
    "older_than_rpo",
    "verification_failed",
    "unverified",
    "too_large_a_share",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: ``code`` for programs, ``text`` a short sentence for people."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of one set; there is always a reason."""

    set: BackupSet
    decision: Decision
    reasons: tuple[Reason, ...]

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the reasons."""
        return frozenset(reason.code for reason in self.reasons)


@dataclass(frozen=True)
class RetentionPlan:
    """The decision about every set, newest first.

    ``blocked`` says why nothing is deleted at all: then every line says keep, and those that would have gone have the
    reason ``blocked``. ``damaged`` are the ids of sets whose manifest cannot be read, about which nothing is decided.
    """

    lines: tuple[Line, ...]
    blocked: tuple[Reason, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[BackupSet, ...]:
        """The sets that stay."""
        return tuple(line.set for line in self.lines if line.decision == "keep")

    @property
    def deleted(self) -> tuple[BackupSet, ...]:
        """The sets that go."""
        return tuple(line.set for line in self.lines if line.decision == "delete")

    @property
    def kept_bytes(self) -> int:
        """Stored size of what stays."""
        return sum(one.manifest.size_bytes for one in self.kept)

    @property
    def freed_bytes(self) -> int:
        """Stored size of what goes."""
        return sum(one.manifest.size_bytes for one in self.deleted)
