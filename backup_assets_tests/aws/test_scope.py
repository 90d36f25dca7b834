from __future__ import annotations

from dataclasses import fields

import pytest

from backup_assets.aws.scope import Account, Roles, account_of, scope_named, scopes_of
from backup_assets.cli.arguments import AWS_ROLES
from backup_assets.errors import Refused, SettingsError
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets_tests.aws.examples import ACCOUNT, KEY_ID, TOKYO_KEY, osaka, scope_of, settings_of, tokyo


def test_the_sets_of_each_database_are_below_their_own_root() -> None:
    scope = scope_of(tokyo(), databases=("erp4", "crm"))

    assert scope.roots == ("backups/crm/production", "backups/erp4/production")
    assert scope.objects[1] == "arn:aws:s3:::erp4-tokyo/backups/erp4/production/*"


def test_the_sets_of_the_infrastructure_are_below_a_root_of_their_own() -> None:
    settings = settings_of(tokyo())
    aws = settings.aws.model_copy(update={"infrastructure": InfrastructureSettings()})

    (scope,) = scopes_of(settings.model_copy(update={"aws": aws}))

    assert scope.roots == ("backups/erp4/production", "backups/infrastructure/production")


def test_without_a_prefix_keys_begin_with_the_database() -> None:
    scope = scope_of(tokyo(prefix=""))

    assert scope.objects == ("arn:aws:s3:::erp4-tokyo/erp4/production/*",)
    assert scope.trial_objects == "arn:aws:s3:::erp4-tokyo/.check-*"


def test_what_a_listing_may_ask_for_is_no_more_than_the_roots_and_trials() -> None:
    listed = ("backups/erp4/production", "backups/erp4/production/*", "backups/.check-*")
    assert scope_of(tokyo()).listed == listed


def test_stores_of_other_services_are_left_out() -> None:
    elsewhere = tokyo(name="minio", endpoint_url="https://minio.internal:9000")

    assert [scope.name for scope in scopes_of(settings_of(tokyo(), elsewhere))] == ["tokyo"]
    with pytest.raises(SettingsError, match="no store in AWS") as refused:
        scopes_of(settings_of(elsewhere))
    assert "minio (https://minio.internal:9000)" in refused.value.why


def test_an_endpoint_of_aws_itself_is_aws() -> None:
    inside = tokyo(endpoint_url="https://bucket.vpce-1.s3.ap-northeast-1.vpce.amazonaws.com")
    assert scope_of(inside).bucket == "erp4-tokyo"


def test_without_any_store_it_is_said_what_to_configure() -> None:
    with pytest.raises(SettingsError, match="no store in AWS") as refused:
        scopes_of(settings_of())
    assert "S3_BUCKET" in refused.value.remedy


@pytest.mark.parametrize("key", ["alias/erp4-backup", KEY_ID, TOKYO_KEY.replace(":key/", ":alias/")])
def test_a_key_that_is_not_named_by_its_arn_is_refused_with_the_command_that_tells_it(key: str) -> None:
    with pytest.raises(SettingsError, match="does not name its KMS key by its ARN") as refused:
        scope_of(tokyo(sse_kms_key_id=key))
    assert f"--key-id {key} --query KeyMetadata.Arn" in refused.value.remedy


def test_a_key_of_another_region_is_refused() -> None:
    with pytest.raises(SettingsError, match="is in us-east-1, its KMS key in ap-northeast-1"):
        scope_of(tokyo(region="us-east-1"))


def test_a_prefix_that_would_be_a_pattern_is_refused() -> None:
    with pytest.raises(Refused, match=r"backups/\*"):
        scope_of(tokyo(prefix="backups/*"))


def test_the_account_is_that_of_the_keys() -> None:
    assert account_of([scope_of(tokyo()), scope_of(osaka(copied_from=None))], None, Roles()).id == ACCOUNT


def test_an_account_that_nothing_tells_must_be_given() -> None:
    scope = scope_of(tokyo(sse_kms_key_id=None, sse_s3="AES256"))

    assert account_of([scope], "444455556666", Roles()).id == "444455556666"
    with pytest.raises(SettingsError, match="not known which AWS account"):
        account_of([scope], None, Roles())
    with pytest.raises(SettingsError, match="no AWS account"):
        account_of([scope], "4444-5555-6666", Roles())


def test_an_account_that_does_not_own_the_key_is_refused() -> None:
    with pytest.raises(SettingsError, match=f"a KMS key belongs to {ACCOUNT}"):
        account_of([scope_of(tokyo())], "444455556666", Roles())


def test_two_roles_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="--restorer and --uploader are both backup"):
        Roles(uploader="backup", restorer="backup")
    with pytest.raises(SettingsError, match="not the name of a role"):
        Roles(uploader="arn:aws:iam::1:role/x")


def test_the_command_line_offers_every_role() -> None:
    assert tuple(field.name for field in fields(Roles)) == AWS_ROLES


def test_arns_bear_the_partition_of_the_region() -> None:
    china = tokyo(region="cn-north-1", sse_kms_key_id=None, sse_s3="AES256")

    assert scope_of(china).bucket_arn == "arn:aws-cn:s3:::erp4-tokyo"
    assert Account(ACCOUNT, "aws-cn").role_arn("uploader") == f"arn:aws-cn:iam::{ACCOUNT}:role/backup-uploader"


def test_an_unknown_store_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="kyoto is no store in AWS") as refused:
        scope_named([scope_of(tokyo())], "kyoto")
    assert "tokyo" in refused.value.why
