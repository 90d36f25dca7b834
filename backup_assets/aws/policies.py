"""What may each role do with one store? One policy for each, none of which suffices to destroy or to read alone."""

from __future__ import annotations

from collections.abc import Iterable

from backup_assets.aws.scope import Scope
from backup_assets.aws.statements import (
    CONFIGURES,
    DESTROYS,
    EXAMINES,
    KEY_USES,
    READS,
    Document,
    Statement,
    allow,
    below,
    deny,
    document,
    other_encryption,
    overwriting,
    through_s3,
)
from backup_assets.sets.place import ARTIFACT_FOLDERS, META

#: A lock is asked for in days from now, and counted by S3 in whole days when the request arrives.
_ROUNDING_DAYS = 1


def uploader_policy(scope: Scope) -> Document:
    """Return what stores new sets, and can neither read, replace nor delete one.

    ``kms:Decrypt`` is in it because S3 decrypts the parts of an upload when it puts them together
    (https://repost.aws/knowledge-center/s3-large-file-encryption-kms-key). It works through S3 alone, and S3 gives this
    role nothing to read.
    """
    return document(
        *_storing(scope),
        *_using_the_key(scope, ("kms:GenerateDataKey", "kms:Decrypt")),
        deny("Reading", READS, (f"{scope.bucket_arn}/*",)),
        _nothing_else(scope, *DESTROYS, *CONFIGURES),
    )


def restorer_policy(scope: Scope) -> Document:
    """Return what fetches sets. Under SSE-KMS it gets nothing but refusals until a custodian grants the key.

    Old versions are included: they are where a set is found again that somebody deleted or replaced.
    """
    return document(
        allow("Reading", READS, scope.objects),
        allow("Listing", ("s3:ListBucket", "s3:ListBucketVersions"), (scope.bucket_arn,), below(scope)),
        _nothing_else(scope, "s3:PutObject*", *DESTROYS, *CONFIGURES),
    )


def verifier_policy(scope: Scope) -> Document:
    """Return what proves copies day by day: it reads, examines the bucket, and writes nothing.

    It may use the key by itself only where sets are encrypted before they leave their host, so that a second lock
    remains; otherwise it depends on a custodian as the restorer does.
    """
    return document(
        allow("Reading", ("s3:GetObject",), scope.objects),
        allow("Listing", ("s3:ListBucket",), (scope.bucket_arn,), below(scope)),
        allow("Examining", EXAMINES, (scope.bucket_arn,)),
        *(_using_the_key(scope, ("kms:Decrypt",)) if scope.second_lock else ()),
        _nothing_else(scope, "s3:PutObject*", *DESTROYS, *CONFIGURES),
    )


def retention_policy(scope: Scope) -> Document:
    """Return what deletes sets as `prune` does: it reads manifests and records, and no artifact.

    With versioning, deleting writes a marker; the content stays until a lifecycle rule removes old versions. No role
    may remove a version itself.
    """
    return document(
        allow("Deleting", ("s3:DeleteObject",), scope.objects),
        allow("Manifests", ("s3:GetObject",), _in_folders(scope, (META,))),
        allow("Listing", ("s3:ListBucket",), (scope.bucket_arn,), below(scope)),
        *_using_the_key(scope, ("kms:Decrypt",)),
        deny("Artifacts", READS, _in_folders(scope, ARTIFACT_FOLDERS)),
        _nothing_else(
            scope,
            "s3:PutObject*",
            "s3:DeleteObjectVersion*",
            *(action for action in DESTROYS if action != "s3:DeleteObject*"),
            *CONFIGURES,
        ),
    )


def copier_policy(source: Scope, target: Scope) -> Document:
    """Return what copies sets from one bucket into another: reads there, stores here, and proves what it stored."""
    return document(
        allow("Source", ("s3:GetObject",), source.objects),
        allow("SourceListing", ("s3:ListBucket",), (source.bucket_arn,), below(source)),
        allow("SourceReplication", ("s3:GetReplicationConfiguration",), (source.bucket_arn,)),
        *_using_the_key(source, ("kms:Decrypt",), "Source"),
        *_storing(target),
        allow("Proving", ("s3:GetObject",), target.objects),
        *_using_the_key(target, ("kms:GenerateDataKey", "kms:Decrypt")),
        deny(
            "NothingElse",
            (*DESTROYS, *CONFIGURES),
            (source.bucket_arn, f"{source.bucket_arn}/*", target.bucket_arn, f"{target.bucket_arn}/*"),
        ),
    )


def replicator_policy(source: Scope, target: Scope) -> Document:
    """Return what S3 itself needs to replicate one bucket into another, so that no host has to read for a copy."""
    versions = ("s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging")
    return document(
        allow("SourceRules", ("s3:GetReplicationConfiguration", "s3:ListBucket"), (source.bucket_arn,)),
        allow("SourceVersions", (*versions, "s3:GetObjectRetention"), source.objects),
        *_using_the_key(source, ("kms:Decrypt",), "Source"),
        # No ReplicateDelete: what is deleted in one region stays in the other.
        allow("Replicas", ("s3:ReplicateObject", "s3:ReplicateTags"), target.objects),
        *_using_the_key(target, ("kms:Encrypt", "kms:GenerateDataKey")),
    )


