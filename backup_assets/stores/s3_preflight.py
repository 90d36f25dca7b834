"""Is a bucket set up so that backups in it survive mistakes, intruders and forgotten uploads?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from backup_assets.stores.contract import TRIAL_KEY_START
from backup_assets.stores.s3_errors import code_of, explained, is_denied, is_unknown_feature
from backup_assets.stores.s3_lifecycle import covers
from backup_assets.stores.s3_location import S3Location, client_of

Level = Literal["ok", "warn", "fail"]
#: How the absence of each setting is answered; with these codes the bucket simply has none.
_ABSENT = {
    "NoSuchPublicAccessBlockConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
}
#: What must be on for nothing in a bucket ever to become public.
PUBLIC_ACCESS_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True)
class Finding:
    """One property of a bucket: what was found, and what to do unless ``level`` is ``ok``.

    ``denied``: nothing was found, because this role may not look.
    """

    name: str
    level: Level
    text: str
    remedy: str = ""
    denied: bool = False


@dataclass(frozen=True)
class Unseen:
    """Why a property of a bucket is not known: this role may not look, or else the server does not know it."""

    denied: bool


def property_of(client: Any, operation: str, location: S3Location) -> dict[str, Any] | Unseen:
    """Return what a bucket answers to ``operation``, nothing when it has none; raises EnvironmentFault."""
    try:
        return getattr(client, operation)(Bucket=location.bucket)
    except ClientError as error:
        if code_of(error) in _ABSENT:
            return {}
        if is_denied(error) or is_unknown_feature(error):
            return Unseen(is_denied(error))
        raise


def examine_bucket(location: S3Location) -> tuple[Finding, ...]:
    """Return what is found of versioning, public access, encryption, lifecycle and Object Lock.

    What this role may not see, or the server does not know, is a warning. Raises EnvironmentFault when the bucket
    does not answer at all.
    """
    client = client_of(location)
    with explained("list objects", location):
        # With the start of a key: a role that may list its own part of the bucket only is not refused.
        client.list_objects_v2(Bucket=location.bucket, Prefix=location.object_key(TRIAL_KEY_START), MaxKeys=1)
    examinations: tuple[tuple[str, str, Callable[[dict[str, Any], S3Location], list[Finding]]], ...] = (
        ("versioning", "get_bucket_versioning", _versioning),
        ("public access", "get_public_access_block", _public_access),
        ("encryption", "get_bucket_encryption", _encryption),
        ("lifecycle", "get_bucket_lifecycle_configuration", _lifecycle),
        ("object lock", "get_object_lock_configuration", _object_lock),
    )
    found: list[Finding] = []
    for name, operation, examine in examinations:
        with explained(f"look at {name}", location):
            answer = property_of(client, operation, location)
        found += [_unseen(name, operation, answer)] if isinstance(answer, Unseen) else examine(answer, location)
    return tuple(found)


def _unseen(name: str, operation: str, unseen: Unseen) -> Finding:
    if unseen.denied:
        remedy = f"allow {operation} to a role that examines"
        return Finding(name, "warn", "this role may not look at it", remedy, denied=True)
    return Finding(name, "warn", "the server does not know this feature", "ask the provider how it is protected")


def _versioning(answer: dict[str, Any], _: S3Location) -> list[Finding]:
    if answer.get("Status") == "Enabled":
        return [Finding("versioning", "ok", "old versions are kept")]
    text = "versioning is suspended" if answer.get("Status") else "versioning was never switched on"
    return [Finding("versioning", "fail", text, "switch versioning on: a deleted object can then be fetched back")]


def _public_access(answer: dict[str, Any], _: S3Location) -> list[Finding]:
    settings = answer.get("PublicAccessBlockConfiguration", {})
    missing = [name for name in PUBLIC_ACCESS_BLOCKS if not settings.get(name)]
    if not missing:
        return [Finding("public access", "ok", "all public access is blocked")]
    return [Finding("public access", "fail", f"not set: {', '.join(missing)}", "switch all four blocks on")]


def _encryption(answer: dict[str, Any], location: S3Location) -> list[Finding]:
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    if not defaults:
        remedy = "set a default, so that what others store is encrypted too"
        return [Finding("encryption", "warn", "the bucket has no default encryption", remedy)]
    shown = {"ServerSideEncryption": defaults[0].get("SSEAlgorithm"), "SSEKMSKeyId": defaults[0].get("KMSMasterKeyID")}
    if location.encrypted_as_required(shown):
        return [Finding("encryption", "ok", f"the default is {shown['ServerSideEncryption']}")]
    text = f"the default is {shown['ServerSideEncryption']} {shown['SSEKMSKeyId'] or ''}".rstrip()
    return [Finding("encryption", "warn", f"{text}, the settings demand another", "make the two agree")]


def _lifecycle(answer: dict[str, Any], location: S3Location) -> list[Finding]:
    rules = [rule for rule in answer.get("Rules", []) if rule.get("Status") == "Enabled" and covers(rule, location)]
    found: list[Finding] = []
    if any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        found.append(Finding("abandoned uploads", "ok", "a rule removes them"))
    else:
        remedy = "add a rule with AbortIncompleteMultipartUpload of 7 days: abandoned parts cost money unseen"
        found.append(Finding("abandoned uploads", "warn", "no rule removes them", remedy))
    if any(rule.keys() & {"Expiration", "NoncurrentVersionExpiration"} for rule in rules):
        found.append(Finding("expiry", "ok", "a rule lets old objects expire"))
    else:
        remedy = "add rules for expiry (by the retention tags), and for old versions"
        found.append(Finding("expiry", "warn", "nothing expires", remedy))
    return found


def _object_lock(answer: dict[str, Any], location: S3Location) -> list[Finding]:
    enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    if enabled:
        return [Finding("object lock", "ok", "objects can be locked")]
    if location.object_lock:
        remedy = "switch Object Lock on for that bucket, or remove the setting"
        return [Finding("object lock", "fail", "a lock is configured and the bucket has none", remedy)]
    remedy = "consider a bucket with Object Lock: whoever steals these credentials can then delete nothing"
    return [Finding("object lock", "warn", "objects cannot be locked", remedy)]
