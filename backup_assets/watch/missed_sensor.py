"""Where is it written down, once, that a slot was missed?"""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from backup_assets.named_stores import LOCAL
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS
from backup_assets.slots import Slots
from backup_assets.watch.measuring import measure

INTERVAL_SECONDS = 300
#: Of one look, so that a long outage with short slots does not become a flood; the next look goes on from there.
MOST_AT_ONCE = 50
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_missed_sensor(
    database: DatabaseSettings,
    settings: Settings,
    slots: Slots,
    *,
    running: bool,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dg.SensorDefinition:
    """Return the sensor that records every missed slot as one observation of `metadata`, under the slot's own key.

    Nothing is started for it: a past slot is never filled with today's data. Its partition stays missing, which is
    true, and its events say why. The first look only remembers where to begin.
    """
    asset = dg.AssetKey([database.name, "metadata"])

    @dg.sensor(
        name=f"{database.name}_missed_slots_sensor",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        owners=OWNERS,
        description="Records a slot that is over and has no complete set in any store, once, with what became of it.",
    )
    def missed_slots(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = clock()
        current = slots.window(slots.current_key(now))[0]
        if context.cursor is None:
            context.update_cursor(current.isoformat())
            return dg.SkipReason(f"slots are looked at from {current.isoformat()} on")
        over = list(_over(slots, datetime.fromisoformat(context.cursor), now))[:MOST_AT_ONCE]
        if not over:
            return dg.SkipReason("no slot has ended since the last look")
        busy = [key for key in over if _runs(context.instance, key, database, _UNFINISHED)]
        if busy:
            return dg.SkipReason(f"a run of the slot {busy[0]} is still at work or waits")
        figures = measure(database, settings, now)
        if local_error := next((store.error for store in figures.stores if store.name == LOCAL), ""):
            return dg.SkipReason(f"whether a slot was missed is not known: {local_error}")
        missed = set(figures.missed_slots)
        events = [
            dg.AssetObservation(
                asset,
                partition=key,
                description=_text(slots, key, context.instance, database),
                # Of all slots the asset's page shows the last entry: it has to say which slot it speaks of.
                metadata={
                    "missed": True,
                    "missed_slot": key,
                    "due_at": dg.MetadataValue.timestamp(slots.due_at(key)),
                },
            )
            for key in over
            if key in missed
        ]
        for event in events:
            context.log.warning(event.description)
        return dg.SensorResult(asset_events=events, cursor=slots.window(over[-1])[1].isoformat())

    return missed_slots


def _over(slots: Slots, since: datetime, now: datetime) -> Iterator[str]:
    """Yield the keys of the slots that began at ``since`` or later and have ended, oldest first."""
    moment = since
    while moment < now:
        key = slots.current_key(moment)
        end = slots.window(key)[1]
        if end > now:
            return
        yield key
        moment = end


def _runs(
    instance: dg.DagsterInstance, key: str, database: DatabaseSettings, statuses: list[dg.DagsterRunStatus]
) -> list[dg.DagsterRun]:
    jobs = (f"{database.name}_backup_job", f"{database.name}_release_backup_job")
    wanted = dg.RunsFilter(tags={"dagster/partition": key}, statuses=statuses)
    return [run for run in instance.get_runs(wanted, limit=100) if run.job_name in jobs]


def _text(slots: Slots, key: str, instance: dg.DagsterInstance, database: DatabaseSettings) -> str:
    failed = _runs(instance, key, database, [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
    what = "no backup was started: nobody was at work, or the schedule is stopped"
    if failed:
        what = f"{len(failed)} runs of it failed, the last is {failed[0].run_id}"
    instead = ""
    if database.rds is not None and database.rds.rebuild is not None:
        instead = "; RDS may still have the data of its own time: materialize `rds_rebuild` for it"
    due = slots.due_at(key).astimezone(ZoneInfo(database.schedule.timezone))
    return (
        f"the slot {key} was missed: a backup was due at {due:%Y-%m-%d %H:%M %Z}, and no store has a complete set of "
        f"it; {what}. It stays empty: a past slot is never filled with today's data{instead}"
    )
