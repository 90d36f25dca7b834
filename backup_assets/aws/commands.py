"""With which commands are the documents applied, and how is a grant given and taken back?"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from backup_assets.aws.scope import Account, Scope

#: What each role is for, in the words of its description in IAM.
PURPOSES = {
    "uploader": "Stores backups; reads, replaces and deletes none",
    "restorer": "Fetches backups; decrypts only while a grant lasts",
    "verifier": "Proves backups; writes nothing",
    "retention": "Deletes backups; reads none",
    "copier": "Copies backups to another bucket",
    "replicator": "Lets S3 replicate backups",
    "administrator": "Cares for bucket and key; reads no backup",
    "custodian": "Grants the use of the key; reads no backup",
}


def readme_of(account: Account, scopes: Sequence[Scope], documents: Sequence[str]) -> str:
    """Return the commands that apply the documents, in the order that works, and those that give and take a grant."""
    roles = roles_in(documents)
    regions = {f"buckets/{scope.bucket}.json": scope.region for scope in scopes}
    lines = [
        "# Applying these policies",
        "",
        f"For the AWS account {account.id}. Run the commands in this directory, in this order, as somebody who may",
        "manage IAM. Read each document first. What the roles are for, and what remains possible: docs/security.md of",
        "backup_assets.",
        "",
        "## 1. Roles",
        "",
        "Look at who may take on a role: `trust/*.json`. The key policy names the roles, so they come first.",
        "",
        *_block(command for role in roles for command in _role_commands(account, role, documents)),
        "## 2. Keys",
        "",
        "This replaces the policy that a key has now. `key-policy.*.before.json` keeps it.",
        "",
        *_block(command for scope in _by_key(scopes) for command in _key_commands(scope)),
        "## 3. Buckets",
        "",
        f"Set the bucket up first (`backup-assets bucket apply`). Run this as the role {account.roles.administrator}:",
        "afterwards nobody else can change the bucket, except the root user of the account, who can always remove a",
        "bucket's policy.",
        "",
        *_block(
            f"aws s3api put-bucket-policy --region {regions[path]} --bucket {path[8:-5]} --policy file://{path}"
            for path in documents
            if path.startswith("buckets/")
        ),
        "## Changing them later",
        "",
        *_block(_changes(account)),
    ]
    if _by_key(scopes):
        lines += [
            "## Letting the restorer read, and stopping it",
            "",
            f"A custodian, with the role {account.roles.custodian}, gives a grant; the restorer can use it within five",
            "minutes. It has no end: take it back when the restore is done. In CloudTrail both are events, CreateGrant",
            "and RevokeGrant.",
            "",
            *_block(command for scope in _by_key(scopes) for command in _grant_commands(account, scope)),
        ]
    return "\n".join(lines).rstrip() + "\n"


def _block(commands: Iterable[str]) -> list[str]:
    found = list(commands)
    return ["```sh", *found, "```", ""] if found else ["Nothing to do.", ""]


def _by_key(scopes: Sequence[Scope]) -> list[Scope]:
    """Return one scope of every key."""
    return list({scope.key_arn: scope for scope in scopes if scope.key_arn}.values())


def _role_commands(account: Account, role: str, documents: Iterable[str]) -> Iterable[str]:
    name = account.roles.by_role()[role]
    yield (
        f"aws iam create-role --role-name {name} --description {shlex.quote(PURPOSES[role])} "
        f"--assume-role-policy-document file://trust/{role}.json"
    )
    for path in documents:
        if path.startswith(f"policies/{role}-"):
            policy = f"{name}-{path.removeprefix(f'policies/{role}-').removesuffix('.json')}"
            yield f"aws iam create-policy --policy-name {policy} --policy-document file://{path}"
            arn = account.arn("iam", f"policy/{policy}")
            yield f"aws iam attach-role-policy --role-name {name} --policy-arn {arn}"


def _changes(account: Account) -> Iterable[str]:
    arn = account.arn("iam", "policy/NAME")
    yield f"aws iam create-policy-version --set-as-default --policy-arn {arn} --policy-document file://policies/FILE"
    yield "aws iam update-assume-role-policy --role-name NAME --policy-document file://trust/FILE"


def _key_commands(scope: Scope) -> Iterable[str]:
    of_key = f"--region {scope.region} --key-id {scope.key_arn} --policy-name default"
    name = key_name(scope.key_arn or "")
    yield f"aws kms get-key-policy {of_key} --query Policy --output text > key-policy.{name}.before.json"
    yield f"aws kms put-key-policy {of_key} --policy file://keys/{name}.json"
    yield f"aws kms enable-key-rotation --region {scope.region} --key-id {scope.key_arn}"


def _grant_commands(account: Account, scope: Scope) -> Iterable[str]:
    of_key = f"--region {scope.region} --key-id {scope.key_arn}"
    yield (
        f"aws kms create-grant {of_key} --grantee-principal {account.role_arn('restorer')} "
        "--operations Decrypt RetireGrant --name restore-DATE"
    )
    yield f"aws kms list-grants {of_key} --query 'Grants[].[GrantId,Name,GranteePrincipal,CreationDate]' --output table"
    yield f"aws kms revoke-grant {of_key} --grant-id ID"


def key_name(key_arn: str) -> str:
    """Return a name for files about a key."""
    # With the region: a key of several regions has the same id in each.
    return f"{key_arn.split(':')[3]}-{key_arn.rpartition('/')[2]}"


def roles_in(documents: Iterable[str]) -> list[str]:
    """Return the roles that the policies are for, in the order of their purposes."""
    found = {path.removeprefix("policies/").partition("-")[0] for path in documents if path.startswith("policies/")}
    return [role for role in PURPOSES if role in found]
