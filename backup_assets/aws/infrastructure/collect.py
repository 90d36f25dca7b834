"""What are the settings in AWS now, of everything that the backups depend on or that was named?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from botocore.exceptions import ClientError

from backup_assets.aws.access import Access
from backup_assets.aws.answers import Denied, KeyUnusable, Missing, explained
from backup_assets.aws.infrastructure.diff import NOT_CAPTURED
from backup_assets.aws.infrastructure.normalise import Hidden, hidden, normalised
from backup_assets.aws.scope import is_in_aws
from backup_assets.errors import EnvironmentFault
from backup_assets.settings import Settings
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.s3_errors import code_of

#: What of RDS changes by itself. A failover swaps the zones and the writer of a cluster.
_RDS = frozenset(
    {"DBInstanceStatus", "Status", "StatusInfos", "ParameterApplyStatus", "DBClusterParameterGroupStatus"}
    | {"SecondaryAvailabilityZone", "IsClusterWriter", "BacktrackConsumedChangeRecords", "SubnetStatus"}
    | {"SubnetGroupStatus", "DBClusterOptionGroupMemberships", "SecretStatus", "PercentProgress"}
    | {"StorageOperationStatus", "StorageOperationPercentProgress", "StorageVolumeStatus"}
    | {"IsStorageConfigUpgradeAvailable"}
)
#: What of Lambda is about the code, which has its own history, or about the state of the function.
_LAMBDA = frozenset(
    {"CodeSha256", "CodeSize", "LastModified", "RevisionId", "Version", "Environment"}
    | {"State", "StateReason", "StateReasonCode"}
    | {"LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode", "SnapStart", "RuntimeVersionConfig"}
)
_BACKUP = frozenset({"NumberOfRecoveryPoints", "VersionId", "AdvancedBackupSettings", "CreationDate"})
#: Codes of S3 and AWS Backup for what is not configured, which is a setting too.
_NONE = frozenset(
    {"NoSuchLifecycleConfiguration", "ServerSideEncryptionConfigurationNotFoundError", "NoSuchBucketPolicy"}
    | {"ReplicationConfigurationNotFoundError", "NoSuchPublicAccessBlockConfiguration"}
)


@dataclass(frozen=True)
class Bucket:
    """A bucket and its region."""

    name: str
    region: str


@dataclass(frozen=True)
class Wanted:
    """What is to be written down; ``sources`` are kinds and identifiers, ``vaults`` regions and names."""

    sources: tuple[tuple[Literal["instance", "cluster"], str], ...] = ()
    lambda_functions: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    vaults: tuple[tuple[str, str], ...] = ()
    backup_plans: bool = False


@dataclass(frozen=True)
class Collected:
    """The settings as a tree, which may hold Hidden values, and what could not be read with one sentence each."""

    tree: Mapping[str, Any] = field(repr=False)
    not_captured: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many resources there are."""
        return sum(len(section) for name, section in self.tree.items() if name != NOT_CAPTURED)


def wanted_of(settings: Settings, infrastructure: InfrastructureSettings) -> Wanted:
    """Return what is configured, with the sources of the databases and the buckets of the stores in AWS."""
    aws = settings.aws
    rds = [database.rds for database in settings.databases if database.rds is not None]
    stores = [store for store in settings.stores if store.kind == "s3" and _is_there(store, settings)]
    buckets = [
        *(Bucket(store.bucket or "", store.region) for store in stores),
        *(Bucket(name, aws.region) for name in infrastructure.buckets),
    ]
    plan = aws.backup_plan
    return Wanted(
        sources=tuple(("instance" if one.instance else "cluster", one.identifier) for one in rds),
        lambda_functions=infrastructure.lambda_functions,
        security_groups=infrastructure.security_groups,
        buckets=tuple({bucket.name: bucket for bucket in reversed(buckets)}.values()),
        vaults=((aws.region, plan.vault), (aws.second_region, plan.vault)) if plan else (),
        backup_plans=plan is not None,
    )


