from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_assets.aws.rds.api import Snapshot, Source
from backup_assets.aws.rds.protection import (
    Bucket,
    Job,
    bucket_findings,
    copy_findings,
    drill_findings,
    job_findings,
    key_finding,
    restorable_finding,
    same_key,
    snapshot_finding,
    source_findings,
)
from backup_assets.findings import Finding
from backup_assets.settings_aws import BackupPlanSettings, RdsSettings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "arn:aws:kms:ap-northeast-1:123456789012:key/1111"
RDS = RdsSettings(instance="erp4-prod", automated_days=14, snapshot_timeout_hours=6)
SOURCE = Source(
    kind="instance",
    identifier="erp4-prod",
    arn="arn:aws:rds:ap-northeast-1:123456789012:db:erp4-prod",
    status="available",
    engine="postgres",
    engine_version="17.6",
    encrypted=True,
    kms_key_id=KEY,
    retention_days=14,
    deletion_protection=True,
    multi_az=True,
    earliest_restorable=NOW - timedelta(days=14),
    latest_restorable=NOW - timedelta(minutes=5),
    host="erp4-prod.example",
    port=5432,
    subnet_group=None,
    security_groups=(),
    raw={},
)
PLAN = BackupPlanSettings(every_hours=3)


def of_source(rds: RdsSettings = RDS, key: str | None = KEY, **changes: Any) -> dict[str, Finding]:
    return {one.name: one for one in source_findings(replace(SOURCE, **changes), rds, key)}


def a_snapshot(hours: float, status: str = "available", **changes: Any) -> Snapshot:
    given: dict[str, Any] = {
        "kind": "instance",
        "identifier": f"daily-{hours:g}",
        "arn": f"arn:aws:rds:ap-northeast-3:123456789012:snapshot:daily-{hours:g}",
        "source": "erp4-prod",
        "status": status,
        "taken_at": NOW - timedelta(hours=hours),
        "encrypted": True,
        "kms_key_id": KEY,
        "size_gib": 20,
        "copy_of": None,
    }
    return Snapshot(**{**given, **changes})


def of_copies(*copies: Snapshot, allowed: Any = (), key: str | None = KEY, share_with: Any = ()) -> dict[str, Finding]:
    found = copy_findings(copies, allowed, RDS, where="Osaka", key=key, share_with=share_with, now=NOW)
    return {one.name: one for one in found}


def test_a_source_as_it_should_be_has_nothing_to_mend() -> None:
    assert {one.state for one in of_source().values()} == {"ok"}
    assert len(of_source()) == 4


@pytest.mark.parametrize(
    ("changes", "name", "said", "remedy"),
    [
        ({"retention_days": 0}, "automated backups", "are off", "aws apply"),
        ({"retention_days": 1}, "automated backups", "kept for 1 days, 14 are wanted", "aws apply"),
        ({"retention_days": 13}, "automated backups", "kept for 13 days, 14 are wanted", "aws apply"),
        ({"deletion_protection": False}, "deletion protection", "is off: one command deletes it", "aws apply"),
        ({"encrypted": False}, "storage encryption", "is not encrypted", "encrypted copy of a snapshot"),
        ({"kms_key_id": KEY.replace("1111", "2222")}, "storage encryption", "not with", "rds.kms_key_id"),
    ],
)
def test_what_drifted_is_one_failure_that_says_how_it_is_mended(
    changes: dict[str, Any], name: str, said: str, remedy: str
) -> None:
    found = of_source(**changes)
    assert [one.name for one in found.values() if one.state != "ok"] == [name]
    assert found[name].state == "fail"
    assert said in found[name].found
    assert remedy in found[name].remedy


def test_a_longer_retention_than_wanted_is_a_warning_because_nothing_lowers_it() -> None:
    found = of_source(retention_days=30)["automated backups"]
    assert found.state == "warn"
    assert "`rds.automated_days` to 30" in found.remedy


