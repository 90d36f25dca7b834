"""Which documents does AWS need for these settings?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backup_assets.aws.commands import PURPOSES, key_name, readme_of, roles_in
from backup_assets.aws.guards import bucket_policy, key_policy, trust_policy
from backup_assets.aws.policies import (
    administrator_policy,
    copier_policy,
    custodian_policy,
    replicator_policy,
    restorer_policy,
    retention_policy,
    uploader_policy,
    verifier_policy,
)
from backup_assets.aws.scope import Account, Scope
from backup_assets.aws.statements import LARGEST_BUCKET, LARGEST_KEY, LARGEST_MANAGED, LARGEST_TRUST, Document, compact
from backup_assets.errors import Refused, SettingsError


@dataclass(frozen=True)
class Policies:
    """Every document by its path, and in ``readme`` the commands that apply them.

    Paths are ``policies/ROLE-STORE.json``, ``trust/ROLE.json``, ``buckets/BUCKET.json`` and ``keys/REGION-ID.json``.
    """

    documents: dict[str, Document]
    readme: str


def policies_of(
    account: Account, scopes: Sequence[Scope], trusted: Mapping[str, Sequence[str]], only: str | None = None
) -> Policies:
    """Return the documents for the stores ``scopes`` of one account, or those that concern the store ``only``.

    A bucket or key that several stores share gets one policy for all of them, so that ``scopes`` are all that there
    are. ``trusted`` says by role who may take it on, see `guards.trust_policy`. Raises SettingsError for an unknown
    role or principal, and when the custodian is the same person as the restorer or the administrator; Refused when a
    document becomes longer than AWS allows.
    """
    _require_two_persons(trusted)
    by_name = {scope.name: scope for scope in scopes}
    copies = [
        (by_name[scope.copied_from], scope) for scope in scopes if scope.copied_from and scope.copied_from in by_name
    ]
    chosen = [scope for scope in scopes if only in {None, scope.name}]
    documents: dict[str, Document] = {}
    for scope in chosen:
        for role, policy in _of_roles(scope, by_name.get(scope.copied_from or "")):
            documents[f"policies/{role}-{scope.name}.json"] = policy
    for role in roles_in(documents):
        documents[f"trust/{role}.json"] = trust_policy(account, role, trusted.get(role, ()))
    for bucket in dict.fromkeys(scope.bucket for scope in chosen):
        sharing = [scope for scope in scopes if scope.bucket == bucket]
        documents[f"buckets/{bucket}.json"] = bucket_policy(account, sharing)
    for key_arn in dict.fromkeys(scope.key_arn for scope in chosen if scope.key_arn):
        sharing = [scope for scope in scopes if scope.key_arn == key_arn]
        documents[f"keys/{key_name(key_arn)}.json"] = key_policy(account, sharing, copies)
    _require_short(documents)
    return Policies(documents, readme_of(account, chosen, tuple(documents)))


def _of_roles(scope: Scope, source: Scope | None) -> Iterable[tuple[str, Document]]:
    if source is None:
        yield "uploader", uploader_policy(scope)
    else:
        yield "copier", copier_policy(source, scope)
        yield "replicator", replicator_policy(source, scope)
    yield "restorer", restorer_policy(scope)
    yield "verifier", verifier_policy(scope)
    yield "retention", retention_policy(scope)
    yield "administrator", administrator_policy(scope)
    custodian = custodian_policy(scope)
    if custodian is not None:
        yield "custodian", custodian


def _require_two_persons(trusted: Mapping[str, Sequence[str]]) -> None:
    for role in trusted:
        if role not in PURPOSES:
            raise SettingsError(f"--trust: there is no role {role}", remedy=f"name one of {', '.join(PURPOSES)}")
    for other in ("restorer", "administrator"):
        both = set(trusted.get(other, ())) & set(trusted.get("custodian", ()))
        if both:
            raise SettingsError(
                f"{min(both)} would be both {other} and custodian",
                why="then one person alone could read a backup, and there is no dual control",
                remedy="name different people with --trust",
            )


def _require_short(documents: Mapping[str, Document]) -> None:
    largest = {"policies": LARGEST_MANAGED, "trust": LARGEST_TRUST, "buckets": LARGEST_BUCKET, "keys": LARGEST_KEY}
    for path, policy in documents.items():
        length, limit = len(compact(policy)), largest[path.partition("/")[0]]
        if length > limit:
            raise Refused(
                f"{path} would have {length} characters, AWS allows {limit}",
                why="each database adds its own part of the bucket to every policy",
                remedy="give the databases fewer or shorter names (`prefix`), or spread them over several settings",
            )
