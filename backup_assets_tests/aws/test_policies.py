from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backup_assets.aws.policies import (
    administrator_policy,
    copier_policy,
    custodian_policy,
    replicator_policy,
    restorer_policy,
    retention_policy,
    uploader_policy,
    verifier_policy,
)
from backup_assets.aws.scope import Scope
from backup_assets.settings_stores import ObjectLockSettings
from backup_assets_tests.aws.examples import (
    OSAKA_KEY,
    TOKYO_KEY,
    actions_of,
    denies,
    named,
    osaka,
    scope_of,
    statements_of,
    tokyo,
)

Policy = dict[str, Any]
ROLES: dict[str, Callable[[Scope], Policy]] = {
    "uploader": uploader_policy,
    "restorer": restorer_policy,
    "verifier": verifier_policy,
    "retention": retention_policy,
    "administrator": administrator_policy,
    "copier": lambda scope: copier_policy(scope, scope_of(osaka())),
}


def plain() -> Scope:
    """A bucket with SSE-S3, without tags and locks."""
    return scope_of(
        tokyo(sse_kms_key_id=None, sse_s3="AES256", sha256_tag=False, retention_tags=False, object_lock=None)
    )


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_remove_a_version_lift_a_lock_or_put_another_key_on_an_object(role: str) -> None:
    policy = ROLES[role](scope_of(tokyo()))
    for action in ("DeleteObjectVersion", "BypassGovernanceRetention", "PutObjectLegalHold", "UpdateObjectEncryption"):
        assert denies(policy, f"s3:{action}"), action


@pytest.mark.parametrize("role", sorted({*ROLES} - {"administrator"}))
def test_only_the_administrator_changes_the_bucket(role: str) -> None:
    policy = ROLES[role](scope_of(tokyo()))
    for action in ("PutBucketPolicy", "PutBucketVersioning", "PutLifecycleConfiguration", "DeleteBucketPolicy"):
        assert denies(policy, f"s3:{action}"), action
        assert not denies(administrator_policy(scope_of(tokyo())), "s3:PutBucketPolicy")


@pytest.mark.parametrize("role", sorted({*ROLES} - {"retention"}))
def test_only_the_retention_role_deletes(role: str) -> None:
    assert denies(ROLES[role](scope_of(tokyo())), "s3:DeleteObject")
    assert not denies(retention_policy(scope_of(tokyo())), "s3:DeleteObject")


def test_the_uploader_cannot_read_a_single_object() -> None:
    policy = uploader_policy(scope_of(tokyo()))
    assert denies(policy, "s3:GetObject")
    assert denies(policy, "s3:GetObjectVersion")


def test_the_uploader_uses_the_key_through_s3_for_this_bucket_only() -> None:
    key = named(uploader_policy(scope_of(tokyo())), "Key")
    assert key["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert key["Resource"] == [TOKYO_KEY]
    assert key["Condition"] == {
        "StringEquals": {"kms:ViaService": "s3.ap-northeast-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::erp4-tokyo", "arn:aws:s3:::erp4-tokyo/*"]},
    }


def test_an_upload_with_another_encryption_key_or_with_keys_of_the_caller_is_denied() -> None:
    policy = uploader_policy(scope_of(tokyo()))
    sse, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    assert named(policy, "OtherEncryption")["Condition"] == {
        "StringNotEquals": {sse: "aws:kms"},
        "Null": {sse: "false"},
    }
    assert named(policy, "OtherKey")["Condition"] == {"ArnNotEquals": {key: TOKYO_KEY}, "Null": {key: "false"}}
    assert named(policy, "KeysOfTheCaller")["Action"] == ["s3:PutObject"]
    for sid in ("OtherEncryption", "OtherKey", "KeysOfTheCaller", "Overwriting"):
        assert named(policy, sid)["Resource"] == ["arn:aws:s3:::erp4-tokyo/*"]


def test_with_the_keys_of_s3_no_other_encryption_is_accepted_and_no_key_is_named() -> None:
    policy = uploader_policy(plain())
    condition = named(policy, "OtherEncryption")["Condition"]
    assert condition["StringNotEquals"] == {"s3:x-amz-server-side-encryption": "AES256"}
    assert "kms" not in str(policy).replace("aws:kms", "")


