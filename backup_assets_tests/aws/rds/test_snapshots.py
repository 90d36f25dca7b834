from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from backup_assets.aws.answers import Busy, Missing
from backup_assets.aws.rds.api import RdsApi
from backup_assets.aws.rds.settling import Whole, note_recorded
from backup_assets.aws.rds.snapshots import take_snapshot
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import EnvironmentFault, Refused, SettingsError
from backup_assets_tests.aws.conftest import CLUSTER, INSTANCE, PretendedAws
from backup_assets_tests.aws.rds.examples import AT_0230, DAY, ENV, NAME, SLOTS, database_of, rds_of

HOUR = timedelta(hours=1)


def take(aws: PretendedAws, now: datetime = AT_0230, slot: str = DAY, **rds: Any) -> Whole | Waiting:
    settings = rds_of(aws, **rds)
    api = RdsApi(aws.access(), "cluster" if settings.cluster else "instance")
    return take_snapshot(api, database_of(settings), settings, ENV, SLOTS, slot, now, lambda _: None)


def names(aws: PretendedAws) -> list[str]:
    listed = aws.client("rds").describe_db_snapshots(SnapshotType="manual")
    return [one["DBSnapshotIdentifier"] for one in listed["DBSnapshots"]]


def test_a_slot_gets_a_snapshot_that_says_what_it_is(aws: PretendedAws, an_instance: dict[str, Any]):
    taken = take(aws)

    assert isinstance(taken, Whole)
    assert taken.snapshot.identifier == NAME
    assert taken.snapshot.tags == {
        "backup-assets:database": "erp4",
        "backup-assets:env": "production",
        "backup-assets:slot": DAY,
        "backup-assets:role": "snapshot",
        "backup-assets:started": "2026-11-21T17:30:00Z",
    }


def test_a_cluster_gets_one_too(aws: PretendedAws, a_cluster_of_aurora: dict[str, Any]):
    taken = take(aws, instance=None, cluster=CLUSTER)

    assert isinstance(taken, Whole)
    assert (taken.snapshot.kind, taken.snapshot.source) == ("cluster", CLUSTER)


def test_a_second_run_finds_the_snapshot_of_the_slot(aws: PretendedAws, an_instance: dict[str, Any]):
    first, second = take(aws), take(aws, AT_0230 + HOUR)

    assert isinstance(first, Whole)
    assert isinstance(second, Whole)
    assert first.snapshot == second.snapshot
    assert names(aws) == [NAME]


def test_nobody_waits_for_a_snapshot_that_is_being_made(
    aws: PretendedAws, an_instance: dict[str, Any], slow_snapshots: None
):
    waiting = take(aws)

    assert waiting == Waiting(f"the snapshot {NAME} in ap-northeast-1 is creating", AT_0230, AT_0230 + 6 * HOUR)
    assert take(aws, AT_0230 + HOUR) == waiting
    aws.snapshots_are("available")
    assert isinstance(take(aws, AT_0230 + HOUR), Whole)


def test_how_long_it_took_is_measured_until_it_was_noticed(
    aws: PretendedAws, an_instance: dict[str, Any], slow_snapshots: None
):
    take(aws)
    aws.snapshots_are("available")
    taken = take(aws, AT_0230 + HOUR)
    assert isinstance(taken, Whole)
    note_recorded(RdsApi(aws.access(), "instance"), taken.snapshot, AT_0230 + HOUR)

    later = take(aws, AT_0230 + 5 * HOUR)

    assert isinstance(later, Whole)
    assert taken.seconds == later.seconds == 3600


def test_one_that_takes_too_long_is_told(aws: PretendedAws, an_instance: dict[str, Any], slow_snapshots: None):
    take(aws)

    with pytest.raises(EnvironmentFault, match=r"is creating for 6\.0 hours, longer than it may") as caught:
        take(aws, AT_0230 + 6 * HOUR)
    assert "rds.snapshot_timeout_hours" in caught.value.remedy
    assert names(aws) == [NAME]


