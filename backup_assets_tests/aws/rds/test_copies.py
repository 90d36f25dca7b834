from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.client import BaseClient
from moto.rds.models import RDSBackend, rds_backends

from backup_assets.aws.answers import Missing
from backup_assets.aws.rds.api import RdsApi
from backup_assets.aws.rds.copies import Copied, copy_snapshot
from backup_assets.aws.rds.settling import Whole
from backup_assets.aws.rds.snapshots import take_snapshot
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import EnvironmentFault, Refused, SettingsError, TransientFault
from backup_assets.settings_aws import RdsCopySettings
from backup_assets_tests.aws.conftest import ACCOUNT, CLUSTER, OSAKA, OTHER_ACCOUNT, TOKYO, PretendedAws
from backup_assets_tests.aws.rds.examples import AT_0230, DAY, ENV, NAME, SLOTS, copies_of, database_of, rds_of

HOUR = timedelta(hours=1)


class Copying:
    """Takes the snapshot of the day, and copies it as often as it is asked to."""

    def __init__(self, aws: PretendedAws, copies: RdsCopySettings, **rds: Any) -> None:
        self.aws = aws
        self.copies = copies
        self.rds = rds_of(aws, copies=copies, **rds)
        self.api = RdsApi(aws.access(), "cluster" if self.rds.cluster else "instance")

    def take(self, now: datetime = AT_0230) -> Whole | Waiting:
        return take_snapshot(self.api, database_of(self.rds), self.rds, ENV, SLOTS, DAY, now, lambda _: None)

    def copy(self, now: datetime = AT_0230, slot: str = DAY) -> Copied | Waiting:
        database = database_of(self.rds)
        return copy_snapshot(self.api, database, self.rds, self.copies, ENV, slot, now, lambda _: None)


@pytest.fixture
def copying(aws: PretendedAws, an_instance: dict[str, Any]) -> Copying:
    return Copying(aws, copies_of(aws))


def test_a_copy_lies_in_the_other_region_under_the_key_there(copying: Copying, aws: PretendedAws):
    original = copying.take()

    copied = copying.copy()

    assert isinstance(original, Whole)
    assert isinstance(copied, Copied)
    copy = copied.copy.snapshot
    assert (copy.identifier, copy.region, copy.kms_key_id) == (NAME, OSAKA, aws.osaka_key)
    assert copy.tags["backup-assets:role"] == "copy"
    assert copy.tags["backup-assets:slot"] == DAY
    assert copy.taken_at == original.snapshot.taken_at
    assert copied.in_account is None


def test_that_of_a_cluster_remembers_when_its_original_was_taken(
    aws: PretendedAws, a_cluster_of_aurora: dict[str, Any]
):
    copying = Copying(aws, copies_of(aws), instance=None, cluster=CLUSTER)
    original = copying.take()

    copied = copying.copy()

    assert isinstance(original, Whole)
    assert isinstance(copied, Copied)
    assert original.snapshot.taken_at is not None
    assert copied.copy.snapshot.taken_at == original.snapshot.taken_at.replace(microsecond=0)


def test_a_second_run_finds_the_copy(copying: Copying):
    copying.take()

    first, second = copying.copy(), copying.copy(AT_0230 + HOUR)

    assert isinstance(first, Copied)
    assert isinstance(second, Copied)
    assert first.copy.snapshot == second.copy.snapshot


def test_an_old_slot_can_be_copied_any_time(copying: Copying):
    copying.take()

    assert isinstance(copying.copy(AT_0230 + 30 * 24 * HOUR), Copied)


