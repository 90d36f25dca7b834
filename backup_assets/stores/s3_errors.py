"""What does an answer of S3, or the lack of one, mean to the operator?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
    SSOError,
    UnauthorizedSSOTokenError,
)
from urllib3.exceptions import HTTPError

from backup_assets.errors import BackupError, EnvironmentFault, TransientFault
from backup_assets.stores.contract import AccessDenied
from backup_assets.stores.s3_location import S3Location


class NotAsRequired(EnvironmentFault):
    """An object was stored without the encryption or lock that is required; it is removed again."""


class Meaning(NamedTuple):
    """How one kind of error is told: what is at fault, and the next step."""

    what: str
    remedy: str
    kind: type[BackupError] = EnvironmentFault


_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role that this host uses"
_LOGIN = "sign in again, or let the role's credentials be renewed; with AWS SSO run `aws sso login`"
_LATER = "try again later; parts that were stored are used again"
_CODES = {
    "InvalidAccessKeyId": Meaning("the access key is not known there", _KEYS),
    "SignatureDoesNotMatch": Meaning("the secret key does not belong to the access key", _KEYS),
    "InvalidToken": Meaning("the session token is not valid there", _LOGIN),
    "ExpiredToken": Meaning("the session token has expired", _LOGIN),
    "ExpiredTokenException": Meaning("the session token has expired", _LOGIN),
    "TokenRefreshRequired": Meaning("the session token has expired", _LOGIN),
    "NoSuchBucket": Meaning("the bucket does not exist", "correct the bucket's name, or create the bucket first"),
    "InvalidBucketName": Meaning("that is no valid name of a bucket", "correct the bucket's name"),
    "PermanentRedirect": Meaning("the bucket is in another region", "set the region to that of the bucket"),
    "AuthorizationHeaderMalformed": Meaning("the bucket is in another region", "set the region to that of the bucket"),
    "IllegalLocationConstraintException": Meaning(
        "the bucket is in another region", "set the region to that of the bucket"
    ),
    "RequestTimeTooSkewed": Meaning(
        "this host's clock is wrong by more than 15 minutes", "set the clock, and let a time service keep it"
    ),
    "RequestExpired": Meaning("this host's clock is wrong", "set the clock, and let a time service keep it"),
    "QuotaExceeded": Meaning("the quota of the bucket or account is used up", "raise it, or let old sets expire"),
    "XMinioStorageFull": Meaning("the server's disks are full", "free some space there; nothing stored is affected"),
    "InsufficientStorage": Meaning("the server's disks are full", "free some space there; nothing stored is affected"),
    "EntityTooLarge": Meaning("the server takes no object or part that large", "choose a smaller part size"),
    "InvalidObjectState": Meaning(
        "the object lies in an archive class", "restore it from the archive first (aws s3api restore-object)"
    ),
    "KMS.NotFoundException": Meaning("the KMS key does not exist", "correct SSE_KMS_KEY_ID and its region"),
    "KMS.DisabledException": Meaning("the KMS key is disabled", "enable that key; without it nothing can be read"),
    "KMS.KMSInvalidStateException": Meaning(
        "the KMS key is not usable now", "look at the key's state: it may be deleted"
    ),
    "NotImplemented": Meaning(
        "the server does not know a feature that is needed",
        "needed are If-None-Match, SHA-256 checksums and the configured encryption; with providers that reject "
        "botocore's own checksums set the checksum mode to when_required",
    ),
    "SlowDown": Meaning("the server asks for fewer requests", _LATER, TransientFault),
    "RequestTimeout": Meaning("the connection was too slow or was interrupted", _LATER, TransientFault),
    "OperationAborted": Meaning("another operation is at work on it", _LATER, TransientFault),
    "ConditionalRequestConflict": Meaning("another writer is storing the same key", _LATER, TransientFault),
    "NoSuchUpload": Meaning("the unfinished upload was removed meanwhile", "try again: it begins anew", TransientFault),
    "InvalidPart": Meaning("a part was replaced by another writer", "try again", TransientFault),
}
_KMS = re.compile(r"\bkms:\w+|KMS|ciphertext", re.IGNORECASE)
_ACTION = re.compile(r"\b(?:s3|kms):[A-Za-z]+\b")
_ROLE = re.compile(r"\barn:aws[\w-]*:(?:sts|iam)::\d+:[\w+=,.@/-]+")
#: Which permission an operation needs, where its name does not say it already.
_PERMISSIONS = {
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject (and GetObject at the source)",
    "CopyObject": "PutObject (and GetObject at the source)",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
}
#: What can happen to a connection while an answer is read.
BROKEN_CONNECTION = (
    HTTPClientError,
    IncompleteReadError,
    ConnectionClosedError,
    ReadTimeoutError,
    ResponseStreamingError,
    HTTPError,
    ConnectionError,
    TimeoutError,
)


@contextmanager
def explained(doing: str, location: S3Location, key: str = "") -> Iterator[None]:
    """Turn an error of boto3 inside the block into one of ours; ``doing`` completes the sentence "could not …"."""
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, doing, location, key) from error
    except (BotoCoreError, Boto3Error, HTTPError) as error:
        raise _of_no_answer(error, doing, location) from error


def code_of(error: ClientError) -> str:
    """Return the code of an error answer; for answers without a body that is the HTTP status as text."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an error answer, 0 when it is not known."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: ClientError) -> bool:
    """Tell whether an answer says that there is no such object (and not: no such bucket)."""
    return code_of(error) in {"NoSuchKey", "404", "NotFound", "NoSuchVersion"}


