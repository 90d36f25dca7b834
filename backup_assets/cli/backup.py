"""How is a backup taken by hand, as the same Dagster job that the schedule runs?"""

from __future__ import annotations

import logging
import time
import uuid
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import dagster as dg
from dagster import DagsterError, DagsterInstance
from dagster._core.errors import DagsterExecutionInterruptedError
from sqlalchemy.exc import SQLAlchemyError

from backup_assets.capture.assets import CaptureConfig, ContentHashes
from backup_assets.capture.automation import slots_of
from backup_assets.cli.context import Context, context_of
from backup_assets.cli.output import Column, heading, say, say_facts, say_json, say_table, tell, tell_error
from backup_assets.cli.progress_bar import progress_bar
from backup_assets.command_runs import COMMAND_LINE, STARTED_BY, at_work, end_abandoned
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused
from backup_assets.faults import RAISED
from backup_assets.instance import dagster_home, dagster_instance
from backup_assets.progress import human_bytes
from backup_assets.release.assets import ASSET as RELEASE
from backup_assets.release.assets import release_job_name
from backup_assets.release.proving import release_hold
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.holds import hold_from
from backup_assets.slots import SlotOver

CHECK_FAILED = 1
#: The check that takes long, and that --no-verify leaves out.
TRIAL_RESTORE = "restored"
_LOOK = "run it again with --verbose, or look at it in the UI: `backup-assets dev`"


@dataclass(frozen=True)
class BackupRequest:
    """What a backup by hand asks for; ``release`` is the name of the release that relies on it."""

    release: str | None = None
    label: str | None = None
    hold: str | None = None
    hold_until: str | None = None
    content_hashes: Literal["always", "important", "never"] | None = None
    important_tables: bool = False
    verify: bool = True
    verbose: bool = False


@dataclass(frozen=True)
class Check:
    """One check of the run."""

    name: str
    passed: bool
    summary: str


@dataclass(frozen=True)
class BackupDone:
    """How the run ended: its set, if one was committed, the checks, and what was raised.

    ``words`` is the sentence for a release's record, empty unless the set can be relied on.
    """

    run_id: str
    taken: BackupSet | None
    checks: tuple[Check, ...]
    errors: tuple[BackupError, ...]
    seconds: float
    words: str = ""

    @property
    def status(self) -> int:
        """The exit status: 0 only for a committed set all of whose checks passed."""
        if self.errors:
            return self.errors[0].exit_code
        return 0 if all(check.passed for check in self.checks) else CHECK_FAILED


def run_backup(context: Context, request: BackupRequest, instance: DagsterInstance) -> BackupDone:
    """Run the database's backup job in this process, recorded in ``instance``, and return how it ended.

    Raises Refused before anything runs when the request makes no sense. What fails in the run is in the result.
    """
    now = datetime.now(UTC)
    # What is wrong is said now, not after a run was made.
    config = _config(request, ZoneInfo(context.database.schedule.timezone), now)
    name = context.database.name
    if request.important_tables and not context.database.important_tables:
        raise Refused(
            f"{name} has no important tables",
            remedy="set IMPORTANT_TABLES, or important_tables in backup.yaml, or leave out --important-tables",
        )
    slots = slots_of(context.database, context.settings, now)
    op, slots = (f"{name}_important_tables", slots.weekly) if request.important_tables else (f"{name}_capture", slots)
    chosen = f"{name}_important_tables_job" if request.important_tables else f"{name}_backup_job"
    job = _job(context, now, release_job_name(context.database) if request.release else chosen)
    expected = set(job.asset_layer.asset_graph.asset_check_keys)
    if not request.verify:
        expected = {key for key in expected if key.name != TRIAL_RESTORE}
        job = job.get_subset(asset_selection=set(job.asset_layer.selected_asset_keys), asset_check_selection=expected)
    run_config = dg.RunConfig(ops={op: config}, loggers=loggers_of(verbose=request.verbose))
    begun = time.monotonic()
    slot = slots.current_key(now)
    result, raised = _run_into(slot, job, run_config, instance)
    if any(isinstance(error, SlotOver) for error in raised):  # it ended between the look at the clock and the capture
        tell(f"the slot {slot} has just ended: once more, into the next one")
        result, raised = _run_into(slots.current_key(datetime.now(UTC)), job, run_config, instance)
    done = _done(context, result, expected, tuple(raised), time.monotonic() - begun)
    if _interrupted(result):
        if done.taken is not None:
            tell(f"the set {done.taken.id} is stored; prove it with `backup-assets verify {done.taken.id}`")
        raise KeyboardInterrupt
    return done


