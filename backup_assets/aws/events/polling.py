"""What have RDS and AWS Backup told since they were asked last, and which database is it about?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backup_assets.aws.access import Access, access_of
from backup_assets.aws.answers import explained
from backup_assets.aws.events.event import Category, Event, of_job, of_rds
from backup_assets.aws.events.heard import Heard
from backup_assets.aws.rds.api import api_of
from backup_assets.settings import DatabaseSettings, Settings

#: How far back the first look goes: what is older is for the checks on snapshots and copies.
FIRST_LOOK = timedelta(hours=24)
#: Events are told late, and out of order; what was heard already is known by its id.
OVERLAP = timedelta(hours=1)
#: RDS keeps no event for longer: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html
KEPT_BY_RDS = timedelta(days=14)
#: A job is found by when it was created, and may take long.
LONGEST_JOB = timedelta(days=3)


@dataclass(frozen=True)
class Polled:
    """The new events, oldest first, and what to ask with the next time."""

    events: tuple[Event, ...]
    heard: Heard


def poll(settings: Settings, heard: Heard, now: datetime) -> Polled:
    """Ask RDS and, where a plan is configured, AWS Backup; raises what `answers.explained` raises."""
    # The last look may have been by a clock that was ahead: nothing after now was heard then.
    since = min(heard.until, now) - OVERLAP if heard.until else now - FIRST_LOOK
    found = {event.id: event for event in _all(settings, since, now) if event.at >= since}
    new = sorted((one for one in found.values() if one.id not in heard.ids), key=lambda one: (one.at, one.id))
    known = {**heard.ids, **{one.id: one.at for one in new}}
    # What ended before the next look's beginning is not asked for again.
    kept = {event_id: at for event_id, at in known.items() if at >= now - 2 * OVERLAP or event_id in found}
    return Polled(tuple(new), Heard(until=now, ids=kept))


def by_database(events: Iterable[Event], settings: Settings) -> dict[str, list[Event]]:
    """Return the events of each database; those of something else in the account are left out.

    A snapshot's source is looked up in RDS unless its name tells it; raises as :func:`poll` does.
    """
    owners = _Owners(settings)
    found: dict[str, list[Event]] = {}
    for event in events:
        name = owners.of(event)
        if name is not None:
            found.setdefault(name, []).append(event)
    return found


class _Owners:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._by_source: Mapping[tuple[str, str], DatabaseSettings] = {
            # RDS takes any spelling, and tells its events with small letters.
            ("instance" if one.rds.instance else "cluster", one.rds.identifier.lower()): one
            for one in settings.databases
            if one.rds is not None
        }
        self._known: dict[tuple[str, str], str | None] = {}

    def of(self, event: Event) -> str | None:
        name = event.subject.rpartition(":")[2] if event.subject.startswith("arn:") else event.subject
        if event.of_snapshot:
            # The names of automated ones begin with `rds:`, which the last part of an ARN would cut off.
            whole = event.subject.partition("snapshot:")[2] if event.subject.startswith("arn:") else event.subject
            key = (event.region, whole)
            if key not in self._known:
                self._known[key] = self._of_snapshot(event.region, whole)
            return self._known[key]
        for (kind, identifier), database in self._by_source.items():
            is_kind = not event.subject.startswith("arn:") or f":{_ARN_TYPES[kind]}:" in event.subject
            if name == identifier and is_kind:
                return database.name
        if event.category in ("backup_jobs", "copy_jobs", "restore_jobs"):
            return self._of_cluster_resource(event.subject)
        return None

    def _of_cluster_resource(self, arn: str) -> str | None:
        """Return the database of a cluster that AWS Backup names by its resource id, `cluster-ABC…`."""
        name = arn.rpartition(":")[2]
        if ":cluster:cluster-" not in arn:
            return None
        for (kind, identifier), database in self._by_source.items():
            if kind != "cluster" or database.rds is None:
                continue
            source = api_of(access_of(self._settings.aws), database.rds).source(identifier)
            if str(source.raw.get("DbClusterResourceId", "")).lower() == name.lower():
                return database.name
        return None

    def _of_snapshot(self, region: str, name: str) -> str | None:
        for (_, identifier), database in self._by_source.items():
            if name.startswith(f"rds:{identifier}-2"):  # and the year; `erp4-prod-2` is another instance
                return database.name
        for (_, identifier), database in self._by_source.items():
            if database.rds is None:
                continue
            found = api_of(access_of(self._settings.aws).within(region), database.rds).snapshot(name)
            if found is not None and found.is_of(identifier):
                return database.name
        return None


_ARN_TYPES = {"instance": "db", "cluster": "cluster"}


def _all(settings: Settings, since: datetime, now: datetime) -> Iterator[Event]:
    access = access_of(settings.aws)
    rds = [database.rds for database in settings.databases if database.rds is not None]
    kinds = {"instance" if one.instance else "cluster" for one in rds}
    types = [kind for one, two in _EVENT_TYPES.items() if one in kinds for kind in two]
    for region in dict.fromkeys([access.region, *(one.copies.region for one in rds if one.copies)]):
        yield from _of_rds(access.within(region), types, since, now)
    if settings.aws.backup_plan is not None:
        yield from _of_backup(access, since, now)


_EVENT_TYPES = {
    "instance": ("db-instance", "db-snapshot"),
    "cluster": ("db-cluster", "db-cluster-snapshot"),
}


def _of_rds(access: Access, types: Iterable[str], since: datetime, now: datetime) -> Iterator[Event]:
    client, since = access.client("rds"), max(since, now - KEPT_BY_RDS)
    for kind in types:
        with explained("ask for the events of RDS", access):
            pages = client.get_paginator("describe_events").paginate(SourceType=kind, StartTime=since, EndTime=now)
            for page in pages:
                for answer in page["Events"]:
                    event = of_rds(answer, access.region)
                    if event is not None:
                        yield event


def _of_backup(access: Access, since: datetime, now: datetime) -> Iterator[Event]:
    client = access.client("backup")
    created = since - LONGEST_JOB
    with explained("ask for the jobs of AWS Backup", access):
        jobs: list[tuple[Category, list[Mapping[str, Any]]]] = [
            ("backup_jobs", _pages(client, "list_backup_jobs", "BackupJobs", created)),
            ("copy_jobs", _pages(client, "list_copy_jobs", "CopyJobs", created)),
            ("restore_jobs", _pages(client, "list_restore_jobs", "RestoreJobs", created)),
        ]
    for category, answers in jobs:
        for answer in answers:
            event = of_job(category, answer, access.region, now)
            if event is not None:
                yield event


def _pages(client: Any, operation: str, part: str, created: datetime) -> list[Mapping[str, Any]]:
    pages = client.get_paginator(operation).paginate(ByCreatedAfter=created)
    return [answer for page in pages for answer in page[part]]
