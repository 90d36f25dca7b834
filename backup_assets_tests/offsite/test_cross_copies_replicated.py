"""A bucket that replicates itself: nothing is copied, and what arrived is proven.

moto keeps the rule and the objects; the replication itself, and the status that S3 shows of it, are done here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backup_assets.errors import CheckFailed, TransientFault
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import client_of
from backup_assets_tests.offsite.copying import hold, local_set
from backup_assets_tests.offsite.cross_copying import (
    bucket,
    content_in,
    cross_copied,
    hold_in,
    states_in,
    tokyo_and_osaka,
)
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest

RULES = {
    "Role": "arn:aws:iam::111122223333:role/replication",
    "Rules": [
        {
            "ID": "to-osaka",
            "Priority": 1,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "DeleteMarkerReplication": {"Status": "Disabled"},
            "Destination": {},
        }
    ],
}
Status = Callable[[str | None], None]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A bucket in Tokyo with a rule that replicates everything to the one in Osaka."""
    stores: list[StoreSettings] = []
    for name, region in (("tokyo", "ap-northeast-1"), ("osaka", "ap-northeast-3")):
        made = f"{name}-{uuid.uuid4().hex[:8]}"
        client = boto3.client("s3", region_name=region)
        client.create_bucket(Bucket=made, CreateBucketConfiguration={"LocationConstraint": region})
        client.put_bucket_versioning(Bucket=made, VersioningConfiguration={"Status": "Enabled"})
        origin = "tokyo" if name == "osaka" else None
        stores.append(
            StoreSettings(name=name, kind="s3", bucket=made, region=region, sse_s3="AES256", copied_from=origin)
        )
    tokyo, osaka = stores
    rules: dict[str, Any] = {**RULES, "Rules": [{**RULES["Rules"][0], "Destination": {"Bucket": arn(osaka)}}]}
    boto3.client("s3", region_name=tokyo.region).put_bucket_replication(
        Bucket=tokyo.bucket, ReplicationConfiguration=rules
    )
    return tokyo_and_osaka(tmp_path, tokyo, osaka)


def arn(store: StoreSettings) -> str:
    return f"arn:aws:s3:::{store.bucket}"


@pytest.fixture
def a_set(settings: Settings) -> Manifest:
    manifest = a_manifest()
    hold(settings, manifest)
    hold_in(bucket(settings, "tokyo"), manifest)
    return manifest


@pytest.fixture
def status(settings: Settings) -> Iterator[Status]:
    """Return a function that decides which replication status S3 shows of the objects in Tokyo."""
    shown: list[str | None] = [None]
    events = client_of(bucket(settings, "tokyo").location).meta.events

    def after(parsed: dict[str, Any], **_: object) -> None:
        if shown[-1]:
            parsed["ReplicationStatus"] = shown[-1]

    events.register("after-call.s3.HeadObject", after)
    yield shown.append
    events.unregister("after-call.s3.HeadObject", after)


def replicate(settings: Settings, but: str = "/nothing/") -> None:
    """Do what the bucket's rule does, except for keys with ``but`` in them."""
    osaka: S3Store = bucket(settings, "osaka")
    for key, content in content_in(bucket(settings, "tokyo")).items():
        if but not in key:
            boto3.client("s3", region_name=osaka.location.region).put_object(
                Bucket=osaka.location.bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256",
                **osaka.location.encryption(),
            )  # fmt: skip


def test_a_set_that_arrived_is_proven_and_on_record(settings: Settings, a_set: Manifest, status: Status) -> None:
    replicate(settings)
    status("COMPLETED")
    lines: list[str] = []

    outcome = cross_copied(settings, log=lines.append)[a_set.id]

    assert (outcome.state, outcome.sent_bytes, outcome.size_bytes) == ("present", 0, a_set.size_bytes)
    assert "to-osaka" in lines[0]
    assert set(local_set(settings, a_set).copies) == {"osaka"}


@pytest.mark.parametrize("part", ["/db/", "/assets/", "/meta/"])
def test_a_set_that_has_not_arrived_is_waited_for_and_nothing_is_copied(
    settings: Settings, a_set: Manifest, status: Status, part: str
) -> None:
    replicate(settings, but=part)
    status("PENDING")
    before = content_in(bucket(settings, "osaka"))

    with pytest.raises(TransientFault, match="has not arrived in") as fault:
        cross_copied(settings)

    stored = next(one for one in bucket(settings, "tokyo").list("") if part in one.key)
    assert f"pending since {stored.stored_at:%Y-%m-%d %H:%M:%S} UTC" in fault.value.why
    assert content_in(bucket(settings, "osaka")) == before
    assert local_set(settings, a_set).copies == {}

    replicate(settings)
    assert cross_copied(settings)[a_set.id].state == "present"


def test_a_differential_waits_as_long_as_its_full_set(settings: Settings, status: Status) -> None:
    full = a_manifest(NOW - timedelta(days=7), run="f" * 8)
    differential = a_manifest(full_set=full.id)
    hold_in(bucket(settings, "tokyo"), full, differential)
    replicate(settings, but=full.id)
    status("PENDING")

    with pytest.raises(TransientFault, match=full.id):
        cross_copied(settings)


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("FAILED", "the bucket could not replicate"),
        (None, "will not be replicated there"),
        ("COMPLETED", "although it was replicated"),
    ],
)
def test_a_set_that_will_not_arrive_is_a_failure_that_no_waiting_mends(
    settings: Settings, a_set: Manifest, status: Status, shown: str | None, told: str
) -> None:
    replicate(settings, but="/db/")
    status(shown)

    outcome = cross_copied(settings)[a_set.id]

    assert outcome.state == "failed"
    assert isinstance(outcome.error, CheckFailed)
    assert told in outcome.error.what
    assert "S3 Batch Replication" in outcome.error.remedy
    assert local_set(settings, a_set).copies == {}


def test_a_failure_beside_one_that_waits_is_told_at_once(settings: Settings, a_set: Manifest, status: Status) -> None:
    missing = a_manifest(NOW + timedelta(hours=1))
    hold(settings, missing)
    status("PENDING")

    outcome = cross_copied(settings)

    assert {set_id: one.state for set_id, one in outcome.items()} == {a_set.id: "failed", missing.id: "failed"}


def test_a_replica_with_other_content_is_never_taken_for_the_set(
    settings: Settings, a_set: Manifest, status: Status
) -> None:
    replicate(settings)
    status("COMPLETED")
    dump = a_set.artifact("dump")
    assert dump is not None
    osaka = bucket(settings, "osaka").location
    boto3.client("s3").put_object(
        Bucket=osaka.bucket, Key=ERP4.key(dump.name), Body=b"?" * dump.size_bytes, ServerSideEncryption="AES256"
    )

    outcome = cross_copied(settings)[a_set.id]

    assert outcome.state == "failed"
    assert "with other content" in str(outcome.error)


def test_without_the_rule_the_same_buckets_are_copied(settings: Settings, a_set: Manifest) -> None:
    tokyo = bucket(settings, "tokyo").location
    boto3.client("s3").delete_bucket_replication(Bucket=tokyo.bucket)

    assert cross_copied(settings)[a_set.id].state == "copied"

    assert states_in(bucket(settings, "osaka")) == {a_set.id: "complete"}
