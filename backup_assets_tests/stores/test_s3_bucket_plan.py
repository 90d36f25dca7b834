"""What is changed of a bucket: public access and refusals against moto, everything else on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.stores.s3_bucket_plan import Applied, BucketPlan, apply_plan, plan_bucket
from backup_assets.stores.s3_location import Credentials, ObjectLock, S3Location, client_of
from backup_assets.stores.s3_preflight import PUBLIC_ACCESS_BLOCKS, examine_bucket
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer

KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"
LOCATION = S3Location(
    "backups", "us-east-1", kms_key_id=KEY_ARN, retention_tags=True, credentials=Credentials("a", "b")
)
FOREIGN = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 1}}
LIFECYCLE = {f"lifecycle: {name}" for name in ("abandoned uploads", "old versions")}
CLASSES = {f"lifecycle: {name} sets" for name in ("daily", "weekly", "monthly")}


@pytest.fixture
def aws() -> Iterator[Any]:
    """Yield an administrator's client of a pretended AWS without any bucket."""
    with mock_aws():
        client_of.cache_clear()
        yield boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client_of.cache_clear()


def states(plan: BucketPlan) -> dict[str, str]:
    return {line.name: line.state for line in plan.lines}


def applied(location: S3Location, *, create: bool = False) -> list[Applied]:
    return list(apply_plan(plan_bucket(location), create=create))


# -- AWS -----------------------------------------------------------------------------------------------------------


def test_a_bare_bucket_is_made_safe_and_then_there_is_nothing_to_do(aws: Any) -> None:
    aws.create_bucket(Bucket="backups")
    plan = plan_bucket(LOCATION)
    assert {line.name for line in plan.changes} == {
        "versioning", "public access", "default encryption", *LIFECYCLE, *CLASSES,
    }  # fmt: skip

    done = list(apply_plan(plan))

    assert [(one.name, one.text) for one in done] == [
        (name, "changed") for name in ("versioning", "public access", "default encryption", "lifecycle")
    ]
    assert aws.get_bucket_versioning(Bucket="backups")["Status"] == "Enabled"
    again = plan_bucket(LOCATION)
    assert (again.changes, again.standing, list(apply_plan(again))) == ((), (), [])
    assert {one.level for one in examine_bucket(LOCATION) if one.name != "object lock"} == {"ok"}


def test_a_plan_changes_nothing(aws: Any) -> None:
    aws.create_bucket(Bucket="backups")

    assert plan_bucket(LOCATION) == plan_bucket(LOCATION)

    assert "Status" not in aws.get_bucket_versioning(Bucket="backups")


def test_a_missing_bucket_is_created_only_when_that_is_asked_for(aws: Any) -> None:
    plan = plan_bucket(LOCATION)
    assert not plan.exists
    with pytest.raises(Refused, match="does not exist"):
        list(apply_plan(plan))
    assert aws.list_buckets()["Buckets"] == []

    done = list(apply_plan(plan, create=True))

    assert done[0] == Applied("bucket", "created in us-east-1")
    assert plan_bucket(LOCATION).changes == ()


def test_a_created_bucket_is_in_its_region_and_has_the_configured_lock(aws: Any) -> None:
    location = replace(LOCATION, region="ap-northeast-1", object_lock=ObjectLock("GOVERNANCE", 14))

    applied(location, create=True)

    assert aws.get_bucket_location(Bucket="backups")["LocationConstraint"] == "ap-northeast-1"
    assert states(plan_bucket(location))["object lock"] == "as wanted"


def test_a_bucket_without_the_configured_lock_is_told_and_left(aws: Any) -> None:
    aws.create_bucket(Bucket="backups")
    location = replace(LOCATION, object_lock=ObjectLock("GOVERNANCE", 14))

    applied(location)

    (line,) = plan_bucket(location).standing
    assert (line.name, line.state) == ("object lock", "left")
    assert "new bucket" in line.remedy


@pytest.mark.parametrize(
    ("default", "location"),
    [
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "theirs"}, replace(LOCATION, kms_key_id=None, sse_s3=True)),
        ({"SSEAlgorithm": "aws:kms:dsse", "KMSMasterKeyID": "theirs"}, LOCATION),
    ],
)
def test_a_default_encryption_that_is_stricter_stays(aws: Any, default: dict[str, str], location: S3Location) -> None:
    aws.create_bucket(Bucket="backups")
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    aws.put_bucket_encryption(Bucket="backups", ServerSideEncryptionConfiguration=rules)

    applied(location)

    found = aws.get_bucket_encryption(Bucket="backups")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert found["ApplyServerSideEncryptionByDefault"] == default


