"""Where does the report of a month lie, and how does it get there?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.files import make_private_directory, replace_durably
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.watch.report import MonthReport, month_report
from backup_assets.watch.report_html import Page, page
from backup_assets.watch.report_words import Language

REPORTS = "reports"


@dataclass(frozen=True)
class Written:
    """A report that was written: the file, what it says, and what it is made of."""

    path: Path
    page: Page
    report: MonthReport


def report_path(database: DatabaseSettings, settings: Settings, month: str, language: Language) -> Path:
    """Return ``BACKUP_DIR/reports/<env>/<database>/2026-10.en.html``."""
    directory = settings.backup_dir.absolute() / REPORTS / settings.env / database.name
    return directory / f"{month}.{language}.html"


def write_report(
    database: DatabaseSettings,
    settings: Settings,
    month: str,
    now: datetime,
    *,
    language: Language | None = None,
    output: Path | None = None,
) -> Written:
    """Make the report of a month and write it, 0600 and whole, in place of an earlier one.

    ``language`` left out is that of the settings, ``output`` left out the place that :func:`report_path` tells; its
    directory is made there only. Raises as :func:`month_report` does, and EnvironmentFault when it cannot be written.
    """
    chosen: Language = language or settings.watch.language
    report = month_report(database, settings, month, now)
    made = page(report, chosen)
    path = output or report_path(database, settings, month, chosen)
    try:
        if output is None:
            make_private_directory(path.parent)
        replace_durably(path, made.html.encode())
    except OSError as error:
        raise EnvironmentFault(
            f"the report cannot be written to {path}",
            why=error.strerror or str(error),
            remedy="make the directory, free space there, or choose another file with --output",
        ) from error
    return Written(path, made, report)
