"""What does an answer of AWS, or the lack of one, mean to the operator?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from urllib3.exceptions import HTTPError

from backup_assets.aws.access import Access
from backup_assets.errors import BackupError, EnvironmentFault, Refused, TransientFault
from backup_assets.stores.s3_errors import BROKEN_CONNECTION, code_of, status_of


class Missing(EnvironmentFault):
    """What was asked for does not exist."""


class Exists(EnvironmentFault):
    """Something of that name exists already."""


class Denied(EnvironmentFault):
    """The credentials are good, but a policy does not allow this action."""


class KeyUnusable(EnvironmentFault):
    """A KMS key does not exist, is disabled, or does not let this role use it."""


class QuotaReached(EnvironmentFault):
    """AWS allows no more of something in this account and region."""


class Busy(TransientFault):
    """It is in a state in which AWS does not do this now, such as `modifying`."""


class _Meaning(NamedTuple):
    what: str
    remedy: str
    kind: type[BackupError] = EnvironmentFault


_CHECK_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role that this host uses"
_LOGIN = "sign in again, or let the role's credentials be renewed; with AWS SSO run `aws sso login`"
_LATER = "it is tried again; where it stays so, look at the service's quotas and its health page"
_THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "RequestThrottled",
    "RequestThrottledException",
}
_FAILING = {"InternalFailure", "InternalServerError", "InternalServiceError", "ServiceUnavailable", "RequestTimeout"}
_FAILING |= {"ServiceUnavailableException", "InternalError", "KMSInternalException", "DependencyTimeoutException"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "UnauthorizedException"}
_BAD_KEYS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "AuthFailure",
    "InvalidAccessKeyId",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
#: Without the words "Fault" and "Exception" at their ends: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference
_QUOTAS = {
    "SnapshotQuotaExceeded": "manual snapshots",
    "DBClusterSnapshotQuotaExceeded": "manual cluster snapshots",
    "InstanceQuotaExceeded": "DB instances",
    "DBClusterQuotaExceeded": "DB clusters",
    "StorageQuotaExceeded": "storage of DB instances",
    "DBInstanceAutomatedBackupQuotaExceeded": "automated backups that are kept or replicated",
    "DBClusterAutomatedBackupQuotaExceeded": "automated backups that are kept",
    "SharedSnapshotQuotaExceeded": "accounts that a snapshot is shared with",
}
_WRONG_CLOCK = re.compile(r"Signature (?:expired|not yet current)")
_NAMES_KEY = re.compile(r"\bkms\b|\bKMS\b|encryption key", re.IGNORECASE)
_ACTION = re.compile(r"\b[a-z][a-z0-9-]+:[A-Z][A-Za-z]+\b")
_ROLE = re.compile(r"\barn:aws[\w-]*:(?:sts|iam)::\d+:[\w+=,.@/-]+")
_SECRETS = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token))=[^&\s\"]+")


@contextmanager
def explained(doing: str, access: Access) -> Iterator[None]:
    """Turn an error of boto3 inside the block into one of ours; ``doing`` completes the sentence "could not …".

    What the operator can mend is told apart from what passes by itself: only Busy and TransientFault may be tried
    again. Raises Missing, Exists, Denied, KeyUnusable, QuotaReached and other EnvironmentFaults.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, doing, access) from error
    except (BotoCoreError, Boto3Error, HTTPError) as error:
        raise _of_no_answer(error, doing, access) from error


def _of_answer(error: ClientError, doing: str, access: Access) -> BackupError:
    code = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    why = _shown(f"{error.operation_name}: {code} {said}")
    meaning = _meaning(code, said, status_of(error), access)
    if meaning is None and (code in _DENIED or status_of(error) == 403):
        return _denied(error, doing, access, said)
    meaning = meaning or _Meaning("the service refused it", "the reason is above; correct the setting that it names")
    return meaning.kind(f"could not {doing} in {access.region}: {meaning.what}", why=why, remedy=meaning.remedy)


def _meaning(code: str, said: str, status: int, access: Access) -> _Meaning | None:
    return _of_caller(code, said) or _of_service(code, said) or _of_resource(code, said, status, access)


def _of_caller(code: str, said: str) -> _Meaning | None:
    if code in _EXPIRED:
        return _Meaning("the session token has expired", _LOGIN)
    if code == "RequestTimeTooSkewed" or (code in _BAD_KEYS and _WRONG_CLOCK.search(said)):
        return _Meaning("this host's clock is wrong", "set the clock, and let a time service keep it")
    return _Meaning("the credentials are not valid there", _CHECK_KEYS) if code in _BAD_KEYS else None


