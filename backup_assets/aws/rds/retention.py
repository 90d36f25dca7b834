"""What are the snapshots of RDS to the retention, which knows sets only?

Pure: snapshots go in, sets come out, so that one and the same plan decides about both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from backup_assets import __version__
from backup_assets.aws.rds.api import Snapshot
from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.tagging import HOLD, HOLD_UNTIL, SLOT, STARTED, drill_of, is_ours, moment_of
from backup_assets.errors import Refused
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.holds import end_of_hold
from backup_assets.sets.manifest import (
    Artifact,
    ClientFacts,
    Fingerprints,
    Hold,
    Manifest,
    ServerFacts,
    SnapshotFacts,
)
from backup_assets.sets.records import Problem, Record, VerificationRecord
from backup_assets.sets.retention_policy import RetentionPolicy
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings

_GIB = 1 << 30
_DAY_HOURS = 24.0
_NO_REASON = "no reason given"


@dataclass(frozen=True)
class Translated:
    """The snapshots of one place as sets, each with its snapshot by the set's id; ``damaged`` bear tags of no sense."""

    sets: tuple[BackupSet, ...]
    snapshots: dict[str, Snapshot]
    damaged: tuple[Damage, ...]


def translated(
    snapshots: Iterable[Snapshot], database: DatabaseSettings, env: str, place: str, now: datetime
) -> Translated:
    """Return those of ``snapshots`` that are ours, as sets of the store ``place``; all others are left out.

    Ours bear our tags and the name that we give for their slot: whoever copies one by hand may take its tags along.
    """
    sets: list[BackupSet] = []
    by_id: dict[str, Snapshot] = {}
    damaged: list[Damage] = []
    for one in snapshots:
        if not is_ours(one.tags, database.name, env, "snapshot", "copy"):
            continue
        try:
            made = set_of(one, database, env, place, now)
        except Refused as error:
            damaged.append(Damage(one.arn, one.identifier, "manifest", str(error)))
            continue
        if one.identifier != snapshot_name(database.name, env, made.manifest.slot):
            continue
        sets.append(made)
        by_id[made.id] = one
    return Translated(tuple(sets), by_id, tuple(damaged))


def set_of(one: Snapshot, database: DatabaseSettings, env: str, place: str, now: datetime) -> BackupSet:
    """Return a snapshot of ours as a set of the store ``place``; raises Refused when its slot's tag is no slot.

    A whole one counts as proven, which a failed drill takes back: RDS vouches for it, and the drill restores one every
    month. One that failed or is not whole yet is incomplete. The tag `backup-assets:hold` holds it, until
    `backup-assets:hold-until` where that is a moment, else for ever. Its size is that of the source's storage.
    """
    taken_at = (one.taken_at or moment_of(one.tags, STARTED) or now).astimezone(UTC)
    # A copy has the name and the moment of its original, and so the same id: it is the same set in another store.
    run = hashlib.sha256(one.identifier.encode()).hexdigest()
    set_id = str(BackupId.make(one.tags.get(SLOT, ""), taken_at, run))
    manifest = Manifest(
        id=set_id,
        database=database.name,
        source_database=database.database,
        env=env,
        tier=database.tier,
        slot=one.tags[SLOT],
        hold=_hold_of(one, database),
        generated_at=taken_at,
        server=ServerFacts(
            version=str(one.raw.get("EngineVersion", "")),
            version_num=0,
            encoding="",
            database_bytes=one.size_gib * _GIB,
        ),
        client=ClientFacts(version="", directory=""),
        snapshot=SnapshotFacts(taken_at=taken_at, lsn="", name=one.identifier),
        artifacts=(_storage_of(one),),
        fingerprints=Fingerprints(),
        tool_version=__version__,
    )
    faults = () if one.is_available else (f"RDS says that it is {one.status}",)
    return BackupSet(manifest, records=_records_of(one, set_id, place, taken_at), faults=faults)


def policy_of_snapshots(database: DatabaseSettings, rds: RdsSettings) -> RetentionPolicy:
    """Return what is kept of a database's snapshots: as of its sets, but for the age at which nothing is deleted.

    Snapshots are daily whatever the RPO is, which the automated backups meet; and a copy may take as long as is
    allowed for a snapshot and for its copy.
    """
    kept = database.retention
    oldest = max(_DAY_HOURS, database.rpo_hours) + 2 * rds.snapshot_timeout_hours
    return RetentionPolicy(
        zone=ZoneInfo(database.schedule.timezone),
        rpo=timedelta(hours=oldest),
        daily=kept.daily,
        weekly=kept.weekly,
        monthly=kept.monthly,
        all_for=timedelta(days=kept.all_for_days),
        grace=timedelta(hours=kept.grace_hours),
        damaged_for=timedelta(days=kept.damaged_days),
        largest_share=kept.largest_share,
    )


def hold_reason(one: Snapshot, database: DatabaseSettings, now: datetime) -> str | None:
    """Return why a snapshot must not be deleted now, or None."""
    hold = _hold_of(one, database)
    return hold.reason if hold is not None and (hold.until is None or hold.until > now) else None


def _hold_of(one: Snapshot, database: DatabaseSettings) -> Hold | None:
    if HOLD not in one.tags and HOLD_UNTIL not in one.tags:
        return None
    try:
        until = end_of_hold(one.tags.get(HOLD_UNTIL, "").strip(), ZoneInfo(database.schedule.timezone))
    except ValueError:
        # An end that cannot be read is none: nobody knows how long it was meant to be held.
        until = None
    return Hold(reason=one.tags.get(HOLD) or _NO_REASON, until=until)


def _records_of(one: Snapshot, set_id: str, place: str, taken_at: datetime) -> tuple[Record, ...]:
    if not one.is_available:
        return ()
    vouched = VerificationRecord(
        set_id=set_id,
        tool_version=__version__,
        passed=True,
        started_at=taken_at,
        level="restored",
        content=False,
        store=place,
    )
    drill = drill_of(one.tags)
    if drill is None:
        return (vouched,)
    passed, at = drill
    drilled = VerificationRecord(
        set_id=set_id,
        tool_version=__version__,
        passed=passed,
        # A drill that says to have been before the snapshot counts all the same.
        started_at=max(at, taken_at),
        problems=() if passed else (Problem(what="the drill from this snapshot failed"),),
        level="drilled",
        content=False,
        store=place,
    )
    return (vouched, drilled)


def _storage_of(one: Snapshot) -> Artifact:
    """Return what stands for the snapshot's content; nothing of it but the size is ever looked at."""
    digest = hashlib.sha256(one.arn.encode()).hexdigest()
    size = one.size_bytes or one.size_gib * _GIB
    return Artifact(
        kind="db", role="dump", name=f"db/{one.identifier}", format="pg_custom", size_bytes=size, sha256=digest
    )
