"""The checks of a capture that are cheap enough for every set: what they found, and how a failure stops the commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backup_assets.capture.attachments_check import check_archive
from backup_assets.capture.attachments_rows import check_rows_and_files
from backup_assets.capture.dump import roles_in_globals
from backup_assets.errors import BackupError, CheckFailed

Figure = int | float | str


@dataclass(frozen=True)
class CheckOutcome:
    """The result of one quick check; ``figures`` are shown with it."""

    name: str
    passed: bool
    summary: str
    figures: dict[str, Figure] = field(default_factory=dict)


class QuickCheckFailed(CheckFailed):
    """A quick check failed before the commit: there is no set. ``outcomes`` holds all results so far."""

    def __init__(self, outcomes: tuple[CheckOutcome, ...], error: BackupError) -> None:
        super().__init__(error.what, why=error.why, remedy=error.remedy)
        self.outcomes = outcomes


class QuickChecks:
    """Collects the outcomes of one capture."""

    def __init__(self) -> None:
        self.outcomes: list[CheckOutcome] = []

    @contextmanager
    def blocking(self, name: str) -> Iterator[None]:
        """Run a check that no set may fail: a CheckFailed of the block is noted and ends the capture."""
        try:
            yield
        except CheckFailed as error:
            self.outcomes.append(CheckOutcome(name, False, str(error)))
            raise QuickCheckFailed(tuple(self.outcomes), error) from error

    def passed(self, name: str, summary: str, **figures: Figure) -> None:
        """Note a check that passed."""
        self.outcomes.append(CheckOutcome(name, True, summary, figures))

    def roles_present(self, script: str, wanted: tuple[str, ...]) -> None:
        """Require that a globals script makes every role that the database needs."""
        present = roles_in_globals(script)
        if missing := sorted(set(wanted) - present):
            raise CheckFailed(
                "the globals lack roles that the database needs",
                why=f"missing: {', '.join(missing)}",
                remedy="run the capture again; were roles dropped while it ran?",
            )
        self.passed("roles_present", "every role that the database needs is there", role_count=len(present))

    def matches_index(self, index: Path, archive: Path) -> None:
        """Require that every member of the archive that was just written equals its line in the index."""
        outcome = check_archive(index, archive)
        if not outcome.ok:
            raise CheckFailed(
                "the attachment archive does not match its index",
                why="; ".join(outcome.problems[:5]),
                remedy="run the capture again; if it stays, check the disk",
            )
        self.passed("matches_index", "every archived entry equals its index", entries=outcome.entries)

    def rows_and_files_agree(self, names: Iterator[str], index: Path, workdir: Path) -> None:
        """Note whether every file that a row names is there. Not blocking: the fault is the source's."""
        agreement = check_rows_and_files(names, index, workdir)
        summary = "every file that a row names is in the archive"
        if agreement.missing_files:
            examples = ", ".join(agreement.missing_examples)
            summary = f"{agreement.missing_files} rows name a file that is not there, for example: {examples}"
        figures: dict[str, Figure] = {
            "named_files": agreement.named_files,
            "missing_files": agreement.missing_files,
            "unnamed_files": agreement.unnamed_files,
        }
        self.outcomes.append(CheckOutcome("rows_and_files_agree", agreement.ok, summary, figures))
