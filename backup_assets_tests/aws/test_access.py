from __future__ import annotations

import socket
import time

import pytest
from botocore.exceptions import ReadTimeoutError

from backup_assets.aws.access import Access, access_of, briefly
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


def test_who_has_not_even_a_minute_hears_within_half_of_one_that_nobody_answers(aws: PretendedAws):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with briefly():
            client = Access(TOKYO, None, f"http://127.0.0.1:{silent.getsockname()[1]}").client("rds")
        begun = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            client.describe_db_instances()
    assert time.monotonic() - begun < 30
    patient = aws.access().client("rds").meta.config
    assert (patient.read_timeout, patient.retries["total_max_attempts"]) == (60, 5)


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
