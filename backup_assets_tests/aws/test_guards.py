from __future__ import annotations

import pytest

from backup_assets.aws.guards import bucket_policy, key_policy, trust_policy
from backup_assets.errors import SettingsError
from backup_assets_tests.aws.examples import (
    ACCOUNT,
    account,
    actions_of,
    denies,
    named,
    osaka,
    scope_of,
    statements_of,
    tokyo,
)

ROLE = f"arn:aws:iam::{ACCOUNT}:role/backup-"


def test_a_bucket_denies_and_never_allows() -> None:
    policy = bucket_policy(account(), [scope_of(tokyo())])
    assert list(statements_of(policy, "Allow")) == []
    assert all(one["Principal"] == "*" for one in policy["Statement"])


def test_a_bucket_refuses_what_is_not_encrypted_on_its_way_and_other_accounts() -> None:
    policy = bucket_policy(account(), [scope_of(tokyo())])
    assert named(policy, "WithoutTLS")["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert named(policy, "OtherAccounts")["Condition"] == {
        "StringNotEquals": {"aws:PrincipalAccount": ACCOUNT},
        # Somebody without any account has no such key, and is denied too.
        "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
    }


def test_a_bucket_lets_only_the_retention_role_delete_and_nobody_destroy() -> None:
    policy = bucket_policy(account(), [scope_of(tokyo())])
    assert named(policy, "Deleting")["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": f"{ROLE}retention"}}
    for action in ("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:UpdateObjectEncryption"):
        assert denies(policy, action)


def test_a_bucket_lets_only_the_administrator_change_it() -> None:
    one = named(bucket_policy(account(), [scope_of(tokyo())]), "Configuring")
    assert one["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": f"{ROLE}administrator"}}
    assert "s3:PutLifecycleConfiguration" in one["Action"]


def test_stores_that_share_a_bucket_demand_their_own_encryption_in_their_own_part() -> None:
    first = scope_of(tokyo())
    second = scope_of(tokyo(name="more", prefix="more", sse_kms_key_id=None, sse_s3="AES256"))
    policy = bucket_policy(account(), [first, second])
    sse = "s3:x-amz-server-side-encryption"
    assert named(policy, "OtherEncryption1")["Condition"]["StringNotEquals"] == {sse: "aws:kms"}
    assert named(policy, "OtherEncryption2")["Condition"]["StringNotEquals"] == {sse: "AES256"}
    assert all("/more/" in resource for resource in named(policy, "OtherEncryption2")["Resource"])


def test_only_the_custodian_gives_grants_and_only_to_the_restorer_for_decrypting() -> None:
    policy = key_policy(account(), [scope_of(tokyo(), encrypts=True)], [])
    granting = [one for one in statements_of(policy, "Allow") if "kms:CreateGrant" in one["Action"]]
    assert [one["Principal"] for one in granting] == [{"AWS": [f"{ROLE}custodian"]}]
    assert granting[0]["Condition"] == {
        "StringEquals": {"kms:GranteePrincipal": [f"{ROLE}restorer"]},
        "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt", "RetireGrant"]},
        # What holds for all values holds for none as well.
        "Null": {"kms:GrantOperations": "false"},
    }


def test_without_encryption_of_the_sets_the_verifier_too_needs_a_grant() -> None:
    policy = key_policy(account(), [scope_of(tokyo())], [])
    grantees = named(policy, "Granting")["Condition"]["StringEquals"]["kms:GranteePrincipal"]
    assert grantees == [f"{ROLE}restorer", f"{ROLE}verifier"]
    assert f"{ROLE}verifier" not in named(policy, "Reading")["Principal"]["AWS"]


def test_the_key_lets_nobody_decrypt_for_the_restorer_the_administrator_or_the_custodian() -> None:
    policy = key_policy(account(), [scope_of(tokyo())], [(scope_of(tokyo()), scope_of(osaka()))])
    decrypting = [one["Principal"]["AWS"] for one in statements_of(policy, "Allow") if "kms:Decrypt" in one["Action"]]
    allowed = {arn for arns in decrypting for arn in arns}
    assert allowed == {f"{ROLE}{role}" for role in ("uploader", "retention", "copier", "replicator")}
    assert named(policy, "NeverThese")["Condition"] == {
        "ArnEquals": {"aws:PrincipalArn": [f"{ROLE}administrator", f"{ROLE}custodian"]}
    }


def test_the_key_is_used_through_s3_alone_even_with_a_grant() -> None:
    one = named(key_policy(account(), [scope_of(tokyo())], []), "NotThroughS3")
    assert one["Effect"] == "Deny"
    assert "kms:Decrypt" in one["Action"]
    assert one["Condition"] == {"StringNotEquals": {"kms:ViaService": "s3.ap-northeast-1.amazonaws.com"}}


def test_the_account_cares_for_the_key_without_using_it_and_cannot_destroy_it_in_a_hurry() -> None:
    policy = key_policy(account(), [scope_of(tokyo())], [])
    care = named(policy, "Care")
    assert care["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
    assert "kms:PutKeyPolicy" in care["Action"]
    assert not {"kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:*"} & set(care["Action"])
    assert named(policy, "HastyDeletion")["Condition"] == {
        "NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": "30"}
    }


def test_a_key_of_the_target_only_encrypts_for_replication() -> None:
    copies = [(scope_of(tokyo()), scope_of(osaka()))]
    one = named(key_policy(account(), [scope_of(osaka())], copies), "ReplicatingTo")
    assert one["Action"] == ["kms:Encrypt", "kms:GenerateDataKey"]


def test_people_need_a_second_factor_and_machines_do_not() -> None:
    factor = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    person = trust_policy(account(), "restorer", ["alice"])
    assert named(person, "Users")["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:user/alice"]}
    assert named(person, "Users")["Condition"] == factor
    assert "Condition" not in named(trust_policy(account(), "uploader", ["backup-host"]), "Users")


def test_a_role_that_takes_on_a_role_shows_no_second_factor_and_is_not_asked_for_it() -> None:
    policy = trust_policy(account(), "custodian", ["role/sso/keepers", "carol"])
    assert named(policy, "Roles")["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:role/sso/keepers"]}
    assert "Condition" not in named(policy, "Roles")
    assert named(policy, "Users")["Condition"]


def test_nobody_named_means_whoever_the_account_allows() -> None:
    assert named(trust_policy(account(), "uploader", []), "Users")["Principal"]["AWS"] == [
        f"arn:aws:iam::{ACCOUNT}:root"
    ]
    assert actions_of(trust_policy(account(), "uploader", []), "Allow") == {"sts:AssumeRole"}


def test_a_host_in_aws_is_a_service_and_no_person() -> None:
    host = trust_policy(account(), "uploader", ["ec2.amazonaws.com"])
    assert [one["Principal"] for one in host["Statement"]] == [{"Service": ["ec2.amazonaws.com"]}]
    with pytest.raises(SettingsError, match="a service cannot be a custodian"):
        trust_policy(account(), "custodian", ["ec2.amazonaws.com"])


def test_only_s3_replicates() -> None:
    policy = trust_policy(account(), "replicator", ["alice"])
    assert [one["Principal"] for one in policy["Statement"]] == [{"Service": ["s3.amazonaws.com"]}]


def test_a_principal_that_is_nobody_is_refused() -> None:
    with pytest.raises(SettingsError, match="names nobody"):
        trust_policy(account(), "uploader", ["*"])
