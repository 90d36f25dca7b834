from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from backup_assets.aws.access import Access
from backup_assets.aws.infrastructure.collect import Bucket, Wanted, collect, wanted_of
from backup_assets.aws.infrastructure.normalise import Hidden, rendered
from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.settings_aws import BackupPlanSettings, InfrastructureSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.aws.conftest import INSTANCE, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.infrastructure.estate import BUCKET, CANARY, FUNCTION, make_estate, settings_of


@dataclass(frozen=True)
class StubbedAccess(Access):
    """AWS of which some services answer what a test says."""

    stubbed: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False)

    def client(self, service: str) -> Any:
        return self.stubbed.get((service, self.region)) or super().client(service)


def a_stub(service: str, region: str = TOKYO) -> tuple[Any, Stubber]:
    client = boto3.client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    stub.activate()
    return client, stub


def test_the_sources_and_buckets_of_the_settings_are_wanted(tmp_path: Path, aws: PretendedAws) -> None:
    osaka = StoreSettings(name="osaka", kind="s3", bucket="copies", region=OSAKA, sse_s3="AES256")
    elsewhere = StoreSettings(name="minio", kind="s3", bucket="own", endpoint_url="https://minio", sse_s3="AES256")
    settings = settings_of(tmp_path, aws, osaka, elsewhere)
    plan = settings.aws.model_copy(update={"backup_plan": BackupPlanSettings()})
    settings = settings.model_copy(update={"aws": plan})

    wanted = wanted_of(settings, InfrastructureSettings(buckets=(BUCKET,)))

    assert wanted.sources == (("instance", INSTANCE),)
    assert set(wanted.buckets) == {Bucket("copies", OSAKA), Bucket(BUCKET, TOKYO)}
    assert wanted.vaults == ((TOKYO, "backup-assets"), (OSAKA, "backup-assets"))


def test_everything_around_an_instance_is_collected(tmp_path: Path, aws: PretendedAws) -> None:
    group = make_estate(aws)
    settings = settings_of(tmp_path, aws)

    found = collect(wanted_of(settings, settings.aws.infrastructure or InfrastructureSettings()), aws.access())

    assert found.not_captured == {}
    tree = rendered(found.tree, str)
    assert tree["rds"][INSTANCE]["BackupRetentionPeriod"] == 14
    assert tree["rds"][INSTANCE]["DeletionProtection"] is True
    assert tree["rds"][INSTANCE]["DBSubnetGroup"] == "erp4-subnets"
    assert not {"LatestRestorableTime", "InstanceCreateTime", "DBInstanceStatus"} & tree["rds"][INSTANCE].keys()
    assert tree["rds_parameter_groups"]["erp4-parameters"] == {"log_min_duration_statement": "1000"}
    assert tree["rds_subnet_groups"]["erp4-subnets"]["DBSubnetGroupDescription"] == "of erp4"
    (rule,) = tree["security_groups"][group]["IpPermissions"]
    assert rule["IpRanges"] == [{"CidrIp": "10.0.0.0/16"}]
    assert tree["lambda"][FUNCTION]["Environment"] == {"LOG_LEVEL": "info", "TOKEN": CANARY}
    assert isinstance(found.tree["lambda"][FUNCTION]["Environment"]["TOKEN"], Hidden)
    assert tree["buckets"][BUCKET]["versioning"] == "Enabled"
    assert tree["buckets"][BUCKET]["policy"] == "none"
    assert CANARY not in repr(found)


def test_what_rds_changes_by_itself_is_no_setting(aws: PretendedAws) -> None:
    raw = aws.make_instance()
    by_itself = [
        {"MasterUserSecret": {"SecretArn": "arn:aws:secretsmanager:x", "SecretStatus": "active"}},
        {
            "MasterUserSecret": {"SecretArn": "arn:aws:secretsmanager:x", "SecretStatus": "rotating"},
            "StorageOperationStatus": "initializing",
            "StorageOperationPercentProgress": 40,
            "PercentProgress": "40",
            "IsStorageConfigUpgradeAvailable": True,
        },
    ]
    client, stub = a_stub("rds")
    for changes in by_itself:
        stub.add_response("describe_db_instances", {"DBInstances": [{**raw, **changes, "DBParameterGroups": []}]})
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("rds", TOKYO): client})
    wanted = Wanted(sources=(("instance", INSTANCE),))

    first, second = (collect(wanted, access).tree["rds"][INSTANCE] for _ in by_itself)

    assert first == second
    assert first["MasterUserSecret"] == {"SecretArn": "arn:aws:secretsmanager:x"}


def test_two_looks_at_an_unchanged_estate_are_equal(tmp_path: Path, aws: PretendedAws) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)
    wanted = wanted_of(settings, settings.aws.infrastructure or InfrastructureSettings())

    first, second = (rendered(collect(wanted, aws.access()).tree, str) for _ in range(2))
    assert first == second


def test_a_cluster_is_collected_with_its_members(aws: PretendedAws, a_cluster_of_aurora: dict[str, Any]) -> None:
    found = collect(Wanted(sources=(("cluster", "erp4-cluster"),)), aws.access())

    # moto names a subnet group that it does not have.
    assert found.not_captured.keys() == {"rds_subnet_groups/default"}
    assert found.tree["rds_clusters"]["erp4-cluster"]["BackupRetentionPeriod"] == 14
    assert found.tree["rds"]["erp4-cluster-1"]["DBClusterIdentifier"] == "erp4-cluster"


