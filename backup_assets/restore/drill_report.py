"""What did a drill find, as somebody reads it who answers for the system and did not build it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from backup_assets.progress import human_bytes
from backup_assets.sets.records import DrillRecord, Problem

_STAGES = {
    "find": "Find the backup",
    "fetch": "Fetch and decrypt it, compare every checksum",
    "read": "Read every file to its end",
    "server": "Have a server to restore on",
    "roles": "Restore the roles",
    "restore": "Restore the database",
    "compare": "Compare the restored data",
    "attachments": "Unpack and compare the attachments",
    "application": "Start the application and ask it",
    "command": "Run the configured command",
}


@dataclass(frozen=True)
class Drilled:
    """The outcome of a drill. Durations in seconds, objectives and ages in hours.

    ``where`` and ``reason`` say which store and why that one, ``server`` what was restored on, ``confirmed`` what was
    found right, ``notes`` what is worth knowing and no failure. ``record`` is None when no set was found to try.
    """

    database: str
    env: str
    store: str
    where: str
    reason: str
    zone: str
    started_at: datetime
    total_seconds: float
    rto_hours: float
    rpo_hours: float
    within_rto: bool | None = None
    month: str | None = None
    set_id: str | None = None
    taken_at: datetime | None = None
    age_hours: float | None = None
    server: str = ""
    fetched_bytes: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    confirmed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    record: DrillRecord | None = None
    report_path: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether everything that was tried is right, and in time."""
        return not self.problems


def report_of(drilled: Drilled) -> str:
    """Return the report as Markdown."""
    return "\n".join(_lines(drilled)) + "\n"


def _lines(drilled: Drilled) -> Iterator[str]:
    yield f"# Restore drill of {drilled.database} ({drilled.env}): {'PASSED' if drilled.passed else 'FAILED'}"
    yield ""
    yield _in_short(drilled)
    yield ""
    yield "| Question | Promised | Measured | Result |"
    yield "|---|---|---|---|"
    yield _time_row(drilled)
    yield _loss_row(drilled)
    yield ""
    yield "## What was tried"
    yield ""
    yield f"- Copy: `{drilled.store}`, {drilled.where}. Chosen because {drilled.reason}."
    if drilled.set_id is None:
        yield "- Backup: none could be chosen."
    else:
        yield f"- Backup: `{drilled.set_id}`, which shows {_moment(drilled.taken_at, drilled.zone)}."
        yield f"- Size in the store: {human_bytes(drilled.fetched_bytes)}."
    if drilled.month is not None:
        yield f"- For the month {drilled.month}: the newest backup that shows a moment of that month or before."
    if drilled.server:
        yield f"- Restored on {drilled.server}, never on the live server."
    yield from (f"- Note: {note}" for note in drilled.notes)
    yield ""
    yield from _problems(drilled)
    yield "## What was found right"
    yield ""
    yield from [f"- {sentence}" for sentence in drilled.confirmed] or ["Nothing: the drill broke off before that."]
    yield ""
    yield "## Times"
    yield ""
    yield "| Step | Time |"
    yield "|---|---:|"
    yield from (f"| {_STAGES.get(name, name)} | {duration(taken)} |" for name, taken in drilled.stages.items())
    yield f"| **All together, from the first step to the last** | **{duration(drilled.total_seconds)}** |"
    yield ""
    yield "## What to do next"
    yield ""
    yield from _next(drilled)


def _in_short(drilled: Drilled) -> str:
    begun = _moment(drilled.started_at, drilled.zone)
    if drilled.passed:
        tried = ", and the application was tried on it" if _application_tried(drilled) else ""
        return (
            f"On {begun} a backup was fetched from `{drilled.store}`, restored on a separate server and compared with "
            f"what the live system held when it was taken{tried}. It took {duration(drilled.total_seconds)}. If the "
            "live system were lost, it could be brought back from there."
        )
    count = len(drilled.problems)
    return (
        f"On {begun} it was tried to bring the system back from `{drilled.store}`. **It did not succeed:** "
        f"{'one problem was' if count == 1 else f'{count} problems were'} found, the first of them: "
        f"{drilled.problems[0].what}. Until a drill passes, nobody knows that a loss can be repaired in time."
    )


def _application_tried(drilled: Drilled) -> bool:
    return "application" in drilled.stages or "command" in drilled.stages


def _time_row(drilled: Drilled) -> str:
    measured = duration(drilled.total_seconds)
    if drilled.within_rto is None:
        measured = f"broke off after {measured}"
    result = {True: "met", False: "**NOT MET**", None: "**unknown**"}[drilled.within_rto]
    return f"| How long does it take to be back (RTO)? | {duration(drilled.rto_hours * 3600)} | {measured} | {result} |"


def _loss_row(drilled: Drilled) -> str:
    promised = duration(drilled.rpo_hours * 3600)
    if drilled.age_hours is None:
        measured = "no backup" if drilled.set_id is None else "cannot be said"
        return f"| How much work would be lost (RPO)? | {promised} | {measured} | **unknown** |"
    result = "met" if drilled.age_hours <= drilled.rpo_hours else "**exceeded**"
    return f"| How much work would be lost (RPO)? | {promised} | {duration(drilled.age_hours * 3600)} | {result} |"


def _problems(drilled: Drilled) -> Iterator[str]:
    if not drilled.problems:
        return
    yield "## What went wrong"
    yield ""
    for number, problem in enumerate(drilled.problems, 1):
        yield f"{number}. **{problem.what}**"
        if problem.expected:
            yield ""
            yield f"   Expected: {problem.expected}"
        if problem.found:
            yield ""
            yield "   Found:" if problem.expected else "   Cause:"
            yield ""
            yield from (f"       {line}" for line in problem.found.splitlines())
        yield ""
        yield f"   Action: {problem.remedy}"
        yield ""


def _next(drilled: Drilled) -> Iterator[str]:
    if drilled.passed:
        yield "- Nothing has to be done. Keep this report with those of the other months."
    else:
        yield "- Carry out the actions above, then repeat the drill until one passes: `backup-assets drill`."
        yield "- Until then regard this backup as unproven; other stores and sets are listed by `backup-assets list`."
    if drilled.age_hours is not None and drilled.age_hours > drilled.rpo_hours:
        yield "- The backup was older than promised: find out why no newer one is in that store."
    if drilled.passed and not _application_tried(drilled):
        yield (
            "- The application itself was not tried. Let the drill do it: `start_command`, `http_checks` and `command` "
            "in docs/drill.md."
        )


def duration(seconds: float) -> str:
    """Return a time in its two largest units: ``4 h``, ``1 h 12 min``, ``3 min 20 s``, ``0.8 s``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, size in (("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            rest = (whole % size) // (size // 60)
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    raise AssertionError("unreachable")


def _moment(moment: datetime | None, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}" if moment else "an unknown moment"
