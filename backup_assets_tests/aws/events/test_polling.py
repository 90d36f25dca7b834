from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.rds.models import rds_backends

from backup_assets.aws.access import Access
from backup_assets.aws.events import polling
from backup_assets.aws.events.event import Event
from backup_assets.aws.events.heard import Heard
from backup_assets.aws.events.polling import by_database, poll
from backup_assets.settings import Settings
from backup_assets.settings_aws import BackupPlanSettings
from backup_assets_tests.aws.conftest import ACCOUNT, INSTANCE, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.events.hearing import ARN, settings_of
from backup_assets_tests.aws.infrastructure.test_collect import StubbedAccess, a_stub

MINUTE = timedelta(minutes=1)
JOB = {"BackupJobId": "7", "State": "FAILED", "ResourceArn": ARN}


def an_event(subject: str, *, of_snapshot: bool = False, region: str = TOKYO) -> Event:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return Event(subject, at, "snapshots", "completed", subject, region, "text", of_snapshot)


def test_events_of_rds_are_heard_once(tmp_path: Path, aws: PretendedAws, an_instance: dict[str, Any]) -> None:
    settings = settings_of(tmp_path, aws)
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier="before-release")
    now = datetime.now(UTC) + MINUTE

    first = poll(settings, Heard(), now)
    again = poll(settings, first.heard, now + 5 * MINUTE)

    # moto tells of a backup of the instance too.
    assert {one.category for one in first.events if one.outcome == "completed"} == {"snapshots", "automated_backups"}
    assert by_database(first.events, settings).keys() == {"erp4"}
    assert again.events == ()
    assert again.heard.until == now + 5 * MINUTE


def with_a_plan(settings: Settings) -> Settings:
    return settings.model_copy(update={"aws": settings.aws.model_copy(update={"backup_plan": BackupPlanSettings()})})


def backup_that_answers(monkeypatch: pytest.MonkeyPatch, aws: PretendedAws, *looks: list[dict[str, Any]]) -> None:
    """Let AWS Backup, which moto knows no jobs of, answer with these backup jobs at each look."""
    client, stub = a_stub("backup")
    for jobs in looks:
        stub.add_response("list_backup_jobs", {"BackupJobs": jobs})
        stub.add_response("list_copy_jobs", {"CopyJobs": []})
        stub.add_response("list_restore_jobs", {"RestoreJobs": []})
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("backup", TOKYO): client})
    monkeypatch.setattr(polling, "access_of", lambda _: access)


def test_a_job_is_heard_when_it_ends_and_only_then(
    tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    running, failed = {**JOB, "State": "RUNNING"}, {**JOB, "CompletionDate": now + 4 * MINUTE}
    backup_that_answers(monkeypatch, aws, [running], [failed], [failed])
    settings = with_a_plan(settings_of(tmp_path, aws))

    first = poll(settings, Heard(), now)
    second = poll(settings, first.heard, now + 5 * MINUTE)
    third = poll(settings, second.heard, now + 10 * MINUTE)

    assert [len(one.events) for one in (first, second, third)] == [0, 1, 0]
    assert second.events[0].id == "7:FAILED"


def test_a_restore_on_trial_that_is_not_removed_hours_later_is_heard_once(
    tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    done = {"RestoreJobId": "8", "Status": "COMPLETED", "SourceResourceArn": ARN, "CompletionDate": now - MINUTE}
    client, stub = a_stub("backup")
    for more in ({}, {"DeletionStatus": "DELETING"}, {"DeletionStatus": "FAILED"}, {"DeletionStatus": "FAILED"}):
        stub.add_response("list_backup_jobs", {"BackupJobs": []})
        stub.add_response("list_copy_jobs", {"CopyJobs": []})
        stub.add_response("list_restore_jobs", {"RestoreJobs": [done | more]})
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("backup", TOKYO): client})
    monkeypatch.setattr(polling, "access_of", lambda _: access)
    settings = with_a_plan(settings_of(tmp_path, aws))

    heard, outcomes = Heard(), []
    for hours in (0, 2, 4, 6):
        polled = poll(settings, heard, now + timedelta(hours=hours))
        heard = polled.heard
        outcomes.append([one.outcome for one in polled.events])

    assert outcomes == [["completed"], [], ["failed"], []]


