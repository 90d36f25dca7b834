"""When the infrastructure is written down, and what follows."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from datetime import datetime

import dagster as dg

from backup_assets.aws.infrastructure.assets import (
    ASSET,
    RETENTION,
    build_infrastructure,
    build_infrastructure_retention,
)
from backup_assets.aws.infrastructure.place import KIND, infrastructure_place
from backup_assets.capture.automation import build_daily_schedule, build_schedule, slots_of
from backup_assets.database_jobs import define_database_job
from backup_assets.offsite.assets import build_copies, copy_asset_keys
from backup_assets.queueing import job_tags, scheduled_tags
from backup_assets.settings import Settings
from backup_assets.settings_aws import InfrastructureSettings


def infrastructure_definitions(
    settings: Settings, wanted: InfrastructureSettings, now: datetime, *, running: bool
) -> dg.Definitions:
    """Return what `aws.infrastructure` adds to the first database: the document, its copies, retention, a schedule.

    ``now`` decides on the first slot of a new one.
    """
    database = infrastructure_place(settings, wanted)
    slots = slots_of(database, settings, now)
    copies = copy_asset_keys(database, settings, KIND)
    job = define_database_job(
        database.name,
        f"{database.name}_infrastructure_job",
        selection=dg.AssetSelection.assets([database.name, ASSET], *copies),
        page="docs/aws.md#the-infrastructure-written-down",
        tags=job_tags("backup", database),
        description="Write the settings in AWS down"
        + (" and copy the document to every further store." if copies else "."),
    )
    upkeep = define_database_job(
        database.name,
        f"{database.name}_infrastructure_retention_job",
        selection=dg.AssetSelection.assets([database.name, RETENTION]),
        page="docs/aws.md#the-infrastructure-written-down",
        tags=job_tags("retention", database),
        description="Delete the documents of the infrastructure that may go."
        if database.retention.apply
        else "Decide about every document of the infrastructure; nothing is deleted.",
    )
    return dg.Definitions(
        assets=[
            build_infrastructure(settings, wanted, slots),
            *build_copies(database, _with_plain_kept(settings), slots, KIND),
            build_infrastructure_retention(settings, wanted),
        ],
        jobs=[job, upkeep],
        schedules=[
            build_schedule(
                f"{database.name}_infrastructure_schedule",
                job,
                slots,
                running=running,
                tags=scheduled_tags("backup", database),
            ),
            build_daily_schedule(
                database,
                upkeep,
                database.retention.at,
                purpose="retention",
                running=running,
                name=f"{database.name}_infrastructure_retention_schedule",
            ),
        ],
    )


def _with_plain_kept(settings: Settings) -> Settings:
    """Return the settings with the document kept in plain on this machine: the next one is compared with it."""
    encryption = settings.encryption.model_copy(update={"keep_plain": True})
    return settings.model_copy(update={"encryption": encryption})
