"""Where do the sets of the infrastructure lie, and by which rules are they kept?

They have a place of their own in every store, beside those of the databases: what goes through a database's sets never
meets one without a dump. Assets, jobs and alerts are those of the first database.
"""

from __future__ import annotations

from typing import Final

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import InfrastructureSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_watch import ObjectivesSettings

#: Of the sets, and their first folder in every store.
KIND: Final = "infrastructure"
#: Daily, and late when the machine was off: an age at which deleting older ones is still no risk.
_RPO_HOURS = 48.0


def infrastructure_place(settings: Settings, wanted: InfrastructureSettings) -> DatabaseSettings:
    """Return the first database with the folder and the schedule of the infrastructure, and nothing to capture."""
    first = settings.databases[0]
    schedule = ScheduleSettings(every="day", at=wanted.at, timezone=first.schedule.timezone, since=first.schedule.since)
    changes = {
        "prefix": KIND,
        "schedule": schedule,
        "objectives": ObjectivesSettings(rpo_hours=_RPO_HOURS),
        "attachments": None,
        "secrets": None,
        "rds": None,
        "important_tables": (),
    }
    return first.model_copy(update=changes)


def infrastructure_databases(settings: Settings) -> tuple[DatabaseSettings, ...]:
    """Return `infrastructure_place` where it is configured, else nothing."""
    wanted = settings.aws.infrastructure
    return () if wanted is None else (infrastructure_place(settings, wanted),)