def _is_there(store: StoreSettings, settings: Settings) -> bool:
    return is_in_aws(store) or (store.endpoint_url is not None and store.endpoint_url == settings.aws.endpoint_url)


def collect(wanted: Wanted, access: Access) -> Collected:
    """Return the settings; what is missing or denied is named with its reason, and the rest is there.

    Raises EnvironmentFault when nothing at all could be read, and what `answers.explained` raises for faults that are
    about the connection or the credentials and not about one resource.
    """
    return _Collecting(wanted, access).collect()


class _Collecting:
    def __init__(self, wanted: Wanted, access: Access) -> None:
        self._wanted = wanted
        self._access = access
        self._tree: dict[str, dict[str, Any]] = {}
        self._reasons: dict[str, str] = {}
        self._sentences: dict[str, str] = {}
        self._groups: dict[str, set[str]] = {name: set() for name in _GROUPS}
        self._security_groups = set(wanted.security_groups)

    def collect(self) -> Collected:
        for kind, identifier in self._wanted.sources:
            self._source(kind, identifier)
        self._rds_groups()
        for group in sorted(self._security_groups):
            self._take("security_groups", group, partial(self._security_group, group))
        for name in self._wanted.lambda_functions:
            self._take("lambda", name, partial(self._function, name))
        if self._wanted.backup_plans:
            self._backup_plans()
        for region, name in self._wanted.vaults:
            self._take("backup_vaults", f"{name}@{region}", partial(self._vault, region, name))
        for bucket in self._wanted.buckets:
            self._bucket(bucket)
        if self._reasons and not self._tree:
            raise EnvironmentFault(
                "nothing of the infrastructure could be read",
                why="; ".join(self._sentences.values())[:2000],
                remedy="give the role of `aws.profile` the permissions of `infrastructure` (docs/aws.md)",
            )
        tree: dict[str, Any] = {name: dict(sorted(section.items())) for name, section in sorted(self._tree.items())}
        return Collected({**tree, NOT_CAPTURED: dict(sorted(self._reasons.items()))}, self._sentences)

    # -- one resource after the other --------------------------------------------------------------------------------

    def _take(self, section: str, name: str, read: Callable[[], Any]) -> Any:
        """Put what ``read`` returns into the document, or the reason why it cannot be read; return it, or None."""
        with self._named(f"{section}/{name}"):
            found = read()
            self._tree.setdefault(section, {})[name] = found
            return found

    @contextmanager
    def _named(self, path: str) -> Iterator[None]:
        try:
            yield
        except (Missing, Denied, KeyUnusable) as error:
            self._not_captured(path, _REASONS[type(error)], f"{path} was not captured: {error.what}")

    def _not_captured(self, path: str, reason: str, sentence: str) -> None:
        self._reasons[path] = reason
        self._sentences[path] = sentence

    def _source(self, kind: Literal["instance", "cluster"], identifier: str) -> None:
        if kind == "cluster":
            cluster = self._take("rds_clusters", identifier, partial(self._described_cluster, identifier))
            for member in (cluster or {}).get("DBClusterMembers", ()):
                self._source("instance", member["DBInstanceIdentifier"])
            return
        self._take("rds", identifier, partial(self._described_instance, identifier))

    def _described_instance(self, identifier: str) -> Any:
        with explained(f"look at the instance {identifier}", self._access):
            raw = self._rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        self._note("rds_parameter_groups", (one["DBParameterGroupName"] for one in raw.get("DBParameterGroups", ())))
        self._note("rds_option_groups", (one["OptionGroupName"] for one in raw.get("OptionGroupMemberships", ())))
        if subnets := raw.get("DBSubnetGroup", {}).get("DBSubnetGroupName"):
            self._note("rds_subnet_groups", [subnets])
        self._security_groups |= {one["VpcSecurityGroupId"] for one in raw.get("VpcSecurityGroups", ())}
        # The subnet group is written down once, as itself; where there are two zones, a failover swaps them.
        subnet = {"DBSubnetGroup": subnets} if subnets else {}
        without = {*_RDS, "DBSubnetGroup", *(("AvailabilityZone",) if raw.get("MultiAZ") else ())}
        return {**normalised(raw, without), **subnet}

    def _described_cluster(self, identifier: str) -> Any:
        with explained(f"look at the cluster {identifier}", self._access):
            raw = self._rds.describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        if group := raw.get("DBClusterParameterGroup"):
            self._note("rds_cluster_parameter_groups", [group])
        if subnets := raw.get("DBSubnetGroup"):
            self._note("rds_subnet_groups", [subnets])
        self._security_groups |= {one["VpcSecurityGroupId"] for one in raw.get("VpcSecurityGroups", ())}
        return normalised(raw, _RDS)

    def _note(self, section: str, names: Iterable[str]) -> None:
        # Default groups are AWS's own: nobody can change them, and the instance says which it uses.
        self._groups[section] |= {name for name in names if not name.startswith(("default.", "default:"))}

    def _rds_groups(self) -> None:
        for section, names in self._groups.items():
            for name in sorted(names):
                self._take(section, name, partial(self._group, section, name))

    def _group(self, section: str, name: str) -> Any:
        with explained(f"look at {name}", self._access):
            if section == "rds_parameter_groups":
                pages = self._rds.get_paginator("describe_db_parameters").paginate(
                    DBParameterGroupName=name, Source="user"
                )
                return _parameters(pages)
            if section == "rds_cluster_parameter_groups":
                pages = self._rds.get_paginator("describe_db_cluster_parameters").paginate(
                    DBClusterParameterGroupName=name, Source="user"
                )
                return _parameters(pages)
            if section == "rds_option_groups":
                return normalised(self._rds.describe_option_groups(OptionGroupName=name)["OptionGroupsList"][0], _RDS)
            answer = self._rds.describe_db_subnet_groups(DBSubnetGroupName=name)
            return normalised(answer["DBSubnetGroups"][0], _RDS)

    def _security_group(self, group: str) -> Any:
        with explained(f"look at the security group {group}", self._access):
            answer = self._access.client("ec2").describe_security_groups(GroupIds=[group])
        return normalised(answer["SecurityGroups"][0])

    def _function(self, name: str) -> Any:
        with explained(f"look at the Lambda function {name}", self._access):
            raw = self._access.client("lambda").get_function_configuration(FunctionName=name)
        environment = raw.get("Environment", {})
        if failed := environment.get("Error"):
            path = f"lambda/{name}/Environment"
            sentence = f"{path} was not captured: {failed.get('ErrorCode', '')}: {failed.get('Message', '')}"
            self._not_captured(path, "denied", sentence)
        variables: dict[str, Hidden] = hidden(environment.get("Variables", {}))
        return {**normalised(raw, _LAMBDA), **({"Environment": variables} if variables else {})}

    # -- AWS Backup --------------------------------------------------------------------------------------------------

    def _backup_plans(self) -> None:
        with self._named("backup_plans"):
            client = self._access.client("backup")
            with explained("list the plans of AWS Backup", self._access):
                pages = client.get_paginator("list_backup_plans").paginate()
                plans = [plan for page in pages for plan in page["BackupPlansList"]]
            for plan in sorted(plans, key=lambda plan: plan["BackupPlanName"]):
                self._take("backup_plans", plan["BackupPlanName"], partial(self._plan, client, plan["BackupPlanId"]))

    def _plan(self, client: Any, plan_id: str) -> Any:
        with explained(f"look at the backup plan {plan_id}", self._access):
            plan = client.get_backup_plan(BackupPlanId=plan_id)["BackupPlan"]
            pages = client.get_paginator("list_backup_selections").paginate(BackupPlanId=plan_id)
            selections = [one for page in pages for one in page["BackupSelectionsList"]]
            found = {
                one["SelectionName"]: normalised(
                    client.get_backup_selection(BackupPlanId=plan_id, SelectionId=one["SelectionId"])["BackupSelection"]
                )
                for one in selections
            }
        rules = {rule["RuleName"]: normalised(rule, {*_BACKUP, "RuleId"}) for rule in plan.get("Rules", ())}
        return {"BackupPlanName": plan["BackupPlanName"], "Rules": rules, "Selections": found}

    def _vault(self, region: str, name: str) -> Any:
        access = self._access.within(region)
        client = access.client("backup")
        with explained(f"look at the vault {name}", access):
            found = normalised(client.describe_backup_vault(BackupVaultName=name), _BACKUP)
        policy = None
        try:
            with explained(f"read the policy of the vault {name}", access):
                policy = client.get_backup_vault_access_policy(BackupVaultName=name).get("Policy")
        except Missing:
            policy = None  # a vault has none at first
        except Denied as error:
            path = f"backup_vaults/{name}@{region}/Policy"
            self._not_captured(path, "denied", f"{path} was not captured: {error.what}")
        return {**found, **({"Policy": normalised(json.loads(policy))} if policy else {})}

    # -- buckets -----------------------------------------------------------------------------------------------------

    def _bucket(self, bucket: Bucket) -> None:
        access = self._access.within(bucket.region)
        client = access.client("s3")
        for name, (operation, part) in _OF_BUCKETS.items():
            path = f"buckets/{bucket.name}"
            try:
                with explained(f"read {name} of the bucket {bucket.name}", access):
                    found = _part(client, operation, bucket.name, part)
                self._tree.setdefault("buckets", {}).setdefault(bucket.name, {})[name] = found
            except Missing as error:
                self._not_captured(path, "missing", f"{path} was not captured: {error.what}")
                return
            except (Denied, KeyUnusable) as error:
                path = f"{path}/{name}"
                self._not_captured(path, _REASONS[type(error)], f"{path} was not captured: {error.what}")

    @property
    def _rds(self) -> Any:
        return self._access.client("rds")


