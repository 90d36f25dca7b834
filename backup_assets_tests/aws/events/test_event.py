from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_assets.aws.events.event import Event, last_of_each, of_event_bridge, of_job, of_rds

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
ARN = "arn:aws:rds:ap-northeast-1:123456789012:db:erp4-prod"


def rds(kind: str, message: str, *categories: str) -> tuple[str, str] | None:
    answer = {
        "SourceType": kind,
        "SourceIdentifier": "erp4-prod",
        "Message": message,
        "EventCategories": list(categories),
        "Date": NOW,
    }
    event = of_rds(answer, "ap-northeast-1")
    return None if event is None else (event.category, event.outcome)


@pytest.mark.parametrize(
    ("kind", "message", "category", "meaning"),
    [
        ("db-instance", "Backing up DB instance", "backup", None),
        ("db-instance", "Finished DB Instance backup", "backup", ("automated_backups", "completed")),
        ("db-instance", "Automatic backups for this DB instance have been disabled", "configuration change",
         ("automated_backups", "failed")),
        ("db-instance", "Automatic backups for this DB instance have been enabled", "configuration change",
         ("automated_backups", "completed")),
        ("db-instance", "The DB instance has failed due to an incompatible configuration", "failure",
         ("source", "failed")),
        ("db-instance", "Recovery of the DB instance is complete", "recovery", ("source", "completed")),
        ("db-instance", "DB instance restarted", "availability", None),
        ("db-snapshot", "Creating manual snapshot", "creation", None),
        ("db-snapshot", "Manual snapshot created", "creation", ("snapshots", "completed")),
        ("db-snapshot", "Automated snapshot created", "creation", ("snapshots", "completed")),
        ("db-snapshot", "Started copy of snapshot erp4 from region ap-northeast-1", "notification", None),
        ("db-snapshot", "Finished copy of snapshot erp4 from region ap-northeast-1", "notification",
         ("snapshot_copies", "completed")),
        ("db-snapshot", "Canceled snapshot copy request of erp4", "notification", ("snapshot_copies", "failed")),
        ("db-snapshot", "The DB snapshot export task failed", "notification", None),
        ("db-cluster-snapshot", "Manual cluster snapshot created", "backup", ("snapshots", "completed")),
        ("db-snapshot", "Snapshot failed", "failure", ("snapshots", "failed")),
    ],
)  # fmt: skip
def test_what_rds_says_is_understood(kind: str, message: str, category: str, meaning: tuple[str, str] | None) -> None:
    assert rds(kind, message, category) == meaning


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("COMPLETED", "completed"), ("FAILED", "failed"), ("ABORTED", "failed"), ("EXPIRED", "failed"),
     ("PARTIAL", "failed"), ("RUNNING", None), ("CREATED", None)],
)  # fmt: skip
def test_a_job_that_is_over_is_an_event(state: str, outcome: str | None) -> None:
    answer = {"BackupJobId": "7", "State": state, "ResourceArn": ARN, "StatusMessage": "why", "CompletionDate": NOW}
    event = of_job("backup_jobs", answer, "ap-northeast-1", NOW)
    assert (event.outcome if event else None) == outcome
    if event is not None:
        assert (event.id, event.at, event.subject) == (f"7:{state}", NOW, ARN)
        assert event.text.endswith(f"ended {state}: why")


def bridged(kind: str, **detail: Any) -> Event | None:
    body = {"detail-type": kind, "region": "ap-northeast-1", "time": "2026-11-22T02:00:00Z", "detail": detail}
    return of_event_bridge(body)


def test_an_event_of_the_bridge_reads_as_one_that_was_asked_for() -> None:
    job = bridged("Backup Job State Change", backupJobId="7", state="FAILED", resourceArn=ARN)
    assert job is not None
    assert (job.id, job.category, job.outcome, job.subject, job.at) == ("7:FAILED", "backup_jobs", "failed", ARN, NOW)

    restored = bridged("Restore Job State Change", restoreJobId="8", status="COMPLETED", sourceResourceArn=ARN)
    assert restored is not None
    assert (restored.category, restored.outcome) == ("restore_jobs", "completed")

    snapshot = bridged(
        "RDS DB Snapshot Event", SourceIdentifier="rds:erp4-prod-2026", Message="Automated snapshot created",
        EventCategories=["creation"],
    )  # fmt: skip
    assert snapshot is not None
    assert (snapshot.category, snapshot.outcome, snapshot.of_snapshot) == ("snapshots", "completed", True)
    assert bridged("Copy Job State Change", copyJobId="9", state="RUNNING") is None


RECOVERY_POINT = "arn:aws:rds:ap-northeast-1:123456789012:snapshot:awsbackup:job-1b234a56"


