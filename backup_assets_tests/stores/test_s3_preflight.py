"""What is found of a bucket: public access and KMS against moto, everything else also on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backup_assets.errors import EnvironmentFault
from backup_assets.stores.s3_location import Credentials, ObjectLock, S3Location, client_of
from backup_assets.stores.s3_preflight import Finding, examine_bucket
from backup_assets_tests.stores.object_server import ObjectServer

KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"
LOCATION = S3Location("backups", "us-east-1", kms_key_id=KEY_ARN, credentials=Credentials("a", "b"))
BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


@pytest.fixture
def aws() -> Iterator[Any]:
    """Yield an administrator's client of a pretended AWS with one bare bucket."""
    with mock_aws():
        client_of.cache_clear()
        client = boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        client.create_bucket(Bucket="backups")
        yield client
    client_of.cache_clear()


def set_up(client: Any, bucket: str, prefix: str = "") -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {
        "ID": "tidy",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": 400},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})


def levels(found: tuple[Finding, ...]) -> dict[str, str]:
    return {one.name: one.level for one in found}


def test_a_bare_bucket_fails_and_each_finding_says_what_to_do(aws: Any) -> None:
    found = examine_bucket(LOCATION)

    assert levels(found) == {
        "versioning": "fail",
        "public access": "fail",
        "encryption": "warn",
        "abandoned uploads": "warn",
        "expiry": "warn",
        "object lock": "warn",
    }
    assert all(one.remedy for one in found)


def test_a_bucket_that_is_set_up_well_is_found_so(aws: Any) -> None:
    set_up(aws, "backups")
    aws.put_public_access_block(Bucket="backups", PublicAccessBlockConfiguration=BLOCKED)
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY_ARN}}
    aws.put_bucket_encryption(Bucket="backups", ServerSideEncryptionConfiguration={"Rules": [default]})

    found = examine_bucket(LOCATION)

    assert {name for name, level in levels(found).items() if level != "ok"} == {"object lock"}


def test_one_open_door_and_another_key_are_found(aws: Any) -> None:
    aws.put_public_access_block(
        Bucket="backups", PublicAccessBlockConfiguration={**BLOCKED, "BlockPublicPolicy": False}
    )
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "another"}}
    aws.put_bucket_encryption(Bucket="backups", ServerSideEncryptionConfiguration={"Rules": [default]})

    found = {one.name: one for one in examine_bucket(LOCATION)}

    assert found["public access"].text == "not set: BlockPublicPolicy"
    assert found["encryption"].level == "warn"


def test_a_real_server_is_examined_and_what_it_does_not_know_is_said(objects: ObjectServer) -> None:
    bucket = objects.bucket(ObjectLockEnabledForBucket=True)
    set_up(objects.client(), bucket, "other/")
    location = objects.location(bucket, prefix="offsite", object_lock=ObjectLock("GOVERNANCE", 1))

    found = levels(examine_bucket(location))

    assert (found["versioning"], found["object lock"]) == ("ok", "ok")
    assert (found["public access"], found["abandoned uploads"]) == ("warn", "warn")


def test_a_role_that_may_not_examine_is_told_so(objects: ObjectServer) -> None:
    found = examine_bucket(objects.location(objects.bucket(), "writer"))

    assert set(levels(found).values()) == {"warn"}
    with pytest.raises(EnvironmentFault, match="does not exist"):
        examine_bucket(objects.location("no-such-bucket"))