def is_denied(error: ClientError) -> bool:
    """Tell whether an answer says that a policy forbids it; for HEAD requests 403 is all that is said."""
    codes = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
    # An expired token is 400 to a HEAD request: whoever asks again with another request is told.
    return code_of(error) in codes or (code_of(error) == "400" and error.operation_name.startswith("Head"))


def is_unknown_feature(error: ClientError) -> bool:
    """Tell whether an answer says that the server does not know such a request."""
    return code_of(error) in {"NotImplemented", "MethodNotAllowed"} or status_of(error) in {405, 501}


def exists_already(error: ClientError) -> bool:
    """Tell whether a conditional write was refused because the key exists."""
    return code_of(error) == "PreconditionFailed" or status_of(error) == 412


def is_damaged(error: ClientError) -> bool:
    """Tell whether the server found another checksum than the one that was sent."""
    message = str(error.response.get("Error", {}).get("Message", ""))
    return code_of(error) in {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"} or (
        code_of(error) == "InvalidRequest" and "checksum" in message and "invalid" in message
    )


def _of_answer(error: ClientError, doing: str, location: S3Location, key: str) -> BackupError:
    code, status = code_of(error), status_of(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    why = _shown(f"{error.operation_name}: {code} {said}".strip(), location)
    where = _where(location)
    if is_denied(error) or code == "KMS.AccessDeniedException":
        return _denied(error, doing, location, key, said)
    meaning = _CODES.get(code)
    if meaning is None and status in {301, 307}:
        meaning = _CODES["PermanentRedirect"]
    if meaning is None and "quota" in f"{code} {said}".lower():
        meaning = _CODES["QuotaExceeded"]
    if meaning is None and (status >= 500 or status == 429):
        meaning = Meaning("the server is overloaded or failing", _LATER, TransientFault)
    if meaning is None:
        meaning = Meaning("the server refused it", "check the settings of that bucket; the reason is above")
    region = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    region = region or error.response.get("Error", {}).get("Region")
    named = meaning.what == _CODES["PermanentRedirect"].what and region
    remedy = f"set the region to {region}" if named else meaning.remedy
    return meaning.kind(f"could not {doing} in {where}: {meaning.what}", why=why, remedy=remedy)


def _denied(error: ClientError, doing: str, location: S3Location, key: str, said: str) -> AccessDenied:
    action = _ACTION.search(said)
    kms = action is not None and action[0].startswith("kms:")
    permission = action[0] if action else f"s3:{_PERMISSIONS.get(error.operation_name, error.operation_name)}"
    if action is None and permission == "s3:PutObject":
        permission += _with_lock_and_tags(location)
    if action is None and _KMS.search(f"{code_of(error)} {said}"):
        kms, permission = True, "kms:GenerateDataKey and kms:Decrypt"
    resource = f"the KMS key {location.kms_key_id}" if kms else location.url + (f"/{key}" if key else "")
    role = _ROLE.search(said)
    who = role[0] if role else "the role or user of these credentials"
    return AccessDenied(
        f"could not {doing} in {_where(location)}: access denied to {'the KMS key' if kms else error.operation_name}",
        why=_shown(said or "the server gave no reason", location),
        remedy=f"allow {permission} on {resource} to {who}"
        + ("" if kms or location.kms_key_id is None else "; with SSE-KMS the key's policy must allow it too"),
    )


def _with_lock_and_tags(location: S3Location) -> str:
    """Return what storing an object takes besides s3:PutObject, where it is locked or tagged."""
    tagged = location.tags or location.sha256_tag or location.retention_tags
    lock = ", s3:PutObjectRetention" if location.object_lock else ""
    return lock + (", s3:PutObjectTagging" if tagged else "")


def _of_no_answer(error: Exception, doing: str, location: S3Location) -> BackupError:
    address = location.endpoint_url or f"S3 in {location.region}"
    setting = "S3_ENDPOINT_URL" if location.endpoint_url else "the region"
    kind: type[BackupError] = EnvironmentFault
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        what, remedy = "there are no credentials", _KEYS
    elif isinstance(error, CredentialRetrievalError | SSOError | UnauthorizedSSOTokenError):
        what, remedy = "the credentials cannot be fetched", _LOGIN
    elif isinstance(error, SSLError):
        what, remedy = f"{address} has no certificate that this host trusts", f"check {setting} and AWS_CA_BUNDLE"
    elif isinstance(error, ProxyConnectionError):
        what, remedy = "the proxy does not answer", "check HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, EndpointConnectionError) and _no_such_host(error):
        what, remedy = f"the host of {address} is not known", f"correct {setting}, or check this host's DNS"
    elif isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        kind = TransientFault
        what, remedy = f"{address} cannot be reached", f"check {setting} and the network, then try again"
    elif isinstance(error, BROKEN_CONNECTION):
        kind = TransientFault
        what, remedy = f"the connection to {address} broke", "check the network, then try again"
    else:
        what, remedy = "the request cannot be made", "check the S3 settings and the AWS configuration file"
    return kind(f"could not {doing} in {_where(location)}: {what}", why=_shown(str(error), location), remedy=remedy)


def _no_such_host(error: Exception) -> bool:
    return "resol" in repr(error) or "Name or service" in str(getattr(error, "kwargs", ""))


def _where(location: S3Location) -> str:
    return f"the bucket {location.bucket}"


def _shown(text: str, location: S3Location) -> str:
    """Return ``text`` in one line, without anything of the credentials, however it came in."""
    keys = location.credentials
    secrets: list[Any] = [keys.secret_access_key, keys.session_token, keys.access_key_id] if keys else []
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = re.sub(r"(X-Amz-(?:Signature|Credential|Security-Token))=[^&\s\"]+", r"\1=***", text)
    return " ".join(text.split())[:600]
