from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from backup_assets.aws.rds.copies import Copied, in_account, in_copies
from backup_assets.aws.rds.pending import pending_copies, pending_snapshots, uncopied_snapshot
from backup_assets.aws.rds.settling import Whole, note_recorded
from backup_assets.aws.rds.tagging import RECORDED, moment_text, tags_of
from backup_assets.aws.rds.work import Pending
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.settings_retention import RetentionSettings
from backup_assets_tests.aws.conftest import INSTANCE, OSAKA, OTHER_ACCOUNT, PretendedAws
from backup_assets_tests.aws.rds.examples import AT_0230, DAY, ENV, NAME, copies_of, database_of
from backup_assets_tests.aws.rds.test_copies import Copying

HOUR = timedelta(hours=1)


def snapshots(copying: Copying, now: datetime = AT_0230) -> tuple[Pending, ...]:
    return pending_snapshots(copying.api, database_of(copying.rds), copying.rds, ENV, now)


def copies(copying: Copying, now: datetime = AT_0230) -> tuple[Pending, ...]:
    return pending_copies(copying.api, database_of(copying.rds), copying.rds, ENV, now)


def uncopied(copying: Copying, now: datetime) -> tuple[Pending, ...]:
    return uncopied_snapshot(copying.api, database_of(copying.rds), copying.rds, ENV, now)


def whole(copying: Copying, slot: str, *, copy: bool, source: str = INSTANCE) -> None:
    """Make the snapshot of a slot and, if so, its copy; both are whole, and were told."""
    told = {RECORDED: moment_text(AT_0230)}
    rds = copying.aws.client("rds")
    tags = {**tags_of("erp4", ENV, slot, "snapshot", AT_0230), **told}
    made = rds.create_db_snapshot(DBSnapshotIdentifier=f"of-{slot}", DBInstanceIdentifier=source, Tags=_listed(tags))[
        "DBSnapshot"
    ]
    if copy:
        tags = {**tags_of("erp4", ENV, slot, "copy", AT_0230), **told}
        copying.aws.client("rds", OSAKA).copy_db_snapshot(
            SourceDBSnapshotIdentifier=made["DBSnapshotArn"],
            TargetDBSnapshotIdentifier=f"of-{slot}",
            KmsKeyId=copying.aws.osaka_key,
            Tags=_listed(tags),
        )


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.fixture
def copying(aws: PretendedAws, an_instance: dict[str, Any], slow_snapshots: None) -> Copying:
    return Copying(aws, copies_of(aws))


def test_nothing_is_pending_where_nothing_is(copying: Copying):
    assert snapshots(copying) == ()
    assert copies(copying) == ()


def test_what_is_under_way_is_not_pending(copying: Copying):
    copying.take()

    assert snapshots(copying, AT_0230 + HOUR) == ()


@pytest.mark.parametrize("status", ["available", "failed"])
def test_what_is_over_is_pending_until_it_was_told(copying: Copying, aws: PretendedAws, status: str):
    copying.take()
    aws.snapshots_are(status)

    (pending,) = snapshots(copying)

    assert pending.partition_key == DAY
    assert pending.run_key == f"{NAME}/ap-northeast-1/2026-11-21T17:30:00Z/{status}"
    assert pending.what == f"{NAME} in ap-northeast-1 is {status}"
    assert snapshots(copying) == (pending,)
    found = copying.api.snapshot(NAME)
    assert found is not None
    note_recorded(copying.api, found, AT_0230)
    assert snapshots(copying) == ()


def test_what_takes_too_long_is_pending(copying: Copying):
    copying.take()

    (pending,) = snapshots(copying, AT_0230 + 6 * HOUR)

    assert pending.run_key.endswith("/overdue")


def test_a_second_attempt_in_a_slot_is_another_event(copying: Copying, aws: PretendedAws):
    copying.take()
    aws.snapshots_are("failed")
    (first,) = snapshots(copying)
    with pytest.raises(EnvironmentFault, match="failed"):
        copying.take()
    copying.take(AT_0230 + HOUR)
    aws.snapshots_are("failed")

    (second,) = snapshots(copying)

    assert first.run_key != second.run_key


def test_those_of_others_are_not_looked_at(copying: Copying, aws: PretendedAws):
    rds = aws.client("rds")
    rds.create_db_snapshot(DBSnapshotIdentifier="by-hand", DBInstanceIdentifier="erp4-prod")
    aws.snapshots_are("available")

    assert snapshots(copying) == ()


