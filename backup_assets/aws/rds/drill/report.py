"""What did a drill of RDS find, as somebody reads it who answers for the system?"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from backup_assets.aws.rds.drill.comparing import TableRow
from backup_assets.local import local_store
from backup_assets.restore.drill_recording import REPORTS
from backup_assets.restore.drill_report import duration
from backup_assets.sets.place import Place
from backup_assets.sets.records import Problem
from backup_assets.settings import Settings

_STAGES = {
    "restore": "RDS restores it (until a run saw it ready)",
    "instance": "RDS makes the instance of the cluster (until a run saw it ready)",
    "source": "Look at the source",
    "read": "Connect, read and hash every row of the restored database",
}
_MOST_TABLES = 200
#: How the name of a report begins, and how that of one ends which passed.
NAMED = "rds-"
_PASSED = "passed"


@dataclass(frozen=True)
class RdsDrilled:
    """The outcome of a drill. Durations in seconds, objectives and ages in hours, moments aware.

    ``what`` and ``region`` say what was restored and where, ``shows`` the moment that it shows. ``within_rto`` is None
    when the drill broke off before its end.
    """

    database: str
    env: str
    slot: str
    zone: str
    what: str
    region: str
    server: str
    shows: datetime | None
    started_at: datetime
    total_seconds: float
    rto_hours: float
    within_rto: bool | None
    age_hours: float | None
    stages: Mapping[str, float] = field(default_factory=dict)
    confirmed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    tables: tuple[TableRow, ...] = ()
    equal_content: int = 0
    row_difference: int = 0
    report_path: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, its removal included."""
        return not self.problems


def report_of(drilled: RdsDrilled) -> str:
    """Return the report as Markdown."""
    return "\n".join(_lines(drilled)) + "\n"


def store_report(settings: Settings, place: Place, drilled: RdsDrilled) -> Path:
    """Write the report into the local store, beside those of the sets' drills, and return its path.

    Raises as `Store.put` does.
    """
    body = report_of(drilled).encode()
    outcome = _PASSED if drilled.passed else "failed"
    begun = f"{drilled.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    key = place.key(f"{REPORTS}/{NAMED}{begun}-{uuid.uuid4().hex[:8]}-{outcome}.md")
    local = local_store(settings)
    local.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
    return local.path_of(key)


def last_passed(settings: Settings, place: Place) -> datetime | None:
    """Return when the last drill began that passed, as the reports of the local store say; None without one."""
    if not settings.backup_dir.exists():
        return None
    begun = []
    for stored in local_store(settings).list(place.key(REPORTS)):
        parts = stored.key.rpartition("/")[2].removesuffix(".md").split("-")
        if len(parts) == 4 and f"{parts[0]}-" == NAMED and parts[3] == _PASSED:
            begun.append(datetime.strptime(parts[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
    return max(begun, default=None)


def _lines(drilled: RdsDrilled) -> Iterator[str]:
    yield f"# RDS restore drill of {drilled.database} ({drilled.env}): {'PASSED' if drilled.passed else 'FAILED'}"
    yield ""
    yield f"- For {drilled.slot}, begun {_moment(drilled.started_at, drilled.zone)}."
    shows = f", which shows {_moment(drilled.shows, drilled.zone)}" if drilled.shows else ""
    yield f"- Restored: {drilled.what}{shows}, in {drilled.region}, into {drilled.server}, never into the live server."
    if drilled.age_hours is not None:
        yield f"- It was {duration(drilled.age_hours * 3600)} old when the drill began."
    within = {True: "met", False: "**NOT MET**", None: "**unknown: the drill broke off**"}[drilled.within_rto]
    yield (
        f"- Time until the last comparison: {duration(drilled.total_seconds)}; promised (RTO) "
        f"{duration(drilled.rto_hours * 3600)}: {within}."
    )
    yield from (f"- Note: {note}" for note in drilled.notes)
    yield ""
    if drilled.problems:
        yield "## What went wrong"
        yield ""
        for number, problem in enumerate(drilled.problems, 1):
            yield f"{number}. **{problem}**"
            yield f"   Action: {problem.remedy}"
        yield ""
    yield "## What was found right"
    yield ""
    yield from [f"- {sentence}" for sentence in drilled.confirmed] or ["Nothing: the drill broke off before that."]
    yield ""
    yield "## Times"
    yield ""
    yield "| Step | Time |"
    yield "|---|---:|"
    yield from (f"| {_STAGES.get(name, name)} | {duration(taken)} |" for name, taken in drilled.stages.items())
    if drilled.tables:
        yield ""
        yield "## Tables"
        yield ""
        yield "Rows of the source are those of now: a difference is what was written since, or a loss."
        yield ""
        yield "| Table | Restored | Source now | Difference | Content |"
        yield "|---|---:|---:|---:|---|"
        yield from (_table(one) for one in drilled.tables[:_MOST_TABLES])
        if len(drilled.tables) > _MOST_TABLES:
            yield f"| … {len(drilled.tables) - _MOST_TABLES} more | | | | |"


def _table(row: TableRow) -> str:
    difference = "" if row.restored is None or row.source is None else f"{row.restored - row.source:+,}"
    counts = ("—" if count is None else f"{count:,}" for count in (row.restored, row.source))
    return f"| {row.name.replace('|', ' ')} | {' | '.join(counts)} | {difference} | {row.content} |"


def _moment(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"
