"""With which words does a policy say what may be done, and which deeds belong together?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from backup_assets.aws.scope import Scope

Statement = dict[str, Any]
Document = dict[str, Any]
Conditions = Mapping[str, Mapping[str, str | list[str]]]
#: Characters (without white space) that IAM allows a managed policy and a role's trust policy, S3 a bucket policy
#: (20 KB) and KMS a key policy (32 KB):
#: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, and the quotas of S3 and KMS.
LARGEST_MANAGED, LARGEST_TRUST, LARGEST_BUCKET, LARGEST_KEY = 6_144, 2_048, 20_480, 32_768

#: What shows the content of an object.
READS = ("s3:GetObject", "s3:GetObjectVersion")
#: What takes an object away, or makes it unreadable. `UpdateObjectEncryption` puts another key on what is there.
DESTROYS = ("s3:DeleteObject*", "s3:BypassGovernanceRetention", "s3:PutObjectLegalHold", "s3:UpdateObjectEncryption")
#: What changes the bucket itself; a lifecycle rule deletes as well as a person does.
CONFIGURES = (
    "s3:PutBucket*",
    "s3:DeleteBucket*",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
)
#: What `doctor` and `bucket plan` look at.
EXAMINES = (
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
)
#: What a key encrypts and decrypts with.
KEY_USES = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


def statement(
    effect: str, sid: str, actions: Iterable[str], resources: Iterable[str], conditions: Conditions | None = None
) -> Statement:
    """Return one statement of a policy; ``sid`` says in a word what it is for."""
    made: Statement = {"Sid": sid, "Effect": effect, "Action": sorted(actions), "Resource": list(resources)}
    return {**made, "Condition": conditions} if conditions else made


def allow(
    sid: str, actions: Iterable[str], resources: Iterable[str], conditions: Conditions | None = None
) -> Statement:
    """Return a statement that allows."""
    return statement("Allow", sid, actions, resources, conditions)


def deny(sid: str, actions: Iterable[str], resources: Iterable[str], conditions: Conditions | None = None) -> Statement:
    """Return a statement that denies, whatever others allow."""
    return statement("Deny", sid, actions, resources, conditions)


def document(*statements: Statement) -> Document:
    """Return the policy made of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def compact(policy: Document) -> str:
    """Return a policy as AWS counts its length: without white space."""
    return json.dumps(policy, separators=(",", ":"))


def below(scope: Scope) -> Conditions:
    """Return the condition that only what belongs to the sets is listed."""
    return {"StringLike": {"s3:prefix": list(scope.listed)}}


def through_s3(scope: Scope) -> Conditions:
    """Return the condition that a key is used by S3, on behalf of somebody, for objects of this bucket.

    S3 names the object in the encryption context, or the whole bucket where the bucket has a Bucket Key.
    """
    return {
        "StringEquals": {"kms:ViaService": scope.via_s3},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [scope.bucket_arn, f"{scope.bucket_arn}/*"]},
    }


def other_encryption(scope: Scope, suffix: str = "") -> tuple[Statement, ...]:
    """Return what denies an upload that asks for another encryption or key than the configured one.

    A request that asks for none gets the bucket's default, and must be allowed: the parts of an upload and its end say
    nothing of encryption, only its beginning does. So the default has to be the configured encryption too. With a
    ``suffix`` the store shares its bucket, and its own part of it is meant.
    """
    wanted = "aws:kms" if scope.key_arn else "AES256"
    resources = (*scope.objects, scope.trial_objects) if suffix else (f"{scope.bucket_arn}/*",)
    put = ("s3:PutObject",)
    sse, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    found = [
        deny(f"OtherEncryption{suffix}", put, resources, {"StringNotEquals": {sse: wanted}, "Null": {sse: "false"}}),
        # With keys of the customer nobody but who sent them can read the object: how buckets are held to ransom.
        deny(
            f"KeysOfTheCaller{suffix}",
            put,
            resources,
            {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
    ]
    if scope.key_arn:
        condition = {"ArnNotEquals": {key: scope.key_arn}, "Null": {key: "false"}}
        found.insert(1, deny(f"OtherKey{suffix}", put, resources, condition))
    return tuple(found)


def overwriting(scope: Scope, suffix: str = "") -> Statement:
    """Return what denies an upload that would replace what is there: one that does not say `If-None-Match`.

    The beginning and the parts of an upload cannot say it; `s3:ObjectCreationOperation` is false for them.
    """
    return deny(
        f"Overwriting{suffix}",
        ("s3:PutObject",),
        scope.objects if suffix else (f"{scope.bucket_arn}/*",),
        {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
    )
