"""What is called while each thing is done on RDS, held against its own row of the permissions in docs/aws.md."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from backup_assets.aws.rds.api import api_of
from backup_assets.aws.rds.copies import copy_snapshot
from backup_assets.aws.rds.examining import examine_protection
from backup_assets.aws.rds.pruning import prune_snapshots
from backup_assets.aws.rds.snapshots import take_snapshot
from backup_assets.settings import Settings
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets.settings_retention import RetentionSettings
from backup_assets_tests.aws.conftest import CLUSTER, OTHER_ACCOUNT, PretendedAws
from backup_assets_tests.aws.rds.examples import (
    AT_0230,
    DAY,
    ENV,
    SLOTS,
    copies_of,
    database_of,
    rds_of,
    settings_of,
)
from backup_assets_tests.docs.test_aws_page import OTHERWISE, permitted

Kind = str


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the set into which every call goes as `service:Operation`."""
    found: set[str] = set()

    def recorded(self: BaseClient, operation: str, given: Any) -> Any:
        found.add(f"{self.meta.service_model.service_name}:{operation}")
        return made(self, operation, given)

    made: Callable[..., Any] = BaseClient._make_api_call
    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    return found


@pytest.fixture(params=["instance", "cluster"])
def settings(request: pytest.FixtureRequest, aws: PretendedAws, tmp_path: Path) -> Settings:
    """Return a database whose copies are shared, and whose snapshots may go at once."""
    copies = copies_of(aws, share_with=(OTHER_ACCOUNT,))
    if request.param == "instance":
        aws.make_instance()
        rds = rds_of(aws, copies=copies)
    else:
        aws.make_cluster()
        rds = rds_of(aws, instance=None, cluster=CLUSTER, copies=copies)
    kept = RetentionSettings(daily=1, weekly=0, monthly=0, all_for_days=0)
    return settings_of(aws, database_of(rds, retention=kept), tmp_path)


def take(settings: Settings, aws: PretendedAws) -> None:
    (database,) = settings.databases
    assert database.rds is not None
    take_snapshot(api_of(aws.access(), database.rds), database, database.rds, ENV, SLOTS, DAY, AT_0230, lambda _: None)


def copy(settings: Settings, aws: PretendedAws) -> None:
    (database,) = settings.databases
    assert database.rds is not None
    assert database.rds.copies is not None
    api = api_of(aws.access(), database.rds)
    copy_snapshot(api, database, database.rds, database.rds.copies, ENV, DAY, AT_0230, lambda _: None)


def examine(settings: Settings, aws: PretendedAws) -> None:
    aws.client("s3").create_bucket(Bucket="pdf", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    named = settings.aws.model_copy(update={"infrastructure": InfrastructureSettings(buckets=("pdf",))})
    list(examine_protection(settings.databases[0], settings.model_copy(update={"aws": named}), datetime.now(UTC)))


def prune(settings: Settings, aws: PretendedAws) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    list(prune_snapshots(settings.databases[0], settings, apply=True, now=later))


DONE = {
    "rds_snapshot": take,
    "rds_snapshot_copy": copy,
    "rds_automated_backups": examine,
    "rds_retention": prune,
}


@pytest.mark.parametrize("row", DONE)
def test_what_is_done_calls_nothing_that_its_own_row_does_not_permit(
    row: str, settings: Settings, aws: PretendedAws, calls: set[str]
) -> None:
    if row != "rds_snapshot":
        take(settings, aws)
    if row in {"rds_automated_backups", "rds_retention"}:
        copy(settings, aws)
    calls.clear()

    DONE[row](settings, aws)

    assert calls
    made_for_the_test = {"s3:CreateBucket"}
    assert {OTHERWISE.get(one, one) for one in calls} - made_for_the_test <= permitted()[row]


@pytest.mark.parametrize("row", [*DONE, "rds_restore_drill"])
def test_whoever_goes_by_tags_may_see_them(row: str) -> None:
    # Without it RDS leaves the tags out of what it describes, and says no word about that.
    assert "rds:ListTagsForResource" in permitted()[row]
