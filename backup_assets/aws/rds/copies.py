"""How does the snapshot of a slot get into the other region, and into another account?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backup_assets.aws.answers import Exists, Missing
from backup_assets.aws.rds.api import RdsApi, Snapshot
from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.settling import Log, Whole, clear_failed, found_of_ours, settled
from backup_assets.aws.rds.tagging import TAKEN, moment_text, tags_of
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import CheckFailed, EnvironmentFault, Refused, SettingsError, TransientFault
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsCopySettings, RdsSettings


@dataclass(frozen=True)
class Copied:
    """The copies of a slot's snapshot, all whole; ``in_account`` is that of `copies.account_profile`."""

    copy: Whole
    in_account: Whole | None = None


@dataclass(frozen=True)
class _Slot:
    """What copies of one slot have in common."""

    database: DatabaseSettings
    rds: RdsSettings
    copies: RdsCopySettings
    env: str
    slot: str
    now: datetime
    log: Log

    @property
    def name(self) -> str:
        return snapshot_name(self.database.name, self.env, self.slot)


def copy_snapshot(
    api: RdsApi,
    database: DatabaseSettings,
    rds: RdsSettings,
    copies: RdsCopySettings,
    env: str,
    slot: str,
    now: datetime,
    log: Log,
) -> Copied | Waiting:
    """Begin the copies of a slot's snapshot, or find those that it has; return them once all are whole.

    Any slot will do, because the copy of an old snapshot shows what the old snapshot shows. Raises Refused when there
    is nothing to copy, SettingsError for a key that is missing, EnvironmentFault when a copy failed or takes too long,
    CheckFailed for one that is not as it should be, and the other errors of `answers.explained`.
    """
    of_slot = _Slot(database, rds, copies, env, slot, now, log)
    copy = _in_region(api, in_copies(api, copies), of_slot)
    if isinstance(copy, Waiting):
        return copy
    just_shared = _share(in_copies(api, copies), copy.snapshot, copies.share_with, log)
    other = in_account(api, copies)
    if other is None:
        return Copied(copy)
    try:
        taken_over = _into_account(other, copy.snapshot, of_slot)
    except Missing as error:
        if not just_shared:
            raise
        raise TransientFault(
            f"the account of {copies.account_profile} does not see {copy.snapshot.identifier} yet",
            why=f"it was shared a moment ago; {error.what}",
            remedy="it is tried again; where it stays so, look at `rds.copies.share_with`",
        ) from error
    return taken_over if isinstance(taken_over, Waiting) else Copied(copy, taken_over)


def in_copies(api: RdsApi, copies: RdsCopySettings) -> RdsApi:
    """Return how the region of the copies is reached."""
    return api.within(copies.region)


def in_account(api: RdsApi, copies: RdsCopySettings) -> RdsApi | None:
    """Return how that region is reached in the other account, or None where none is configured."""
    return api.within(copies.region, copies.account_profile) if copies.account_profile else None


def _in_region(api: RdsApi, target: RdsApi, of: _Slot) -> Whole | Waiting:
    found = clear_failed(target, found_of_ours(target, of.database, of.env, of.name, "copy"), of.log)
    if found is None:
        original = _original(api, of)
        if isinstance(original, Waiting):
            return original
        if original.encrypted and of.copies.kms_key_id is None:
            raise SettingsError(
                f"{of.name} is encrypted, and there is no key to encrypt its copy with",
                why=f"a key of {api.access.region} cannot be used in {of.copies.region}",
                remedy=f"set `rds.copies.kms_key_id` to a KMS key of {of.copies.region}",
            )
        found = _begin(target, original, of, api.access.region, of.copies.kms_key_id)
    whole = settled(target, found, of.rds.snapshot_timeout_hours, of.now)
    if isinstance(whole, Whole):
        _require_encrypted(whole, of.copies.kms_key_id)
    return whole


def _original(api: RdsApi, of: _Slot) -> Snapshot | Waiting:
    found = found_of_ours(api, of.database, of.env, of.name, "snapshot")
    if found is None:
        raise Refused(
            f"the slot {of.slot} has no snapshot in {api.access.region} to copy",
            why=f"there is no {of.name}: it was never taken, or the retention has removed it",
            remedy="copy a slot that has one; of the current slot take it first (`rds_snapshot`)",
        )
    whole = settled(api, found, of.rds.snapshot_timeout_hours, of.now)
    return whole.snapshot if isinstance(whole, Whole) else whole


def _into_account(other: RdsApi, copy: Snapshot, of: _Slot) -> Whole | Waiting:
    found = other.snapshot(of.name)
    if found is not None and found.account == copy.account:
        raise SettingsError(
            f"the profile {of.copies.account_profile} is of the same account {copy.account} as the copies",
            remedy="set `rds.copies.account_profile` to a profile of another account, or leave it out",
        )
    found = clear_failed(other, found_of_ours(other, of.database, of.env, of.name, "copy"), of.log)
    if found is None:
        if copy.encrypted and of.copies.account_kms_key_id is None:
            raise SettingsError(
                f"{of.name} is encrypted, and there is no key to encrypt the other account's copy with",
                why="a copy that stays under the key of this account is lost with it",
                remedy="set `rds.copies.account_kms_key_id` to a KMS key of that account and region",
            )
        found = _begin(other, copy, of, of.copies.region, of.copies.account_kms_key_id)
    whole = settled(other, found, of.rds.snapshot_timeout_hours, of.now)
    if isinstance(whole, Whole):
        _require_encrypted(whole, of.copies.account_kms_key_id)
    return whole


def _begin(target: RdsApi, original: Snapshot, of: _Slot, from_region: str, key: str | None) -> Snapshot:
    if key is not None and original.kind == "cluster" and not original.encrypted:
        # RDS refuses the key: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CopyDBClusterSnapshot.html
        raise SettingsError(
            f"{original.identifier} is not encrypted, and copying does not encrypt that of a cluster",
            why=f"RDS takes the key {key} for copies of encrypted ones only",
            remedy="encrypt the cluster: restore a snapshot of it with a key, and move to that; until then leave "
            "`rds.copies.kms_key_id` out, and its copies are not encrypted either",
        )
    tags = tags_of(of.database.name, of.env, of.slot, "copy", of.now)
    if original.taken_at is None:
        raise EnvironmentFault(
            f"RDS does not say when {original.identifier} was taken",
            remedy="look at it in the RDS console, and launch the slot again",
        )
    tags[TAKEN] = moment_text(original.taken_at)
    of.log(f"the copy of {original.arn} to {target.access.region} is begun")
    try:
        return target.copy_snapshot(original, of.name, tags, from_region=from_region, kms_key_id=key)
    except Exists:
        # Another run of the slot was quicker.
        found = found_of_ours(target, of.database, of.env, of.name, "copy")
        if found is None:
            raise
        return found


def _require_encrypted(copy: Whole, key: str | None) -> None:
    if key is not None and not copy.snapshot.encrypted:
        raise CheckFailed(
            f"the copy {copy.snapshot.identifier} in {copy.region} is not encrypted",
            why=f"it should be, with the key {key}",
            remedy="delete it, and launch the slot again",
        )


def _share(target: RdsApi, copy: Snapshot, accounts: tuple[str, ...], log: Log) -> bool:
    """Share a copy with those accounts; return whether any of them could not use it before."""
    if not accounts:
        return False
    shared = target.shared_with(copy.identifier)
    missing = tuple(account for account in accounts if account not in shared)
    if missing:
        log(f"{copy.identifier} is shared with {', '.join(missing)}")
        target.share_snapshot(copy.identifier, missing)
    return bool(missing)