def test_a_role_that_may_not_look_is_told_and_nothing_of_it_is_tried(objects: ObjectServer) -> None:
    bucket = objects.bucket()
    writer = objects.location(bucket, "writer")

    plan = plan_bucket(writer)

    assert {line.state for line in plan.lines} == {"not seen"}
    assert all("--profile" in line.remedy for line in plan.lines)
    assert list(apply_plan(plan)) == []


def test_a_change_that_is_refused_is_told_and_the_others_are_made(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.create_bucket(Bucket="backups")
    client = client_of(LOCATION)

    def refuse(**_: Any) -> None:
        answer = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "PutBucketVersioning")  # type: ignore[arg-type]

    client.meta.events.register("before-call.s3.PutBucketVersioning", refuse)

    done = {one.name: one for one in applied(LOCATION)}

    assert isinstance(done["versioning"].error, EnvironmentFault)
    assert "allow s3:PutBucketVersioning" in done["versioning"].error.remedy
    assert [one.name for one in done.values() if one.error is None] == [
        "public access", "default encryption", "lifecycle",
    ]  # fmt: skip
    assert states(plan_bucket(LOCATION))["versioning"] == "to change"


# -- a real server -------------------------------------------------------------------------------------------------


def test_on_a_real_server_what_it_knows_is_changed_and_what_it_does_not_know_is_said(objects: ObjectServer) -> None:
    location = objects.location(objects.bucket(), prefix="offsite", kms_key_id=KMS_KEY, retention_tags=True)
    objects.client().put_bucket_lifecycle_configuration(
        Bucket=location.bucket, LifecycleConfiguration={"Rules": [FOREIGN]}
    )

    done = applied(location)

    assert [(one.name, one.error) for one in done] == [
        ("versioning", None), ("default encryption", None), ("lifecycle", None),
    ]  # fmt: skip
    again = plan_bucket(location)
    assert {name for name, state in states(again).items() if state == "as wanted"} == {
        "versioning", "default encryption", "object lock", *LIFECYCLE, *CLASSES,
    }  # fmt: skip
    assert [(line.name, line.state) for line in again.standing] == [("public access", "unknown")]
    assert list(apply_plan(again)) == []
    rules = objects.client().get_bucket_lifecycle_configuration(Bucket=location.bucket)["Rules"]
    assert FOREIGN in rules
    assert len(rules) == 6


def test_on_a_real_server_a_bucket_is_created_with_a_lock(objects: ObjectServer) -> None:
    location = replace(
        objects.location(objects.bucket()), bucket="made-by-apply", object_lock=ObjectLock("COMPLIANCE", 1)
    )

    applied(location, create=True)

    assert {line.name for line in plan_bucket(location).standing} == {"public access"}
    assert states(plan_bucket(location))["object lock"] == "as wanted"


def test_a_rule_that_was_lengthened_on_the_server_survives(objects: ObjectServer) -> None:
    location = objects.location(objects.bucket(), retention_tags=True)
    applied(location)
    client = objects.client()
    rules = client.get_bucket_lifecycle_configuration(Bucket=location.bucket)["Rules"]
    for rule in rules:
        if "daily" in rule["ID"]:
            rule["Expiration"]["Days"] = 90
    client.put_bucket_lifecycle_configuration(Bucket=location.bucket, LifecycleConfiguration={"Rules": rules[1:]})

    applied(location)

    found = client.get_bucket_lifecycle_configuration(Bucket=location.bucket)["Rules"]
    assert sorted(rule["ID"] for rule in found) == sorted(rule["ID"] for rule in rules)
    assert [rule["Expiration"]["Days"] for rule in found if "daily" in rule["ID"]] == [90]


def test_a_server_that_does_not_answer_is_one_clear_error() -> None:
    location = S3Location(
        "backups",
        "us-east-1",
        sse_s3=True,
        endpoint_url="http://127.0.0.1:9",
        attempts=1,
        credentials=Credentials("a", "b"),
    )
    with pytest.raises(EnvironmentFault, match="cannot be reached"):
        plan_bucket(location)


def test_every_way_of_public_access_is_blocked(aws: Any) -> None:
    aws.create_bucket(Bucket="backups")
    blocks = {**dict.fromkeys(PUBLIC_ACCESS_BLOCKS, True), "BlockPublicPolicy": False}
    aws.put_public_access_block(Bucket="backups", PublicAccessBlockConfiguration=blocks)
    assert "BlockPublicPolicy" in next(one.found for one in plan_bucket(LOCATION).lines if one.name == "public access")

    applied(LOCATION)

    found = aws.get_public_access_block(Bucket="backups")["PublicAccessBlockConfiguration"]
    assert found == dict.fromkeys(PUBLIC_ACCESS_BLOCKS, True)
