"""An estate in the pretended AWS: an instance with its groups, a function with a secret, and two buckets."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, InfrastructureSettings, RdsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.aws.conftest import INSTANCE, TOKYO, PretendedAws

#: Looked for wherever it must not be.
CANARY = "correct-horse-battery-staple"
FUNCTION = "erp4-mailer"
BUCKET = "erp4-backups"


def make_estate(aws: PretendedAws) -> str:
    """Make everything, and return the id of the instance's security group."""
    ec2, rds = aws.client("ec2"), aws.client("rds")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="erp4-db", Description="the database", VpcId=vpc)["GroupId"]
    open_port(aws, group, "10.0.0.0/16")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    rds.create_db_subnet_group(
        DBSubnetGroupName="erp4-subnets", DBSubnetGroupDescription="of erp4", SubnetIds=subnets[:2]
    )
    rds.create_db_parameter_group(
        DBParameterGroupName="erp4-parameters", DBParameterGroupFamily="postgres17", Description="of erp4"
    )
    set_parameter(aws, "log_min_duration_statement", "1000")
    aws.make_instance(
        DBSubnetGroupName="erp4-subnets",
        DBParameterGroupName="erp4-parameters",
        VpcSecurityGroupIds=[group],
    )
    make_function(aws, TOKEN=CANARY, LOG_LEVEL="info")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": TOKYO})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return group


def open_port(aws: PretendedAws, group: str, addresses: str) -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": addresses}]}
    aws.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])


def set_parameter(aws: PretendedAws, name: str, value: str) -> None:
    parameter = {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "immediate", "Source": "user"}
    aws.client("rds").modify_db_parameter_group(DBParameterGroupName="erp4-parameters", Parameters=[parameter])


def make_function(aws: PretendedAws, **variables: str) -> None:
    iam = aws.client("iam")
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
    role = iam.create_role(RoleName="mailer", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("main.py", "def handler(event, context): pass\n")
    aws.client("lambda").create_function(
        FunctionName=FUNCTION,
        Runtime="python3.11",
        Role=role,
        Handler="main.handler",
        Code={"ZipFile": content.getvalue()},
        Environment={"Variables": variables},
    )


def set_variables(aws: PretendedAws, **variables: str) -> None:
    aws.client("lambda").update_function_configuration(FunctionName=FUNCTION, Environment={"Variables": variables})


def settings_of(
    tmp_path: Path,
    aws: PretendedAws,
    *stores: StoreSettings,
    encryption: EncryptionSettings | None = None,
    **infrastructure: Any,
) -> Settings:
    wanted = {"lambda_functions": (FUNCTION,), "buckets": (BUCKET,), **infrastructure}
    database = DatabaseSettings(
        name="erp4",
        database="erp4",
        schedule=ScheduleSettings(timezone="UTC"),
        rds=RdsSettings(instance=INSTANCE),
    )
    return Settings(
        env="prod",
        backup_dir=tmp_path / "local",
        databases=(database,),
        stores=stores,
        encryption=encryption or EncryptionSettings(),
        aws=AwsSettings(endpoint_url=aws.endpoint_url, infrastructure=InfrastructureSettings(**wanted)),
    )
