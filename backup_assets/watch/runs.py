"""Which runs of Dagster have ended since the last look, and how?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import dagster as dg
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus, RunRecord
from dagster_shared.error import DagsterError
from sqlalchemy.exc import SQLAlchemyError

from backup_assets.errors import EnvironmentFault
from backup_assets.queueing import NO_OUTCOME
from backup_assets.watch.checks import CHECKS
from backup_assets.watch.memory import Cursor
from backup_assets.watch.troubles import CheckSeen, FinishedRun

#: How far back the first look goes.
FIRST_LOOK = timedelta(days=1)
#: A run's change bears the time of its event, and can be stored a little later than a newer one.
OVERLAP = timedelta(minutes=5)
#: Most runs that one look reads, and the seconds it takes at most; the next look goes on from there.
MOST_RUNS = 200
MOST_SECONDS = 12.0
_EVENTS = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE, DagsterEventType.ASSET_CHECK_EVALUATION}
_MOST_EVENTS = 1000
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
_ASSET_JOB = "__ASSET_JOB"


@dataclass(frozen=True)
class RunsRead:
    """Runs in the order in which they ended, where to go on, and whether there are more already."""

    runs: tuple[FinishedRun, ...]
    cursor: Cursor
    more: bool = False


def ended_runs(
    instance: dg.DagsterInstance, database: str, databases: Sequence[str], cursor: Cursor, now: datetime
) -> RunsRead:
    """Return the runs of one of the databases that ended after ``cursor``; cancelled ones are a person's wish.

    Raises EnvironmentFault when Dagster's storage cannot be read.
    """
    after = cursor.updated_at or now - FIRST_LOOK
    try:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=_ENDED, updated_after=after - OVERLAP),
            limit=MOST_RUNS + len(cursor.seen),
            order_by="update_timestamp",
            ascending=True,
        )
        return _read(instance, database, databases, cursor, records, after, limit=MOST_RUNS + len(cursor.seen))
    except (DagsterError, SQLAlchemyError) as error:
        raise EnvironmentFault(
            "the runs of Dagster cannot be read",
            why=str(error).splitlines()[0][:300],
            remedy="see whether Dagster's storage (DAGSTER_HOME, or its PostgreSQL) can be reached",
        ) from error


def _read(
    instance: dg.DagsterInstance,
    database: str,
    databases: Sequence[str],
    cursor: Cursor,
    records: Sequence[RunRecord],
    after: datetime,
    *,
    limit: int,
) -> RunsRead:
    begun, seen = monotonic(), set(cursor.seen)
    found: list[FinishedRun] = []
    updated_at, read = after, 0
    for record in records:
        if monotonic() - begun > MOST_SECONDS:
            break
        read += 1
        updated_at = max(updated_at, _utc(record.update_timestamp))
        ended_at = _ended_at(record)
        run = record.dagster_run
        # A tag that is added to an old run changes it; it was read when it ended.
        if run.run_id in seen or ended_at < after - OVERLAP:
            continue
        if NO_OUTCOME in run.tags and run.status == DagsterRunStatus.SUCCESS:
            continue
        seen.add(run.run_id)
        if database in databases_of(run, databases):
            found.append(_finished(instance, run, ended_at))
    recent = {
        record.dagster_run.run_id for record in records if _utc(record.update_timestamp) >= updated_at - 2 * OVERLAP
    }
    found.sort(key=lambda one: one.ended_at)
    return RunsRead(
        tuple(found),
        Cursor(updated_at=updated_at, seen=tuple(sorted(seen & recent))),
        more=read < len(records) or len(records) >= limit,
    )


def databases_of(run: DagsterRun, databases: Iterable[str]) -> frozenset[str]:
    """Return whose databases' assets a run is about, else the one that its job is named after."""
    keys = [
        *(key for key in run.asset_selection or ()),
        *(check.asset_key for check in run.asset_check_selection or ()),
    ]
    if keys:
        return frozenset(key.path[0] for key in keys) & frozenset(databases)
    # `erp_test_backup_job` is not one of `erp`.
    named = [name for name in databases if run.job_name.startswith(f"{name}_")]
    return frozenset([max(named, key=len)] if named else [])


def _finished(instance: dg.DagsterInstance, run: DagsterRun, ended_at: datetime) -> FinishedRun:
    events = [
        record.event_log_entry.dagster_event
        for record in instance.get_records_for_run(run.run_id, of_type=_EVENTS, limit=_MOST_EVENTS).records
    ]
    succeeded = run.status == DagsterRunStatus.SUCCESS
    cause, remedy = ("", "") if succeeded else _why([event for event in events if event is not None])
    return FinishedRun(
        run.run_id,
        _subject(run),
        run.tags.get("dagster/partition", ""),
        succeeded,
        ended_at,
        cause,
        remedy,
        tuple(_checks([event for event in events if event is not None], run)),
    )


def _subject(run: DagsterRun) -> str:
    if run.job_name != _ASSET_JOB:
        return run.job_name
    names = sorted("/".join(key.path) for key in run.asset_selection or ())
    names += sorted(
        f"{'/'.join(key.asset_key.path)} {key.name}"
        for key in run.asset_check_selection or ()
        if key.asset_key not in (run.asset_selection or ())
    )
    return ", ".join(names)[:200] or run.job_name


def _why(events: Sequence[dg.DagsterEvent]) -> tuple[str, str]:
    """Return the cause and the remedy of the first step that failed, else what ended the run."""
    for event in events:
        if event.event_type != DagsterEventType.STEP_FAILURE:
            continue
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return _parts(data.user_failure_data.description)
        if data.error is not None:
            inner = data.error.cause or data.error
            return " ".join(inner.message.split())[:500], ""
    for event in events:
        if event.event_type == DagsterEventType.RUN_FAILURE and event.message:
            return event.message.splitlines()[0][:500], ""
    return "the run ended without a word: its process may have been killed", ""


def _parts(text: str) -> tuple[str, str]:
    """Take the text of one of our errors apart again."""
    what, _, remedy = text.partition("\n  next: ")
    return " ".join(what.replace("\n  because: ", ": ").split()), " ".join(remedy.split())


def _checks(events: Sequence[dg.DagsterEvent], run: DagsterRun) -> Iterator[CheckSeen]:
    for event in events:
        if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        seen = event.asset_check_evaluation_data
        # They show in the UI what the watch measures itself, and would be told twice.
        if seen.check_name in CHECKS:
            continue
        text, _ = _parts(seen.description or "")
        yield CheckSeen(
            f"{'/'.join(seen.asset_key.path)} {seen.check_name}",
            seen.partition or run.tags.get("dagster/partition", ""),
            seen.passed,
            seen.severity == dg.AssetCheckSeverity.WARN,
            text,
        )


def _ended_at(record: RunRecord) -> datetime:
    if record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    return _utc(record.update_timestamp)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
