from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto.kms.exceptions import AccessDeniedException
from moto.kms.models import kms_backends

from backup_assets.aws.access import Access
from backup_assets.aws.answers import Denied
from backup_assets.aws.rds.api import RdsApi
from backup_assets.aws.rds.examining import NOT_IN_TIME, Protection, backup_jobs, examine_protection, signature_of
from backup_assets.aws.rds.server_names import server_name, server_tags
from backup_assets.aws.rds.tagging import tags_of
from backup_assets.doctor_rds import examine_rds
from backup_assets.findings import Finding, State
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import (
    AwsSettings,
    BackupPlanSettings,
    InfrastructureSettings,
    RdsCopySettings,
    RdsSettings,
)
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.aws.conftest import ACCOUNT, CLUSTER, INSTANCE, OSAKA, OTHER_ACCOUNT, TOKYO, PretendedAws

ENV = "production"
PLAN = BackupPlanSettings(every_hours=3)


def settings_of(aws: PretendedAws, directory: Path, rds: RdsSettings, **more: Any) -> Settings:
    return Settings(
        env=ENV,
        backup_dir=directory,
        databases=(DatabaseSettings(name="erp4", database="erp4", rds=rds),),
        aws=AwsSettings(endpoint_url=aws.endpoint_url, **more),
    )


def examined(settings: Settings, **ahead: float) -> dict[str, Finding]:
    now = datetime.now(UTC) + timedelta(**ahead)
    parts = examine_protection(settings.databases[0], settings, now)
    return {one.name: one for part in parts for one in part.findings}


def snapshots(aws: PretendedAws, kind: str = "instance", share: tuple[str, ...] = ()) -> None:
    """Take a snapshot of ours and its copy."""
    for role, region in (("snapshot", TOKYO), ("copy", OSAKA)):
        given: Any = tags_of("erp4", ENV, "2026-11-22", role, datetime.now(UTC))  # type: ignore[arg-type]
        source = INSTANCE if kind == "instance" else CLUSTER
        home = RdsApi(aws.access(), kind)  # type: ignore[arg-type]
        if role == "snapshot":
            home.create_snapshot(source, "daily", given)
            continue
        original = home.snapshot("daily")
        assert original is not None
        there = home.within(region)
        there.copy_snapshot(original, "daily", given, from_region=TOKYO, kms_key_id=aws.osaka_key)
        if share:
            there.share_snapshot("daily", share)


def test_an_instance_as_it_should_be_has_nothing_to_mend(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    snapshots(aws)
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key)
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, kms_key_id=aws.tokyo_key, copies=copies))
    found = examined(settings)
    assert {one.name: one for one in found.values() if one.state != "ok"} == {}
    assert set(found) == {
        "automated backups",
        "deletion protection",
        "storage encryption",
        "zones",
        "backup window",
        "latest restorable time",
        "newest snapshot",
        f"newest copy in {OSAKA}",
        "encryption of copies",
        "key of copies",
        "sharing of copies",
        "drill servers",
    }


def test_drift_is_seen_at_the_next_look(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    snapshots(aws)
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE))
    assert {one.state for one in examined(settings).values()} == {"ok"}
    aws.client("rds").modify_db_instance(
        DBInstanceIdentifier=INSTANCE, BackupRetentionPeriod=1, DeletionProtection=False, ApplyImmediately=True
    )
    drifted = {one.name for one in examined(settings).values() if one.state == "fail"}
    assert drifted == {"automated backups", "deletion protection"}


@pytest.mark.parametrize(("timezone", "state"), [("Asia/Tokyo", "warn"), ("UTC", "ok")])
def test_a_backup_window_over_the_daily_snapshot_is_a_warning_in_the_zone_of_the_schedule(
    aws: PretendedAws, tmp_path: Path, timezone: str, state: State
) -> None:
    aws.make_instance(PreferredBackupWindow="17:16-17:46")
    aws.make_cluster(PreferredBackupWindow="17:16-17:46")
    for rds in (RdsSettings(instance=INSTANCE), RdsSettings(cluster=CLUSTER)):
        settings = settings_of(aws, tmp_path, rds)
        schedule = ScheduleSettings(timezone=timezone)
        database = settings.databases[0].model_copy(update={"schedule": schedule})
        (protected,) = [
            part for part in examine_protection(database, settings, datetime.now(UTC)) if part.group == "protected"
        ]
        assert {one.name: one.state for one in protected.findings}["backup window"] == state
        told = {one.name: one.state for one in examine_rds(database, settings)}
        assert told["backup window"] == state