def test_one_that_failed_is_told_once_and_then_begun_again(
    aws: PretendedAws, an_instance: dict[str, Any], slow_snapshots: None
):
    take(aws)
    aws.snapshots_are("failed")

    with pytest.raises(EnvironmentFault, match=f"the snapshot {NAME} in ap-northeast-1 failed"):
        take(aws, AT_0230 + HOUR)
    again = take(aws, AT_0230 + 2 * HOUR)

    assert isinstance(again, Waiting)
    assert again.since == AT_0230 + 2 * HOUR
    assert names(aws) == [NAME]


def test_a_failed_one_of_a_past_slot_is_left_to_the_retention(
    aws: PretendedAws, an_instance: dict[str, Any], slow_snapshots: None
):
    take(aws)
    aws.snapshots_are("failed")

    for _ in range(2):
        with pytest.raises(EnvironmentFault, match="failed"):
            take(aws, AT_0230 + 24 * HOUR)
    assert names(aws) == [NAME]


def test_a_past_slot_without_a_snapshot_is_refused(aws: PretendedAws, an_instance: dict[str, Any]):
    with pytest.raises(Refused, match=f"the slot {DAY} is over"):
        take(aws, AT_0230 + 24 * HOUR)
    assert names(aws) == []


def test_a_past_slot_keeps_the_snapshot_that_it_has(aws: PretendedAws, an_instance: dict[str, Any]):
    take(aws)

    assert isinstance(take(aws, AT_0230 + 48 * HOUR), Whole)


def test_a_snapshot_of_that_name_that_is_not_ours_is_left_alone(aws: PretendedAws, an_instance: dict[str, Any]):
    aws.client("rds").create_db_snapshot(DBSnapshotIdentifier=NAME, DBInstanceIdentifier=INSTANCE)
    aws.snapshots_are("failed")

    with pytest.raises(Refused, match="does not bear our tags") as caught:
        take(aws)
    assert "rds:ListTagsForResource" in caught.value.remedy
    assert names(aws) == [NAME]


def test_a_member_of_a_cluster_is_not_taken_for_an_instance(aws: PretendedAws, a_cluster_of_aurora: dict[str, Any]):
    with pytest.raises(SettingsError, match=f"{CLUSTER}-1 is a member of the cluster {CLUSTER}") as caught:
        take(aws, instance=f"{CLUSTER}-1")
    assert f"rds.cluster: {CLUSTER}" in caught.value.remedy


def test_a_source_that_is_gone_is_missing(aws: PretendedAws):
    with pytest.raises(Missing, match="could not look at the instance erp4-prod"):
        take(aws)


def test_a_source_that_is_at_work_is_asked_again(aws: PretendedAws, an_instance: dict[str, Any]):
    settings = rds_of(aws)
    api = RdsApi(aws.access(), "instance")

    with Stubber(api.client) as stub:
        stub.add_client_error("describe_db_snapshots", "DBSnapshotNotFound", "", 404)
        stub.add_response("describe_db_instances", {"DBInstances": [an_instance]})
        stub.add_response("describe_db_instance_automated_backups", {"DBInstanceAutomatedBackups": []})
        stub.add_client_error("create_db_snapshot", "InvalidDBInstanceState", "Instance is modifying.", 400)
        with pytest.raises(Busy, match="not in a state that allows this now"):
            take_snapshot(api, database_of(settings), settings, ENV, SLOTS, DAY, AT_0230, lambda _: None)


#: As RDS says it of every state: that it is another backup, only the state says.
UNAVAILABLE = (
    "Cannot create a snapshot because the database instance erp4-prod is not currently in the available state."
)


def refused_for_a_backup(aws: PretendedAws, raw: dict[str, Any], said: str = UNAVAILABLE) -> Busy:
    settings = rds_of(aws)
    api = RdsApi(aws.access(), "instance")
    with Stubber(api.client) as stub:
        stub.add_client_error("describe_db_snapshots", "DBSnapshotNotFound", "", 404)
        stub.add_response("describe_db_instances", {"DBInstances": [raw]})
        stub.add_response("describe_db_instance_automated_backups", {"DBInstanceAutomatedBackups": []})
        stub.add_client_error("create_db_snapshot", "InvalidDBInstanceState", said, 400)
        with pytest.raises(Busy) as caught:
            take_snapshot(api, database_of(settings), settings, ENV, SLOTS, DAY, AT_0230, lambda _: None)
    return caught.value


