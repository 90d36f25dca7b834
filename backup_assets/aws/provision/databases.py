"""In what do the databases differ from what the backups need of them, and how is that changed without a restart?

`ApplyImmediately` is never sent: it would also bring about what others have put off to the maintenance window, such as
another instance class. What is changed here RDS does at once without it, except where a line says otherwise:
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.Settings.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backup_assets.aws.access import Access
from backup_assets.aws.answers import Missing, explained
from backup_assets.aws.provision.lines import Line
from backup_assets.aws.rds.api import RdsApi, Source, api_of
from backup_assets.aws.rds.backup_window import REFUSES, backup_window, move
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings

RETENTION, PROTECTION, TAGS, REPLICATION = (
    "days of automated backups",
    "deletion protection",
    "copy tags to snapshots",
    "automated backups in the other region",
)
_AT_ONCE = "at once, without a restart"
_BY_HAND_RETENTION = (
    "fewer days delete backups at once; if it is meant, by hand: aws rds modify-db-{kind} --db-{kind}-identifier "
    "{name} --backup-retention-period {days}, or set database.rds.automated_days back"
)


@dataclass(frozen=True)
class DatabasePlan:
    """A database, what differs, and with which requests it is changed (``modify``, ``replicate``; empty: none).

    ``source`` is None where AWS knows no such instance or cluster.
    """

    name: str
    api: RdsApi
    source: Source | None
    lines: tuple[Line, ...]
    modify: Mapping[str, Any] = field(default_factory=dict)
    replicate: Mapping[str, Any] = field(default_factory=dict)
    replicate_to: str = ""


def plan_database(access: Access, database: DatabaseSettings, rds: RdsSettings) -> DatabasePlan:
    """Look at the source of a database and return what differs; reads only. Raises the errors of `RdsApi`."""
    api = api_of(access, rds)
    place = f"database {database.name}"
    try:
        source = api.source(rds.identifier)
    except Missing as error:
        how = f"create it, or correct database.rds of {database.name} ({error.why})"
        return DatabasePlan(
            database.name, api, None, (Line(place, f"{api.kind} {rds.identifier}", "left", "none", "exists", how),)
        )
    modify: dict[str, Any] = {}
    lines = [
        *_retention(place, source, rds, modify),
        _switch(place, PROTECTION, source.deletion_protection, modify, "DeletionProtection"),
        _switch(place, TAGS, bool(source.raw.get("CopyTagsToSnapshot")), modify, "CopyTagsToSnapshot"),
        *_zones(place, source, rds),
        *_encryption(place, source, rds),
        *_window(place, source, rds, database.schedule.timezone),
    ]
    replicate: dict[str, Any] = {}
    if rds.copies is not None and source.kind == "instance":
        lines.append(_replication(place, source, rds, replicate, waits="BackupRetentionPeriod" in modify))
    region = rds.copies.region if rds.copies else ""
    return DatabasePlan(database.name, api, source, tuple(lines), modify, replicate, region)


def apply_database(plan: DatabasePlan) -> Iterator[str]:
    """Make what differs so, and yield what was asked of RDS. Raises the errors of `answers.explained`."""
    source = plan.source
    if source is None:
        return
    if plan.modify:
        with explained(f"modify the {source.kind} {source.identifier}", plan.api.access):
            if source.kind == "instance":
                plan.api.client.modify_db_instance(DBInstanceIdentifier=source.identifier, **plan.modify)
            else:
                plan.api.client.modify_db_cluster(DBClusterIdentifier=source.identifier, **plan.modify)
        yield f"asked {source.identifier} for {', '.join(f'{name} {value}' for name, value in plan.modify.items())}"
    if plan.replicate:
        there = plan.api.within(plan.replicate_to)
        with explained(f"replicate the automated backups of {source.identifier}", there.access):
            there.client.start_db_instance_automated_backups_replication(**plan.replicate)
        yield f"asked for the automated backups of {source.identifier} in {plan.replicate_to}"


def _retention(place: str, source: Source, rds: RdsSettings, modify: dict[str, Any]) -> Iterator[Line]:
    days, wanted = source.retention_days, rds.automated_days
    pending = source.raw.get("PendingModifiedValues", {}).get("BackupRetentionPeriod")
    found, text = (str(days) if days else "off"), str(wanted)
    if days == wanted and pending in {None, wanted}:
        yield Line(place, RETENTION, "as wanted", found, text)
    elif pending == wanted:
        window = source.raw.get("PreferredMaintenanceWindow", "")
        how = f"asked for; RDS does it in the maintenance window {window}".rstrip() if not days else "asked for"
        yield Line(place, RETENTION, "pending", found, text, how)
    elif days > wanted:
        how = _BY_HAND_RETENTION.format(kind=source.kind, name=source.identifier, days=wanted)
        yield Line(place, RETENTION, "refused", found, text, how)
    else:
        modify["BackupRetentionPeriod"] = wanted
        window = source.raw.get("PreferredMaintenanceWindow", "")
        # RDS interrupts an instance for a moment when it takes up automated backups.
        later = f"in the maintenance window {window}, with a short interruption".replace("  ", " ")
        yield Line(place, RETENTION, "to change", found, text, _AT_ONCE if days else later)


def _switch(place: str, name: str, on: bool, modify: dict[str, Any], parameter: str) -> Line:
    if on:
        return Line(place, name, "as wanted", "on", "on")
    modify[parameter] = True
    return Line(place, name, "to change", "off", "on", _AT_ONCE)


def _zones(place: str, source: Source, rds: RdsSettings) -> Iterator[Line]:
    if rds.multi_az is None:
        return
    words = {True: "several zones", False: "one zone"}
    if rds.multi_az == source.multi_az:
        yield Line(place, "Multi-AZ", "as wanted", words[source.multi_az], words[rds.multi_az])
        return
    how = "never switched here, as it changes what the database costs: by hand, or correct database.rds.multi_az"
    yield Line(place, "Multi-AZ", "left", words[source.multi_az], words[rds.multi_az], how)


def _encryption(place: str, source: Source, rds: RdsSettings) -> Iterator[Line]:
    wanted = f"with {rds.kms_key_id}" if rds.kms_key_id else "on"
    if not source.encrypted:
        how = "RDS encrypts only while it restores: copy a snapshot with a key, restore it, and switch over"
        yield Line(place, "encryption", "left", "off", wanted, how)
    elif rds.kms_key_id and (source.kms_key_id or "").rpartition("/")[2] != rds.kms_key_id.rpartition("/")[2]:
        how = "restore a snapshot copy that has this key, or correct database.rds.kms_key_id"
        yield Line(place, "encryption", "left", f"with {source.kms_key_id}", wanted, how)
    else:
        yield Line(place, "encryption", "as wanted", "on", wanted)


def _window(place: str, source: Source, rds: RdsSettings, zone: str) -> Iterator[Line]:
    window = backup_window(source, rds, zone, datetime.now(UTC))
    if window is None:
        return
    wanted = f"not at {window.due}"
    if not window.covers_snapshot:
        yield Line(place, "backup window", "as wanted", window.shown, wanted)
        return
    how = f"{REFUSES}: move database.rds.snapshot_at, or the window: {move(source)}"
    yield Line(place, "backup window", "left", window.shown, wanted, how)


def _replication(place: str, source: Source, rds: RdsSettings, replicate: dict[str, Any], *, waits: bool) -> Line:
    copies = rds.copies
    if copies is None:
        raise AssertionError("replication goes where copies go")
    wanted = copies.region
    there = [str(one["DBInstanceAutomatedBackupsArn"]) for one in source.raw.get(_REPLICATIONS, ())]
    regions = [arn.split(":")[3] for arn in there]
    found = ", ".join(regions) or "none"
    if wanted in regions:
        return Line(place, REPLICATION, "as wanted", found, wanted)
    if source.encrypted and copies.kms_key_id is None:
        how = f"set database.rds.copies.kms_key_id to a key of {wanted}: what is encrypted needs one there"
        return Line(place, REPLICATION, "left", found, wanted, how)
    if not source.retention_days:
        how = "once automated backups are on: repeat `aws apply` then"
        return Line(place, REPLICATION, "pending" if waits else "left", found, wanted, how)
    replicate["SourceDBInstanceArn"] = source.arn
    # Fewer days there than here would be a shorter way back after a disaster.
    replicate["BackupRetentionPeriod"] = max(source.retention_days, rds.automated_days)
    replicate["SourceRegion"] = source.arn.split(":")[3]
    if source.encrypted and copies.kms_key_id:
        replicate["KmsKeyId"] = copies.kms_key_id
    return Line(place, REPLICATION, "to change", found, wanted, "started at once; costs storage and transfer")


_REPLICATIONS = "DBInstanceAutomatedBackupsReplications"
