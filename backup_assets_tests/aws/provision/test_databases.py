"""What differs of instances and clusters, and what is asked of RDS for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backup_assets.aws.provision.databases import DatabasePlan, apply_database, plan_database
from backup_assets.aws.provision.lines import Line
from backup_assets.aws.rds.api import RdsApi
from backup_assets.settings_aws import RdsCopySettings, RdsSettings
from backup_assets_tests.aws.conftest import ACCOUNT, CLUSTER, INSTANCE, OSAKA, PretendedAws
from backup_assets_tests.aws.provision.conftest import Lacking, database


def looked(aws: PretendedAws, **rds: Any) -> DatabasePlan:
    settings = RdsSettings(**{**({} if "cluster" in rds else {"instance": INSTANCE}), **rds})
    return plan_database(aws.access(), database("erp4", **settings.model_dump()), settings)


def line(plan: DatabasePlan, name: str) -> Line:
    return next(one for one in plan.lines if one.name == name)


def instance(aws: PretendedAws) -> dict[str, Any]:
    return aws.client("rds").describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"][0]


def test_an_instance_as_it_should_be_does_not_differ(aws: PretendedAws) -> None:
    aws.make_instance()

    plan = looked(aws)
    assert {one.state for one in plan.lines} == {"as wanted"}
    assert list(apply_database(plan)) == []


def test_an_instance_is_made_as_it_should_be_once(aws: PretendedAws) -> None:
    aws.make_instance(BackupRetentionPeriod=7, DeletionProtection=False, CopyTagsToSnapshot=False)

    plan = looked(aws)
    assert [one.name for one in plan.lines if one.state == "to change"] == [
        "days of automated backups", "deletion protection", "copy tags to snapshots",
    ]  # fmt: skip
    list(apply_database(plan))
    after = instance(aws)
    assert (after["BackupRetentionPeriod"], after["DeletionProtection"], after["CopyTagsToSnapshot"]) == (
        14,
        True,
        True,
    )
    assert not looked(aws).modify


def test_nothing_that_others_put_off_is_brought_about(aws: PretendedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.make_instance(BackupRetentionPeriod=7)
    plan = looked(aws)
    asked: list[dict[str, Any]] = []
    plan.api.client.meta.events.register(
        "provide-client-params.rds.ModifyDBInstance", lambda params, **_: asked.append(dict(params))
    )

    list(apply_database(plan))
    assert asked == [{"DBInstanceIdentifier": INSTANCE, "BackupRetentionPeriod": 14}]


def test_a_cluster_is_made_as_it_should_be(aws: PretendedAws) -> None:
    aws.make_cluster(BackupRetentionPeriod=7, DeletionProtection=False)

    list(apply_database(looked(aws, cluster=CLUSTER)))
    after = aws.client("rds").describe_db_clusters(DBClusterIdentifier=CLUSTER)["DBClusters"][0]
    assert (after["BackupRetentionPeriod"], after["DeletionProtection"]) == (14, True)


def test_fewer_days_are_refused_with_the_way_by_hand(aws: PretendedAws) -> None:
    aws.make_instance(BackupRetentionPeriod=30)

    plan = looked(aws)
    found = line(plan, "days of automated backups")
    assert (found.state, found.found, found.wanted) == ("refused", "30", "14")
    assert "modify-db-instance --db-instance-identifier erp4-prod --backup-retention-period 14" in found.how
    list(apply_database(plan))
    assert instance(aws)["BackupRetentionPeriod"] == 30


def test_backups_that_are_off_are_taken_up_in_the_maintenance_window(aws: PretendedAws) -> None:
    aws.make_instance(BackupRetentionPeriod=0, PreferredMaintenanceWindow="sun:18:00-sun:18:30")

    found = line(looked(aws), "days of automated backups")
    assert (found.state, found.found) == ("to change", "off")
    assert "maintenance window sun:18:00-sun:18:30, with a short interruption" in found.how


def pending(aws: PretendedAws, monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    """Let RDS answer as between a request and the maintenance window, which moto does not have."""
    look = RdsApi.source

    def later(self: RdsApi, identifier: str) -> Any:
        source = look(self, identifier)
        return replace(source, raw={**source.raw, "PendingModifiedValues": values})

    monkeypatch.setattr(RdsApi, "source", later)


def test_what_was_asked_for_is_not_asked_for_again(aws: PretendedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.make_instance(BackupRetentionPeriod=0)
    pending(aws, monkeypatch, BackupRetentionPeriod=14)

    plan = looked(aws)
    assert line(plan, "days of automated backups").state == "pending"
    assert "BackupRetentionPeriod" not in plan.modify


def test_fewer_days_that_somebody_asked_for_are_taken_back(aws: PretendedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.make_instance()
    pending(aws, monkeypatch, BackupRetentionPeriod=0)

    assert looked(aws).modify == {"BackupRetentionPeriod": 14}


@pytest.mark.parametrize(("wanted", "state"), [(None, None), (True, "left"), (False, "as wanted")])
def test_multi_az_is_reported_and_never_switched(aws: PretendedAws, wanted: bool | None, state: str | None) -> None:
    aws.make_instance(MultiAZ=False)

    plan = looked(aws, multi_az=wanted)
    assert next((one.state for one in plan.lines if one.name == "Multi-AZ"), None) == state
    assert not plan.modify


def test_a_backup_window_over_the_daily_snapshot_is_left_to_a_person(aws: PretendedAws) -> None:
    aws.make_instance(PreferredBackupWindow="17:16-17:46")

    plan = looked(aws)
    found = line(plan, "backup window")
    assert (found.state, found.found) == ("left", "17:16-17:46 UTC (02:16-02:46 in Asia/Tokyo)")
    assert found.wanted == "not at 02:30 in Asia/Tokyo"
    assert "database.rds.snapshot_at" in found.how
    assert "--preferred-backup-window" in found.how
    assert not plan.modify
    assert line(looked(aws, snapshot_at="04:00"), "backup window").state == "as wanted"


def test_storage_in_plaintext_or_of_another_key_is_left_to_a_person(aws: PretendedAws) -> None:
    aws.make_instance(StorageEncrypted=False, KmsKeyId=None)
    aws.make_instance("other")

    assert line(looked(aws), "encryption").state == "left"
    assert line(looked(aws, instance="other", kms_key_id=aws.make_key("ap-northeast-1")), "encryption").state == "left"
    assert line(looked(aws, instance="other", kms_key_id=aws.tokyo_key), "encryption").state == "as wanted"


class TestReplication:
    def test_automated_backups_go_to_the_region_of_the_copies(self, aws: PretendedAws, lacking: Lacking) -> None:
        aws.make_instance(BackupRetentionPeriod=7)

        plan = looked(aws, copies=RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key))
        list(apply_database(plan))
        arn = f"arn:aws:rds:ap-northeast-1:{ACCOUNT}:db:{INSTANCE}"
        # An encrypted instance leaves its region only with a presigned request.
        expected = {"region": OSAKA, "days": 14, "key": aws.osaka_key, "presigned": True}
        assert lacking.replications == {arn: expected}

    def test_one_that_runs_is_not_started_again(self, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch) -> None:
        aws.make_instance()
        look = RdsApi.source
        arn = f"arn:aws:rds:{OSAKA}:{ACCOUNT}:auto-backup:ab-1"

        def replicated(self: RdsApi, identifier: str) -> Any:
            source = look(self, identifier)
            there = [{"DBInstanceAutomatedBackupsArn": arn}]
            return replace(source, raw={**source.raw, "DBInstanceAutomatedBackupsReplications": there})

        monkeypatch.setattr(RdsApi, "source", replicated)
        plan = looked(aws, copies=RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key))
        assert line(plan, "automated backups in the other region").state == "as wanted"
        assert not plan.replicate

    def test_an_encrypted_one_needs_a_key_there(self, aws: PretendedAws) -> None:
        aws.make_instance()

        plan = looked(aws, copies=RdsCopySettings(region=OSAKA))
        found = line(plan, "automated backups in the other region")
        assert (found.state, plan.replicate) == ("left", {})
        assert "database.rds.copies.kms_key_id" in found.how

    def test_it_waits_until_automated_backups_are_on(self, aws: PretendedAws) -> None:
        aws.make_instance(BackupRetentionPeriod=0)

        plan = looked(aws, copies=RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key))
        assert line(plan, "automated backups in the other region").state == "pending"
        assert not plan.replicate

    def test_clusters_have_none(self, aws: PretendedAws) -> None:
        aws.make_cluster()

        plan = looked(aws, cluster=CLUSTER, copies=RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key))
        assert "automated backups in the other region" not in [one.name for one in plan.lines]


def test_an_instance_that_does_not_exist_is_left_to_a_person(aws: PretendedAws) -> None:
    plan = looked(aws)

    (only,) = plan.lines
    assert (only.name, only.state) == (f"instance {INSTANCE}", "left")
    assert list(apply_database(plan)) == []
