"""Is the daily snapshot due while RDS takes its own backup, during which it refuses any other?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from backup_assets.aws.rds.api import Source
from backup_assets.findings import Finding
from backup_assets.settings_aws import RdsSettings

#: `hh24:mi-hh24:mi` in UTC; it may pass midnight.
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY_MINUTES = 24 * 60
_YEAR_DAYS = 366
#: What is `backing-up` is not available, and only what is available is snapshotted.
REFUSES = "RDS refuses a snapshot while it takes its own backup, which begins in that window and may go on after it"


@dataclass(frozen=True)
class BackupWindow:
    """The window in which RDS begins its own backup, and whether it covers the moment of the daily snapshot.

    ``shown`` names it in UTC and in local time; ``due`` is that moment, in local time.
    """

    shown: str
    due: str
    covers_snapshot: bool


def backup_window(source: Source, rds: RdsSettings, zone: str, now: datetime) -> BackupWindow | None:
    """Return the window of a source beside ``rds.snapshot_at`` in a zone; None where RDS names none.

    Where the zone's clocks are changed, it covers the snapshot if it does so at any time of the year that begins now;
    then it is shown as it is at that time.
    """
    found = _WINDOW.fullmatch(str(source.raw.get("PreferredBackupWindow", "")))
    if found is None:
        return None
    hour, minute, end_hour, end_minute = (int(part) for part in found.groups())
    begins, ends = hour * 60 + minute, end_hour * 60 + end_minute
    at = time.fromisoformat(rds.snapshot_at)
    offsets = _offsets(at, ZoneInfo(zone), now)
    hit = [offset for offset in offsets if _covers(begins, ends, at.hour * 60 + at.minute - offset)]
    local = " and ".join(
        f"{_clock(begins + offset)}-{_clock(ends + offset)}" + (f" at {_name(offset)}" if len(offsets) > 1 else "")
        for offset in hit or offsets
    )
    shown = f"{_clock(begins)}-{_clock(ends)} UTC ({local} in {zone})"
    return BackupWindow(shown, f"{rds.snapshot_at} in {zone}", covers_snapshot=bool(hit))


def window_findings(source: Source, rds: RdsSettings, zone: str, now: datetime) -> Iterator[Finding]:
    """Yield a warning where the snapshot is due in the window: it may fail day after day, or on no day."""
    window = backup_window(source, rds, zone, now)
    if window is None:
        return
    if window.covers_snapshot:
        text = f"the backup window of {source.identifier}, {window.shown}, covers `rds.snapshot_at`, {window.due}"
        remedy = (
            f"move `rds.snapshot_at` an hour and more behind the window, or the window away from it: {move(source)}"
        )
        yield Finding("backup window", "warn", f"{text}: {REFUSES}", remedy)
    else:
        yield Finding("backup window", "ok", f"{window.shown}; the snapshot is due at {window.due}")


def move(source: Source) -> str:
    """Return the command that moves the window of a source, which RDS does without a restart."""
    option = f"--db-{source.kind}-identifier {source.identifier}"
    return f"`aws rds modify-db-{source.kind} {option} --preferred-backup-window hh:mm-hh:mm`, in UTC"


def _offsets(at: time, zone: ZoneInfo, now: datetime) -> list[int]:
    """Return how many minutes the zone is ahead of UTC at that local time, on all days of the year to come."""
    today = now.astimezone(zone).date()
    moments = (datetime.combine(today + timedelta(days=day), at, zone) for day in range(_YEAR_DAYS))
    return sorted({int((moment.utcoffset() or timedelta()) / timedelta(minutes=1)) for moment in moments})


def _covers(begins: int, ends: int, minute: int) -> bool:
    """Whether a minute is in the window, its last one too: the backup may begin in it."""
    return (minute - begins) % _DAY_MINUTES <= (ends - begins) % _DAY_MINUTES


def _clock(minutes: int) -> str:
    hours, rest = divmod(minutes % _DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"


def _name(offset: int) -> str:
    return f"UTC{'-' if offset < 0 else '+'}{_clock(abs(offset))}"
