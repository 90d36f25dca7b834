"""What does AWS say about the protection of a database, and what is to be done about it?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Literal

from botocore.exceptions import ClientError

from backup_assets.aws.access import Access, access_of
from backup_assets.aws.answers import Denied, KeyUnusable, Missing, explained
from backup_assets.aws.rds.api import RdsApi, Snapshot, Source, api_of
from backup_assets.aws.rds.backup_window import window_findings
from backup_assets.aws.rds.copies import in_account, in_copies
from backup_assets.aws.rds.drill.report import last_passed
from backup_assets.aws.rds.protection import (
    Bucket,
    Job,
    bucket_findings,
    copy_findings,
    drill_findings,
    job_findings,
    key_finding,
    newest_whole,
    restorable_finding,
    snapshot_finding,
    source_findings,
    wanted_key_of_copies,
)
from backup_assets.aws.rds.sweeping import all_restored, all_untagged, is_left_over
from backup_assets.aws.rds.tagging import Role, is_ours
from backup_assets.errors import BackupError
from backup_assets.findings import Finding, failed
from backup_assets.local import place_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import BackupPlanSettings, RdsCopySettings, RdsSettings
from backup_assets.stores.s3_errors import code_of

Group = Literal["protected", "restorable", "newest_snapshot", "newest_copy", "aws_backup", "attachments", "drills"]
#: Copies of snapshots are copied to another account only when they are shared.
_SHARED = "restore"
#: In sentences, what is another with every look.
_PASSING = re.compile(r"\d+(\.\d+)? (min|h) ago|\d{4}-\d\d-\d\d \d\d:\d\d UTC")
#: What is said of findings that took too long.
NOT_IN_TIME = "not in time"


@dataclass(frozen=True)
class Protection:
    """What was found about one part of the protection."""

    group: Group
    findings: tuple[Finding, ...]


def examine_protection(database: DatabaseSettings, settings: Settings, now: datetime) -> Iterator[Protection]:
    """Yield what is found for each part of the protection that is configured, worst news included as findings.

    Nothing is changed. What AWS does not tell is a failure, and a warning where it may tell in a moment.
    """
    rds = database.rds
    if rds is None:
        return
    access = access_of(settings.aws)
    api = api_of(access, rds)
    source = _Once(lambda: api.source(rds.identifier))
    zone = database.schedule.timezone
    yield _found(
        "protected",
        lambda: (
            *source_findings(source.get(), rds, _key(access, rds.kms_key_id)),
            *window_findings(source.get(), rds, zone, now),
        ),
    )
    yield _found("restorable", lambda: [restorable_finding(source.get(), database.rpo_hours, now)])
    yield _found("newest_snapshot", lambda: [snapshot_finding(_ours(api, database, settings, "snapshot"), rds, now)])
    if rds.copies is not None:
        copies = rds.copies
        yield _found("newest_copy", lambda: _copies(api, database, settings, rds, copies, now))
    if settings.aws.backup_plan is not None:
        plan = settings.aws.backup_plan
        second = settings.aws.second_region
        yield _found(
            "aws_backup",
            lambda: job_findings(backup_jobs(access, source.get(), plan, now, second_region=second), plan, now),
        )
    if settings.aws.infrastructure is not None and settings.aws.infrastructure.buckets:
        names = settings.aws.infrastructure.buckets
        yield _found("attachments", lambda: (one for name in names for one in bucket_findings(_bucket(access, name))))
    yield _found("drills", lambda: _drills(database, settings, rds, now))


def signature_of(found: Iterable[Protection], *, seconds: float | None = None) -> str:
    """Return what stands for findings: the same for two looks as long as nothing else is wrong.

    ``seconds``: once that is over, no more is looked at, and the answer is ``NOT_IN_TIME``.
    """
    begun, lines = monotonic(), []
    for part in found:
        for one in part.findings:
            text = _PASSING.sub("", one.found) if one.state == "fail" else ""
            lines.append("|".join((part.group, one.name, one.state, text)))
        if seconds is not None and monotonic() - begun > seconds:
            return NOT_IN_TIME
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


class _Once:
    """The source, asked for once; an error is the same for all who ask."""

    def __init__(self, look: Callable[[], Source]) -> None:
        self._look = look
        self._found: Source | BackupError | None = None

    def get(self) -> Source:
        if self._found is None:
            try:
                self._found = self._look()
            except BackupError as error:
                self._found = error
        if isinstance(self._found, BackupError):
            raise self._found
        return self._found


def _found(group: Group, look: Callable[[], Iterable[Finding]]) -> Protection:
    try:
        return Protection(group, tuple(look()))
    except BackupError as error:
        found = failed(group, error)
        return Protection(group, (replace(found, state="warn") if error.retriable else found,))


def _ours(api: RdsApi, database: DatabaseSettings, settings: Settings, role: Role) -> list[Snapshot]:
    """Return the snapshots or copies of the instance or cluster that the database is on now."""
    found = [one for one in api.manual_snapshots() if is_ours(one.tags, database.name, settings.env, role)]
    return [one for one in found if database.rds is not None and one.is_of(database.rds.identifier)]


def _key(access: Access, key: str | None) -> str | None:
    """Return the ARN of a key that is given by its alias; ARNs and ids as they are."""
    if key is None or not (key.startswith("alias/") or ":alias/" in key):
        return key
    with explained(f"look up the KMS key {key}", access):
        return str(access.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"])


def _copies(
    api: RdsApi,
    database: DatabaseSettings,
    settings: Settings,
    rds: RdsSettings,
    copies: RdsCopySettings,
    now: datetime,
) -> Iterator[Finding]:
    for target in (in_copies(api, copies), in_account(api, copies)):
        if target is None:
            continue
        other = target.access.profile != api.access.profile
        where = f"{copies.region} (profile {target.access.profile})" if other else copies.region
        found = _ours(target, database, settings, "copy")
        newest = newest_whole(found)
        yield from copy_findings(
            found,
            _allowed(target, newest.identifier) if newest else None,
            rds,
            where=where,
            key=_key(target.access, wanted_key_of_copies(copies, other_account=other)),
            share_with=() if other else copies.share_with,
            now=now,
        )
        if newest is not None and newest.encrypted:
            yield _key_of(target.access, newest, where)


def _key_of(access: Access, copy: Snapshot, where: str) -> Finding:
    """Return whether the key that a copy is encrypted with can be used: its attributes can be read without it."""
    try:
        with explained(f"look at the KMS key {copy.kms_key_id}", access):
            found = access.client("kms").describe_key(KeyId=copy.kms_key_id)["KeyMetadata"]
    except Missing:
        return key_finding(copy, "", where=where)
    except (Denied, KeyUnusable) as error:  # which of the two a refusal is depends on its words
        text = f"whether the key of {copy.identifier} in {where} can be used is not known: {error.what}"
        return Finding("key of copies", "warn", text, error.remedy)
    return key_finding(copy, found["KeyState"], where=where)


def _allowed(api: RdsApi, identifier: str) -> list[str]:
    """Return the accounts that may restore a snapshot; that AWS tells them shows that the snapshot can be read."""
    with explained(f"read the attributes of the snapshot {identifier}", api.access):
        if api.kind == "instance":
            answer = api.client.describe_db_snapshot_attributes(DBSnapshotIdentifier=identifier)
            attributes = answer["DBSnapshotAttributesResult"].get("DBSnapshotAttributes", ())
        else:
            answer = api.client.describe_db_cluster_snapshot_attributes(DBClusterSnapshotIdentifier=identifier)
            attributes = answer["DBClusterSnapshotAttributesResult"].get("DBClusterSnapshotAttributes", ())
    return [account for one in attributes if one["AttributeName"] == _SHARED for account in one["AttributeValues"]]


def backup_jobs(
    access: Access, source: Source, plan: BackupPlanSettings, now: datetime, *, second_region: str
) -> list[Job]:
    """Return the jobs of AWS Backup on the source in the last day, or in two intervals of the plan if longer.

    Those of the plan go into its vault, or are copied to the vault of that name in ``second_region``.
    """
    client = access.client("backup")
    since = now - timedelta(hours=max(24.0, 2.0 * plan.every_hours))
    backups: dict[str, dict[str, Any]] = {}
    copies: dict[str, dict[str, Any]] = {}
    for arn in _arns_of(source):
        asked = {"ByResourceArn": arn, "ByCreatedAfter": since}
        with explained("list the jobs of AWS Backup", access):
            for page in client.get_paginator("list_backup_jobs").paginate(**asked):
                backups |= {one["BackupJobId"]: one for one in page["BackupJobs"]}
            for page in client.get_paginator("list_copy_jobs").paginate(**asked):
                copies |= {one["CopyJobId"]: one for one in page["CopyJobs"]}
    return [
        *(
            _job("backup", name, one, of_plan=one.get("BackupVaultName", plan.vault) == plan.vault)
            for name, one in backups.items()
        ),
        *(_job("copy", name, one, of_plan=_is_into(one, plan.vault, second_region)) for name, one in copies.items()),
    ]


def _arns_of(source: Source) -> list[str]:
    """Return the ARNs by which AWS Backup may name a source: of a cluster also that of its resource id."""
    resource = source.raw.get("DbClusterResourceId") if source.kind == "cluster" else None
    return [source.arn, *([f"{source.arn.rpartition(':')[0]}:{resource}"] if resource else [])]


def _is_into(copy: dict[str, Any], vault: str, region: str) -> bool:
    arn = copy.get("DestinationBackupVaultArn")
    return arn is None or (arn.split(":")[3], arn.rpartition(":")[2]) == (region, vault)


def _job(kind: str, identifier: str, raw: dict[str, Any], *, of_plan: bool) -> Job:
    message = str(raw.get("StatusMessage") or "")
    return Job(kind, identifier, raw["State"], raw["CreationDate"], message, of_plan=of_plan)


def _bucket(access: Access, name: str) -> Bucket:
    client = access.client("s3")
    with explained(f"look at the bucket {name}", access):
        versioning = client.get_bucket_versioning(Bucket=name).get("Status", "")
        try:
            rules = client.get_bucket_lifecycle_configuration(Bucket=name).get("Rules", [])
        except ClientError as error:
            if code_of(error) != "NoSuchLifecycleConfiguration":
                raise
            rules = []
    return Bucket(name, versioning, rules)


def _drills(database: DatabaseSettings, settings: Settings, rds: RdsSettings, now: datetime) -> Iterator[Finding]:
    left = [one.identifier for one in all_restored(database, settings) if is_left_over(one, now)]
    untagged = [one.identifier for one in all_untagged(database, settings)]
    passed = last_passed(settings, place_of(database, settings))
    for finding in drill_findings(left, passed, now, untagged=untagged):
        if finding.name != "last drill" or rds.drill is not None:
            yield finding