def test_a_cluster_is_examined_in_the_same_words(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_cluster()
    snapshots(aws, "cluster")
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key)
    settings = settings_of(aws, tmp_path, RdsSettings(cluster=CLUSTER, kms_key_id=aws.tokyo_key, copies=copies))
    found = examined(settings)
    assert {one.name: one for one in found.values() if one.state != "ok"} == {}
    assert f"newest copy in {OSAKA}" in found


def test_a_key_that_is_given_by_its_alias_is_looked_up(aws: PretendedAws, tmp_path: Path) -> None:
    kms = aws.client("kms")
    kms.create_alias(AliasName="alias/erp4", TargetKeyId=aws.tokyo_key)
    kms.create_alias(AliasName="alias/other", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    aws.make_instance()
    for alias, state in (("alias/erp4", "ok"), ("alias/other", "fail")):
        settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, kms_key_id=alias))
        assert examined(settings)["storage encryption"].state == state


def test_a_copy_with_the_wrong_key_and_without_its_share_is_found(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    snapshots(aws)
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.make_key(OSAKA), share_with=(OTHER_ACCOUNT,))
    found = examined(settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, copies=copies)))
    assert found["encryption of copies"].state == "fail"
    assert found["sharing of copies"].state == "fail"
    RdsApi(aws.access(OSAKA), "instance").share_snapshot("daily", (OTHER_ACCOUNT,))
    found = examined(settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, copies=copies)))
    assert found["sharing of copies"].state == "ok"


def test_a_copy_whose_key_is_to_be_deleted_cannot_be_restored(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    snapshots(aws)
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key)
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, copies=copies))
    assert examined(settings)["key of copies"].state == "ok"
    aws.client("kms", OSAKA).schedule_key_deletion(KeyId=aws.osaka_key.rpartition("/")[2])
    found = examined(settings)["key of copies"]
    assert found.state == "fail"
    assert "PendingDeletion" in found.found
    assert aws.osaka_key in found.found


def test_a_key_that_may_not_be_looked_at_is_a_warning_and_hides_nothing_else(
    aws: PretendedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.make_instance()
    snapshots(aws)
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key)

    def denied(*_: object) -> None:
        raise AccessDeniedException("not authorized to perform: kms:DescribeKey")

    monkeypatch.setattr(kms_backends[ACCOUNT][OSAKA], "describe_key", denied)
    found = examined(settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, copies=copies)))
    assert found["key of copies"].state == "warn"
    assert "is not known" in found["key of copies"].found
    assert found[f"newest copy in {OSAKA}"].state == "ok"


def test_a_key_that_is_gone_is_a_failure(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    snapshots(aws)
    kms_backends[ACCOUNT][OSAKA].keys.pop(aws.osaka_key.rpartition("/")[2])
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key)
    found = examined(settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, copies=copies)))
    assert found["key of copies"].state == "fail"


def test_old_snapshots_are_found_however_many_there_are(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    snapshots(aws)
    copies = RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key)
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE, copies=copies))
    stale = {one.name for one in examined(settings, hours=40).values() if one.state == "fail"}
    assert {"newest snapshot", f"newest copy in {OSAKA}"} <= stale


def test_a_server_that_a_drill_left_is_a_failure(aws: PretendedAws, tmp_path: Path) -> None:
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE))
    began = datetime.now(UTC) - timedelta(hours=4)
    for month, deadline in (("2026-10", began + timedelta(hours=3)), ("2026-11", began + timedelta(hours=5))):
        tags = server_tags("drill", settings.databases[0], ENV, month, began, deadline, {})
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        aws.make_instance(server_name("drill", "erp4", ENV, month), Tags=listed)
    found = examined(settings)["drill servers"]
    assert found.state == "fail"
    assert server_name("drill", "erp4", ENV, "2026-10") in found.found
    assert server_name("drill", "erp4", ENV, "2026-11") not in found.found