def test_a_source_that_another_backup_is_taken_of_is_told_with_its_window(
    aws: PretendedAws, an_instance: dict[str, Any]
):
    raw = {**an_instance, "DBInstanceStatus": "backing-up", "PreferredBackupWindow": "17:16-17:46"}

    error = refused_for_a_backup(aws, raw)

    assert error.what == f"could not take the snapshot {NAME} in ap-northeast-1: erp4-prod is backing-up"
    assert UNAVAILABLE in error.why
    assert "17:16-17:46 UTC (02:16-02:46 in Asia/Tokyo)" in error.why
    assert "AWS Backup" in error.why
    assert "`rds.snapshot_at` (02:30 in Asia/Tokyo)" in error.remedy
    assert "aws rds modify-db-instance --db-instance-identifier erp4-prod --preferred-backup-window" in error.remedy
    assert error.retriable


def test_a_backup_that_began_between_our_look_and_our_wish_is_told_where_rds_says_so(
    aws: PretendedAws, an_instance: dict[str, Any]
):
    raw = {key: value for key, value in an_instance.items() if key != "PreferredBackupWindow"}

    error = refused_for_a_backup(aws, {**raw, "DBInstanceStatus": "available"}, "Instance is backing-up.")

    assert error.what.endswith("erp4-prod is backing-up")
    assert "window" not in error.why
    assert error.retriable


def test_a_cluster_that_another_backup_is_taken_of_is_told_too(aws: PretendedAws, a_cluster_of_aurora: dict[str, Any]):
    settings = rds_of(aws, instance=None, cluster=CLUSTER)
    api = RdsApi(aws.access(), "cluster")
    with Stubber(api.client) as stub:
        stub.add_client_error("describe_db_cluster_snapshots", "DBClusterSnapshotNotFoundFault", "", 404)
        stub.add_response("describe_db_clusters", {"DBClusters": [{**a_cluster_of_aurora, "Status": "backing-up"}]})
        stub.add_client_error("create_db_cluster_snapshot", "InvalidDBClusterStateFault", "Not now.", 400)
        with pytest.raises(Busy, match=f"{CLUSTER} is backing-up") as caught:
            take_snapshot(api, database_of(settings), settings, ENV, SLOTS, DAY, AT_0230, lambda _: None)
    assert f"modify-db-cluster --db-cluster-identifier {CLUSTER}" in caught.value.remedy


def test_a_run_that_was_overtaken_finds_the_snapshot_of_the_quicker_one(aws: PretendedAws, an_instance: dict[str, Any]):
    settings = rds_of(aws)
    api = RdsApi(aws.access(), "instance")
    # The quicker one takes it between our look and our wish.
    api.client.meta.events.register_first(
        "before-call.rds.CreateDBSnapshot", lambda **_: first.append(take(aws)) if not first else None
    )
    first: list[Whole | Waiting] = []

    second = take_snapshot(api, database_of(settings), settings, ENV, SLOTS, DAY, AT_0230, lambda _: None)

    assert isinstance(second, Whole)
    assert first
    assert isinstance(first[0], Whole)
    assert second.snapshot == first[0].snapshot
    assert names(aws) == [NAME]


def test_the_snapshot_of_the_instance_before_is_not_taken_for_one_of_this(
    aws: PretendedAws, an_instance: dict[str, Any]
):
    take(aws)
    aws.make_instance("erp4-new")

    with pytest.raises(Refused, match=f"is one of {INSTANCE}, not of erp4-new") as refused:
        take(aws, AT_0230 + HOUR, instance="erp4-new")

    assert "by hand" in refused.value.remedy
