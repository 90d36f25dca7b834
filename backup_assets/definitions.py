"""The code location: everything that Dagster shows and runs, gathered from the settings."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from backup_assets.capture.assets import build_capture, build_important_tables, external_assets
from backup_assets.capture.automation import build_backup_job, build_important_tables_job, build_schedule, slots_of
from backup_assets.offsite.assets import build_copies, copy_asset_keys
from backup_assets.restore.automation import build_restore_job
from backup_assets.restore.checks import build_restored_check
from backup_assets.restore.drill_assets import build_drill, build_drill_job, build_drill_schedule
from backup_assets.settings import DatabaseSettings, Settings, load_settings


def database_definitions(database: DatabaseSettings, settings: Settings, now: datetime) -> dg.Definitions:
    """Return what one database adds: assets that are not configured do not exist."""
    slots = slots_of(database, settings, now)
    running = not settings.is_demo  # the demo backs up when it is asked to
    job = build_backup_job(database, copy_asset_keys(database, settings))
    drill_job = build_drill_job(database)
    definitions = dg.Definitions(
        assets=[
            *external_assets(database),
            build_capture(database, settings, slots),
            *build_copies(database, settings, slots),
            build_drill(database, settings, slots),
        ],
        asset_checks=[build_restored_check(database, settings, slots, "full")],
        jobs=[job, drill_job, build_restore_job(database, settings)],
        schedules=[
            build_schedule(f"{database.name}_backup_schedule", job, slots, running=running),
            build_drill_schedule(database, drill_job, running=running),
        ],
    )
    if not database.important_tables:
        return definitions
    weekly = slots.weekly
    weekly_job = build_important_tables_job(database, copy_asset_keys(database, settings, "important_tables"))
    return dg.Definitions.merge(
        definitions,
        dg.Definitions(
            assets=[
                build_important_tables(database, settings, weekly),
                *build_copies(database, settings, weekly, "important_tables"),
            ],
            asset_checks=[build_restored_check(database, settings, weekly, "important_tables")],
            jobs=[weekly_job],
            schedules=[
                build_schedule(f"{database.name}_important_tables_schedule", weekly_job, weekly, running=running)
            ],
        ),
    )


def build_definitions(settings: Settings, now: datetime) -> dg.Definitions:
    """Return the definitions of every configured database; ``now`` decides on the first slot of a new one."""
    return dg.Definitions.merge(
        # Steps in one process: a step in a process of its own costs three seconds before it begins, and the heavy
        # work is done by pg_dump and friends anyway.
        dg.Definitions(executor=dg.in_process_executor),
        *(database_definitions(database, settings, now) for database in settings.databases),
    )


defs = build_definitions(load_settings(), datetime.now(UTC))