def test_a_restore_that_failed_is_told_by_its_recovery_point_as_aws_names_no_source_then() -> None:
    # As in https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html (restore job events, FAILED).
    body = {
        "detail-type": "Restore Job State Change", "region": "ap-northeast-1", "time": "2026-11-22T02:00:00Z",
        "resources": [RECOVERY_POINT],
        "detail": {"restoreJobId": "8", "status": "FAILED", "resourceType": "RDS", "statusMessage": "no subnets"},
    }  # fmt: skip

    event = of_event_bridge(body)

    assert event is not None
    assert (event.outcome, event.subject, event.of_snapshot) == ("failed", RECOVERY_POINT, True)


def test_a_restore_on_trial_whose_server_was_not_removed_is_a_failure_although_it_was_completed() -> None:
    made = "arn:aws:rds:ap-northeast-1:123456789012:db:awsbackup-restore-test-1"
    answer = {
        "RestoreJobId": "8", "Status": "COMPLETED", "SourceResourceArn": ARN, "CreatedResourceArn": made,
        "CompletionDate": NOW - timedelta(hours=5), "DeletionStatus": "FAILED", "DeletionStatusMessage": "no right",
    }  # fmt: skip

    removed = of_job("restore_jobs", answer | {"DeletionStatus": "SUCCESSFUL"}, "ap-northeast-1", NOW)
    left = of_job("restore_jobs", answer, "ap-northeast-1", NOW)

    assert removed is not None
    assert left is not None
    assert (removed.outcome, left.outcome) == ("completed", "failed")
    # That it ended was heard hours ago; this is new.
    assert (left.at, left.id != removed.id) == (NOW, True)
    assert made in left.text
    assert "costs money: no right" in left.text


def test_what_was_restored_on_trial_is_not_what_a_restore_is_about() -> None:
    made = {"CreatedResourceArn": "arn:aws:rds:ap-northeast-1:123456789012:db:awsbackup-restore-test-1"}
    answer = {"RestoreJobId": "8", "Status": "COMPLETED", "RecoveryPointArn": RECOVERY_POINT, "CompletionDate": NOW}

    event = of_job("restore_jobs", answer | made, "ap-northeast-1", NOW)

    assert event is not None
    assert event.subject == RECOVERY_POINT


@pytest.mark.parametrize("kind", ["Scheduled Event", "Backup Job State Change"])
def test_what_is_no_known_event_raises(kind: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        bridged(kind, something="else")


def test_the_last_word_counts_and_of_two_at_once_the_failure() -> None:
    def event(minutes: int, outcome: Any, event_id: str) -> Event:
        return Event(event_id, NOW + timedelta(minutes=minutes), "snapshots", outcome, "s", "r", "t")

    def ids(*events: Event) -> list[str]:
        return [one.id for one in last_of_each(events)["snapshots"]]

    assert ids(event(5, "completed", "b"), event(0, "failed", "a")) == ["b"]
    assert ids(event(0, "failed", "z"), event(0, "completed", "a")) == ["z"]
    assert ids(event(0, "completed", "a"), event(5, "completed", "b")) == ["b"]


def test_a_copy_that_was_made_does_not_hide_another_one_that_was_not() -> None:
    def copied(minutes: int, message: str, day: str) -> Event:
        answer = {
            "SourceType": "db-snapshot", "SourceIdentifier": f"backup-assets-prod-erp4-{day}", "Message": message,
            "EventCategories": ["failure" if "unable" in message else "creation"],
            "Date": NOW + timedelta(minutes=minutes),
        }  # fmt: skip
        event = of_rds(answer, "ap-northeast-3")
        assert event is not None
        return event

    failed, other = copied(0, "We were unable to copy the snapshot", "20"), copied(1, "Finished copy of snapshot", "21")
    again = copied(2, "Finished copy of snapshot", "20")

    assert last_of_each([failed, other]) == {"snapshot_copies": (failed,)}
    assert last_of_each([failed, other, again]) == {"snapshot_copies": (again,)}


def test_a_job_that_copied_to_one_vault_does_not_hide_that_none_reached_the_other() -> None:
    def copy(job: str, state: str, vault: str) -> Event:
        answer = {"CopyJobId": job, "State": state, "ResourceArn": ARN, "CompletionDate": NOW}
        event = of_job("copy_jobs", answer | {"DestinationBackupVaultArn": vault}, "ap-northeast-1", NOW)
        assert event is not None
        return event

    failed, made = copy("1", "FAILED", "arn:osaka"), copy("2", "COMPLETED", "arn:singapore")

    assert last_of_each([failed, made]) == {"copy_jobs": (failed,)}
