from __future__ import annotations

import pytest

from backup_assets.aws.access import Access, access_of
from backup_assets.errors import SettingsError
from backup_assets.settings_aws import AwsSettings
from backup_assets_tests.aws.conftest import OSAKA, TOKYO, PretendedAws


def test_the_settings_say_how_aws_is_reached():
    aws = AwsSettings(region="eu-central-1", profile="backups", endpoint_url="http://127.0.0.1:1")

    assert access_of(aws) == Access("eu-central-1", "backups", "http://127.0.0.1:1")
    assert access_of(aws).within(OSAKA) == Access(OSAKA, "backups", "http://127.0.0.1:1")


def test_a_client_speaks_to_its_region(aws: PretendedAws):
    aws.make_instance()

    assert aws.access(TOKYO).client("rds").describe_db_instances()["DBInstances"]
    assert not aws.access(OSAKA).client("rds").describe_db_instances()["DBInstances"]


def test_a_profile_that_does_not_exist_is_named(aws: PretendedAws):
    with pytest.raises(SettingsError, match="there is no AWS profile nobody") as caught:
        aws.access(profile="nobody").client("rds")
    assert "aws.profile" in caught.value.remedy


def test_a_profile_acts_for_its_own_account(aws: PretendedAws, other_account: str):
    assert aws.access(profile=other_account).client("sts").get_caller_identity()["Account"] == "222222222222"


def test_an_address_that_is_none_names_the_settings(aws: PretendedAws):
    with pytest.raises(SettingsError, match="no connection to rds in ap-northeast-1") as caught:
        Access(TOKYO, None, "not an address").client("rds")
    assert "aws.endpoint_url" in caught.value.remedy