@pytest.mark.parametrize(("wanted", "state"), [(None, "ok"), (False, "ok"), (True, "fail")])
def test_the_zones_count_only_where_something_is_wanted(wanted: bool | None, state: str) -> None:
    rds = RDS.model_copy(update={"multi_az": wanted})
    assert of_source(rds, multi_az=False)["zones"].state == state


def test_without_a_wanted_key_any_key_is_right() -> None:
    assert of_source(key=None, kms_key_id="arn:other")["storage encryption"].state == "ok"


def test_a_key_is_the_same_by_its_arn_and_by_its_id() -> None:
    assert same_key(KEY, KEY)
    assert same_key(KEY, "1111")
    assert not same_key(KEY, "111")
    assert not same_key(None, KEY)


@pytest.mark.parametrize(
    ("minutes", "state"), [(5, "ok"), (30, "ok"), (31, "warn"), (6 * 60, "warn"), (6 * 60 + 1, "fail")]
)
def test_an_rpo_of_six_hours_is_kept_by_the_automated_backups(minutes: int, state: str) -> None:
    source = replace(SOURCE, latest_restorable=NOW - timedelta(minutes=minutes))
    assert restorable_finding(source, 6, NOW).state == state


def test_no_restorable_time_at_all_is_a_failure() -> None:
    assert restorable_finding(replace(SOURCE, latest_restorable=None), 24, NOW).state == "fail"


@pytest.mark.parametrize(("hours", "state"), [(1, "ok"), (30, "ok"), (30.1, "fail")])
def test_a_daily_snapshot_is_fresh_for_a_day_and_the_time_that_one_may_take(hours: float, state: str) -> None:
    assert snapshot_finding([a_snapshot(hours), a_snapshot(200)], RDS, NOW).state == state


def test_a_snapshot_that_is_not_whole_counts_for_nothing() -> None:
    finding = snapshot_finding([a_snapshot(1, "creating"), a_snapshot(2, "failed")], RDS, NOW)
    assert finding.state == "fail"
    assert "launch `rds_snapshot`" in finding.remedy


def test_a_copy_has_as_long_again() -> None:
    assert of_copies(a_snapshot(36))["newest copy in Osaka"].state == "ok"
    assert of_copies(a_snapshot(36.1))["newest copy in Osaka"].state == "fail"


def test_a_copy_must_have_its_key() -> None:
    assert of_copies(a_snapshot(1, encrypted=False))["encryption of copies"].state == "fail"
    assert of_copies(a_snapshot(1), key="2222")["encryption of copies"].state == "fail"
    assert of_copies(a_snapshot(1))["encryption of copies"].state == "ok"


@pytest.mark.parametrize(
    ("state", "expected"),
    [("Enabled", "ok"), ("Updating", "ok"), ("Disabled", "fail"), ("PendingDeletion", "fail"), ("", "fail")],
)
def test_a_copy_whose_key_cannot_be_used_is_lost_whatever_its_own_state_says(state: str, expected: str) -> None:
    found = key_finding(a_snapshot(1), state, where="Osaka")
    assert found.state == expected
    assert expected == "ok" or "cancel" in found.remedy


def test_a_public_copy_is_a_failure_and_a_missing_share_too() -> None:
    copy = a_snapshot(1)
    assert "is public" in of_copies(copy, allowed=["all"], share_with=["222222222222"])["sharing of copies"].found
    missing = of_copies(copy, allowed=[], share_with=["222222222222"])["sharing of copies"]
    assert missing.state == "fail"
    assert "is not shared with 222222222222" in missing.found
    assert of_copies(copy, allowed=["333333333333"])["sharing of copies"].state == "warn"
    shared = of_copies(copy, allowed=["222222222222"], share_with=["222222222222"])
    assert shared["sharing of copies"].state == "ok"


def jobs(kind: str, *ages: float, state: str = "COMPLETED", message: str = "") -> list[Job]:
    return [Job(kind, f"{kind}-{age:g}", state, NOW - timedelta(hours=age), message) for age in ages]


