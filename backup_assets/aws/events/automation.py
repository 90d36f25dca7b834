"""When AWS is asked what it has to tell, and which run tells it?"""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from backup_assets.aws.events.assets import ASSET, EventsConfig, build_aws_events, config_of
from backup_assets.aws.events.event import Event
from backup_assets.aws.events.heard import Heard
from backup_assets.database_jobs import define_database_job
from backup_assets.errors import BackupError
from backup_assets.queueing import scheduled_tags
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS

if TYPE_CHECKING:
    from backup_assets.aws.events.queue import Message

NAME = "aws_events_sensor"
#: A problem is to be noticed within 30 minutes, and the watch looks every five.
POLL_SECONDS = 300
QUEUE_SECONDS = 60
#: A silence shorter than this is a busy network.
SILENT_AFTER = timedelta(minutes=10)
TOLD_AGAIN_AFTER = timedelta(hours=6)

Clock = Callable[[], datetime]


def event_definitions(settings: Settings, *, running: bool, clock: Clock = lambda: datetime.now(UTC)) -> dg.Definitions:
    """Return what hears the events of RDS and AWS Backup; nothing where no database is on RDS."""
    databases = _on_rds(settings)
    if not databases:
        return dg.Definitions()
    jobs = [
        define_database_job(
            database.name,
            _job_name(database),
            selection=dg.AssetSelection.assets([database.name, ASSET]),
            page="docs/aws.md#events",
            description="Tell what RDS and AWS Backup told. The sensor launches it, with the events.",
        )
        for database in databases
    ]

    @dg.sensor(
        name=NAME,
        jobs=jobs,
        minimum_interval_seconds=QUEUE_SECONDS if settings.aws.events.queue_url else POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        owners=OWNERS,
        description="Asks RDS and AWS Backup, or the queue that EventBridge fills, for ends of snapshots, copies and "
        "jobs, and launches a run for each database that something was told of.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from backup_assets.aws.access import briefly

        heard, now = _heard(context.cursor), clock()
        try:
            with briefly():
                requests, after = _look(settings, heard, now)
        except BackupError as error:
            context.log.warning(str(error))
            requests, after = _silence(databases, heard, error, now)
        reason = None if requests else "nothing was told" if after.silent_since is None else "AWS cannot be asked"
        return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=after.model_dump_json())

    return dg.Definitions(
        assets=[build_aws_events(database, settings) for database in databases], jobs=jobs, sensors=[sensor]
    )


def _look(settings: Settings, heard: Heard, now: datetime) -> tuple[list[dg.RunRequest], Heard]:
    # boto3 costs a third of a second: only who has to do with AWS pays it.
    from backup_assets.aws.events.polling import by_database, poll

    url = settings.aws.events.queue_url
    if url is None:
        polled = poll(settings, heard, now)
        by_name = by_database(polled.events, settings)
        requests = [
            _request(
                database,
                EventsConfig(events=[config_of(one) for one in by_name[database.name]]),
                _key(by_name[database.name]),
            )
            for database in _on_rds(settings)
            if database.name in by_name
        ]
        after = polled.heard
    else:
        requests, after = _look_into_queue(settings, url), Heard(until=now)
    return requests + _heard_again(settings, heard, requests, now), after


def _look_into_queue(settings: Settings, url: str) -> list[dg.RunRequest]:
    """Return a run for each database that a message is about; the run deletes its messages once it told them.

    What is about nothing of ours is deleted here. No run key: a message that comes again was not told.
    """
    from backup_assets.aws.events.polling import by_database
    from backup_assets.aws.events.queue import delete, queue_access, receive

    access = queue_access(settings.aws, url)
    messages = receive(access, url)
    owned = by_database((one.event for one in messages if one.event is not None), settings)
    of_database = {event: name for name, events in owned.items() for event in events}
    unread = [one for one in messages if one.unread]
    databases = _on_rds(settings)
    requests: list[dg.RunRequest] = []
    for database in databases:
        own = [one for one in messages if one.event is not None and of_database.get(one.event) == database.name]
        bad = unread if database is databases[0] else []
        if own or bad:
            requests.append(_request(database, _config_of(own, bad), None))
    idle = [one.receipt for one in messages if not one.unread and one.event not in of_database]
    delete(access, url, idle)
    return requests


def _config_of(own: "Sequence[Message]", unread: "Sequence[Message]") -> EventsConfig:
    events = {one.event.id: one.event for one in own if one.event is not None}
    return EventsConfig(
        events=[config_of(event) for event in events.values()],
        unread=[one.unread for one in unread],
        receipts=[*(one.receipt for one in own), *(one.receipt for one in unread if one.is_last_time)],
    )


def _heard_again(
    settings: Settings, heard: Heard, requests: Sequence[dg.RunRequest], now: datetime
) -> list[dg.RunRequest]:
    """Return runs that tell the end of a silence that was told; where there is something else to tell, that does it."""
    if heard.told_at is None:
        return []
    told = {request.job_name for request in requests}
    return [
        _request(database, EventsConfig(), f"heard {database.name} {now.isoformat()}")
        for database in _on_rds(settings)
        if _job_name(database) not in told
    ]


def _silence(
    databases: Iterable[DatabaseSettings], heard: Heard, error: BackupError, now: datetime
) -> tuple[list[dg.RunRequest], Heard]:
    """Return runs that tell that AWS cannot be asked, once that lasts, and what is remembered of it."""
    since = heard.silent_since or now
    after = heard.model_copy(update={"silent_since": since})
    if now - since < SILENT_AFTER or (heard.told_at is not None and now - heard.told_at < TOLD_AGAIN_AFTER):
        return [], after
    silence = EventsConfig(silence=f"AWS cannot be asked for events since {since:%Y-%m-%d %H:%M} UTC: {error}")
    requests = [_request(one, silence, f"silence {one.name} {now.isoformat()}") for one in databases]
    return requests, after.model_copy(update={"told_at": now})


def _request(database: DatabaseSettings, config: EventsConfig, run_key: str | None) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key,
        job_name=_job_name(database),
        run_config=dg.RunConfig(ops={f"{database.name}_{ASSET}": config}),
        tags=scheduled_tags("backup", database),
    )


def _key(events: Iterable[Event]) -> str:
    return hashlib.sha256("\n".join(sorted(event.id for event in events)).encode()).hexdigest()


def _heard(cursor: str | None) -> Heard:
    return Heard.model_validate_json(cursor) if cursor else Heard()


def _job_name(database: DatabaseSettings) -> str:
    return f"{database.name}_aws_events_job"


def _on_rds(settings: Settings) -> list[DatabaseSettings]:
    return [database for database in settings.databases if database.rds is not None]
