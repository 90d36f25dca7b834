"""Which buckets belong to the plan, and how a missing one is made."""

from __future__ import annotations

from pathlib import Path

from backup_assets.aws.provision.buckets import StorePlan, apply_store, plan_stores
from backup_assets.settings_stores import ObjectLockSettings, StoreSettings
from backup_assets_tests.aws.conftest import TOKYO, PretendedAws
from backup_assets_tests.aws.provision.conftest import settings_of

BUCKET = "erp4-tokyo"


def store(aws: PretendedAws, name: str = "tokyo", **changes: object) -> StoreSettings:
    given = {
        "name": name,
        "kind": "s3",
        "bucket": BUCKET,
        "region": TOKYO,
        "endpoint_url": aws.endpoint_url,
        "addressing_style": "path",
        "sse_s3": "AES256",
    }
    return StoreSettings(**{**given, **changes})  # type: ignore[arg-type]


def planned(aws: PretendedAws, tmp_path: Path, *stores: StoreSettings) -> list[StorePlan]:
    return list(plan_stores(settings_of(aws, tmp_path, stores=stores)))


def test_buckets_of_other_services_are_no_matter_of_aws(aws: PretendedAws, tmp_path: Path) -> None:
    elsewhere = store(aws, "elsewhere", endpoint_url="https://s3.example.com")
    folder = StoreSettings(name="disk", kind="folder", directory=tmp_path)

    assert [one.name for one in planned(aws, tmp_path, elsewhere, folder, store(aws))] == ["tokyo"]


def test_a_missing_bucket_is_made_as_bucket_apply_makes_it_once(aws: PretendedAws, tmp_path: Path) -> None:
    locked = store(aws, object_lock=ObjectLockSettings(mode="GOVERNANCE"))
    (plan,) = planned(aws, tmp_path, locked)
    assert {line.state for line in plan.lines} == {"to change"}
    assert plan.lines[0].wanted == "a bucket in ap-northeast-1 with Object Lock"

    done = list(apply_store(plan))
    assert [one.error for one in done if one.error] == []
    s3 = aws.client("s3")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]

    (after,) = planned(aws, tmp_path, locked)
    assert {line.state for line in after.lines} == {"as wanted"}


def test_a_bucket_that_exists_keeps_what_is_in_it(aws: PretendedAws, tmp_path: Path) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": TOKYO})
    s3.put_object(Bucket=BUCKET, Key="old", Body=b"kept")
    (plan,) = planned(aws, tmp_path, store(aws))
    assert "bucket" not in " ".join(line.name for line in plan.lines)

    list(apply_store(plan))
    assert s3.get_object(Bucket=BUCKET, Key="old")["Body"].read() == b"kept"
