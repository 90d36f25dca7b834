"""The code location: everything that Dagster shows and runs, gathered from the settings."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import dagster as dg

from backup_assets.capture.assets import build_capture, build_important_tables
from backup_assets.capture.automation import (
    build_backup_job,
    build_daily_schedule,
    build_important_tables_job,
    build_schedule,
    slots_of,
)
from backup_assets.capture.specs import external_assets
from backup_assets.offsite.assets import build_copies, copy_asset_keys
from backup_assets.queueing import scheduled_tags
from backup_assets.release.assets import build_release, build_release_job
from backup_assets.restore.automation import build_restore_job
from backup_assets.restore.checks import build_restored_check
from backup_assets.restore.drill_assets import build_drill, build_drill_job, build_drill_schedule
from backup_assets.restore.rotation_assets import build_rotation, build_rotation_job
from backup_assets.retention.assets import build_retention, build_retention_job
from backup_assets.sets.uncollected import uncollected
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_loading import load_settings
from backup_assets.watch.checks import build_watch_checks, build_watch_job, build_watch_schedule
from backup_assets.watch.freshness import with_freshness
from backup_assets.watch.missed_sensor import build_missed_sensor
from backup_assets.watch.report_assets import report_definitions
from backup_assets.watch.sensors import build_watch_sensor


def database_definitions(database: DatabaseSettings, settings: Settings, now: datetime) -> dg.Definitions:
    """Return what one database adds: assets that are not configured do not exist."""
    slots = slots_of(database, settings, now)
    running = not settings.is_demo  # the demo backs up when it is asked to
    copies = copy_asset_keys(database, settings)
    job = build_backup_job(database, copies)
    drill_job = build_drill_job(database)
    watch_job = build_watch_job(database)
    captured = [build_capture(database, settings, slots), *build_copies(database, settings, slots)]
    definitions = dg.Definitions(
        assets=[
            # One by one Dagster would put together those of all databases, and every job would see them.
            dg.AssetsDefinition(specs=external_assets(database)),
            # Without a schedule nothing is promised: the demo does not turn red overnight.
            *(with_freshness(captured, database) if running else captured),
            build_drill(database, settings, slots),
            build_release(database, settings, slots, copies),
        ],
        asset_checks=[
            build_restored_check(database, settings, slots, "full"),
            build_watch_checks(database, settings, slots),
        ],
        jobs=[job, drill_job, watch_job, build_restore_job(database, settings), build_release_job(database, copies)],
        schedules=[
            build_schedule(
                f"{database.name}_backup_schedule",
                job,
                slots,
                running=running,
                tags=scheduled_tags("backup", database),
            ),
            build_drill_schedule(database, drill_job, running=running),
            build_watch_schedule(database, watch_job, slots, running=running),
        ],
        sensors=[build_missed_sensor(database, settings, slots, running=running)],
    )
    definitions = dg.Definitions.merge(
        definitions,
        _upkeep(database, settings, running=running),
        _of_rds(database, settings, now, running=running),
        report_definitions(database, settings, slots, running=running),
    )
    if not database.important_tables:
        return definitions
    weekly = slots.weekly
    tables = [
        build_important_tables(database, settings, weekly),
        *build_copies(database, settings, weekly, "important_tables"),
    ]
    weekly_job = build_important_tables_job(database, copy_asset_keys(database, settings, "important_tables"))
    return dg.Definitions.merge(
        definitions,
        dg.Definitions(
            assets=with_freshness(tables, database, weekly=True) if running else tables,
            asset_checks=[build_restored_check(database, settings, weekly, "important_tables")],
            jobs=[weekly_job],
            schedules=[
                build_schedule(
                    f"{database.name}_important_tables_schedule",
                    weekly_job,
                    weekly,
                    running=running,
                    tags=scheduled_tags("backup", database),
                )
            ],
        ),
    )


def _upkeep(database: DatabaseSettings, settings: Settings, *, running: bool) -> dg.Definitions:
    """Return what goes through the older sets: the daily retention and, unless switched off, the rotation."""
    jobs = [build_retention_job(database)]
    schedules = [build_daily_schedule(database, jobs[0], database.retention.at, purpose="retention", running=running)]
    assets = [build_retention(database, settings)]
    if database.verification.nightly_limit:
        jobs.append(build_rotation_job(database))
        at = database.verification.at
        schedules.append(build_daily_schedule(database, jobs[1], at, purpose="verification", running=running))
        assets.append(build_rotation(database, settings))
    return dg.Definitions(assets=assets, jobs=jobs, schedules=schedules)


def _of_rds(database: DatabaseSettings, settings: Settings, now: datetime, *, running: bool) -> dg.Definitions:
    """Return what RDS adds for a database that it runs; nothing of it is imported for others."""
    if database.rds is None:
        return dg.Definitions()
    from backup_assets.aws.rds.automation import rds_definitions

    return rds_definitions(database, settings, now, running=running)


def build_definitions(settings: Settings, now: datetime) -> dg.Definitions:
    """Return the definitions of every configured database; ``now`` decides on the first slot of a new one."""
    return dg.Definitions.merge(
        # Steps in one process: a step in a process of its own costs three seconds before it begins, and the heavy
        # work is done by pg_dump and friends anyway.
        dg.Definitions(
            executor=dg.in_process_executor, sensors=[build_watch_sensor(settings, running=not settings.is_demo)]
        ),
        *(database_definitions(database, settings, now) for database in settings.databases),
        _around_databases(settings, now),
    )


def _around_databases(settings: Settings, now: datetime) -> dg.Definitions:
    """Return what AWS adds for all databases together; nothing of it is imported where it is not configured."""
    found = [dg.Definitions()]
    if settings.aws.infrastructure is not None:
        from backup_assets.aws.infrastructure.automation import infrastructure_definitions

        found.append(
            infrastructure_definitions(settings, settings.aws.infrastructure, now, running=not settings.is_demo)
        )
    if any(database.rds for database in settings.databases):
        from backup_assets.aws.events.automation import event_definitions

        found.append(event_definitions(settings, running=not settings.is_demo))
    return dg.Definitions.merge(*found)


# Dagster's version is pinned, and what of it is in preview or beta is tested with it: not for an operator to read of.
warnings.simplefilter("ignore", dg.PreviewWarning)
warnings.simplefilter("ignore", dg.BetaWarning)
with uncollected():  # a quarter of the time for hundreds of databases, all of which stay as long as the process
    defs = build_definitions(load_settings(), datetime.now(UTC))
