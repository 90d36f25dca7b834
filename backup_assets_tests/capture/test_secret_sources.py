from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backup_assets.capture.secret_archive import Secret
from backup_assets.capture.secret_sources import (
    Account,
    MissingSecret,
    SecretDenied,
    read_parameters,
    read_secrets_manager,
)
from backup_assets.errors import BackupError, EnvironmentFault, SettingsError, TransientFault
from backup_assets_tests.capture.aws_answers import answering, refusal, use_keys

REGION = "ap-northeast-1"
CANARY = "correct horse battery staple"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A pretended AWS with two secrets and two parameters."""
    with mock_aws():
        manager, ssm = boto3.client("secretsmanager", REGION), boto3.client("ssm", REGION)
        manager.create_secret(Name="prod/erp4/db", SecretString=CANARY)
        manager.create_secret(Name="prod/erp4/key", SecretBinary=b"\x00\xff")
        ssm.put_parameter(Name="/erp4/token", Value=CANARY, Type="SecureString")
        ssm.put_parameter(Name="/erp4/plain", Value="1", Type="String")
        ssm.put_parameter(Name="/erp4/plain", Value="2", Type="String", Overwrite=True)
        yield Account(REGION)


def test_secrets_are_read_by_name_and_arn_text_or_binary_with_their_version(aws: Account) -> None:
    described = boto3.client("secretsmanager", REGION).describe_secret(SecretId="prod/erp4/db")
    (version,) = described["VersionIdsToStages"]

    found = list(read_secrets_manager(aws, ["prod/erp4/db", described["ARN"], "prod/erp4/key", "prod/erp4/db"]))

    assert [secret.name for secret in found] == ["prod/erp4/db", described["ARN"], "prod/erp4/key"]
    assert [secret.value for secret in found] == [CANARY.encode(), CANARY.encode(), b"\x00\xff"]
    assert found[0] == Secret("secrets_manager", "prod/erp4/db", CANARY.encode(), version)


def test_parameters_are_read_decrypted_and_as_they_are_now(aws: Account) -> None:
    found = list(read_parameters(aws, ["/erp4/token", "/erp4/plain"]))

    assert found == [
        Secret("ssm_parameter", "/erp4/token", CANARY.encode(), "1"),
        Secret("ssm_parameter", "/erp4/plain", b"2", "2"),
    ]


def test_a_missing_secret_is_one_message_that_names_it(aws: Account) -> None:
    with pytest.raises(MissingSecret, match="could not read the secret prod/erp4/gone in ap-northeast-1") as missing:
        list(read_secrets_manager(aws, ["prod/erp4/db", "prod/erp4/gone"]))
    assert "SECRETS_MANAGER_NAMES" in missing.value.remedy

    with pytest.raises(MissingSecret, match="could not read the parameter /erp4/gone") as missing:
        list(read_parameters(aws, ["/erp4/gone"]))
    assert "SSM_PARAMETER_NAMES" in missing.value.remedy


def test_a_secret_that_is_marked_for_deletion_is_an_error(aws: Account) -> None:
    boto3.client("secretsmanager", REGION).delete_secret(SecretId="prod/erp4/db")

    with pytest.raises(EnvironmentFault, match="prod/erp4/db") as refused:
        list(read_secrets_manager(aws, ["prod/erp4/db"]))
    assert "restore-secret" in refused.value.remedy


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("AccessDeniedException", SecretDenied, "access denied"),
        ("DecryptionFailure", EnvironmentFault, "its KMS key cannot be used"),
        ("UnrecognizedClientException", EnvironmentFault, "the credentials are not valid there"),
        ("ExpiredTokenException", EnvironmentFault, "the credentials are not valid there"),
        ("InvalidParameterException", EnvironmentFault, "the service refused it"),
    ],
)
def test_a_refusal_says_what_it_means(
    monkeypatch: pytest.MonkeyPatch, code: str, kind: type[BackupError], words: str
) -> None:
    use_keys(monkeypatch)
    with (
        answering(GetSecretValue=refusal(code)) as address,
        pytest.raises(kind, match="could not read the secret db in ap-northeast-1") as refused,
    ):
        list(read_secrets_manager(Account(REGION, endpoint_url=address), ["db"]))
    assert words in refused.value.what
    assert code in refused.value.why
    assert refused.value.retriable is False


def test_a_denial_names_the_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)
    with answering(GetParameter=refusal("AccessDeniedException")) as address, pytest.raises(SecretDenied) as denied:
        list(read_parameters(Account(REGION, endpoint_url=address), ["/erp4/token"]))
    assert "allow ssm:GetParameter on it" in denied.value.remedy


def test_a_service_that_fails_may_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    answer = refusal("InternalServiceError", status=500)
    with answering(GetSecretValue=answer) as address, pytest.raises(TransientFault, match="overloaded or failing"):
        list(read_secrets_manager(Account(REGION, endpoint_url=address), ["db"]))


def test_a_service_that_cannot_be_reached_may_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with pytest.raises(TransientFault, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        list(read_secrets_manager(Account(REGION, endpoint_url="http://127.0.0.1:9"), ["db"]))


def test_no_credentials_and_an_unknown_profile_are_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)
    with pytest.raises(SettingsError, match="there is no AWS profile backup"):
        list(read_secrets_manager(Account(REGION, profile="backup"), ["db"]))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(EnvironmentFault, match="there are no credentials"):
        list(read_secrets_manager(Account(REGION, endpoint_url="http://127.0.0.1:9"), ["db"]))


def test_a_log_at_debug_holds_no_value(
    aws: Account, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    levels = {name: logging.getLogger(name).level for name in ("botocore", "botocore.parsers", "urllib3")}

    secrets: list[Any] = [*read_secrets_manager(aws, ["prod/erp4/db"]), *read_parameters(aws, ["/erp4/token"])]

    assert [secret.value for secret in secrets] == [CANARY.encode()] * 2
    assert CANARY not in caplog.text
    assert "botocore" in {record.name.split(".")[0] for record in caplog.records}, "the log was not kept at DEBUG"
    assert levels == {name: logging.getLogger(name).level for name in levels}