def test_an_upload_that_would_replace_an_object_is_denied() -> None:
    assert named(uploader_policy(scope_of(tokyo())), "Overwriting")["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }


def test_old_tags_cannot_be_changed_and_without_tags_none_can_be_set() -> None:
    tagged = uploader_policy(scope_of(tokyo()))
    assert named(tagged, "Retagging")["Condition"] == {"Null": {"s3:ExistingObjectTag/retention": "false"}}
    only_sha256 = uploader_policy(scope_of(tokyo(retention_tags=False)))
    assert named(only_sha256, "Retagging")["Condition"] == {"Null": {"s3:ExistingObjectTag/sha256": "false"}}
    assert denies(uploader_policy(plain()), "s3:PutObjectTagging")
    assert "s3:GetObjectTagging" not in actions_of(uploader_policy(scope_of(tokyo(sha256_tag=False))), "Allow")


def test_locks_are_as_long_as_configured_and_not_longer() -> None:
    lock = ObjectLockSettings(mode="GOVERNANCE", daily_days=20, weekly_days=70, monthly_days=400)
    policy = uploader_policy(scope_of(tokyo(object_lock=lock)))
    days = "s3:object-lock-remaining-retention-days"
    assert named(policy, "ShortLocks")["Condition"] == {"NumericLessThan": {days: "19"}}
    assert named(policy, "LongLocks")["Condition"] == {"NumericGreaterThan": {days: "401"}}
    assert named(policy, "OtherLocks")["Condition"]["StringNotEquals"] == {"s3:object-lock-mode": "GOVERNANCE"}
    assert denies(uploader_policy(plain()), "s3:PutObjectRetention")


def test_the_restorer_has_no_use_of_the_key_and_is_not_denied_what_a_grant_gives() -> None:
    policy = restorer_policy(scope_of(tokyo()))
    assert "kms:" not in str(policy)
    assert denies(policy, "s3:PutObject")


def test_the_verifier_decrypts_by_itself_only_where_the_sets_are_encrypted_besides() -> None:
    assert "kms:Decrypt" in actions_of(verifier_policy(scope_of(tokyo(), encrypts=True)), "Allow")
    assert "kms:Decrypt" not in actions_of(verifier_policy(scope_of(tokyo())), "Allow")


def test_the_retention_role_reads_manifests_and_is_denied_artifacts() -> None:
    policy = retention_policy(scope_of(tokyo()))
    start = "arn:aws:s3:::erp4-tokyo/backups/erp4/production"
    assert named(policy, "Manifests")["Resource"] == [f"{start}/meta/*"]
    assert named(policy, "Artifacts")["Resource"] == [
        f"{start}/{folder}/*" for folder in ("db", "globals", "assets", "secrets")
    ]


def test_the_copier_reads_the_source_and_stores_in_the_target_only() -> None:
    policy = copier_policy(scope_of(tokyo()), scope_of(osaka()))
    assert named(policy, "Storing")["Resource"][0].startswith("arn:aws:s3:::erp4-osaka/")
    assert named(policy, "Source")["Resource"] == ["arn:aws:s3:::erp4-tokyo/backups/erp4/production/*"]
    assert named(policy, "SourceKey")["Resource"] == [TOKYO_KEY]
    assert named(policy, "SourceKey")["Action"] == ["kms:Decrypt"]
    assert named(policy, "Key")["Resource"] == [OSAKA_KEY]


def test_replication_does_not_carry_deletions_over() -> None:
    policy = replicator_policy(scope_of(tokyo()), scope_of(osaka()))
    assert not any("Delete" in action for action in actions_of(policy, "Allow"))


def test_the_custodian_cannot_use_the_key_or_see_an_object() -> None:
    policy = custodian_policy(scope_of(tokyo()))
    assert policy is not None
    assert denies(policy, "kms:Decrypt")
    assert denies(policy, "s3:GetObject")
    assert custodian_policy(plain()) is None


def test_the_administrator_cares_for_the_key_and_cannot_use_or_grant_it() -> None:
    policy = administrator_policy(scope_of(tokyo()))
    assert "kms:PutKeyPolicy" in actions_of(policy, "Allow")
    for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant", "s3:GetObject", "s3:PutObject"):
        assert denies(policy, action), action


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_allowed_outside_the_buckets_and_keys_of_the_settings(role: str) -> None:
    own = ("arn:aws:s3:::erp4-tokyo", "arn:aws:s3:::erp4-osaka", TOKYO_KEY, OSAKA_KEY)
    for one in statements_of(ROLES[role](scope_of(tokyo())), "Allow"):
        assert all(resource.startswith(own) for resource in one["Resource"])
        assert not any("*" in action for action in one["Action"])
