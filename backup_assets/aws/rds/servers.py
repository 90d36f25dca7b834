"""Which servers has RDS restored for us in a region, and how are they made and removed?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backup_assets.aws.answers import Exists, Missing, explained
from backup_assets.aws.rds.api import Kind, RdsApi, Source
from backup_assets.aws.rds.choice import Choice
from backup_assets.aws.rds.server_names import is_made_by_us, is_named_as_ours, member_name, server_name
from backup_assets.aws.rds.tagging import DEADLINE, DRILL, ROLE, SLOT, STARTED, moment_of
from backup_assets.errors import Refused, SettingsError
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsServerSettings

#: In these RDS does nothing more by itself, and the server cannot be used:
#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html#Overview.DBInstance.Status
_BROKEN = {
    "failed",
    "restore-error",
    "storage-full",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "migration-failed",
    "cloning-failed",
    "stopped",
}

#: In these it can be connected to as well; RDS goes on with its storage for hours (the same page).
_USABLE = {"available", "storage-initialization", "storage-optimization"}


@dataclass(frozen=True)
class Member:
    """The instance of a cluster of Aurora."""

    identifier: str
    status: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RestoredServer:
    """An instance that was restored for us, or a cluster with the instance that was made in it."""

    kind: Kind
    region: str
    identifier: str
    arn: str
    status: str
    engine: str
    host: str | None
    port: int | None
    tags: Mapping[str, str]
    members: tuple[Member, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def role(self) -> str:
        """What it was made for: `drill` or `rebuild`."""
        return self.tags.get(ROLE, "")

    @property
    def slot(self) -> str:
        """The slot that it was made for."""
        return self.tags.get(SLOT, "")

    @property
    def started_at(self) -> datetime | None:
        """When it was asked for."""
        return moment_of(self.tags, STARTED)

    @property
    def deadline(self) -> datetime | None:
        """When it is over at the latest."""
        return moment_of(self.tags, DEADLINE)

    @property
    def is_concluded(self) -> bool:
        """Whether what it was made for has an outcome, so that nothing is left to do but its removal."""
        return DRILL in self.tags

    @property
    def is_going(self) -> bool:
        """Whether RDS is removing it."""
        return self.status == "deleting"

    @property
    def needs_member(self) -> bool:
        """Whether it is a cluster of Aurora that is there and has no instance yet; others bring their own."""
        return self.kind == "cluster" and is_aurora(self.engine) and self.status == "available" and not self.members

    @property
    def broken(self) -> str | None:
        """The state in which RDS has given it up, or None."""
        return next((one for one in self._states() if one in _BROKEN or one.startswith("incompatible-")), None)

    @property
    def is_ready(self) -> bool:
        """Whether it can be connected to."""
        return all(one in _USABLE for one in self._states()) and not self.needs_member

    def _states(self) -> Iterator[str]:
        yield self.status
        yield from (member.status for member in self.members)


def is_aurora(engine: str) -> bool:
    """Whether the instances of a cluster are made one by one."""
    return engine.startswith("aurora")


def restored_servers(api: RdsApi, database: DatabaseSettings, env: str) -> tuple[RestoredServer, ...]:
    """Return everything in a region that was restored for a database, also what is being removed."""
    return tuple(one for one in _servers(api) if is_made_by_us(one.identifier, one.tags, database, env))


def untagged_servers(api: RdsApi) -> tuple[RestoredServer, ...]:
    """Return everything in a region that is named as ours, and shows no tags: whose it is cannot be told."""
    return tuple(one for one in _servers(api) if not one.tags and is_named_as_ours(one.identifier))


def _servers(api: RdsApi) -> list[RestoredServer]:
    region = api.access.region
    with explained("look for servers that were restored", api.access):
        instances = [
            one for page in api.client.get_paginator("describe_db_instances").paginate() for one in page["DBInstances"]
        ]
        # Of both kinds: what was restored before a database moved from an instance to a cluster goes too.
        clusters = [
            one for page in api.client.get_paginator("describe_db_clusters").paginate() for one in page["DBClusters"]
        ]
    found = [_of_instance(one, region) for one in instances if not one.get("DBClusterIdentifier")]
    return [*found, *(_of_cluster(one, instances, region) for one in clusters)]


def _of_instance(raw: Mapping[str, Any], region: str) -> RestoredServer:
    endpoint = raw.get("Endpoint") or {}
    return RestoredServer(
        kind="instance",
        region=region,
        identifier=raw["DBInstanceIdentifier"],
        arn=raw["DBInstanceArn"],
        status=raw.get("DBInstanceStatus", ""),
        engine=raw.get("Engine", ""),
        host=endpoint.get("Address"),
        port=endpoint.get("Port"),
        tags=_tags(raw),
        raw=raw,
    )


def _of_cluster(raw: Mapping[str, Any], instances: list[dict[str, Any]], region: str) -> RestoredServer:
    name = raw["DBClusterIdentifier"]
    members = [
        Member(one["DBInstanceIdentifier"], one.get("DBInstanceStatus", ""), _tags(one))
        for one in instances
        if one.get("DBClusterIdentifier") == name
    ]
    return RestoredServer(
        kind="cluster",
        region=region,
        identifier=name,
        arn=raw["DBClusterArn"],
        status=raw.get("Status", ""),
        engine=raw.get("Engine", ""),
        host=raw.get("Endpoint"),
        port=raw.get("Port"),
        tags=_tags(raw),
        members=tuple(members),
        raw=raw,
    )


def _tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("TagList", ())}


# -- making ----------------------------------------------------------------------------------------------------------


def require_apart(source: Source, wanted: RdsServerSettings, choice: Choice, region: str) -> None:
    """Raise SettingsError when what is restored could be reached as the source is, or where nothing says how."""
    role = wanted.ROLE
    remedy = f"create a security group that lets in only this host, and name it in `rds.{role}.security_groups`"
    if not wanted.security_groups:
        raise SettingsError(
            f"the {role}'s instance has no security groups of its own",
            why="without any it gets the default one of its network, which others may use",
            remedy=remedy,
        )
    shared = sorted(set(wanted.security_groups) & set(source.security_groups))
    if shared:
        raise SettingsError(
            f"the {role}'s security groups are those of {source.identifier}: {', '.join(shared)}",
            why="whatever uses the live database could reach the restored one, and take it for that",
            remedy=remedy,
        )
    if choice.region != region and wanted.subnet_group is None:
        raise SettingsError(
            f"no subnet group is named for the {role} in {choice.region}",
            why=f"that of {source.identifier} is in {region}",
            remedy=f"create a DB subnet group there, and name it in `rds.{role}.subnet_group`",
        )


def restore(
    api: RdsApi,
    database: DatabaseSettings,
    env: str,
    slot: str,
    wanted: RdsServerSettings,
    *,
    source: Source,
    instance_class: str,
    choice: Choice,
    tags: Mapping[str, str],
) -> str:
    """Ask RDS of the choice's region to restore it, and return the name of what it makes.

    It bears its tags from the first moment. Raises Exists when a server of that name is there.
    """
    name = server_name(wanted.ROLE, database.name, env, slot)
    if name == source.identifier:
        raise Refused(f"the {wanted.ROLE}'s instance would be called like its source, {name}")
    request: dict[str, Any] = {
        "VpcSecurityGroupIds": list(wanted.security_groups),
        "DeletionProtection": False,
        "CopyTagsToSnapshot": False,
        "PubliclyAccessible": False,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }
    subnet_group = wanted.subnet_group or (source.subnet_group if choice.region == _region_of(source) else None)
    if subnet_group is not None:
        request["DBSubnetGroupName"] = subnet_group
    with explained(f"restore {choice.what} into {name}", api.access):
        if api.kind == "instance":
            _restore_instance(api.client, name, source, instance_class, choice, request)
        else:
            _restore_cluster(api.client, name, source, instance_class, choice, request)
    return name


def _restore_instance(
    client: Any, name: str, source: Source, instance_class: str, choice: Choice, request: dict[str, Any]
) -> None:
    # 0: no automated backups of what is gone in an hour.
    request |= {
        "DBInstanceClass": instance_class,
        "MultiAZ": False,
        "AutoMinorVersionUpgrade": False,
        "BackupRetentionPeriod": 0,
    }
    if choice.snapshot is not None:
        client.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=name, DBSnapshotIdentifier=choice.snapshot.identifier, **request
        )
    else:
        client.restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier=source.identifier,
            TargetDBInstanceIdentifier=name,
            RestoreTime=choice.shows,
            **request,
        )


def _restore_cluster(
    client: Any, name: str, source: Source, instance_class: str, choice: Choice, request: dict[str, Any]
) -> None:
    # A cluster always has automated backups, of one day at least.
    request |= {"BackupRetentionPeriod": 1}
    if is_aurora(source.engine):
        del request["PubliclyAccessible"]  # of Aurora the instances say it
        if instance_class == "db.serverless":
            scaling = source.raw.get("ServerlessV2ScalingConfiguration") or {}
            request["ServerlessV2ScalingConfiguration"] = {
                "MinCapacity": scaling.get("MinCapacity", 0.5),
                "MaxCapacity": scaling.get("MaxCapacity", 4.0),
            }
    else:
        request["DBClusterInstanceClass"] = instance_class
    if choice.snapshot is not None:
        client.restore_db_cluster_from_snapshot(
            DBClusterIdentifier=name, SnapshotIdentifier=choice.snapshot.identifier, Engine=source.engine, **request
        )
    else:
        client.restore_db_cluster_to_point_in_time(
            DBClusterIdentifier=name,
            SourceDBClusterIdentifier=source.identifier,
            RestoreToTime=choice.shows,
            **request,
        )


def make_member(api: RdsApi, cluster: RestoredServer, instance_class: str, tags: Mapping[str, str]) -> str:
    """Ask for the instance of a restored cluster of Aurora, and return its name; one that is there is left."""
    name = member_name(cluster.identifier)
    try:
        with explained(f"create the instance {name}", api.access):
            api.client.create_db_instance(
                DBInstanceIdentifier=name,
                DBClusterIdentifier=cluster.identifier,
                DBInstanceClass=instance_class,
                Engine=cluster.engine,
                PubliclyAccessible=False,
                AutoMinorVersionUpgrade=False,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
    except Exists:
        return name
    return name


def class_of(api: RdsApi, source: Source, wanted: RdsServerSettings) -> str:
    """Return the class that a restored instance has: the configured one, else that of the source."""
    if wanted.instance_class is not None:
        return wanted.instance_class
    own = source.raw.get("DBInstanceClass") or source.raw.get("DBClusterInstanceClass")
    if own:
        return str(own)
    with explained(f"look at the instances of {source.identifier}", api.access):
        filters = [{"Name": "db-cluster-id", "Values": [source.identifier]}]
        found = api.client.describe_db_instances(Filters=filters)["DBInstances"]
    if not found:
        raise SettingsError(
            f"the cluster {source.identifier} has no instance whose class the {wanted.ROLE} could take",
            remedy=f"name one in `rds.{wanted.ROLE}.instance_class`",
        )
    return str(found[0]["DBInstanceClass"])


# -- removing --------------------------------------------------------------------------------------------------------


def remove(api: RdsApi, server: RestoredServer, database: DatabaseSettings, env: str) -> None:
    """Ask RDS to delete what was restored, without a last snapshot; what is gone or going already is no error.

    Raises Refused for anything that was not restored for this database, Busy while RDS does not delete it in its
    present state, Denied and the others of `answers.explained`. A cluster goes with its instance.
    """
    if not is_made_by_us(server.identifier, server.tags, database, env):
        raise Refused(f"{server.identifier} was not restored for {database.name}: it is not deleted")
    for member in server.members:
        if is_aurora(server.engine) and is_made_by_us(member.identifier, member.tags, database, env):
            _delete_instance(api, member.identifier, member.status)
    if server.kind == "instance":
        _delete_instance(api, server.identifier, server.status)
    elif not server.is_going:
        try:
            with explained(f"delete the restored cluster {server.identifier}", api.access):
                api.client.delete_db_cluster(
                    DBClusterIdentifier=server.identifier, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
                )
        except Missing:
            return


def _delete_instance(api: RdsApi, identifier: str, status: str) -> None:
    if status == "deleting":
        return
    try:
        with explained(f"delete the restored instance {identifier}", api.access):
            api.client.delete_db_instance(
                DBInstanceIdentifier=identifier, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
            )
    except Missing:
        return


def _region_of(source: Source) -> str:
    return source.arn.split(":")[3]
