"""What do a bucket, a key and a role demand of everyone, whatever policies people have?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backup_assets.aws.policies import KEY_CARE
from backup_assets.aws.scope import Account, Scope
from backup_assets.aws.statements import (
    CONFIGURES,
    KEY_USES,
    Conditions,
    Document,
    Statement,
    deny,
    document,
    other_encryption,
    overwriting,
    through_s3,
)
from backup_assets.errors import SettingsError

#: The longest time that KMS waits before it destroys a key; a destroyed key takes every set with it.
DELETION_DAYS = 30
#: Roles that people take on, with a second factor.
PEOPLE = ("restorer", "administrator", "custodian")
_EVERYONE = {"Principal": "*"}
Principal = Mapping[str, Sequence[str]]


def bucket_policy(account: Account, scopes: Sequence[Scope]) -> Document:
    """Return the policy of one bucket for the stores that lie in it: it only denies.

    Denied are: requests without TLS, other accounts, another encryption or key, replacing an object, deleting except
    by the retention role, removing a version or lifting a lock at all, and changing the bucket except by the
    administrator role. The root user of the account can always replace a bucket's policy.
    """
    bucket = scopes[0].bucket_arn
    whole = (bucket, f"{bucket}/*")
    strangers = {
        "StringNotEquals": {"aws:PrincipalAccount": account.id},
        "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
    }
    statements = [
        deny("WithoutTLS", ("s3:*",), whole, {"Bool": {"aws:SecureTransport": "false"}}),
        deny("OtherAccounts", ("s3:*",), whole, strangers),
        deny("Deleting", ("s3:DeleteObject",), (f"{bucket}/*",), _unless(account, "retention")),
        deny(
            "Destroying",
            ("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:UpdateObjectEncryption"),
            (f"{bucket}/*",),
        ),
        deny("Configuring", CONFIGURES, (bucket,), _unless(account, "administrator")),
    ]
    for number, scope in enumerate(scopes, start=1):
        suffix = str(number) if len(scopes) > 1 else ""
        statements += [*other_encryption(scope, suffix), overwriting(scope, suffix)]
    return document(*({**one, **_EVERYONE} for one in statements))


def key_policy(account: Account, scopes: Sequence[Scope], copies: Sequence[tuple[Scope, Scope]]) -> Document:
    """Return the policy of one KMS key for the stores that use it; ``copies`` are all pairs of source and target.

    Whoever administers the account may care for the key, which does not include using it. Only S3 uses it, on behalf of
    the roles named here. Restoring takes a grant, which only the custodian role may give, only to the restorer (and a
    verifier that cannot decrypt by itself), and which is not for itself. The policy can be changed by those who
    care for the key; CloudTrail tells of it.
    """
    key = scopes[0].key_arn
    arn = account.role_arn
    statements: list[Statement] = [
        _of_key("Care", {"AWS": [account.arn("iam", "root")]}, KEY_CARE),
        _denied_on_key(
            "HastyDeletion",
            ("kms:ScheduleKeyDeletion",),
            {"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": str(DELETION_DAYS)}},
        ),
    ]
    for number, scope in enumerate(scopes, start=1):
        suffix = str(number) if len(scopes) > 1 else ""
        encrypting = ("kms:GenerateDataKey", "kms:Decrypt")
        decrypting = [arn("retention"), *([arn("verifier")] if scope.second_lock else [])]
        statements += [
            _of_key(f"Storing{suffix}", {"AWS": [arn("uploader")]}, encrypting, through_s3(scope)),
            _of_key(f"Reading{suffix}", {"AWS": decrypting}, ("kms:Decrypt",), through_s3(scope)),
        ]
        if any(scope == source for source, _ in copies):
            readers = {"AWS": [arn("copier"), arn("replicator")]}
            statements.append(_of_key(f"CopyingFrom{suffix}", readers, ("kms:Decrypt",), through_s3(scope)))
        if any(scope == target for _, target in copies):
            copier, replicator = {"AWS": [arn("copier")]}, {"AWS": [arn("replicator")]}
            statements.append(_of_key(f"CopyingTo{suffix}", copier, encrypting, through_s3(scope)))
            writing = ("kms:Encrypt", "kms:GenerateDataKey")
            statements.append(_of_key(f"ReplicatingTo{suffix}", replicator, writing, through_s3(scope)))
    grantees = [arn("restorer"), *([] if all(scope.second_lock for scope in scopes) else [arn("verifier")])]
    granting = {
        "StringEquals": {"kms:GranteePrincipal": grantees},
        "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt", "RetireGrant"]},
        "Null": {"kms:GrantOperations": "false"},
    }
    custodian = {"AWS": [arn("custodian")]}
    statements += [
        _of_key("Granting", custodian, ("kms:CreateGrant",), granting),
        _of_key("TakingBack", custodian, ("kms:DescribeKey", "kms:ListGrants", "kms:RevokeGrant")),
        # A grant does not lift these: a denial is stronger.
        _denied_on_key("NotThroughS3", KEY_USES, {"StringNotEquals": {"kms:ViaService": scopes[0].via_s3}}),
        _denied_on_key(
            "NeverThese",
            KEY_USES,
            {"ArnEquals": {"aws:PrincipalArn": [arn("administrator"), arn("custodian")]}},
        ),
    ]
    return {**document(*statements), "Id": f"backups-{(key or '').rpartition('/')[2]}"}


def trust_policy(account: Account, role: str, trusted: Sequence[str]) -> Document:
    """Return who may take on a role.

    ``trusted`` are names of IAM users, ``role/NAME``, ARNs, or a service such as ``ec2.amazonaws.com``. None named
    means: for the replicator S3 itself, otherwise whoever in the account has a permission to take it on. Users need a
    second factor for a role of `PEOPLE`. Raises SettingsError for what is none of these.
    """
    if role == "replicator":
        return document(_trust("Services", {"Service": ["s3.amazonaws.com"]}, None))
    services = [one for one in trusted if one.endswith(".amazonaws.com")]
    if services and role in PEOPLE:
        raise SettingsError(
            f"--trust {role}={services[0]}: a service cannot be a {role}",
            why="this role is for people",
            remedy="name an IAM user, role/NAME or an ARN",
        )
    people = [_principal(account, role, one) for one in trusted if one not in services]
    # A session of a role shows no second factor: who signs in through one is asked for it there.
    roles = [arn for arn in people if ":role/" in arn]
    users = [arn for arn in people if arn not in roles]
    if not people and not services:
        users = [account.arn("iam", "root")]
    factor = {"Bool": {"aws:MultiFactorAuthPresent": "true"}} if role in PEOPLE else None
    statements = [
        *([_trust("Users", {"AWS": users}, factor)] if users else []),
        *([_trust("Roles", {"AWS": roles}, None)] if roles else []),
        *([_trust("Services", {"Service": services}, None)] if services else []),
    ]
    return document(*statements)


def _trust(sid: str, principal: Principal, condition: Conditions | None) -> Statement:
    made: Statement = {"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return {**made, "Condition": condition} if condition else made


def _principal(account: Account, role: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    if name and all(letter.isalnum() or letter in "+=,.@_-/" for letter in name):
        return account.arn("iam", name if name.startswith("role/") else f"user/{name}")
    raise SettingsError(
        f"--trust {role}={name} names nobody",
        remedy="give the name of an IAM user, role/NAME, an ARN, or a service such as ec2.amazonaws.com",
    )


def _unless(account: Account, role: str) -> Conditions:
    return {"ArnNotEquals": {"aws:PrincipalArn": account.role_arn(role)}}


def _of_key(sid: str, principal: Principal, actions: Sequence[str], conditions: Conditions | None = None) -> Statement:
    made: Statement = {"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": sorted(actions)}
    # In the policy of a key, `*` is that key.
    return {**made, "Resource": "*", **({"Condition": conditions} if conditions else {})}


def _denied_on_key(sid: str, actions: Sequence[str], conditions: Conditions) -> Statement:
    return {**deny(sid, actions, ("*",), conditions), **_EVERYONE}