def _of_service(code: str, said: str) -> _Meaning | None:
    name = _name_of(code)
    if code in _THROTTLED:
        return _Meaning("AWS asks for fewer requests", _LATER, TransientFault)
    if code in _FAILING:
        return _Meaning("the service is overloaded or failing", _LATER, TransientFault)
    if name == "SnapshotQuotaExceeded" and "across regions" in said:
        # Of all copies to one region at a time: https://github.com/pbudzon/aws-maintenance/issues/19
        remedy = "wait until copies that are under way are done; then launch the slot again"
        return _Meaning("as many copies as may be under way to one region are under way already", remedy, Busy)
    if name in _QUOTAS:
        remedy = "let the retention delete old ones, or ask AWS for a higher quota (Service Quotas)"
        return _Meaning(f"the quota of {_QUOTAS[name]} is used up", remedy, QuotaReached)
    if name.startswith("Insufficient"):
        return _Meaning("AWS has no room for it now", "try again later, or with another instance class", TransientFault)
    return None


def _of_resource(code: str, said: str, status: int, access: Access) -> _Meaning | None:
    name = _name_of(code)
    if "default service key" in said:
        remedy = "encrypt it with a key of your own, which other accounts may be allowed to use (docs/aws.md)"
        return _Meaning("AWS's default key cannot be used by another account", remedy, KeyUnusable)
    if "KMS" in code or (code in {*_DENIED, "InvalidParameterCombination"} and _NAMES_KEY.search(said)):
        return _Meaning(
            "the KMS key cannot be used",
            "look at the key's state, region and policy: this role needs kms:CreateGrant, kms:DescribeKey, kms:Decrypt "
            f"and kms:GenerateDataKey* on it, and it must be a key of {access.region} (docs/aws.md)",
            KeyUnusable,
        )
    if name.endswith(("NotFound", "NoSuchEntity", "NonExistentQueue")) or name in {"NoSuchBucket", "ResourceNotFound"}:
        return _Meaning("it does not exist", "correct the name in the settings, or the region", Missing)
    if name.endswith(("AlreadyExists", "AlreadyExist")):
        return _Meaning("something of that name exists", "nothing was changed; look at what is there", Exists)
    if name == "InvalidVPCNetworkState":
        remedy = "look at subnet group and security groups: all in one VPC, subnets in two zones at least"
        return _Meaning("the network does not fit", remedy)
    if name.startswith("Invalid") and name.endswith("State"):
        return _Meaning("it is not in a state that allows this now", "wait until AWS has done what it does", Busy)
    if status >= 500 or status == 429:
        return _Meaning("the service is overloaded or failing", _LATER, TransientFault)
    return None


def _name_of(code: str) -> str:
    """Return a code without the words that some services put at its end."""
    return code.removesuffix("Fault").removesuffix("Exception")


def _denied(error: ClientError, doing: str, access: Access, said: str) -> Denied:
    action = _ACTION.search(said)
    role = _ROLE.search(said)
    return Denied(
        f"could not {doing} in {access.region}: access denied to {error.operation_name}",
        why=_shown(said or "AWS gave no reason"),
        remedy=f"allow {action[0] if action else error.operation_name} to "
        f"{role[0] if role else 'the role or user of these credentials'} (docs/aws.md lists what each command needs)",
    )


def _of_no_answer(error: Exception, doing: str, access: Access) -> BackupError:
    what, why = f"could not {doing} in {access.region}", _shown(str(error))
    address = access.endpoint_url or f"AWS in {access.region}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return EnvironmentFault(f"{what}: there are no credentials", why=why, remedy=_CHECK_KEYS)
    if isinstance(error, CredentialRetrievalError | SSOError | TokenRetrievalError | UnauthorizedSSOTokenError):
        return EnvironmentFault(f"{what}: the credentials cannot be fetched", why=why, remedy=_LOGIN)
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError, *BROKEN_CONNECTION)):
        return TransientFault(
            f"{what}: {address} cannot be reached", why=why, remedy="check region and network, then try again"
        )
    if isinstance(error, ParamValidationError):
        return Refused(f"{what}: a value is not of the form that AWS asks for", why=why, remedy="correct that setting")
    return EnvironmentFault(
        f"{what}: the request cannot be made", why=why, remedy="check the AWS configuration files of this host"
    )


def _shown(text: str) -> str:
    """Return ``text`` in one line, without a signature or token."""
    return " ".join(_SECRETS.sub(r"\1=***", text).split())[:600]