def _run_into(
    slot: str, job: dg.JobDefinition, run_config: dg.RunConfig, instance: DagsterInstance
) -> tuple[dg.ExecuteInProcessResult, list[BackupError]]:
    """Run the job for a slot, and return its result with the errors that it raised."""
    run_id = str(uuid.uuid4())
    raised: list[BackupError] = []
    token = RAISED.set(raised)
    try:
        with at_work(dagster_home(), run_id):
            result = job.execute_in_process(
                run_config=run_config,
                instance=instance,
                run_id=run_id,
                partition_key=slot,
                tags={STARTED_BY: COMMAND_LINE},
                raise_on_error=False,
            )
    except DagsterExecutionInterruptedError:  # Dagster's own name for Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        RAISED.reset(token)
    return result, raised


def _config(request: BackupRequest, zone: ZoneInfo, now: datetime) -> CaptureConfig:
    hashes = ContentHashes(request.content_hashes) if request.content_hashes else None
    if request.release is None:
        hold_from(request.hold, request.hold_until, zone, now=now)
        return CaptureConfig(
            label=request.label, hold=request.hold, hold_until=request.hold_until, content_hashes=hashes
        )
    if request.important_tables or not request.verify or request.label or hashes not in (None, ContentHashes.ALWAYS):
        raise Refused(
            "a release relies on a whole set, every row of which was restored on trial and compared",
            remedy="leave out --important-tables, --no-verify, --content-hashes and --label: the release names the set",
        )
    # The hold is part of the manifest, so that no store can have the set without it.
    asked = hold_from(request.hold or f"release {request.release}", request.hold_until, zone, now=now)
    hold = release_hold(request.release, asked and asked.reason, asked and asked.until, now)
    until = hold.until.isoformat() if hold.until else None
    return CaptureConfig(label=request.release, hold=hold.reason, hold_until=until, content_hashes=ContentHashes.ALWAYS)


def _job(context: Context, now: datetime, name: str) -> dg.JobDefinition:
    # This also silences, for good, what Dagster says of its previews: it says it again when the job is carried out.
    from backup_assets.definitions import database_definitions

    return database_definitions(context.database, context.settings, now).resolve_job_def(name)


def loggers_of(*, verbose: bool) -> dict[str, Any]:
    """Return the configuration of a run's loggers, and let Dagster's own say as much or as little."""
    logging.getLogger("dagster").setLevel(logging.DEBUG if verbose else logging.CRITICAL)
    return {"console": {"config": {"log_level": "DEBUG" if verbose else "CRITICAL"}}}


def _done(
    context: Context,
    result: dg.ExecuteInProcessResult,
    expected: set[dg.AssetCheckKey],
    raised: tuple[BackupError, ...],
    seconds: float,
) -> BackupDone:
    evaluations = result.get_asset_check_evaluations()
    checks = tuple(Check(one.check_name, one.passed, one.description or "") for one in evaluations)
    run = BackupId.make("2000-01-01", datetime.now(UTC), result.run_id).run
    taken = next((one for one in context.catalog().sets() if one.manifest.backup_id.run == run), None)
    silent = sorted(key.name for key in expected - {one.asset_check_key for one in evaluations})
    whole = result.success and taken is not None and not taken.faults
    errors = () if whole else raised  # what a successful run has raised was gone at its next attempt
    if not whole and not errors:
        errors = (_unexpected(result, taken),)
    elif whole and silent:
        errors = (CheckFailed(f"the set is stored, and nothing is known of: {', '.join(silent)}", remedy=_LOOK),)
    return BackupDone(result.run_id, taken, checks, errors, seconds, _words(result))