def test_a_server_of_a_drill_whose_tags_cannot_be_seen_is_a_failure(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE))
    aws.make_instance(server_name("drill", "erp4", ENV, "2026-11"))
    found = examined(settings)["drill servers"]
    assert found.state == "fail"
    assert server_name("drill", "erp4", ENV, "2026-11") in found.found
    assert "rds:ListTagsForResource" in found.remedy


def test_snapshots_of_others_count_for_nothing(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier="by-hand")
    found = examined(settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE)))
    assert found["newest snapshot"].state == "fail"


def test_a_source_that_is_gone_is_told_and_the_rest_is_examined_all_the_same(aws: PretendedAws, tmp_path: Path) -> None:
    found = examined(settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE)))
    assert found["protected"].state == "fail"
    assert "it does not exist" in found["protected"].found
    assert found["restorable"].state == "fail"
    assert found["newest snapshot"].state == "fail"


def test_an_aws_that_cannot_be_reached_is_a_warning(aws: PretendedAws, tmp_path: Path) -> None:
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE))
    away = settings.aws.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})
    parts = list(
        examine_protection(settings.databases[0], settings.model_copy(update={"aws": away}), datetime.now(UTC))
    )
    assert {one.state for part in parts for one in part.findings} == {"warn"}


def test_buckets_of_the_infrastructure_must_be_versioned(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    s3 = aws.client("s3")
    for name in ("erp4-pdf", "erp4-loose"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": TOKYO})
    s3.put_bucket_versioning(Bucket="erp4-pdf", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_lifecycle_configuration(
        Bucket="erp4-pdf",
        LifecycleConfiguration={
            "Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}]
        },
    )
    infrastructure = InfrastructureSettings(buckets=("erp4-pdf", "erp4-loose"))
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE), infrastructure=infrastructure)
    found = examined(settings)
    assert found["bucket erp4-pdf"].state == "warn"
    assert "expire by the lifecycle rule old" in found["bucket erp4-pdf"].found
    assert found["bucket erp4-loose"].state == "fail"


@dataclass(frozen=True)
class StubbedAccess(Access):
    """Gives out one client, whose answers are written down: moto knows no jobs of AWS Backup."""

    stubbed: Any = None

    def client(self, service: str) -> Any:
        assert service == "backup"
        return self.stubbed


def stubbed_backup() -> tuple[Stubber, StubbedAccess]:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("backup", region_name=TOKYO, **keys)
    return Stubber(client), StubbedAccess(TOKYO, stubbed=client)


def test_the_jobs_of_aws_backup_are_those_of_the_source_and_of_every_page(aws: PretendedAws) -> None:
    aws.make_instance()
    source = RdsApi(aws.access(), "instance").source(INSTANCE)
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    asked = {"ByResourceArn": source.arn, "ByCreatedAfter": now - timedelta(days=1)}
    made = {"State": "COMPLETED", "CreationDate": now - timedelta(hours=1)}
    failed = {"State": "FAILED", "CreationDate": now, "StatusMessage": "no key"}
    stubber, access = stubbed_backup()
    stubber.add_response("list_backup_jobs", {"BackupJobs": [{"BackupJobId": "b1", **made}], "NextToken": "2"}, asked)
    stubber.add_response(
        "list_backup_jobs", {"BackupJobs": [{"BackupJobId": "b2", **made}]}, {**asked, "NextToken": "2"}
    )
    stubber.add_response("list_copy_jobs", {"CopyJobs": [{"CopyJobId": "c1", **failed}]}, asked)
    with stubber:
        found = backup_jobs(access, source, PLAN, now, second_region=OSAKA)
        stubber.assert_no_pending_responses()
    assert [(one.kind, one.identifier, one.state, one.message) for one in found] == [
        ("backup", "b1", "COMPLETED", ""),
        ("backup", "b2", "COMPLETED", ""),
        ("copy", "c1", "FAILED", "no key"),
    ]


def test_the_jobs_of_a_cluster_are_also_those_that_name_it_by_its_resource_id(aws: PretendedAws) -> None:
    aws.make_cluster()
    source = RdsApi(aws.access(), "cluster").source(CLUSTER)
    source = replace(source, raw={**source.raw, "DbClusterResourceId": "cluster-ABC"})
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    made = {"State": "COMPLETED", "CreationDate": now - timedelta(hours=1)}
    stubber, access = stubbed_backup()
    for arn, names in ((source.arn, ["1"]), (f"arn:aws:rds:{TOKYO}:{ACCOUNT}:cluster:cluster-ABC", ["1", "2"])):
        asked = {"ByResourceArn": arn, "ByCreatedAfter": now - timedelta(days=1)}
        backups = [{"BackupJobId": f"b{name}", **made} for name in names]
        stubber.add_response("list_backup_jobs", {"BackupJobs": backups}, asked)
        stubber.add_response("list_copy_jobs", {"CopyJobs": []}, asked)
    with stubber:
        found = backup_jobs(access, source, PLAN, now, second_region=OSAKA)
        stubber.assert_no_pending_responses()
    assert [one.identifier for one in found] == ["b1", "b2"]


def test_jobs_of_the_plan_are_those_into_its_vaults(aws: PretendedAws) -> None:
    aws.make_instance()
    source = RdsApi(aws.access(), "instance").source(INSTANCE)
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    made = {"State": "COMPLETED", "CreationDate": now - timedelta(hours=1)}
    vaults = {"c1": (OSAKA, "backup-assets"), "c2": (TOKYO, "backup-assets"), "c3": (OSAKA, "of-the-group")}
    arns = {name: f"arn:aws:backup:{region}:{ACCOUNT}:backup-vault:{vault}" for name, (region, vault) in vaults.items()}
    copies = [{"CopyJobId": name, "DestinationBackupVaultArn": arn, **made} for name, arn in arns.items()]
    backups = [{"BackupJobId": name, "BackupVaultName": name, **made} for name in ("backup-assets", "of-the-group")]
    stubber, access = stubbed_backup()
    stubber.add_response("list_backup_jobs", {"BackupJobs": backups})
    stubber.add_response("list_copy_jobs", {"CopyJobs": copies})
    with stubber:
        found = backup_jobs(access, source, PLAN, now, second_region=OSAKA)
    assert [one.identifier for one in found if one.of_plan] == ["backup-assets", "c1"]


def test_jobs_that_may_not_be_listed_are_an_error_that_names_the_action(aws: PretendedAws) -> None:
    aws.make_instance()
    source = RdsApi(aws.access(), "instance").source(INSTANCE)
    stubber, access = stubbed_backup()
    said = "not authorized to perform: backup:ListBackupJobs"
    stubber.add_client_error("list_backup_jobs", "AccessDeniedException", said, http_status_code=403)
    with stubber, pytest.raises(Denied) as raised:
        backup_jobs(access, source, PLAN, datetime.now(UTC), second_region=OSAKA)
    assert "backup:ListBackupJobs" in raised.value.remedy


def test_the_signature_is_another_only_when_something_else_is_wrong() -> None:
    def signature(state: State, text: str) -> str:
        return signature_of([Protection("newest_copy", (Finding("newest copy", state, text),))])

    old = signature("fail", "daily shows 2026-11-20 17:30 UTC, 31.2 h ago: more than 30 h")
    assert signature("fail", "daily shows 2026-11-20 17:30 UTC, 31.5 h ago: more than 30 h") == old
    assert signature("fail", "there is none of ours that is available") != old
    assert signature("ok", "daily shows 2026-11-20 17:30 UTC, 31.2 h ago") != old
    assert signature("ok", "one") == signature("ok", "another")
    assert signature("warn", "one") != signature("ok", "one")
    assert signature("fail", "kept for 3 days") != signature("fail", "kept for 5 days")


def test_what_takes_too_long_is_not_looked_at_to_the_end() -> None:
    looked: list[str] = []

    def slowly() -> Iterator[Protection]:
        for name in ("first", "second"):
            looked.append(name)
            yield Protection("drills", (Finding(name, "ok", ""),))

    assert signature_of(slowly(), seconds=0) == NOT_IN_TIME
    assert looked == ["first"]


def test_the_doctor_tells_what_is_found(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance(DeletionProtection=False)
    settings = settings_of(aws, tmp_path, RdsSettings(instance=INSTANCE))
    found = {one.name: one for one in examine_rds(settings.databases[0], settings)}
    assert found["deletion protection"].state == "fail"
    assert found["automated backups"].state == "ok"
    elsewhere = settings.databases[0].model_copy(update={"rds": None})
    assert list(examine_rds(elsewhere, settings)) == []
