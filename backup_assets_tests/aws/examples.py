"""Settings of an ERP in two regions, and what the policies' tests know of them."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from backup_assets.aws.bundle import Policies, policies_of
from backup_assets.aws.scope import Account, Roles, Scope, account_of, scopes_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_stores import ObjectLockSettings, StoreSettings

ACCOUNT = "111122223333"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
TOKYO_KEY = f"arn:aws:kms:ap-northeast-1:{ACCOUNT}:key/{KEY_ID}"
OSAKA_KEY = f"arn:aws:kms:ap-northeast-3:{ACCOUNT}:key/mrk-{KEY_ID}"
RECIPIENTS = ("A" * 40,)


def tokyo(**changes: Any) -> StoreSettings:
    """Return the store that sets are uploaded to."""
    given = {
        "name": "tokyo",
        "kind": "s3",
        "bucket": "erp4-tokyo",
        "prefix": "backups",
        "region": "ap-northeast-1",
        "sse_kms_key_id": TOKYO_KEY,
        "sha256_tag": True,
        "retention_tags": True,
        "object_lock": ObjectLockSettings(mode="COMPLIANCE"),
    }
    return StoreSettings(**{**given, **changes})


def osaka(**changes: Any) -> StoreSettings:
    """Return the store in another region, a copy of the first."""
    given = {
        "name": "osaka",
        "kind": "s3",
        "bucket": "erp4-osaka",
        "region": "ap-northeast-3",
        "sse_kms_key_id": OSAKA_KEY,
        "copied_from": "tokyo",
    }
    return StoreSettings(**{**given, **changes})


def settings_of(*stores: StoreSettings, databases: tuple[str, ...] = ("erp4",), encrypts: bool = False) -> Settings:
    """Return settings with these stores."""
    return Settings(
        env="production",
        databases=tuple(DatabaseSettings(name=name, database=name, server=ServerSettings()) for name in databases),
        stores=stores,
        encryption=EncryptionSettings(recipients=RECIPIENTS if encrypts else ()),
    )


def scope_of(store: StoreSettings, **settings: Any) -> Scope:
    """Return what one store is in AWS."""
    (scope,) = scopes_of(settings_of(store, **settings))
    return scope


def policies_for(settings: Settings, **trusted: list[str]) -> Policies:
    """Return every document for settings."""
    scopes = scopes_of(settings)
    return policies_of(account_of(scopes, ACCOUNT, Roles()), scopes, trusted)


def account() -> Account:
    """Return the account of the examples."""
    return Account(ACCOUNT)


def statements_of(policy: dict[str, Any], effect: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the statements of a policy, or those of one effect."""
    return (one for one in policy["Statement"] if effect in {None, one["Effect"]})


def named(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    """Return the one statement of that name."""
    (found,) = (one for one in policy["Statement"] if one["Sid"] == sid)
    return found


def actions_of(policy: dict[str, Any], effect: str) -> set[str]:
    """Return the actions, some of which are patterns, that a policy allows or denies."""
    found: set[str] = set()
    for one in statements_of(policy, effect):
        found |= {one["Action"]} if isinstance(one["Action"], str) else set(one["Action"])
    return found


def denies(policy: dict[str, Any], action: str) -> bool:
    """Tell whether an action is denied without a condition."""
    return any(
        fnmatchcase(action, pattern)
        for one in statements_of(policy, "Deny")
        if "Condition" not in one
        for pattern in one["Action"]
    )
