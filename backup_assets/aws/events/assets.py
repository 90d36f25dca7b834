"""What AWS told as Dagster shows it: one asset of a database with a check for each kind of thing that can fail."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator
from datetime import datetime
from typing import Any, get_args

import dagster as dg
from pydantic import Field

from backup_assets.aws.events.event import CATEGORIES, Category, Event, Outcome, last_of_each
from backup_assets.faults import as_failure
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading

ASSET = "aws_events"
#: AWS, or the queue, can be asked.
LISTENING = "listening"
#: Every message of the queue could be read.
MESSAGES_READ = "messages_read"
_LONGEST_TEXT = 500
#: Failures of one kind that a check names.
_MOST_TOLD = 5


class EventConfig(dg.Config):
    """One event, as the sensor hands it to the run; ``at`` in ISO 8601."""

    id: str
    at: str
    category: str
    outcome: str
    subject: str
    region: str
    text: str
    target: str = ""


class EventsConfig(dg.Config):
    """What a run tells: new ``events``, why AWS could not be asked (``silence``), and messages that are no events.

    ``receipts`` are deleted from the queue once everything was told.
    """

    events: list[EventConfig] = Field(default_factory=list)
    silence: str = ""
    unread: list[str] = Field(default_factory=list)
    receipts: list[str] = Field(default_factory=list)


def config_of(event: Event) -> EventConfig:
    """Return an event as the configuration of a run."""
    return EventConfig(
        id=event.id,
        at=event.at.isoformat(),
        category=event.category,
        outcome=event.outcome,
        subject=event.subject,
        region=event.region,
        text=event.text[:_LONGEST_TEXT],
        target=event.target,
    )


def event_of(config: EventConfig) -> Event:
    """Return the event of which :func:`config_of` is the configuration; raises ValueError for one made by hand."""
    if config.category not in CATEGORIES or config.outcome not in get_args(Outcome):
        raise ValueError(f"{config.category} {config.outcome} is no kind of event")
    category: Category = next(one for one in CATEGORIES if one == config.category)
    outcome: Outcome = "failed" if config.outcome == "failed" else "completed"
    at = datetime.fromisoformat(config.at)
    return Event(config.id, at, category, outcome, config.subject, config.region, config.text, target=config.target)


def build_aws_events(database: DatabaseSettings, settings: Settings) -> dg.AssetsDefinition:
    """Return the asset `aws_events`: what RDS and AWS Backup told, each failure a failed check until the next success.

    A run tells of the kinds of things that something was heard of; the other checks stay as they were.
    """
    key = dg.AssetKey([database.name, ASSET])
    spec = dg.AssetSpec(
        key,
        group_name=database.name,
        kinds={"aws"},
        owners=OWNERS,
        metadata=reading("docs/aws.md#events"),
        description="Ends of snapshots, copies and jobs as RDS and AWS Backup tell them. AWS promises no event: "
        "whether there is a young snapshot or copy is checked apart from these.",
    )
    queue = {MESSAGES_READ: "Every message in the queue is an event of a known kind."} if _queue(settings) else {}
    promises = {**CATEGORIES, LISTENING: "RDS and AWS Backup, or the queue, can be asked.", **queue}
    checks = [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in promises.items()]

    # A subset may be told: that is how Dagster lets a run leave checks out.
    @dg.multi_asset(name=f"{database.name}_{ASSET}", specs=[spec], check_specs=checks, can_subset=True)
    def aws_events(context: dg.AssetExecutionContext, config: EventsConfig) -> Iterator[Any]:
        events = [event_of(one) for one in config.events]
        for event in sorted(events, key=lambda one: one.at):
            log = context.log.warning if event.outcome == "failed" else context.log.info
            log(f"{event.at:%Y-%m-%d %H:%M} UTC, {event.region}: {event.text}")
            if event.outcome == "completed":
                context.log_event(dg.AssetObservation(key, description=event.text, metadata=_figures_of(event)))
        results = [_result(key, some) for some in last_of_each(events).values()]
        results.append(_listening(key, config.silence))
        if queue and not config.silence:
            results.append(_messages_read(key, config.unread))
        yield dg.MaterializeResult(asset_key=key, metadata=_figures(events))
        yield from results
        # Dagster has stored what was yielded before it comes back here: only now may the messages go.
        url = _queue(settings)
        if url and config.receipts:
            # boto3 costs a third of a second: only who has to do with AWS pays it.
            from backup_assets.aws.events.queue import delete, queue_access

            with as_failure():
                delete(queue_access(settings.aws, url), url, config.receipts)

    return aws_events


def _queue(settings: Settings) -> str | None:
    return settings.aws.events.queue_url


def _result(key: dg.AssetKey, events: tuple[Event, ...]) -> dg.AssetCheckResult:
    """Return the check of what counts of one category: a success, or every failure that none has followed."""
    event = events[-1]
    told = [one.text for one in events[:_MOST_TOLD]]
    told += [f"and {len(events) - _MOST_TOLD} more, in the log of this run"] if len(events) > _MOST_TOLD else []
    return dg.AssetCheckResult(
        passed=event.outcome == "completed",
        asset_key=key,
        check_name=event.category,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(told),
        metadata=_figures_of(event),
    )


def _listening(key: dg.AssetKey, silence: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not silence,
        asset_key=key,
        check_name=LISTENING,
        severity=dg.AssetCheckSeverity.ERROR,
        description=silence or "AWS answers",
    )


def _messages_read(key: dg.AssetKey, unread: list[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not unread,
        asset_key=key,
        check_name=MESSAGES_READ,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n\n".join(unread) or "every message could be read",
    )


def _figures_of(event: Event) -> dict[str, Any]:
    return {"at": dg.MetadataValue.timestamp(event.at), "subject": event.subject, "region": event.region}


def _figures(events: list[Event]) -> dict[str, Any]:
    rows = ["| at | region | kind | | |", "|---|---|---|---|---|"]
    rows += [
        f"| {one.at:%Y-%m-%d %H:%M:%S} UTC | {one.region} | {one.category} | {one.outcome} | "
        f"{one.text.replace('|', chr(92) + '|')} |"
        for one in sorted(events, key=lambda one: one.at)
    ]
    return {
        "event_count": len(events),
        "failed_count": sum(one.outcome == "failed" for one in events),
        "events": dg.MetadataValue.md("\n".join(rows)),
    }
