"""A database on RDS, as the tests of its snapshots know it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, RdsCopySettings, RdsSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.slots import Slots
from backup_assets_tests.aws.conftest import INSTANCE, OTHER_ACCOUNT, PretendedAws

ENV = "production"
DAY = "2026-11-22"
#: Of that day in Tokyo, at the moment that its snapshot is due.
AT_0230 = datetime(2026, 11, 21, 17, 30, tzinfo=UTC)
SLOTS = Slots(ScheduleSettings(every="day", at="02:30", timezone="Asia/Tokyo"), date(2026, 11, 1))
NAME = "backup-assets-production-erp4-2026-11-22-f01f2e"


def rds_of(aws: PretendedAws, **changes: Any) -> RdsSettings:
    """Return an instance whose snapshots are copied to Osaka."""
    given = {"instance": INSTANCE, "copies": copies_of(aws), **changes}
    return RdsSettings(**given)


def copies_of(aws: PretendedAws, profile: str | None = None, **changes: Any) -> RdsCopySettings:
    """Return copies to Osaka, and into the account of ``profile``, which has its own key."""
    given: dict[str, Any] = {"kms_key_id": aws.osaka_key}
    if profile is not None:
        given |= {"account_profile": profile, "share_with": (OTHER_ACCOUNT,)}
    return RdsCopySettings(**{**given, **changes})


def database_of(rds: RdsSettings, **changes: Any) -> DatabaseSettings:
    """Return the database that runs there."""
    schedule = ScheduleSettings(timezone="Asia/Tokyo", since=date(2026, 11, 1))
    return DatabaseSettings(**{"name": "erp4", "database": "erp4", "schedule": schedule, "rds": rds, **changes})


def settings_of(aws: PretendedAws, database: DatabaseSettings, directory: Path) -> Settings:
    """Return the settings of that database alone."""
    return Settings(
        env=ENV, backup_dir=directory, databases=(database,), aws=AwsSettings(endpoint_url=aws.endpoint_url)
    )