def test_a_copy_that_is_over_is_pending(copying: Copying, aws: PretendedAws):
    copying.take()
    aws.snapshots_are("available")
    copying.copy()
    assert copies(copying) == ()
    aws.snapshots_are("available", OSAKA)

    (pending,) = copies(copying)

    assert (pending.partition_key, pending.what) == (DAY, f"{NAME} in {OSAKA} is available")
    copied = copying.copy()
    assert isinstance(copied, Copied)
    note_recorded(in_copies(copying.api, copying.copies), copied.copy.snapshot, AT_0230)
    assert copies(copying) == ()


def test_a_copy_that_no_run_began_is_pending_after_a_while(copying: Copying, aws: PretendedAws):
    copying.take()
    aws.snapshots_are("available")
    taken = copying.take()
    assert isinstance(taken, Whole)
    note_recorded(copying.api, taken.snapshot, AT_0230)

    assert uncopied(copying, AT_0230 + timedelta(minutes=5)) == ()
    (pending,) = uncopied(copying, AT_0230 + timedelta(minutes=11))

    assert (pending.partition_key, pending.run_key) == (DAY, f"{NAME}/not-copied")
    assert copies(copying, AT_0230 + timedelta(minutes=11)) == ()


def test_copies_that_could_not_be_made_are_made_once_a_later_one_is_whole(
    aws: PretendedAws, an_instance: dict[str, Any]
):
    copying = Copying(aws, copies_of(aws))
    for slot in ("2026-11-19", "2026-11-20", "2026-11-21"):
        whole(copying, slot, copy=slot == "2026-11-19")
    assert copies(copying) == ()

    whole(copying, "2026-11-22", copy=True)

    found = {one.partition_key: one.run_key for one in copies(copying)}
    assert set(found) == {"2026-11-20", "2026-11-21"}
    assert found["2026-11-20"] == "of-2026-11-20/ap-northeast-3/not-copied/2026-11-22"
    whole(copying, "2026-11-23", copy=True)
    assert {one.partition_key for one in copies(copying)} == {"2026-11-20", "2026-11-21"}
    assert {one.run_key for one in copies(copying)} != set(found.values())


def test_a_copy_that_the_retention_would_delete_again_is_not_made(aws: PretendedAws, an_instance: dict[str, Any]):
    copying = Copying(aws, copies_of(aws))
    whole(copying, "2026-11-20", copy=False)
    whole(copying, "2026-11-21", copy=True)
    whole(copying, "2026-11-22", copy=True)
    database = database_of(copying.rds, retention=RetentionSettings(daily=2))

    assert pending_copies(copying.api, database, copying.rds, ENV, AT_0230) == ()
    assert len(copies(copying)) == 1


def test_those_of_the_instance_that_the_database_was_on_before_ask_for_no_run(
    aws: PretendedAws, an_instance: dict[str, Any]
):
    before = aws.make_instance("erp4-before")["DBInstanceIdentifier"]
    copying = Copying(aws, copies_of(aws))
    whole(copying, "2026-11-20", copy=False, source=before)
    whole(copying, "2026-11-21", copy=True)

    assert copies(copying) == ()
    # Under way when the settings were changed: a run could only refuse them.
    tags = tags_of("erp4", ENV, DAY, "snapshot", AT_0230)
    aws.client("rds").create_db_snapshot(DBSnapshotIdentifier=NAME, DBInstanceIdentifier=before, Tags=_listed(tags))
    with pytest.raises(Refused, match="is one of erp4-before, not of erp4-prod"):
        copying.take()
    assert snapshots(copying) == ()


def test_that_of_another_account_is_pending_apart(
    aws: PretendedAws, an_instance: dict[str, Any], other_account: str, slow_snapshots: None
):
    key = aws.access(OSAKA, other_account).client("kms").create_key()["KeyMetadata"]["Arn"]
    copying = Copying(aws, copies_of(aws, other_account, account_kms_key_id=key))
    copying.take()
    aws.snapshots_are("available")
    copying.copy()
    aws.snapshots_are("available", OSAKA)
    (of_copy,) = copies(copying)
    copying.copy()
    aws.snapshots_are("available", OSAKA, OTHER_ACCOUNT)

    both = copies(copying)

    assert of_copy in both
    assert {one.run_key for one in both} == {of_copy.run_key, of_copy.run_key.replace(OSAKA, f"vault/{OSAKA}")}
    copied = copying.copy()
    other = in_account(copying.api, copying.copies)
    assert isinstance(copied, Copied)
    assert copied.in_account is not None
    assert other is not None
    note_recorded(other, copied.in_account.snapshot, AT_0230)
    assert copies(copying) == (of_copy,)
