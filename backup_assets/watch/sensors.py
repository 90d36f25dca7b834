"""The watch as Dagster runs it: one sensor, whose every tick is one look."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from datetime import UTC, datetime

import dagster as dg

from backup_assets.errors import BackupError, Refused
from backup_assets.settings import Settings
from backup_assets.shown import OWNERS
from backup_assets.watch.conditions import Condition
from backup_assets.watch.memory import Cursor
from backup_assets.watch.rounds import RunsReader, make_round
from backup_assets.watch.runs import RunsRead, ended_runs

NAME = "watch_sensor"


class WatchFailed(BackupError):
    """A look of the watch could not do everything: the tick is shown as failed."""


def runs_reader(instance: dg.DagsterInstance, settings: Settings) -> RunsReader:
    """Return what reads the runs of an instance."""
    names = [database.name for database in settings.databases]

    def read(database: str, cursor: Cursor, now: datetime) -> RunsRead:
        return ended_runs(instance, database, names, cursor, now)

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
        if done.problems:
            raise WatchFailed("the watch could not do everything", why="; ".join(done.problems))
        return dg.SkipReason(summary(done.conditions))

    return watch_sensor


def summary(conditions: tuple[Condition, ...]) -> str:
    """Return one sentence about what holds."""
    if not conditions:
        return "nothing is wrong"
    titles = "; ".join(f"{one.database}: {one.title}" for one in conditions[:10])
    return f"{len(conditions)} wrong: {titles}" + ("; …" if len(conditions) > 10 else "")