def test_what_is_missing_is_named_and_the_rest_is_collected(aws: PretendedAws, an_instance: dict[str, Any]) -> None:
    wanted = Wanted(
        sources=(("instance", INSTANCE),),
        lambda_functions=("gone",),
        security_groups=("sg-0123456789abcdef0",),
        buckets=(Bucket("no-such-bucket", TOKYO),),
    )

    found = collect(wanted, aws.access())

    assert INSTANCE in found.tree["rds"]
    reasons = {"lambda/gone", "security_groups/sg-0123456789abcdef0", "buckets/no-such-bucket"}
    assert found.tree["not_captured"] == dict.fromkeys(reasons, "missing")
    assert found.not_captured["lambda/gone"].startswith("lambda/gone was not captured: could not look at the Lambda")


def test_what_is_denied_is_named_and_the_rest_is_collected(aws: PretendedAws, an_instance: dict[str, Any]) -> None:
    client, stub = a_stub("lambda")
    stub.add_client_error("get_function_configuration", "AccessDeniedException", "not authorized", 403)
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("lambda", TOKYO): client})

    found = collect(Wanted(sources=(("instance", INSTANCE),), lambda_functions=("mailer",)), access)

    assert found.tree["not_captured"] == {"lambda/mailer": "denied"}
    assert INSTANCE in found.tree["rds"]


def test_one_denied_setting_of_a_bucket_leaves_the_others(aws: PretendedAws) -> None:
    client, stub = a_stub("s3")
    stub.add_response("get_bucket_versioning", {"Status": "Enabled"})
    stub.add_client_error("get_bucket_lifecycle_configuration", "AccessDenied", "no", 403)
    stub.add_client_error("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError", "", 404)
    stub.add_client_error("get_bucket_replication", "ReplicationConfigurationNotFoundError", "", 404)
    stub.add_client_error("get_public_access_block", "NoSuchPublicAccessBlockConfiguration", "", 404)
    stub.add_response("get_bucket_policy", {"Policy": '{"Version": "2012-10-17", "Statement": []}'})
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("s3", TOKYO): client})

    found = collect(Wanted(buckets=(Bucket(BUCKET, TOKYO),)), access)

    assert found.tree["not_captured"] == {f"buckets/{BUCKET}/lifecycle": "denied"}
    assert found.tree["buckets"][BUCKET] == {
        "versioning": "Enabled",
        "encryption": "none",
        "replication": "none",
        "public_access": "none",
        "policy": {"Version": "2012-10-17"},
    }


def test_variables_that_lambda_cannot_decrypt_are_named(aws: PretendedAws) -> None:
    client, stub = a_stub("lambda")
    failed = {"ErrorCode": "AccessDeniedException", "Message": "Lambda was unable to decrypt"}
    answer = {"FunctionName": "mailer", "Timeout": 3, "Environment": {"Error": failed}}
    stub.add_response("get_function_configuration", answer)
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("lambda", TOKYO): client})

    found = collect(Wanted(lambda_functions=("mailer",)), access)

    assert found.tree["lambda"]["mailer"] == {"FunctionName": "mailer", "Timeout": 3}
    assert found.tree["not_captured"] == {"lambda/mailer/Environment": "denied"}


def test_plans_selections_and_vaults_of_aws_backup_are_collected(aws: PretendedAws) -> None:
    tokyo, stub = a_stub("backup")
    stub.add_response("list_backup_plans", {"BackupPlansList": [{"BackupPlanId": "1", "BackupPlanName": "erp4"}]})
    rule = {"RuleName": "often", "RuleId": "x", "TargetBackupVaultName": "v", "Lifecycle": {"DeleteAfterDays": 14}}
    stub.add_response("get_backup_plan", {"BackupPlan": {"BackupPlanName": "erp4", "Rules": [rule]}})
    stub.add_response(
        "list_backup_selections", {"BackupSelectionsList": [{"SelectionId": "s", "SelectionName": "sources"}]}
    )
    selection = {"SelectionName": "sources", "IamRoleArn": "role", "Resources": ["b", "a"]}
    stub.add_response("get_backup_selection", {"BackupSelection": selection})
    stub.add_response("describe_backup_vault", {"BackupVaultName": "v", "NumberOfRecoveryPoints": 7, "Locked": True})
    stub.add_client_error("get_backup_vault_access_policy", "ResourceNotFoundException", "none", 400)
    osaka, other = a_stub("backup", OSAKA)
    other.add_client_error("describe_backup_vault", "ResourceNotFoundException", "none", 400)
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("backup", TOKYO): tokyo, ("backup", OSAKA): osaka})

    found = collect(Wanted(vaults=((TOKYO, "v"), (OSAKA, "v")), backup_plans=True), access)

    plan = found.tree["backup_plans"]["erp4"]
    assert plan["Rules"]["often"]["Lifecycle"] == {"DeleteAfterDays": 14}
    assert plan["Selections"]["sources"]["Resources"] == ["a", "b"]
    assert found.tree["backup_vaults"] == {f"v@{TOKYO}": {"BackupVaultName": "v", "Locked": True}}
    assert found.tree["not_captured"] == {f"backup_vaults/v@{OSAKA}": "missing"}
    stub.assert_no_pending_responses()


def test_a_document_with_nothing_in_it_is_an_error(aws: PretendedAws) -> None:
    with pytest.raises(EnvironmentFault, match="nothing of the infrastructure could be read"):
        collect(Wanted(lambda_functions=("gone",)), aws.access())


def test_a_fault_that_passes_makes_no_document(aws: PretendedAws) -> None:
    client, stub = a_stub("lambda")
    stub.add_client_error("get_function_configuration", "TooManyRequestsException", "slow down", 429)
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("lambda", TOKYO): client})

    with pytest.raises(TransientFault, match="fewer requests"):
        collect(Wanted(lambda_functions=("mailer",)), access)