def of_jobs(*found: Job) -> dict[str, str]:
    return {one.name: one.state for one in job_findings(found, PLAN, NOW)}


def test_jobs_of_aws_backup_are_well_when_all_are_completed_and_some_are_new() -> None:
    running = jobs("backup", 0.1, state="RUNNING")
    assert set(of_jobs(*jobs("backup", 1, 4, 7), *running, *jobs("copy", 2, 5)).values()) == {"ok"}


@pytest.mark.parametrize("state", ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"])
def test_one_failed_job_of_the_day_is_a_failure_with_its_message(state: str) -> None:
    bad = jobs("copy", 20, state=state, message="no key")
    found = {one.name: one for one in job_findings([*jobs("backup", 1), *jobs("copy", 1), *bad], PLAN, NOW)}
    assert found["AWS Backup backup jobs"].state == "ok"
    assert found["AWS Backup copy jobs"].state == "fail"
    assert f"is {state}: no key" in found["AWS Backup copy jobs"].found


def test_jobs_of_another_plan_do_not_stand_for_those_of_ours() -> None:
    others = [replace(one, of_plan=False) for one in (*jobs("backup", 1, 4), *jobs("copy", 1, 4))]
    assert set(of_jobs(*others).values()) == {"fail"}
    assert set(of_jobs(*others, *jobs("backup", 2), *jobs("copy", 2)).values()) == {"ok"}
    # What fails is told all the same: all are to be completed.
    failed = replace(jobs("backup", 3, state="FAILED")[0], of_plan=False)
    assert of_jobs(failed, *jobs("backup", 2), *jobs("copy", 2))["AWS Backup backup jobs"] == "fail"


def test_no_jobs_at_all_are_a_failure() -> None:
    assert set(of_jobs().values()) == {"fail"}
    assert of_jobs(*jobs("backup", 11.1), *jobs("copy", 14.1)) == {
        "AWS Backup backup jobs": "fail",
        "AWS Backup copy jobs": "fail",
    }


def of_bucket(versioning: str = "Enabled", *rules: dict[str, Any]) -> list[str]:
    return [one.state for one in bucket_findings(Bucket("erp4-pdf", versioning, rules))]


def test_a_bucket_must_be_versioned_and_nothing_in_it_may_expire() -> None:
    assert of_bucket() == ["ok"]
    assert of_bucket("") == ["fail"]
    assert of_bucket("Suspended") == ["fail"]
    assert of_bucket("Enabled", {"ID": "old", "Status": "Enabled", "Expiration": {"Days": 30}}) == ["warn"]
    assert of_bucket("Enabled", {"ID": "old", "Status": "Disabled", "Expiration": {"Days": 30}}) == ["ok"]
    markers = {"ID": "markers", "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True}}
    assert of_bucket("Enabled", markers) == ["ok"]


@pytest.mark.parametrize(("days", "state"), [(13, "warn"), (14, "ok")])
def test_old_versions_stay_as_long_as_daily_sets(days: int, state: str) -> None:
    rule = {"ID": "versions", "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": days}}
    assert of_bucket("Enabled", rule) == [state]


def test_what_drills_left_is_a_failure_and_so_is_a_drill_long_ago() -> None:
    assert [one.state for one in drill_findings([], NOW - timedelta(days=35), NOW)] == ["ok", "ok"]
    assert [one.state for one in drill_findings([], NOW - timedelta(days=36), NOW)] == ["ok", "fail"]
    assert [one.state for one in drill_findings(["backup-assets-drill-1"], None, NOW)] == ["fail", "warn"]


def test_a_server_that_shows_no_tags_is_told_since_nobody_would_remove_it() -> None:
    found = next(iter(drill_findings([], NOW, NOW, untagged=["backup-assets-drill-1"])))
    assert found.state == "fail"
    assert "backup-assets-drill-1" in found.found
    assert "rds:ListTagsForResource" in found.remedy
