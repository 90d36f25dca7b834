"""Which rule of a bucket counts; against the answers that AWS documents, because no test server replicates."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.stub import Stubber

from backup_assets.errors import EnvironmentFault
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_errors import AccessDenied
from backup_assets.stores.s3_location import Credentials, S3Location, client_of
from backup_assets.stores.s3_replication import replication_rule

ROOT = "erp4/prod"


def a_store(name: str, **fields: Any) -> S3Store:
    fields = {"prefix": "backups", "credentials": Credentials("key", "secret"), **fields}
    return S3Store(S3Location(f"{name}-{uuid.uuid4().hex[:8]}", "ap-northeast-1", sse_s3=True, **fields), name)


@pytest.fixture
def tokyo() -> S3Store:
    return a_store("tokyo")


@pytest.fixture
def osaka() -> S3Store:
    return a_store("osaka")


def rule_to(target: S3Store, **fields: Any) -> dict[str, Any]:
    destination = {"Bucket": f"arn:aws:s3:::{target.location.bucket}"}
    return {"ID": "to-osaka", "Status": "Enabled", "Filter": {}, "Destination": destination, **fields}


def found(source: S3Store, target: S3Store, *rules: dict[str, Any]) -> str | None:
    with Stubber(client_of(source.location)) as stubber:
        answer = {"ReplicationConfiguration": {"Role": "arn:aws:iam::111122223333:role/r", "Rules": [*rules]}}
        stubber.add_response("get_bucket_replication", answer, {"Bucket": source.location.bucket})
        return replication_rule(source, target, ROOT)


@pytest.mark.parametrize(
    "fields",
    [
        {"Filter": {}},
        {"Filter": {"Prefix": ""}},
        {"Filter": {"Prefix": "backups/"}},
        {"Filter": {"Prefix": "backups/erp4/prod/"}},
        {"Filter": {"And": {"Prefix": "backups/erp4"}}},
        {"Prefix": "backups"},
    ],
)
def test_a_rule_for_everything_below_our_place_counts(tokyo: S3Store, osaka: S3Store, fields: dict[str, Any]) -> None:
    assert found(tokyo, osaka, rule_to(osaka, **fields)) == "to-osaka"


@pytest.mark.parametrize(
    "fields",
    [
        {"Status": "Disabled"},
        {"Filter": {"Prefix": "logs/"}},
        {"Filter": {"Prefix": "backups/erp4/prod/db/"}},
        {"Filter": {"Prefix": "backups/erp4/production/"}},
        {"Filter": {"Tag": {"Key": "retention", "Value": "monthly"}}},
        {"Filter": {"And": {"Prefix": "backups/", "Tags": [{"Key": "retention", "Value": "monthly"}]}}},
        {"Destination": {"Bucket": "arn:aws:s3:::another"}},
    ],
)
def test_a_rule_that_leaves_some_of_our_objects_behind_does_not(
    tokyo: S3Store, osaka: S3Store, fields: dict[str, Any]
) -> None:
    assert found(tokyo, osaka, rule_to(osaka, **fields)) is None


def test_the_rule_that_counts_is_found_among_others(tokyo: S3Store, osaka: S3Store) -> None:
    other = rule_to(osaka, ID="logs", Filter={"Prefix": "logs/"})
    assert found(tokyo, osaka, other, rule_to(osaka)) == "to-osaka"


@pytest.mark.parametrize("fields", [{"prefix": "copy"}, {"endpoint_url": "http://127.0.0.1:9"}])
def test_replicas_have_the_same_keys_in_the_same_service(tokyo: S3Store, fields: dict[str, Any]) -> None:
    elsewhere = a_store("osaka", **fields)
    assert replication_rule(tokyo, elsewhere, ROOT) is None


@pytest.mark.parametrize("code", ["ReplicationConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"])
def test_a_bucket_without_replication_and_a_service_that_does_not_know_it_have_none(
    tokyo: S3Store, osaka: S3Store, code: str
) -> None:
    with Stubber(client_of(tokyo.location)) as stubber:
        stubber.add_client_error("get_bucket_replication", code, http_status_code=404)
        assert replication_rule(tokyo, osaka, ROOT) is None


def test_a_role_that_may_not_look_is_told_which_permission_it_takes(tokyo: S3Store, osaka: S3Store) -> None:
    with Stubber(client_of(tokyo.location)) as stubber:
        stubber.add_client_error("get_bucket_replication", "AccessDenied", http_status_code=403)
        with pytest.raises(AccessDenied) as denied:
            replication_rule(tokyo, osaka, ROOT)

    assert "s3:GetReplicationConfiguration" in denied.value.remedy


def test_any_other_answer_is_an_error_and_not_taken_for_none(tokyo: S3Store, osaka: S3Store) -> None:
    with Stubber(client_of(tokyo.location)) as stubber:
        stubber.add_client_error("get_bucket_replication", "NoSuchBucket", http_status_code=404)
        with pytest.raises(EnvironmentFault, match="the bucket does not exist"):
            replication_rule(tokyo, osaka, ROOT)
