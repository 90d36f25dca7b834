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
from backup_assets.watch.conditions import Condition
from backup_assets.watch.memory import Cursor
from backup_assets.watch.troubles import CheckSeen, FinishedRun

#: How far back the first look goes.
FIRST_LOOK = timedelta(days=1)
#: A run's change bears the time of its event, and can be stored a little later than a newer one.
OVERLAP = timedelta(minutes=5)
#: A run whose events still cannot be read after so long, while others can, is taken for a failure: it must not hide all
#: that ended after it.
DAMAGED_AFTER = timedelta(hours=1)
#: Most runs that one look reads, and the seconds it takes at most; the next look goes on from there.
MOST_RUNS = 200
MOST_SECONDS = 12.0
_EVENTS = {
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELING,
    DagsterEventType.ASSET_CHECK_EVALUATION,
}
_MOST_EVENTS = 1000
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
#: What Dagster's run monitoring says before it ends a run by the tag `dagster/max_runtime`. Whether that run is then
#: FAILURE or CANCELED depends on who speaks last, the monitoring or the run's own process.
_OVERDUE = "Canceling due to exceeding maximum runtime"
_ASSET_JOB = "__ASSET_JOB"
#: What reading Dagster's storage may raise.
STORAGE_ERRORS = (DagsterError, SQLAlchemyError)


@dataclass(frozen=True)
class RunsRead:
    """Runs in the order in which they ended, where to go on, and whether there are more already.

    ``conditions`` are what is wrong because of runs that should have been, and were not.
    """

    runs: tuple[FinishedRun, ...]
    cursor: Cursor
    more: bool = False
    conditions: tuple[Condition, ...] = ()


def ended_runs(
    instance: dg.DagsterInstance, database: str, databases: Sequence[str], cursor: Cursor, now: datetime
) -> RunsRead:
    """Return the runs of one of the databases that ended after ``cursor``.

    What a person cancelled is left out; what was cancelled because it took too long has failed, and so has what cannot
    be read an hour after its end.

    Raises EnvironmentFault when Dagster's storage cannot be read.
    """
    after = _after(cursor, now)
    try:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=_ENDED, updated_after=after - OVERLAP),
            limit=MOST_RUNS + len(cursor.seen),
            order_by="update_timestamp",
            ascending=True,
        )
        return _read(instance, database, databases, cursor, records, after, now, limit=MOST_RUNS + len(cursor.seen))
    except STORAGE_ERRORS as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> EnvironmentFault:
    """Return what is said of an error of Dagster's storage."""
    return EnvironmentFault(
        "the runs of Dagster cannot be read",
        why=next(iter(str(error).splitlines()), type(error).__name__)[:300],
        remedy="see whether Dagster's storage (DAGSTER_HOME, or its PostgreSQL) can be reached",
    )


def _after(cursor: Cursor, now: datetime) -> datetime:
    """Return from when on runs are read: where the last look ended, or a day ago when that is yet to come."""
    # Then the clock was ahead: what ended since it was put right bears a time before the cursor. Twice read is told
    # once more at most.
    if cursor.updated_at is None or cursor.updated_at > now:
        return now - FIRST_LOOK
    return cursor.updated_at


def _read(
    instance: dg.DagsterInstance,
    database: str,
    databases: Sequence[str],
    cursor: Cursor,
    records: Sequence[RunRecord],
    after: datetime,
    now: datetime,
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
        # Not beyond now: a run that ended while the clock was ahead would hide those after it.
        updated_at = max(updated_at, min(now, _utc(record.update_timestamp)))
        ended_at = _ended_at(record)
        run = record.dagster_run
        # A tag that is added to an old run changes it; it was read when it ended.
        if run.run_id in seen or ended_at < after - OVERLAP:
            continue
        if NO_OUTCOME in run.tags and run.status == DagsterRunStatus.SUCCESS:
            continue
        seen.add(run.run_id)
        if database in databases_of(run, databases) and (one := _finished(instance, run, ended_at, now)):
            found.append(one)
    recent = {
        record.dagster_run.run_id for record in records if _utc(record.update_timestamp) >= updated_at - 2 * OVERLAP
    }
    # With a time yet to come it ended while the clock was ahead, and puts nothing right that failed since.
    found.sort(key=lambda one: (one.ended_at <= now, one.ended_at))
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
    # `erp_test_backup_job` is not one of `erp`, and `erp_backup_job` none of `erp_backup`: ours say what they do.
    named = [name for name in databases if run.job_name.startswith(f"{name}_")]
    return frozenset([max(named, key=lambda name: (run.job_name != f"{name}_job", len(name)))] if named else [])


def _finished(instance: dg.DagsterInstance, run: DagsterRun, ended_at: datetime, now: datetime) -> FinishedRun | None:
    slot = run.tags.get("dagster/partition", "")
    try:
        records = instance.get_records_for_run(run.run_id, of_type=_EVENTS, limit=_MOST_EVENTS).records
    except STORAGE_ERRORS as error:
        if abs(now - ended_at) < DAMAGED_AFTER:
            raise
        cause = f"what happened in it cannot be read: {unreadable(error).why}"
        return FinishedRun(run.run_id, _subject(run), slot, False, ended_at, cause, "run it again")
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    if run.status == DagsterRunStatus.CANCELED and not _is_overdue(events):
        return None
    succeeded = run.status == DagsterRunStatus.SUCCESS
    cause, remedy = ("", "") if succeeded else _why(events)
    return FinishedRun(
        run.run_id,
        _subject(run),
        slot,
        succeeded,
        ended_at,
        cause,
        remedy,
        tuple(_checks(events, run)),
    )


def _is_overdue(events: Sequence[dg.DagsterEvent]) -> bool:
    return any(
        event.event_type == DagsterEventType.RUN_CANCELING and (event.message or "").startswith(_OVERDUE)
        for event in events
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
    if _is_overdue(events):
        # Its step failed only because it was interrupted.
        return "the run took longer than its limit and was ended", "see in its log what it waited for"
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
