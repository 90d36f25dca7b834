"""What is there in RDS, said in the same words for an instance and for a cluster?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from backup_assets.aws.access import Access
from backup_assets.aws.answers import Missing, explained
from backup_assets.aws.rds.tagging import TAKEN, moment_of
from backup_assets.settings_aws import RdsSettings

Kind = Literal["instance", "cluster"]
Tags = Mapping[str, str]
#: What the two kinds are called in requests and answers.
_SOURCE = {"instance": "DBInstance", "cluster": "DBCluster"}
_SNAPSHOT = {"instance": "DBSnapshot", "cluster": "DBClusterSnapshot"}


@dataclass(frozen=True)
class Source:
    """A DB instance or cluster as RDS describes it; ``raw`` is the whole answer.

    ``retention_days`` 0 means that automated backups are off. ``earliest_restorable`` and ``latest_restorable`` are
    the ends of what they reach, None where nothing was reported.
    """

    kind: Kind
    identifier: str
    arn: str
    status: str
    engine: str
    engine_version: str
    encrypted: bool
    kms_key_id: str | None
    retention_days: int
    deletion_protection: bool
    multi_az: bool
    earliest_restorable: datetime | None
    latest_restorable: datetime | None
    host: str | None
    port: int | None
    subnet_group: str | None
    security_groups: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Snapshot:
    """One snapshot or copy of one; ``status`` is as RDS says it, ``available`` once it is whole.

    ``taken_at`` is the moment that its data shows, None until that is known; a copy shows that of its original, where
    RDS or our tag says it. ``copy_of`` is the ARN of the snapshot that it was copied from, where RDS says it, which it
    does not within one region and account. ``size_gib`` is the storage of the source.
    """

    kind: Kind
    identifier: str
    arn: str
    source: str
    status: str
    taken_at: datetime | None
    encrypted: bool
    kms_key_id: str | None
    size_gib: int
    copy_of: str | None
    tags: Tags = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def is_of(self, identifier: str) -> bool:
        """Whether it shows that instance or cluster; RDS takes any spelling, and answers with small letters."""
        return self.source.lower() == identifier.lower()

    @property
    def account(self) -> str:
        """The number of the account that it belongs to."""
        return self.arn.split(":")[4]

    @property
    def region(self) -> str:
        """The region that it is in."""
        return self.arn.split(":")[3]

    @property
    def size_bytes(self) -> int | None:
        """Bytes that it holds, where RDS says so: of instances, and not of every engine."""
        size = self.raw.get("FullSnapshotSizeInBytes")
        return int(size) if size else None

    @property
    def is_available(self) -> bool:
        """Whether RDS says that it is whole."""
        return self.status == "available"

    @property
    def is_over(self) -> bool:
        """Whether RDS does nothing more to it: it is whole, or it failed."""
        return self.status in {"available", "failed", "incompatible-restore", "incompatible-parameters"}


@dataclass(frozen=True)
class RdsApi:
    """RDS in one region, for one kind of source. Every method raises the errors of `answers.explained`."""

    access: Access
    kind: Kind

    @cached_property
    def client(self) -> Any:
        """The client of boto3, for what the methods here do not do."""
        return self.access.client("rds")

    def within(self, region: str, profile: str | None = None) -> RdsApi:
        """Return the same in another region, and with ``profile`` as another role."""
        access = Access(region, profile or self.access.profile, self.access.endpoint_url)
        return RdsApi(access, self.kind)

    # -- sources -----------------------------------------------------------------------------------------------------

    def source(self, identifier: str) -> Source:
        """Return the instance or cluster of that name; raises Missing when there is none."""
        name = _SOURCE[self.kind]
        with explained(f"look at the {self.kind} {identifier}", self.access):
            if self.kind == "instance":
                found = self.client.describe_db_instances(DBInstanceIdentifier=identifier)
            else:
                found = self.client.describe_db_clusters(DBClusterIdentifier=identifier)
            raw = found[f"{name}s"][0]
            earliest = raw.get("EarliestRestorableTime")
        if self.kind == "instance" and raw.get("BackupRetentionPeriod"):
            earliest = self._earliest(identifier, raw.get("DbiResourceId"))
        return _source(self.kind, raw, earliest)

    def _earliest(self, identifier: str, resource_id: str | None) -> datetime | None:
        try:
            with explained(f"look at the automated backups of {identifier}", self.access):
                answer = self.client.describe_db_instance_automated_backups(DBInstanceIdentifier=identifier)
        except Missing:
            return None
        windows = [
            one.get("RestoreWindow", {})
            for one in answer["DBInstanceAutomatedBackups"]
            # Those of an instance that had the same name before it was deleted are listed too.
            if one.get("DbiResourceId", resource_id) == resource_id
        ]
        return min((window["EarliestTime"] for window in windows if "EarliestTime" in window), default=None)

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def snapshots(self, source: str) -> tuple[Snapshot, ...]:
        """Return the manual snapshots of a source in this region, and the copies of such, the newest first.

        The source itself may be in another region, or be gone.
        """
        return tuple(one for one in self.manual_snapshots() if one.source == source)

    def manual_snapshots(self) -> tuple[Snapshot, ...]:
        """Return every manual snapshot of this kind in the region, copies too, the newest first.

        One whose moment is not known yet is the newest.
        """
        # All of them: asked for those of one source, RDS demands that the source exists there. At most some hundreds.
        found = self._described(SnapshotType="manual")
        return tuple(sorted(found, key=lambda one: (one.taken_at or _NOT_YET, one.identifier), reverse=True))

    def snapshot(self, identifier: str) -> Snapshot | None:
        """Return the snapshot of that name, or None."""
        try:
            return next(self._described(**{f"{_SNAPSHOT[self.kind]}Identifier": identifier}), None)
        except Missing:
            return None

    def _described(self, **request: Any) -> Iterator[Snapshot]:
        name = _SNAPSHOT[self.kind]
        operation = "describe_db_snapshots" if self.kind == "instance" else "describe_db_cluster_snapshots"
        with explained("list snapshots", self.access):
            for page in self.client.get_paginator(operation).paginate(**request):
                yield from (_snapshot(self.kind, raw) for raw in page[f"{name}s"])

    def create_snapshot(self, source: str, identifier: str, tags: Tags) -> Snapshot:
        """Begin a snapshot and return it as it is now; raises Exists when the name is taken."""
        name = _SNAPSHOT[self.kind]
        request = {
            f"{name}Identifier": identifier,
            f"{_SOURCE[self.kind]}Identifier": source,
            "Tags": _as_list(tags),
        }
        with explained(f"take the snapshot {identifier}", self.access):
            if self.kind == "instance":
                answer = self.client.create_db_snapshot(**request)
            else:
                answer = self.client.create_db_cluster_snapshot(**request)
        return _begun(self.kind, answer[name], tags)

    def copy_snapshot(
        self, original: Snapshot, identifier: str, tags: Tags, *, from_region: str, kms_key_id: str | None
    ) -> Snapshot:
        """Begin a copy of a snapshot of ``from_region`` (or of this region) here, and return it as it is now."""
        name = _SNAPSHOT[self.kind]
        request: dict[str, Any] = {
            f"Source{name}Identifier": original.arn,
            f"Target{name}Identifier": identifier,
            "Tags": _as_list(tags),
            "CopyTags": False,
        }
        if kms_key_id is not None:
            request["KmsKeyId"] = kms_key_id
        if from_region != self.access.region:
            # boto3 makes the presigned URL of it that RDS asks for when an encrypted snapshot leaves its region.
            request["SourceRegion"] = from_region
        with explained(f"copy the snapshot {original.identifier}", self.access):
            if self.kind == "instance":
                answer = self.client.copy_db_snapshot(**request)
            else:
                answer = self.client.copy_db_cluster_snapshot(**request)
        return _begun(self.kind, answer[name], tags)

    def shared_with(self, identifier: str) -> frozenset[str]:
        """Return the accounts that may restore and copy a snapshot; `all` among them means that it is public."""
        with explained(f"look at who may use the snapshot {identifier}", self.access):
            if self.kind == "instance":
                answer = self.client.describe_db_snapshot_attributes(DBSnapshotIdentifier=identifier)
                found = answer["DBSnapshotAttributesResult"]["DBSnapshotAttributes"]
            else:
                answer = self.client.describe_db_cluster_snapshot_attributes(DBClusterSnapshotIdentifier=identifier)
                found = answer["DBClusterSnapshotAttributesResult"]["DBClusterSnapshotAttributes"]
        values = [one.get("AttributeValues", ()) for one in found if one["AttributeName"] == "restore"]
        return frozenset(account for accounts in values for account in accounts)

    def share_snapshot(self, identifier: str, accounts: tuple[str, ...]) -> None:
        """Let other accounts restore and copy a snapshot; those that already may are left alone."""
        with explained(f"share the snapshot {identifier}", self.access):
            if self.kind == "instance":
                self.client.modify_db_snapshot_attribute(
                    DBSnapshotIdentifier=identifier, AttributeName="restore", ValuesToAdd=list(accounts)
                )
            else:
                self.client.modify_db_cluster_snapshot_attribute(
                    DBClusterSnapshotIdentifier=identifier, AttributeName="restore", ValuesToAdd=list(accounts)
                )

    def tag(self, arn: str, tags: Tags) -> None:
        """Add tags to, or change them on, anything that RDS has."""
        with explained(f"tag {arn}", self.access):
            self.client.add_tags_to_resource(ResourceName=arn, Tags=_as_list(tags))

    def delete_snapshot(self, identifier: str) -> None:
        """Delete a snapshot; one that is gone already is no error."""
        try:
            with explained(f"delete the snapshot {identifier}", self.access):
                if self.kind == "instance":
                    self.client.delete_db_snapshot(DBSnapshotIdentifier=identifier)
                else:
                    self.client.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=identifier)
        except Missing:
            return


#: After every moment that a snapshot can have.
_NOT_YET = datetime.max.replace(tzinfo=UTC)


def api_of(access: Access, rds: RdsSettings) -> RdsApi:
    """Return how the source of a database is reached."""
    return RdsApi(access, "instance" if rds.instance else "cluster")


def _as_list(tags: Tags) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("TagList", ())}


def _source(kind: Kind, raw: Mapping[str, Any], earliest: datetime | None) -> Source:
    endpoint = raw.get("Endpoint")
    subnet_group = raw.get("DBSubnetGroup")
    return Source(
        kind=kind,
        identifier=raw[f"{_SOURCE[kind]}Identifier"],
        arn=raw[f"{_SOURCE[kind]}Arn"],
        status=raw.get("DBInstanceStatus") or raw.get("Status") or "",
        engine=raw["Engine"],
        engine_version=raw.get("EngineVersion", ""),
        encrypted=bool(raw.get("StorageEncrypted")),
        kms_key_id=raw.get("KmsKeyId"),
        retention_days=int(raw.get("BackupRetentionPeriod") or 0),
        deletion_protection=bool(raw.get("DeletionProtection")),
        # An Aurora cluster is in several zones once it has a second member; Multi-AZ of RDS says so itself.
        multi_az=bool(raw.get("MultiAZ")),
        earliest_restorable=earliest,
        latest_restorable=raw.get("LatestRestorableTime"),
        host=endpoint.get("Address") if isinstance(endpoint, Mapping) else endpoint,
        port=endpoint.get("Port") if isinstance(endpoint, Mapping) else raw.get("Port"),
        subnet_group=subnet_group.get("DBSubnetGroupName") if isinstance(subnet_group, Mapping) else subnet_group,
        security_groups=tuple(group["VpcSecurityGroupId"] for group in raw.get("VpcSecurityGroups", ())),
        raw=raw,
    )


def _begun(kind: Kind, raw: Mapping[str, Any], tags: Tags) -> Snapshot:
    """Return what was asked for a moment ago with ``tags``, which RDS need not repeat in its answer."""
    return _snapshot(kind, {**raw, "TagList": raw.get("TagList") or _as_list(tags)})


def _snapshot(kind: Kind, raw: Mapping[str, Any]) -> Snapshot:
    name = _SNAPSHOT[kind]
    tags = _tags(raw)
    # Of a copy the plain time is that of copying; of clusters RDS says no other.
    taken_at = raw.get("OriginalSnapshotCreateTime") or moment_of(tags, TAKEN) or raw.get("SnapshotCreateTime")
    return Snapshot(
        kind=kind,
        identifier=raw[f"{name}Identifier"],
        arn=raw[f"{name}Arn"],
        source=raw[f"{_SOURCE[kind]}Identifier"],
        status=raw["Status"],
        taken_at=taken_at.astimezone(UTC) if taken_at else None,
        encrypted=bool(raw.get("Encrypted", raw.get("StorageEncrypted"))),
        kms_key_id=raw.get("KmsKeyId"),
        size_gib=int(raw.get("AllocatedStorage") or 0),
        copy_of=raw.get(f"Source{name}Identifier") or raw.get(f"Source{name}Arn"),
        tags=tags,
        raw=raw,
    )