def test_the_copy_of_an_old_slot_is_not_overdue_while_it_is_begun(
    copying: Copying, aws: PretendedAws, slow_snapshots: None, monkeypatch: pytest.MonkeyPatch
):
    copying.take()
    aws.snapshots_are("available")
    rds_backends[ACCOUNT][TOKYO].database_snapshots[NAME].original_snapshot_create_time = AT_0230

    def without_tags(self: BaseClient, operation: str, given: Any) -> Any:
        found = answered(self, operation, given)
        if operation == "CopyDBSnapshot":
            del found["DBSnapshot"]["TagList"]  # RDS does not have to repeat those of the request
        return found

    answered: Callable[..., Any] = BaseClient._make_api_call
    monkeypatch.setattr(BaseClient, "_make_api_call", without_tags)

    waiting = copying.copy(AT_0230 + 30 * 24 * HOUR)

    assert isinstance(waiting, Waiting)
    assert waiting.since == AT_0230 + 30 * 24 * HOUR


def test_a_copy_outlives_its_original(copying: Copying):
    copying.take()
    copied = copying.copy()
    copying.api.delete_snapshot(NAME)

    assert copying.copy() == copied


def test_without_a_snapshot_there_is_nothing_to_copy(copying: Copying):
    with pytest.raises(Refused, match=f"the slot {DAY} has no snapshot in ap-northeast-1 to copy"):
        copying.copy()


def test_nobody_waits_for_a_copy_that_is_being_made(copying: Copying, aws: PretendedAws, slow_snapshots: None):
    copying.take()
    original_first = copying.copy()
    aws.snapshots_are("available")

    waiting = copying.copy(AT_0230 + HOUR)

    assert isinstance(original_first, Waiting)
    assert "in ap-northeast-1 is creating" in original_first.what
    assert isinstance(waiting, Waiting)
    assert f"{NAME} in {OSAKA} is creating" in waiting.what
    assert waiting.since == AT_0230 + HOUR
    aws.snapshots_are("available", OSAKA)
    assert isinstance(copying.copy(AT_0230 + HOUR), Copied)


def test_one_that_failed_is_told_once_and_then_begun_again(copying: Copying, aws: PretendedAws, slow_snapshots: None):
    copying.take()
    aws.snapshots_are("available")
    copying.copy()
    aws.snapshots_are("failed", OSAKA)

    with pytest.raises(EnvironmentFault, match=f"{NAME} in {OSAKA} failed"):
        copying.copy()

    # Of any slot: the copy of an old snapshot shows what the old snapshot shows.
    assert isinstance(copying.copy(AT_0230 + 48 * HOUR), Waiting)


def test_an_encrypted_snapshot_is_not_copied_without_a_key(aws: PretendedAws, an_instance: dict[str, Any]):
    copying = Copying(aws, copies_of(aws, kms_key_id=None))
    copying.take()

    with pytest.raises(SettingsError, match="no key to encrypt its copy with") as caught:
        copying.copy()
    assert "rds.copies.kms_key_id" in caught.value.remedy


def test_an_unencrypted_cluster_is_not_copied_with_a_key_which_rds_refuses(aws: PretendedAws):
    # "If you copy an unencrypted DB cluster snapshot and specify a value for the KmsKeyId parameter, an error is
    # returned": the reference of CopyDBClusterSnapshot. Of an instance the copy is encrypted then.
    aws.make_cluster(StorageEncrypted=False, KmsKeyId=None)
    copying = Copying(aws, copies_of(aws), instance=None, cluster=CLUSTER)
    copying.take()

    with pytest.raises(SettingsError, match="is not encrypted, and copying does not encrypt") as caught:
        copying.copy()

    assert "rds.copies.kms_key_id" in caught.value.remedy
    assert copying.api.within(OSAKA).snapshot(NAME) is None
    without = Copying(aws, copies_of(aws, kms_key_id=None), instance=None, cluster=CLUSTER)
    assert isinstance(without.copy(), Copied)


def test_a_key_of_the_wrong_region_is_told(aws: PretendedAws, an_instance: dict[str, Any]):
    copying = Copying(aws, copies_of(aws, kms_key_id=aws.tokyo_key))
    copying.take()

    with pytest.raises(EnvironmentFault, match=f"could not copy the snapshot {NAME} in {OSAKA}: the KMS key"):
        copying.copy()


