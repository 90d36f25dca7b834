"""A month of backups as it really goes: made of sets and records in real folders, with what went wrong in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from backup_assets.retention.pruning import prune, survey
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.records import (
    CopiedArtifact,
    CopyRecord,
    DrillRecord,
    Problem,
    Record,
    RestoreRecord,
    record_key,
)
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.watch.report import MonthReport, month_report
from backup_assets_tests.offsite.copying import folder_store
from backup_assets_tests.sets.examples import ERP4, a_manifest, a_verification

TOKYO = ZoneInfo("Asia/Tokyo")
MONTH = "2026-10"
#: When the schedule makes the report of October.
NOW = datetime(2026, 11, 1, 8, 0, tzinfo=TOKYO)
FIRST = date(2026, 9, 21)
MEGABYTE = 1_000_000


def night(day: int, month: int = 10) -> datetime:
    """Return when the backup of a day of the month is taken."""
    return datetime(2026, month, day, 2, 0, tzinfo=TOKYO)


@dataclass(frozen=True)
class Wrong:
    """What went wrong in October, by days; everything else went well."""

    missed: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    unproven: tuple[int, ...] = ()
    not_copied: tuple[int, ...] = ()
    drills: tuple[tuple[int, bool], ...] = ((1, True),)
    drill_minutes: float = 12.0
    label: str | None = None
    hold: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """The settings and the folders of the local store and of a disk that is carried off."""

    settings: Settings
    local: Path
    usb: Path

    @property
    def database(self) -> DatabaseSettings:
        return self.settings.databases[0]

    def report(self, month: str = MONTH, now: datetime = NOW) -> MonthReport:
        return month_report(self.database, self.settings, month, now)


def a_place(directory: Path, *, every: str = "day", name: str = "erp4") -> Place:
    """Return settings of one database with a local store and a disk that counts as off-site."""
    local, usb = directory / "backups", directory / "usb"
    for folder in (local, usb):
        folder.mkdir()
    schedule = ScheduleSettings(every=every, since=FIRST)  # type: ignore[arg-type]
    database = DatabaseSettings(name=name, database="erp4", prefix="erp4", schedule=schedule)
    stores = (folder_store(usb, off_site=True),)
    return Place(Settings(env="prod", backup_dir=local, databases=(database,), stores=stores), local, usb)


def an_october(directory: Path, wrong: Wrong | None = None, *, pruned_on: tuple[int, ...] = ()) -> Place:
    """Return stores with a set of every night from September 21 to November 1, and in October what went ``wrong``.

    Three hours after the backup of the days of October in ``pruned_on`` the retention was applied.
    """
    place, wrong = a_place(directory), wrong or Wrong()
    day = FIRST
    while day <= date(2026, 11, 1):
        if day.month != 10 or day.day not in wrong.missed:
            _fill(place, day, wrong if day.month == 10 else Wrong(drills=()))
        if day.month == 10 and day.day in pruned_on:
            pruned(place, night(day.day) + timedelta(hours=3))
        day += timedelta(days=1)
    return place


def _fill(place: Place, day: date, wrong: Wrong) -> None:
    taken_at = night(day.day, day.month)
    number = (day - FIRST).days
    hold = Hold(reason=wrong.hold[day.day]) if day.day in wrong.hold else None
    manifest = sized(a_manifest(taken_at, hold=hold, tables=0), size_on(day), 30.0 + number * 11 % 17)
    manifest = manifest.model_copy(update={"label": wrong.label, "slot": f"{day:%Y-%m-%d}"})
    proof = a_verification(manifest.id, at=taken_at + timedelta(minutes=20), passed=day.day not in wrong.failed)
    records: list[Record] = [] if day.day in wrong.unproven else [proof]
    if day.day not in wrong.not_copied:
        write_set(place.usb, manifest)
        records.append(a_copy(manifest, taken_at + timedelta(minutes=40)))
    records += [a_drill(manifest, passed, wrong.drill_minutes) for on, passed in wrong.drills if on == day.day]
    write_set(place.local, manifest, records)


def size_on(day: date) -> int:
    """Return the size of the dump of a day: it grows by four megabytes a day, a little more or less."""
    number = (day - FIRST).days
    return (400 + 4 * number + number * 37 % 11 - 5) * MEGABYTE


def sized(manifest: Manifest, size: int, seconds: float) -> Manifest:
    """Return the manifest with a dump of ``size`` bytes that took so many seconds."""
    dump, archive = manifest.artifacts
    artifacts = (dump.model_copy(update={"size_bytes": size}), archive)
    return manifest.model_copy(update={"artifacts": artifacts, "durations": {"dump": seconds}})


def write_set(store: Path, manifest: Manifest, records: Iterable[Record] = ()) -> None:
    """Write a set whose files have their sizes, and no content: a disk holds many of them."""
    for artifact in manifest.artifacts:
        path = store / ERP4.key(artifact.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as handle:
            handle.truncate(artifact.size_bytes)
    write(store, ERP4.manifest_key(manifest.id), manifest.to_json())
    for record in records:
        write(store, record_key(ERP4, record), record.to_json())


def write(store: Path, key: str, content: bytes) -> None:
    path = store / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def a_copy(manifest: Manifest, at: datetime, store: str = "usb") -> CopyRecord:
    artifacts = tuple(CopiedArtifact(name=a.name, size_bytes=a.size_bytes, sha256=a.sha256) for a in manifest.artifacts)
    return CopyRecord(
        set_id=manifest.id,
        tool_version="0.1.0",
        store=store,
        copied_at=at,
        bytes=manifest.size_bytes,
        seconds=10,
        artifacts=artifacts,
    )


def a_drill(
    manifest: Manifest, passed: bool, minutes: float, *, problem: str = "no answer from /health"
) -> DrillRecord:
    taken_at = manifest.snapshot.taken_at
    within = minutes <= 240
    found = (() if passed else (problem,)) + (() if within else (f"it took {minutes:g} min of 240 min",))
    return DrillRecord(
        set_id=manifest.id,
        tool_version="0.1.0",
        passed=not found,
        started_at=taken_at + timedelta(hours=3),
        problems=tuple(Problem(what=text) for text in found),
        store="usb",
        total_seconds=minutes * 60,
        rto_hours=4,
        within_rto=within if passed else None,
        taken_at=taken_at,
        age_hours=3,
        fetched_bytes=manifest.size_bytes,
    )


def a_restore(manifest: Manifest, at: datetime, database: str = "erp4_check") -> RestoreRecord:
    return RestoreRecord(
        set_id=manifest.id,
        tool_version="0.1.0",
        passed=True,
        started_at=at,
        target="db.example:5432",
        database=database,
        stages={"restore": 40},
    )


def pruned(place: Place, now: datetime) -> int:
    """Apply the retention to the local store as of ``now`` and return how many sets it deleted."""
    surveyed = survey(place.database, place.settings, now=now.astimezone(UTC))
    done = prune(place.database, place.settings, "local", apply=True, allow_large_share=True, surveyed=surveyed)
    assert done.is_well, (done.error, done.plan and done.plan.blocked)
    return len(done.deleted)
