"""The S3 store: the contract on a real server, and what only a bucket has."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_assets.errors import EnvironmentFault, Refused, SettingsError
from backup_assets.sets.catalog import Catalog
from backup_assets.stores.contract import ConflictingObject, Store, TransferDamaged
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_bucket_plan import apply_plan, plan_bucket
from backup_assets.stores.s3_errors import AccessDenied, is_denied
from backup_assets.stores.s3_location import MIB, ObjectLock, S3Location
from backup_assets.stores.s3_source import PartBody
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, put_set, sha256
from backup_assets_tests.stores.conformance import KEY, StoreConformance, keys, noise
from backup_assets_tests.stores.faulty import Fault, FaultyStore
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer

PUT = """
import json, pathlib, sys
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import Credentials, S3Location
given, key, source, digest, size = sys.argv[1:]
given = json.loads(given)
location = S3Location(**{**given, "tags": (), "credentials": Credentials(**given["credentials"])})
S3Store(location, "bucket").put(key, pathlib.Path(source), sha256=digest, size=int(size))
"""


def command_that_puts(store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
    assert isinstance(store, S3Store)
    return [sys.executable, "-c", PUT, json.dumps(asdict(store.location)), key, str(source), digest, str(size)]


class TestS3Conformance(StoreConformance):
    @pytest.fixture
    def store(self, objects: ObjectServer) -> Iterator[Store]:
        yield S3Store(objects.location(objects.bucket(), part_bytes=5 * MIB), "bucket")

    def command_that_puts(self, store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
        return command_that_puts(store, key, source, digest, size)


class TestS3WithKmsConformance(TestS3Conformance):
    """SSE-KMS with a key, below a prefix of the bucket."""

    @pytest.fixture
    def store(self, objects: ObjectServer) -> Iterator[Store]:
        bucket = objects.bucket()
        objects.client().put_object(Bucket=bucket, Key="offsite2/erp4/prod/db/neighbour", Body=b"x")
        yield S3Store(objects.location(bucket, kms_key_id=KMS_KEY, prefix="offsite", part_bytes=5 * MIB), "bucket")


@pytest.fixture
def bucket(objects: ObjectServer) -> str:
    return objects.bucket()


def a_store(objects: ObjectServer, bucket: str, identity: Any = "admin", **options: Any) -> S3Store:
    return S3Store(objects.location(bucket, identity, **{"part_bytes": 5 * MIB, **options}), "bucket")


# -- roles ---------------------------------------------------------------------------------------------------------


def test_a_role_that_may_not_write_is_told_which_permission_it_lacks(objects: ObjectServer, bucket: str) -> None:
    reader = a_store(objects, bucket, "reader")

    for attempt in (lambda: put(reader, KEY, b"x"), reader.check, lambda: put(reader, KEY, noise(6 * MIB))):
        with pytest.raises(AccessDenied) as caught:
            attempt()
        assert f"allow s3:PutObject on s3://{bucket}" in caught.value.remedy
        assert "secret-of" not in str(caught.value)


def test_a_role_that_may_not_lock_or_tag_is_told_which_permissions_that_takes(objects: ObjectServer) -> None:
    bucket = objects.bucket(ObjectLockEnabledForBucket=True)
    store = a_store(objects, bucket, "writer", object_lock=ObjectLock("GOVERNANCE", 1), retention_tags=True)

    for attempt in (lambda: put(store.with_retention("daily"), KEY, b"x"), store.check):
        with pytest.raises(AccessDenied) as caught:
            attempt()
        assert "allow s3:PutObject, s3:PutObjectRetention, s3:PutObjectTagging on" in caught.value.remedy


def test_a_role_that_may_not_read_is_told_which_permission_it_lacks(objects: ObjectServer, bucket: str) -> None:
    put(a_store(objects, bucket), KEY, b"x")
    writer = a_store(objects, bucket, "writer")

    with pytest.raises(AccessDenied, match="access denied") as caught, writer.open(KEY):
        pass

    assert f"allow s3:GetObject on s3://{bucket}/{KEY}" in caught.value.remedy
    with pytest.raises(AccessDenied):
        writer.delete(KEY)
    writer.check()


# -- what every object has -----------------------------------------------------------------------------------------


def test_an_object_bears_its_metadata_and_encryption(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket, kms_key_id=KMS_KEY).with_metadata({"env": "prod", "schema_version": "版 1%"})

    for key, content in ((KEY, b"content"), (KEY + "2", noise(6 * MIB))):
        put(store, key, content)
        head = objects.client().head_object(Bucket=bucket, Key=key)
        assert head["Metadata"]["sha256"] == sha256(content)
        assert (head["Metadata"]["env"], head["Metadata"]["schema-version"]) == ("prod", "%E7%89%88 1%25")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)


def test_a_bucket_without_configured_encryption_is_refused() -> None:
    with pytest.raises(Refused, match="no encryption is configured"):
        S3Location("backups", "ap-northeast-1")
    with pytest.raises(SettingsError, match="both set"):
        S3Location("backups", "ap-northeast-1", kms_key_id="k", sse_s3=True)
    S3Location("backups", "ap-northeast-1", allow_unencrypted=True)


@pytest.mark.parametrize("size", [7, 6 * MIB])
def test_a_locked_object_stays_although_its_key_is_deleted(objects: ObjectServer, size: int) -> None:
    bucket = objects.bucket(ObjectLockEnabledForBucket=True)
    store = a_store(objects, bucket, object_lock=ObjectLock("COMPLIANCE", 1))
    put(store, KEY, noise(size))

    store.delete(KEY)

    assert keys(store) == []
    versions = objects.client().list_object_versions(Bucket=bucket)["Versions"]
    assert [one["Size"] for one in versions] == [size]
    head = objects.client().head_object(Bucket=bucket, Key=KEY, VersionId=versions[0]["VersionId"])
    assert head["ObjectLockMode"] == "COMPLIANCE"


# -- the class of a set ------------------------------------------------------------------------------------------------

LOCK = ObjectLock("GOVERNANCE", 14, weekly_days=56, monthly_days=365)


def tags_of(objects: ObjectServer, bucket: str, key: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in objects.client().get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}


@pytest.mark.parametrize("size", [7, 6 * MIB])
@pytest.mark.parametrize(("retention", "days"), [("daily", 14), ("weekly", 56), ("monthly", 365)])
def test_an_object_bears_the_tag_and_the_lock_of_its_class(
    objects: ObjectServer, size: int, retention: Any, days: int
) -> None:
    bucket = objects.bucket(ObjectLockEnabledForBucket=True)
    store = a_store(objects, bucket, object_lock=LOCK, retention_tags=True).with_metadata({"env": "prod"})
    before = datetime.now(UTC)

    put(store.with_retention(retention), KEY, noise(size))

    assert tags_of(objects, bucket, KEY) == {"retention": retention}
    head = objects.client().head_object(Bucket=bucket, Key=KEY)
    locked = head["ObjectLockRetainUntilDate"] - before
    assert timedelta(days=days, seconds=-1) <= locked < timedelta(days=days, minutes=5)
    assert (head["ObjectLockMode"], head["Metadata"]["env"]) == ("GOVERNANCE", "prod")


def test_another_class_does_not_make_the_same_content_another_object(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket, retention_tags=True)
    first = put(store.with_retention("weekly"), KEY, b"content")

    assert put(store.with_retention("daily"), KEY, b"content") == first
    assert tags_of(objects, bucket, KEY) == {"retention": "weekly"}
    with pytest.raises(ConflictingObject):
        put(store.with_retention("weekly"), KEY, b"other")


def test_without_the_setting_no_object_is_tagged(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket)

    assert store.with_retention("monthly") is store


def test_whether_tags_may_be_put_is_found_out_before_the_first_set(objects: ObjectServer, bucket: str) -> None:
    seen: list[dict[str, Any]] = []
    store = a_store(objects, bucket, retention_tags=True, parallel_parts=2)
    store._client.meta.events.register("before-call.s3.CreateMultipartUpload", lambda params, **_: seen.append(params))

    store.check()

    assert [params["headers"]["x-amz-tagging"] for params in seen] == ["retention=daily"]


def test_a_lifecycle_rule_removes_what_has_its_tag_and_nothing_else(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket, retention_tags=True, prefix="offsite")
    for retention in ("daily", "weekly", "monthly"):
        put(store.with_retention(retention), f"erp4/prod/db/{retention}", b"content")
    put(store, "erp4/prod/db/none", b"content")
    put(a_store(objects, bucket, retention_tags=True).with_retention("daily"), "other/prod/db/x", b"content")
    list(apply_plan(plan_bucket(store.location)))
    client = objects.client()
    rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    objects.apply_lifecycle_rules()
    assert len(keys(store)) == 4  # nothing is 14 days old

    # A date that is past stands for 14 days that are over.
    for rule in rules:
        if rule["ID"] == "backup-assets: daily sets of offsite":
            rule["Expiration"] = {"Date": datetime(2026, 1, 1, tzinfo=UTC)}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    objects.apply_lifecycle_rules()

    assert keys(store) == [f"erp4/prod/db/{name}" for name in ("monthly", "none", "weekly")]
    assert keys(a_store(objects, bucket), "other") == ["other/prod/db/x"]


# -- stolen keys -----------------------------------------------------------------------------------------------------


def test_the_uploaders_keys_alone_read_and_remove_nothing_and_an_overwritten_object_comes_back(
    objects: ObjectServer,
) -> None:
    bucket = objects.bucket(ObjectLockEnabledForBucket=True)
    default = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 14}}
    objects.client().put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": default}
    )
    put(a_store(objects, bucket, "writer"), KEY, b"content")
    (stored,) = objects.client().list_object_versions(Bucket=bucket)["Versions"]
    thief, version = objects.client("writer"), {"Bucket": bucket, "Key": KEY, "VersionId": stored["VersionId"]}
    until = datetime.now(UTC) + timedelta(hours=1)

    for attempt in (
        lambda: thief.get_object(Bucket=bucket, Key=KEY),
        lambda: thief.get_object(**version),
        lambda: thief.copy_object(Bucket=bucket, Key="stolen", CopySource={"Bucket": bucket, "Key": KEY}),
        lambda: thief.delete_object(Bucket=bucket, Key=KEY),
        lambda: thief.delete_object(**version),
        lambda: thief.delete_object(**version, BypassGovernanceRetention=True),
        lambda: thief.put_object_retention(**version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}),
        lambda: thief.put_object_tagging(**version, Tagging={"TagSet": [{"Key": "retention", "Value": "daily"}]}),
        lambda: thief.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}),
        lambda: thief.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": []}),
        lambda: thief.delete_bucket_lifecycle(Bucket=bucket),
        lambda: thief.delete_bucket(Bucket=bucket),
    ):
        with pytest.raises(ClientError) as caught:
            attempt()
        assert is_denied(caught.value), caught.value

    removed = thief.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": KEY}]})
    assert [one["Code"] for one in removed["Errors"]] == ["AccessDenied"]
    # Whoever may store may store another version over it; ours is below it, locked, and can be read.
    thief.put_object(Bucket=bucket, Key=KEY, Body=b"garbage")
    assert objects.client("admin").get_object(**version)["Body"].read() == b"content"
    with pytest.raises(ClientError):
        objects.client("admin").delete_object(**version)


# -- proof ---------------------------------------------------------------------------------------------------------


def test_the_server_itself_refuses_what_was_damaged_on_the_way(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket)

    def damage(request: Any, **_: Any) -> None:
        if isinstance(request.data, PartBody):
            request.data = request.data.read()[:-1] + b"?"

    store._client.meta.events.register_first("before-sign.s3", damage)
    try:
        for content in (b"content", noise(6 * MIB)):
            with pytest.raises(TransferDamaged, match="damaged on its way"):
                put(store, KEY, content)
    finally:
        store._client.meta.events.unregister("before-sign.s3", damage)

    assert keys(store) == []
    assert "Uploads" not in objects.client().list_multipart_uploads(Bucket=bucket)


def test_part_sizes_keep_within_the_number_of_parts() -> None:
    location = S3Location("backups", "ap-northeast-1", sse_s3=True, max_parts=1000)

    for size in (0, 1, 16 * MIB, 16_000 * MIB, 16_000 * MIB + 1, 1 << 40):
        part_bytes = location.planned_part_bytes(size)
        assert part_bytes % MIB == 0
        assert -(-size // part_bytes) <= 1000
    with pytest.raises(Refused, match="too many"):
        location.planned_part_bytes(6 << 40)


# -- listing and faults --------------------------------------------------------------------------------------------


def test_a_listing_goes_on_after_its_first_page(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket)
    client = objects.client()
    for number in range(1005):
        client.put_object(Bucket=bucket, Key=f"erp4/prod/db/{number:04}", Body=b"")

    assert keys(store, "erp4/prod") == [f"erp4/prod/db/{number:04}" for number in range(1005)]


def test_what_somebody_else_keeps_there_is_no_object(objects: ObjectServer, bucket: str) -> None:
    for key in ("erp4/prod/db/", "erp4/prod/db/.hidden", "erp4/prod/db/x.partial"):
        objects.client().put_object(Bucket=bucket, Key=key, Body=b"")

    assert keys(a_store(objects, bucket)) == []


def test_a_set_whose_last_put_fails_is_no_set(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket)
    faulty = FaultyStore(store, Fault("put", "fail", part="manifest"))

    with pytest.raises(EnvironmentFault):
        put_set(faulty, a_manifest())

    assert Catalog(store, ERP4).sets() == []
    put_set(store, a_manifest())
    assert Catalog(store, ERP4).resolve().state == "complete"


def test_a_limited_upload_takes_its_time(objects: ObjectServer, bucket: str) -> None:
    def seconds(store: S3Store, key: str) -> float:
        begun = time.monotonic()
        put(store, key, noise(6 * MIB))
        return time.monotonic() - begun

    unlimited = seconds(a_store(objects, bucket), KEY)
    limited = seconds(a_store(objects, bucket, bandwidth_limit_bytes_per_second=4 * MIB), KEY + "2")

    # What takes eight times as long as it should, as with bits for bytes, is too slow beside an upload without a limit.
    assert 1.3 < limited < 8 + 10 * unlimited


def test_nothing_that_is_shown_holds_a_secret(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket)

    assert "secret-of" not in f"{store!r} {store.describe()} {store.location!r}"
    with pytest.raises(SettingsError) as caught:
        S3Location("backups", "ap-northeast-1", sse_s3=True, endpoint_url="http://me:hunter2@localhost:1")
    assert "hunter2" not in str(caught.value)
