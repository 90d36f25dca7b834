"""How are secrets read from AWS Secrets Manager and the parameter store, and what does a refusal mean?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from urllib3.exceptions import HTTPError

from backup_assets.capture.secret_archive import Secret
from backup_assets.errors import BackupError, EnvironmentFault, SettingsError, TransientFault
from backup_assets.stores.s3_errors import BROKEN_CONNECTION, code_of, status_of

Service = Literal["secretsmanager", "ssm"]
#: Settings that name what is read, as messages call them.
SETTINGS: dict[Service, str] = {
    "secretsmanager": "secrets.secrets_manager (SECRETS_MANAGER_NAMES)",
    "ssm": "secrets.ssm_parameters (SSM_PARAMETER_NAMES)",
}
_CALLED: dict[Service, str] = {"secretsmanager": "the secret", "ssm": "the parameter"}
_MISSING = {"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_KEYS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "ExpiredToken",
    "ExpiredTokenException",
}
_OVERLOADED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_OVERLOADED |= {"InternalServiceError", "InternalServerError", "ServiceUnavailable", "RequestTimeout"}
_CHECK_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role that this host uses"


class MissingSecret(EnvironmentFault):
    """There is no secret or parameter of that name, or it has no value."""


class SecretDenied(EnvironmentFault):
    """The credentials are good, but a policy does not allow this action."""


@dataclass(frozen=True)
class Account:
    """Where secrets are and with which profile they are reached."""

    region: str
    profile: str | None = None
    endpoint_url: str | None = None

    def client(self, service: Service) -> Any:
        """Return a client that gives up after a minute or so; raises SettingsError for an unknown profile."""
        limits = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
        try:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            return session.client(service, endpoint_url=self.endpoint_url, config=limits)
        except ProfileNotFound as error:
            raise SettingsError(
                f"there is no AWS profile {self.profile}",
                remedy="correct the profile of the secrets, or add it to the AWS configuration",
            ) from error
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                f"no connection to {service} in {self.region} can be set up",
                why=str(error),
                remedy="correct region, profile and endpoint of the secrets",
            ) from error


def read_secrets_manager(account: Account, names: Sequence[str]) -> Iterator[Secret]:
    """Yield the current value of each secret; raises MissingSecret, SecretDenied and others naming the secret."""
    client = account.client("secretsmanager")
    for name in dict.fromkeys(names):
        with explained("secretsmanager", "read", name, account):
            answer = client.get_secret_value(SecretId=name)
        text = answer.get("SecretString")
        value = answer["SecretBinary"] if text is None else text.encode()
        yield Secret("secrets_manager", name, value, answer["VersionId"])


def read_parameters(account: Account, names: Sequence[str]) -> Iterator[Secret]:
    """Yield the decrypted value of each parameter; raises as :func:`read_secrets_manager` does."""
    client = account.client("ssm")
    for name in dict.fromkeys(names):
        with explained("ssm", "read", name, account):
            answer = client.get_parameter(Name=name, WithDecryption=True)
        parameter = answer["Parameter"]
        yield Secret("ssm_parameter", name, parameter["Value"].encode(), str(parameter["Version"]))


@contextmanager
def explained(service: Service, doing: str, name: str, account: Account, *, withheld: bool = False) -> Iterator[None]:
    """Turn an error of boto3 inside the block into one of ours, which names the secret; no value is ever logged.

    ``doing`` completes "could not … the secret NAME". ``withheld``: what the service or boto3 says is not repeated,
    because the request held a value.
    """
    try:
        with _without_bodies():
            yield
    except ClientError as error:
        raise _of_answer(error, service, doing, name, account, withheld=withheld) from None
    except (BotoCoreError, Boto3Error, HTTPError) as error:
        raise _of_no_answer(error, service, doing, name, account, withheld=withheld) from None


@contextmanager
def _without_bodies() -> Iterator[None]:
    """Keep botocore from writing requests and answers to a log that is kept at DEBUG."""
    loggers = [logging.getLogger(name) for name in ("botocore", "botocore.parsers", "botocore.endpoint", "urllib3")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _of_answer(
    error: ClientError, service: Service, doing: str, name: str, account: Account, *, withheld: bool
) -> BackupError:
    code = code_of(error)
    said = "" if withheld else str(error.response.get("Error", {}).get("Message", ""))
    why = " ".join(f"{error.operation_name}: {code} {said}".split())[:600]
    what = f"could not {doing} {_CALLED[service]} {name} in {account.region}"
    if code in _MISSING:
        return MissingSecret(
            f"{what}: it does not exist or has no value", why=why, remedy=f"create it, or correct {SETTINGS[service]}"
        )
    if code in _DENIED:
        action = f"{service}:{error.operation_name}"
        return SecretDenied(
            f"{what}: access denied",
            why=why,
            remedy=f"allow {action} on it to the role or user of these credentials; where it has a KMS key of its "
            f"own, the key's policy must allow {'kms:GenerateDataKey and ' if withheld else ''}kms:Decrypt too",
        )
    if code in _KEYS:
        return EnvironmentFault(f"{what}: the credentials are not valid there", why=why, remedy=_CHECK_KEYS)
    if code in _OVERLOADED or status_of(error) >= 500:
        return TransientFault(f"{what}: the service is overloaded or failing", why=why, remedy="try again later")
    if code == "DecryptionFailure" or "KMS" in code or code == "InvalidKeyId":
        return EnvironmentFault(
            f"{what}: its KMS key cannot be used", why=why, remedy="look at the state and the policy of that key"
        )
    remedy = "the reason is above; a secret that is marked for deletion can be brought back (restore-secret)"
    return EnvironmentFault(f"{what}: the service refused it", why=why, remedy=remedy)


def _of_no_answer(
    error: Exception, service: Service, doing: str, name: str, account: Account, *, withheld: bool
) -> BackupError:
    what = f"could not {doing} {_CALLED[service]} {name}"
    why = type(error).__name__ if withheld else " ".join(str(error).split())[:600]
    address = account.endpoint_url or f"{service} in {account.region}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return EnvironmentFault(f"{what}: there are no credentials", why=why, remedy=_CHECK_KEYS)
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError, *BROKEN_CONNECTION)):
        return TransientFault(
            f"{what}: {address} cannot be reached", why=why, remedy="check region, endpoint and network, then try again"
        )
    return EnvironmentFault(
        f"{what}: the request cannot be made",
        why=why,
        remedy="correct the name, or check AWS's own files",
    )
