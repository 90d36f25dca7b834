"""The watch as Dagster runs it: one sensor, whose every tick is one look."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from backup_assets.errors import BackupError, Refused
from backup_assets.settings import Settings
from backup_assets.shown import OWNERS
from backup_assets.watch.alert_words import words_of
from backup_assets.watch.conditions import Condition
from backup_assets.watch.lost_retries import OVERLOOKED, ask_again
from backup_assets.watch.memory import Cursor
from backup_assets.watch.rds_looks import rds_unwatched
from backup_assets.watch.rounds import RunsReader, make_round
from backup_assets.watch.runs import RunsRead, ended_runs

NAME = "watch_sensor"


class WatchFailed(BackupError):
    """A look of the watch could not do everything: the tick is shown as failed."""


def runs_reader(instance: dg.DagsterInstance, settings: Settings) -> RunsReader:
    """Return what reads the runs of an instance, and sees which should have been there."""
    by_name = {database.name: database for database in settings.databases}
    words = words_of(settings)

    def read(database: str, cursor: Cursor, now: datetime) -> RunsRead:
        found = ended_runs(instance, database, list(by_name), cursor, now)
        if by_name[database].rds is None:
            return found
        unwatched = rds_unwatched(instance, by_name[database], now, words)
        return found if unwatched is None else replace(found, conditions=(unwatched,))

    return read


def build_watch_sensor(settings: Settings, *, running: bool) -> dg.SensorDefinition:
    """Return the sensor of the code location; `running` is its first state."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=max(1, round(settings.watch.interval_minutes * 60)),
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        owners=OWNERS,
        description="Measures every database, reads the runs and checks since the last look, and tells the channels "
        "what is wrong, once, and when it is over (docs/alerts.md).",
    )
    def watch_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            done = make_round(settings, datetime.now(UTC), runs_reader(context.instance, settings))
        except Refused as refused:
            return dg.SkipReason(str(refused))
        for alert in done.announced:
            context.log.warning(f"{alert.occasion}: {alert.key}: {alert.title}: {alert.cause}")
        for run_id in ask_again(context.instance, datetime.now(UTC)):
            context.log.warning(f"the run {run_id} {OVERLOOKED}")
        if done.problems:
            raise WatchFailed("the watch could not do everything", why="; ".join(done.problems))
        return dg.SkipReason(summary(done.conditions, done.unjudged))

    return watch_sensor


def summary(conditions: tuple[Condition, ...], unjudged: tuple[str, ...] = ()) -> str:
    """Return one sentence about what holds, and about the databases of which that is not known."""
    names = ", ".join(unjudged)
    if not conditions:
        return f"nothing is known of {names} yet: the stores have not answered" if names else "nothing is wrong"
    titles = "; ".join(f"{one.database}: {one.title}" for one in conditions[:10])
    text = f"{len(conditions)} wrong: {titles}" + ("; …" if len(conditions) > 10 else "")
    return f"{text}; not judged: {names}" if names else text