def test_a_job_without_an_end_is_heard_once(tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    expired = {**JOB, "State": "EXPIRED"}
    backup_that_answers(monkeypatch, aws, *[[expired]] * 3)
    settings = with_a_plan(settings_of(tmp_path, aws))

    heard, counts = Heard(), []
    for hours in (0, 3, 6):
        polled = poll(settings, heard, now + timedelta(hours=hours))
        heard = polled.heard
        counts.append(len(polled.events))

    assert counts == [1, 0, 0]


def test_after_a_day_off_everything_since_is_heard(
    tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    missed = {**JOB, "CompletionDate": now - timedelta(hours=30)}
    old = {**JOB, "BackupJobId": "6", "CompletionDate": now - timedelta(hours=50)}
    backup_that_answers(monkeypatch, aws, [missed, old], [missed, old])
    settings = with_a_plan(settings_of(tmp_path, aws))

    assert poll(settings, Heard(), now).events == (), "the first look goes back a day"
    after = poll(settings, Heard(until=now - timedelta(hours=40)), now)
    assert [one.id for one in after.events] == ["7:FAILED"]


def test_after_a_clock_that_was_ahead_nothing_goes_unheard(
    tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    backup_that_answers(monkeypatch, aws, [{**JOB, "CompletionDate": now - 10 * MINUTE}])
    settings = with_a_plan(settings_of(tmp_path, aws))

    polled = poll(settings, Heard(until=now + timedelta(days=2)), now)

    assert [one.id for one in polled.events] == ["7:FAILED"]
    assert polled.heard.until == now


def test_rds_is_asked_for_no_more_than_the_fortnight_that_it_keeps(
    tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    client, stub = a_stub("rds")
    for kind in ("db-instance", "db-snapshot"):
        asked = {"SourceType": kind, "StartTime": now - timedelta(days=14), "EndTime": now}
        stub.add_response("describe_events", {"Events": []}, asked)
    access = StubbedAccess(TOKYO, None, aws.endpoint_url, {("rds", TOKYO): client})
    monkeypatch.setattr(polling, "access_of", lambda _: access)

    poll(settings_of(tmp_path, aws), Heard(until=now - timedelta(days=40)), now)

    stub.assert_no_pending_responses()


def test_events_find_their_database(tmp_path: Path, aws: PretendedAws, an_instance: dict[str, Any]) -> None:
    settings = settings_of(tmp_path, aws)
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier="by-hand")
    aws.make_instance("other")
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier="other", DBSnapshotIdentifier="of-other")
    ours = [
        an_event(INSTANCE),
        an_event(ARN),
        an_event(f"rds:{INSTANCE}-2026-11-22-02-00", of_snapshot=True),
        an_event("by-hand", of_snapshot=True),
        an_event(f"arn:aws:rds:{TOKYO}:123456789012:snapshot:rds:{INSTANCE}-2026-11-22", of_snapshot=True),
    ]
    others = [
        an_event("other"),
        an_event(ARN.replace(":db:", ":cluster:")),
        an_event(f"rds:{INSTANCE}-blue-2026-11-22", of_snapshot=True),
        an_event("of-other", of_snapshot=True),
        an_event("deleted-since", of_snapshot=True),
        an_event("by-hand", of_snapshot=True, region=OSAKA),
    ]

    assert by_database([*ours, *others], settings) == {"erp4": ours}


def test_a_recovery_point_of_aws_backup_finds_its_database(
    tmp_path: Path, aws: PretendedAws, an_instance: dict[str, Any]
) -> None:
    name = "awsbackup:job-1b234a56"
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier="by-aws-backup")
    # Nobody else can give such a name.
    kept = rds_backends[ACCOUNT][TOKYO].database_snapshots
    kept[name] = kept.pop("by-aws-backup")
    kept[name].db_snapshot_identifier = name
    restored = replace(
        an_event(f"arn:aws:rds:{TOKYO}:123456789012:snapshot:{name}", of_snapshot=True), category="restore_jobs"
    )

    assert by_database([restored], settings_of(tmp_path, aws)) == {"erp4": [restored]}


def test_events_find_a_database_however_its_instance_is_spelled(
    tmp_path: Path, aws: PretendedAws, an_instance: dict[str, Any]
) -> None:
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier="by-hand")
    settings = settings_of(tmp_path, aws)
    database = settings.databases[0]
    assert database.rds is not None
    spelled = database.rds.model_copy(update={"instance": INSTANCE.upper()})
    settings = settings.model_copy(update={"databases": (database.model_copy(update={"rds": spelled}),)})
    ours = [
        an_event(INSTANCE),
        an_event(ARN),
        an_event(f"rds:{INSTANCE}-2026-11-22-02-00", of_snapshot=True),
        an_event("by-hand", of_snapshot=True),
    ]

    assert by_database(ours, settings) == {"erp4": ours}


def test_aws_backup_names_a_cluster_by_its_resource_id(
    tmp_path: Path, aws: PretendedAws, a_cluster_of_aurora: dict[str, Any]
) -> None:
    settings = settings_of(tmp_path, aws)
    rds = settings.databases[0].rds
    assert rds is not None
    cluster = rds.model_copy(update={"instance": None, "cluster": "erp4-cluster"})
    database = settings.databases[0].model_copy(update={"rds": cluster})
    settings = settings.model_copy(update={"databases": (database,)})
    resource = str(a_cluster_of_aurora["DbClusterResourceId"]).lower()
    resource = resource if resource.startswith("cluster-") else f"cluster-{resource}"
    arn = f"arn:aws:rds:{TOKYO}:123456789012:cluster:{resource}"
    event = replace(an_event(arn), category="backup_jobs")

    known = str(a_cluster_of_aurora["DbClusterResourceId"]).lower() == resource
    assert by_database([event], settings) == ({"erp4": [event]} if known else {})
    assert by_database([replace(event, subject=f"{arn}x")], settings) == {}


def test_aws_that_does_not_answer_is_an_error(tmp_path: Path, aws: PretendedAws) -> None:
    from backup_assets.errors import BackupError

    settings = settings_of(tmp_path, aws, endpoint_url="http://127.0.0.1:9")
    assert Access(TOKYO).region == TOKYO
    with pytest.raises(BackupError, match="cannot be reached"):
        poll(settings, Heard(), datetime.now(UTC))