def _words(result: dg.ExecuteInProcessResult) -> str:
    """Return what the asset `release` says of the set, or nothing."""
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        if materialization.asset_key.path[-1] == RELEASE:
            return str(materialization.metadata["words"].value)
    return ""


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Tell whether Ctrl-C ended a step: the result shows that as a failed step like any other."""
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    names = (DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)
    return any(failure is not None and failure.cls_name in names for failure in failures)


def _unexpected(result: dg.ExecuteInProcessResult, taken: BackupSet | None) -> EnvironmentFault:
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    why = next((failure.message.strip() for failure in failures if failure is not None), "")
    if not why:
        why = "; ".join(taken.faults) if taken is not None else "no manifest was written"
    return EnvironmentFault(
        f"the run {result.run_id} did not end as it should",
        why=why,
        remedy=_LOOK,
    )


def backup(arguments: Namespace) -> int:
    """Take a backup; status 0 only when the set is committed and every check has passed."""
    context = context_of(arguments)
    request = BackupRequest(
        release=arguments.release,
        label=arguments.label,
        hold=arguments.hold,
        hold_until=arguments.hold_until,
        content_hashes=arguments.content_hashes,
        important_tables=arguments.important_tables,
        verify=not arguments.no_verify,
        verbose=arguments.verbose,
    )
    with _history_explained(), dagster_instance() as instance, progress_bar():
        for run_id in end_abandoned(dagster_home(), instance):
            tell(f"the run {run_id} was left by a command that is gone, and is now shown as failed")
        done = run_backup(context, request, instance)
    if arguments.json:
        say_json(_as_json(done))
    else:
        say_backup(done)
    for error in done.errors:
        tell_error(error)
    if done.status and not done.errors:
        tell("error: the set is stored, and a check of it failed")
    if done.words and not done.status and not arguments.json:
        say(done.words)
    return done.status


@contextmanager
def _history_explained() -> Iterator[None]:
    """Turn an error of the database of Dagster's runs into an EnvironmentFault."""
    try:
        yield
    except (DagsterError, SQLAlchemyError) as error:
        raise EnvironmentFault(
            "Dagster's history of runs cannot be used, so that no backup can be recorded in it",
            why=" ".join(str(error).split())[:300],
            remedy=f"if it is damaged, move {dagster_home()} away, and a new one is begun; no set depends on it, "
            "`backup-assets list` shows them all",
        ) from error


def say_backup(done: BackupDone) -> None:
    """Print a backup: its set and its checks."""
    if done.taken is not None:
        manifest = done.taken.manifest
        facts = [
            ("set", done.taken.id),
            ("slot", manifest.slot),
            ("size", human_bytes(manifest.size_bytes)),
            ("rows", f"{manifest.fingerprints.total_rows} in {len(manifest.fingerprints.tables)} tables"),
        ]
        if manifest.attachments is not None:
            a = manifest.attachments
            facts.append(("attachments", f"{a.files} files, {a.mode} archive with {a.archived_files} of them"))
        facts.append(("seconds", f"{done.seconds:.1f}"))
        say_facts(facts)
        for warning in manifest.warnings:
            tell(f"warning: {warning}")
    if done.checks:
        heading("checks")
        say_table(
            (Column("check"), Column("outcome"), Column("summary", wide=True)),
            [(check.name, "ok" if check.passed else "fail", check.summary) for check in done.checks],
        )


def _as_json(done: BackupDone) -> dict[str, Any]:
    manifest = done.taken.manifest if done.taken else None
    return {
        "run_id": done.run_id,
        "set": manifest.id if manifest else None,
        "slot": manifest.slot if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "rows": manifest.fingerprints.total_rows if manifest else None,
        "checks": [{"name": c.name, "passed": c.passed, "summary": c.summary} for c in done.checks],
        "words": done.words or None,
        "errors": [{"what": e.what, "why": e.why, "next": e.remedy} for e in done.errors],
        "seconds": round(done.seconds, 3),
    }