def test_a_copy_is_shared_with_the_accounts_that_are_named(aws: PretendedAws, an_instance: dict[str, Any]):
    copying = Copying(aws, copies_of(aws, share_with=(OTHER_ACCOUNT, "333333333333")))
    copying.take()

    copying.copy()
    copying.copy()

    assert copying.api.within(OSAKA).shared_with(NAME) == {OTHER_ACCOUNT, "333333333333"}
    attributes = aws.client("rds", OSAKA).describe_db_snapshot_attributes(DBSnapshotIdentifier=NAME)
    values = attributes["DBSnapshotAttributesResult"]["DBSnapshotAttributes"][0]["AttributeValues"]
    assert sorted(values) == [OTHER_ACCOUNT, "333333333333"]


@pytest.fixture
def into_account(aws: PretendedAws, an_instance: dict[str, Any], other_account: str) -> Copying:
    key = aws.access(OSAKA, other_account).client("kms").create_key()["KeyMetadata"]["Arn"]
    return Copying(aws, copies_of(aws, other_account, account_kms_key_id=key))


def test_another_account_makes_its_own_copy_under_its_own_key(into_account: Copying):
    into_account.take()

    copied = into_account.copy()

    assert isinstance(copied, Copied)
    assert copied.in_account is not None
    own = copied.in_account.snapshot
    assert (own.account, own.region, own.identifier) == (OTHER_ACCOUNT, OSAKA, NAME)
    assert own.kms_key_id == into_account.copies.account_kms_key_id
    assert own.taken_at == copied.copy.snapshot.taken_at
    assert into_account.copy() == copied


def test_a_share_that_the_other_account_does_not_see_yet_is_tried_again(
    into_account: Copying, monkeypatch: pytest.MonkeyPatch
):
    into_account.take()
    unseen: list[str] = []

    def get_snapshot(self: RDSBackend, identifier: str, resource_type: Any, not_found_exception: Any) -> Any:
        if self.account_id == OTHER_ACCOUNT and identifier.startswith("arn") and not unseen:
            unseen.append(identifier)
            raise not_found_exception(identifier)
        return found(self, identifier, resource_type, not_found_exception)

    found: Callable[..., Any] = RDSBackend.get_snapshot
    monkeypatch.setattr(RDSBackend, "get_snapshot", get_snapshot)

    with pytest.raises(TransientFault, match="does not see"):
        into_account.copy()
    assert isinstance(into_account.copy(), Copied)


def test_what_is_not_shared_with_it_the_other_account_cannot_copy(
    aws: PretendedAws, an_instance: dict[str, Any], other_account: str
):
    key = aws.access(OSAKA, other_account).client("kms").create_key()["KeyMetadata"]["Arn"]
    wrong = copies_of(aws, other_account, account_kms_key_id=key, share_with=("333333333333",))
    copying = Copying(aws, wrong)
    copying.take()

    # What was shared a moment ago it may see the next time.
    with pytest.raises(TransientFault):
        copying.copy()
    with pytest.raises(Missing, match=f"could not copy the snapshot {NAME}"):
        copying.copy()


def test_the_other_account_needs_a_key_of_its_own(aws: PretendedAws, an_instance: dict[str, Any], other_account: str):
    copying = Copying(aws, copies_of(aws, other_account))
    copying.take()

    with pytest.raises(SettingsError, match="no key to encrypt the other account's copy with"):
        copying.copy()


def test_a_profile_of_the_same_account_is_no_other_account(
    aws: PretendedAws, an_instance: dict[str, Any], tmp_path: Any
):
    (tmp_path / "aws-credentials").write_text("[same]\naws_access_key_id = x\naws_secret_access_key = y\n")
    copying = Copying(aws, copies_of(aws, "same", account_kms_key_id=aws.osaka_key))
    copying.take()

    with pytest.raises(SettingsError, match="the profile same is of the same account 123456789012"):
        copying.copy()
