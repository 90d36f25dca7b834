from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backup_assets.aws.bundle import policies_of
from backup_assets.aws.scope import scopes_of
from backup_assets.aws.statements import LARGEST_BUCKET, LARGEST_KEY, LARGEST_MANAGED, LARGEST_TRUST, compact
from backup_assets.errors import Refused, SettingsError
from backup_assets_tests.aws.examples import (
    KEY_ID,
    OSAKA_KEY,
    TOKYO_KEY,
    account,
    named,
    osaka,
    policies_for,
    settings_of,
    tokyo,
)

#: What `backup-assets aws policies --output` writes for the examples: read a difference, then write them anew.
GOLDEN = Path(__file__).parent / "golden"
PEOPLE = {"restorer": ["alice"], "custodian": ["carol"], "administrator": ["dave"], "uploader": ["ec2.amazonaws.com"]}


def texts() -> dict[str, str]:
    made = policies_for(settings_of(tokyo(), osaka()), **PEOPLE)
    documents = {path: f"{json.dumps(policy, indent=2)}\n" for path, policy in made.documents.items()}
    return {**documents, "README.md": made.readme}


def test_the_documents_are_those_that_were_read_and_agreed_to() -> None:
    golden = {str(path.relative_to(GOLDEN)): path.read_text() for path in GOLDEN.rglob("*") if path.is_file()}
    assert texts() == golden


def test_every_document_is_as_short_as_aws_demands() -> None:
    limits = {"policies": LARGEST_MANAGED, "trust": LARGEST_TRUST, "buckets": LARGEST_BUCKET, "keys": LARGEST_KEY}
    largest = settings_of(tokyo(), osaka(), databases=("erp4", "crm", "hr", "shop", "wiki"), encrypts=True)
    made = policies_for(largest, **PEOPLE).documents
    assert {path.partition("/")[0] for path in made} == {*limits}
    for path, policy in made.items():
        assert len(compact(policy)) <= limits[path.partition("/")[0]], path


def test_a_policy_that_would_be_too_long_is_refused_and_not_cut() -> None:
    many = tuple(f"database_number_{number}" for number in range(60))
    with pytest.raises(Refused, match="AWS allows 6144"):
        policies_for(settings_of(tokyo(), databases=many))


def test_stores_in_one_bucket_have_one_policy_of_it() -> None:
    made = policies_for(settings_of(tokyo(), tokyo(name="more", prefix="more"))).documents
    assert [path for path in made if path.startswith("buckets/")] == ["buckets/erp4-tokyo.json"]
    assert [path for path in made if path.startswith("keys/")] == [f"keys/ap-northeast-1-{KEY_ID}.json"]
    assert named(made["buckets/erp4-tokyo.json"], "OtherKey2")


def test_a_key_of_several_regions_has_a_policy_in_each() -> None:
    same_id = osaka(sse_kms_key_id=OSAKA_KEY.replace("mrk-", ""))
    made = policies_for(settings_of(tokyo(), same_id)).documents
    assert len([path for path in made if path.startswith("keys/")]) == 2


def test_one_store_alone_still_gets_the_whole_policy_of_its_key() -> None:
    scopes = scopes_of(settings_of(tokyo(), osaka()))
    made = policies_of(account(), scopes, {}, "tokyo").documents
    assert not any("osaka" in path for path in made)
    assert named(made[f"keys/ap-northeast-1-{KEY_ID}.json"], "CopyingFrom")["Principal"]["AWS"]
    assert "trust/copier.json" not in made


def test_a_store_without_a_kms_key_has_no_custodian() -> None:
    made = policies_for(settings_of(tokyo(sse_kms_key_id=None, sse_s3="AES256")))
    assert not any("custodian" in path or path.startswith("keys/") for path in made.documents)
    assert "create-grant" not in made.readme


@pytest.mark.parametrize("other", ["restorer", "administrator"])
def test_one_person_is_not_custodian_and_something_else(other: str) -> None:
    trusted: dict[str, Any] = {other: ["alice", "bob"], "custodian": ["bob"]}
    with pytest.raises(SettingsError, match=f"bob would be both {other} and custodian"):
        policies_for(settings_of(tokyo()), **trusted)


def test_trust_in_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is no role restorers"):
        policies_for(settings_of(tokyo()), restorers=["alice"])


def test_the_commands_name_every_document_and_no_other() -> None:
    made = policies_for(settings_of(tokyo(), osaka()), **PEOPLE)
    words = made.readme.split()
    named_files = {word.removeprefix("file://") for word in words if word.startswith("file://")}
    assert named_files - {"policies/FILE", "trust/FILE"} == {*made.documents}


def test_the_commands_ask_each_service_in_the_region_of_the_bucket() -> None:
    readme = policies_for(settings_of(tokyo(), osaka())).readme
    assert f"--region ap-northeast-1 --key-id {TOKYO_KEY}" in readme
    assert f"--region ap-northeast-3 --key-id {OSAKA_KEY}" in readme
    assert "put-bucket-policy --region ap-northeast-3 --bucket erp4-osaka" in readme