def administrator_policy(scope: Scope) -> Document:
    """Return what `bucket apply` and the care of the key need, without reading, storing or deleting an object."""
    bucket = (
        *EXAMINES,
        "s3:CreateBucket",
        "s3:GetBucketPolicy",
        "s3:GetReplicationConfiguration",
        "s3:ListBucket",
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:PutReplicationConfiguration",
    )
    statements = [allow("Bucket", bucket, (scope.bucket_arn,))]
    if scope.key_arn:
        statements.append(allow("Key", KEY_CARE, (scope.key_arn,)))
        statements.append(deny("UseOfTheKey", (*KEY_USES, "kms:CreateGrant"), (scope.key_arn,)))
    objects = ("s3:GetObject*", "s3:PutObject*", *DESTROYS)
    return document(*statements, deny("Objects", objects, (f"{scope.bucket_arn}/*",)))


#: What caring for a key consists of; none of it encrypts, decrypts, or lets others do so by a grant.
KEY_CARE = (
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateKeyDescription",
)


def custodian_policy(scope: Scope) -> Document | None:
    """Return what lets others decrypt for a time and cannot read: None where there is no KMS key.

    To whom and for what a grant may be given is in the key's policy, which alone gives this permission.
    """
    if scope.key_arn is None:
        return None
    return document(
        allow("SeeingTheKey", ("kms:DescribeKey", "kms:ListGrants"), (scope.key_arn,)),
        deny("UseOfTheKey", KEY_USES, (scope.key_arn,)),
        deny("Objects", ("s3:GetObject*", "s3:PutObject*", *DESTROYS, *CONFIGURES), _whole(scope)),
    )


def _storing(scope: Scope) -> tuple[Statement, ...]:
    """Return what storing new objects takes, encrypted as configured and replacing nothing."""
    everywhere = (*scope.objects, scope.trial_objects)
    statements = [
        allow("Storing", ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"), everywhere),
        allow("Listing", ("s3:ListBucket",), (scope.bucket_arn,), below(scope)),
        # S3 cannot limit this to a prefix. It tells names only, and lets an interrupted upload go on.
        allow("UnfinishedUploads", ("s3:ListBucketMultipartUploads",), (scope.bucket_arn,)),
        *_tagging(scope, everywhere),
        *_locking(scope, everywhere),
        *other_encryption(scope),
        overwriting(scope),
    ]
    return tuple(statements)


def _tagging(scope: Scope, everywhere: tuple[str, ...]) -> Iterable[Statement]:
    if not scope.tagged:
        yield deny("Tagging", ("s3:PutObjectTagging", "s3:PutObjectVersionTagging"), _whole(scope))
        return
    yield allow("Tagging", ("s3:PutObjectTagging",), everywhere)
    if scope.sha256_tag:
        yield allow("ReadingTags", ("s3:GetObjectTagging",), scope.objects)
    # Lifecycle rules go by the tag: who changes it on an old set lets that set expire.
    tag = "s3:ExistingObjectTag/retention" if scope.retention_tags else "s3:ExistingObjectTag/sha256"
    retagging = ("s3:PutObjectTagging", "s3:PutObjectVersionTagging")
    yield deny("Retagging", retagging, _whole(scope), {"Null": {tag: "false"}})


def _locking(scope: Scope, everywhere: tuple[str, ...]) -> Iterable[Statement]:
    retention = ("s3:PutObjectRetention",)
    if scope.locked is None:
        yield deny("Locking", retention, _whole(scope))
        return
    days = "s3:object-lock-remaining-retention-days"
    lengths = (scope.locked.daily_days, scope.locked.weekly_days, scope.locked.monthly_days)
    shortest, longest = min(lengths) - _ROUNDING_DAYS, max(lengths) + _ROUNDING_DAYS
    yield allow("Locking", retention, everywhere)
    yield deny("ShortLocks", retention, _whole(scope), {"NumericLessThan": {days: str(shortest)}})
    # Otherwise whoever steals this role could lock everything for a century.
    yield deny("LongLocks", retention, _whole(scope), {"NumericGreaterThan": {days: str(longest)}})
    mode = "s3:object-lock-mode"
    other_mode = {"StringNotEquals": {mode: scope.locked.mode}, "Null": {mode: "false"}}
    yield deny("OtherLocks", retention, _whole(scope), other_mode)


def _using_the_key(scope: Scope, actions: tuple[str, ...], suffix: str = "") -> tuple[Statement, ...]:
    if scope.key_arn is None:
        return ()
    return (allow(f"{suffix}Key", actions, (scope.key_arn,), through_s3(scope)),)


def _nothing_else(scope: Scope, *actions: str) -> Statement:
    return deny("NothingElse", actions, _whole(scope))


def _whole(scope: Scope) -> tuple[str, str]:
    return scope.bucket_arn, f"{scope.bucket_arn}/*"


def _in_folders(scope: Scope, folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{scope.bucket_arn}/{root}/{folder}/*" for root in scope.roots for folder in folders)
