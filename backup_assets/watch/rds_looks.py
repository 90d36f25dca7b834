"""When did Dagster last look at the protection of a database in RDS, and is that too long ago?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus

from backup_assets.sets.record_order import is_in_future
from backup_assets.settings import DatabaseSettings
from backup_assets.watch.alert_words import AlertWords
from backup_assets.watch.conditions import Condition
from backup_assets.watch.runs import STORAGE_ERRORS, unreadable

#: The sensor of `aws/rds` asks for a run at least so often, whatever it finds.
EVERY = timedelta(hours=6)
#: Until it looks again, and its run has waited in the queue and is through.
ALLOWED = timedelta(hours=1)
#: Where a run ended before, that it is too long ago is told after so long: when the machine comes back after a night,
#: the sensor is given the time to look first.
_AFTER_AN_OUTAGE = timedelta(minutes=45)


def watch_job_name(database: str) -> str:
    """Return the job whose runs tell what the sensor finds."""
    return f"{database}_rds_watch_job"


def watch_sensor_name(database: str) -> str:
    """Return the sensor that asks for them."""
    return f"{database}_rds_watch_sensor"


def rds_unwatched(
    instance: dg.DagsterInstance, database: DatabaseSettings, now: datetime, words: AlertWords
) -> Condition | None:
    """Return what is to be told when no look at RDS has ended for too long, or None.

    A run that failed is a look: what it failed by is told by itself. One that a person cancelled is none. Raises
    EnvironmentFault when Dagster's storage cannot be read.
    """
    job = watch_job_name(database.name)
    statuses = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    try:
        records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=statuses), limit=1)
    except STORAGE_ERRORS as error:
        raise unreadable(error) from error
    ended = [datetime.fromtimestamp(one.end_time, UTC) for one in records if one.end_time is not None]
    every, patience = words.span(EVERY.total_seconds()), EVERY + ALLOWED
    if not ended:
        cause = words.say("rds_unwatched.none", job=job, every=every)
    elif is_in_future(ended[0], now):
        # Nobody knows when it was, and the sensor waits for six hours after that time.
        cause = words.say("rds_unwatched.future", job=job, every=every)
    elif now - ended[0] > EVERY + ALLOWED:
        age = words.span((now - ended[0]).total_seconds())
        cause, patience = words.say("rds_unwatched.cause", job=job, age=age, every=every), _AFTER_AN_OUTAGE
    else:
        return None
    return Condition(
        database.name,
        "rds_unwatched",
        "",
        "error",
        title=words.say("rds_unwatched.title"),
        cause=cause,
        remedy=words.say("rds_unwatched.remedy", sensor=watch_sensor_name(database.name), job=job),
        patience=patience,
    )
