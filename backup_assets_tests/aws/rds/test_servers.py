from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from backup_assets.aws.access import Access
from backup_assets.aws.answers import Busy
from backup_assets.aws.rds.api import RdsApi, Source
from backup_assets.aws.rds.choice import Choice
from backup_assets.aws.rds.server_names import server_name, server_tags
from backup_assets.aws.rds.servers import Member, RestoredServer, class_of, remove, restore
from backup_assets.errors import SettingsError
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsDrillSettings, RdsSettings
from backup_assets_tests.aws.conftest import TOKYO

ENV, MONTH = "production", "2026-11"
NAME = server_name("drill", "erp4", ENV, MONTH)
MOMENT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
DRILL = RdsDrillSettings(security_groups=("sg-1",))
DATABASE = DatabaseSettings(
    name="erp4",
    database="erp4",
    rds=RdsSettings(cluster="erp4-cluster", drill=DRILL),
)
TAGS = server_tags("drill", DATABASE, ENV, MONTH, MOMENT, MOMENT, {})
LISTED = [{"Key": key, "Value": value} for key, value in TAGS.items()]
CHOICE = Choice("the moment", TOKYO, MOMENT)


def a_source(engine: str, raw: dict[str, Any]) -> Source:
    return Source(
        kind="cluster",
        identifier="erp4-cluster",
        arn=f"arn:aws:rds:{TOKYO}:123456789012:cluster:erp4-cluster",
        status="available",
        engine=engine,
        engine_version="17.6",
        encrypted=True,
        kms_key_id=None,
        retention_days=14,
        deletion_protection=True,
        multi_az=True,
        earliest_restorable=None,
        latest_restorable=None,
        host=None,
        port=None,
        subnet_group="apart",
        security_groups=("sg-2",),
        raw=raw,
    )


def a_cluster(engine: str, status: str = "available", *members: Member) -> RestoredServer:
    arn = f"arn:aws:rds:{TOKYO}:123456789012:cluster:{NAME}"
    return RestoredServer("cluster", TOKYO, NAME, arn, status, engine, "host", 5432, TAGS, members)


def stubbed() -> tuple[RdsApi, Stubber]:
    """Return an RDS whose answers are written down: every request is held against the model of its operation."""
    api = RdsApi(Access(TOKYO), "cluster")
    client = boto3.client("rds", region_name=TOKYO, **KEYS)
    api.__dict__["client"] = client
    return api, Stubber(client)


def asked_of_a_cluster(**more: Any) -> dict[str, Any]:
    return {
        "DBClusterIdentifier": NAME,
        "SourceDBClusterIdentifier": "erp4-cluster",
        "RestoreToTime": MOMENT,
        "VpcSecurityGroupIds": ["sg-1"],
        "DBSubnetGroupName": "apart",
        "DeletionProtection": False,
        "CopyTagsToSnapshot": False,
        "BackupRetentionPeriod": 1,
        "Tags": LISTED,
        **more,
    }


@pytest.mark.parametrize(
    ("engine", "instance_class", "more"),
    [
        ("aurora-postgresql", "db.r6g.large", {}),
        (
            "aurora-postgresql",
            "db.serverless",
            {"ServerlessV2ScalingConfiguration": {"MinCapacity": 1.0, "MaxCapacity": 8.0}},
        ),
        ("postgres", "db.m6gd.large", {"DBClusterInstanceClass": "db.m6gd.large", "PubliclyAccessible": False}),
    ],
    ids=["aurora", "serverless", "multi-az"],
)
def test_each_kind_of_cluster_is_restored_as_rds_asks_for_it(
    engine: str, instance_class: str, more: dict[str, Any]
) -> None:
    api, stubber = stubbed()
    source = a_source(engine, {"ServerlessV2ScalingConfiguration": {"MinCapacity": 1.0, "MaxCapacity": 8.0}})
    stubber.add_response("restore_db_cluster_to_point_in_time", {}, asked_of_a_cluster(**more))
    with stubber:
        made = restore(
            api, DATABASE, ENV, MONTH, DRILL, source=source, instance_class=instance_class, choice=CHOICE, tags=TAGS
        )
        stubber.assert_no_pending_responses()
    assert made == NAME


def test_the_instances_of_a_multi_az_cluster_come_and_go_with_it() -> None:
    api, stubber = stubbed()
    members = (Member(f"{NAME}-instance-1", "available", {}), Member(f"{NAME}-instance-2", "available", {}))
    cluster = a_cluster("postgres", "available", *members)
    assert cluster.is_ready
    assert not a_cluster("postgres").needs_member
    asked = {"DBClusterIdentifier": NAME, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
    stubber.add_response("delete_db_cluster", {}, asked)
    with stubber:
        remove(api, cluster, DATABASE, ENV)
        stubber.assert_no_pending_responses()


def test_a_cluster_that_rds_does_not_delete_yet_is_busy_and_its_instance_is_gone_first() -> None:
    api, stubber = stubbed()
    cluster = a_cluster("aurora-postgresql", "available", Member(f"{NAME}-1", "available", TAGS))
    stubber.add_response("delete_db_instance", {})
    stubber.add_client_error("delete_db_cluster", "InvalidDBClusterStateFault", http_status_code=400)
    with stubber, pytest.raises(Busy):
        remove(api, cluster, DATABASE, ENV)
    stubber.assert_no_pending_responses()


def test_what_is_going_is_not_deleted_again() -> None:
    api, stubber = stubbed()
    cluster = a_cluster("aurora-postgresql", "deleting", Member(f"{NAME}-1", "deleting", TAGS))
    with stubber:
        remove(api, cluster, DATABASE, ENV)


@pytest.mark.parametrize("state", ["incompatible-parameters", "failed", "inaccessible-encryption-credentials"])
def test_a_member_that_rds_gives_up_breaks_its_cluster(state: str) -> None:
    cluster = a_cluster("aurora-postgresql", "available", Member(f"{NAME}-1", state, TAGS))
    assert cluster.broken == state
    assert not cluster.is_ready


def test_a_cluster_of_aurora_without_an_instance_is_not_ready() -> None:
    assert a_cluster("aurora-postgresql").needs_member
    assert not a_cluster("aurora-postgresql").is_ready
    assert not a_cluster("aurora-postgresql", "creating").needs_member


def test_a_cluster_whose_class_nobody_knows_needs_a_setting() -> None:
    api, stubber = stubbed()
    stubber.add_response("describe_db_instances", {"DBInstances": []})
    drill = RdsDrillSettings(security_groups=("sg-1",))
    with stubber, pytest.raises(SettingsError, match="no instance whose class") as raised:
        class_of(api, a_source("aurora-postgresql", {}), drill)
    assert "rds.drill.instance_class" in raised.value.remedy