_REASONS: Mapping[type[EnvironmentFault], str] = {Missing: "missing", Denied: "denied", KeyUnusable: "key unusable"}
_GROUPS = (
    "rds_parameter_groups",
    "rds_cluster_parameter_groups",
    "rds_option_groups",
    "rds_subnet_groups",
)
#: Operations of S3 and the part of the answer that is the setting.
_OF_BUCKETS: Mapping[str, tuple[str, str]] = {
    "versioning": ("get_bucket_versioning", "Status"),
    "lifecycle": ("get_bucket_lifecycle_configuration", "Rules"),
    "encryption": ("get_bucket_encryption", "ServerSideEncryptionConfiguration"),
    "replication": ("get_bucket_replication", "ReplicationConfiguration"),
    "public_access": ("get_public_access_block", "PublicAccessBlockConfiguration"),
    "policy": ("get_bucket_policy", "Policy"),
}


def _part(client: Any, operation: str, bucket: str, part: str) -> Any:
    """Return a setting of a bucket, `none` where it is not configured."""
    try:
        found = getattr(client, operation)(Bucket=bucket).get(part)
    except ClientError as error:
        if code_of(error) in _NONE:
            return "none"
        raise
    if part == "Policy" and found:
        found = json.loads(found)
    return normalised(found) or "none"


def _parameters(pages: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        parameter["ParameterName"]: parameter.get("ParameterValue", "")
        for page in pages
        for parameter in page["Parameters"]
        # moto and older endpoints answer with all of them.
        if parameter.get("Source", "user") == "user"
    }
    return dict(sorted(found.items())) or {"(none)": "nothing is changed from the defaults"}
