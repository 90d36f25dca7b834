"""Killed runs that Dagster was to begin again, and forgot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._core.test_utils import create_run_for_test, create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon

from backup_assets.watch.lost_retries import OLDEST, WAITED_FOR, ask_again

LOCATION = """
import dagster as dg

@dg.asset
def something(): ...

defs = dg.Definitions(assets=[something], jobs=[dg.define_asset_job("a_job", ["something"])])
"""
AT_ONCE = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "run_retries": {"enabled": True, "max_retries": 1},
}
#: Why a run failed whose process was killed is not known: it is begun again from its beginning.
TAGS = {"dagster/retry_strategy": "ALL_STEPS"}


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceProcessContext]:
    location = tmp_path_factory.mktemp("location") / "location.py"
    location.write_text(LOCATION)
    target = PythonFileTarget(str(location), attribute=None, working_directory=None, location_name="here")
    with (
        dg.instance_for_test(overrides=AT_ONCE) as instance,
        create_test_daemon_workspace_context(target, instance) as context,
    ):
        begin_again(context)  # the first look of all passes by what was before
        yield context


def begin_again(context: WorkspaceProcessContext) -> None:
    """Let the daemon look for runs that have failed, as it does every five seconds."""
    assert not any(EventLogConsumerDaemon().run_iteration(context))


def a_run_at_work(context: WorkspaceProcessContext) -> dg.DagsterRun:
    (repository,) = context.create_request_context().get_code_location("here").get_repositories().values()
    return create_run_for_test(
        context.instance,
        job_name="a_job",
        status=dg.DagsterRunStatus.STARTED,
        tags=TAGS,
        remote_job_origin=repository.get_full_job("a_job").get_remote_origin(),
    )


def a_forgotten_run(context: WorkspaceProcessContext, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterRun:
    """Return a run that failed while the daemon looked: its event was stored, its state was not."""
    run = a_run_at_work(context)
    storage = context.instance.run_storage
    store_state = storage.handle_run_event

    def look_and_store(*arguments: Any) -> None:
        begin_again(context)
        store_state(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "handle_run_event", look_and_store)
        context.instance.report_run_failed(run, "its process is gone")
    return run


def begun_again(context: WorkspaceProcessContext, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    return [one for one in context.instance.get_runs() if one.parent_run_id == run.run_id]


def later(while_: timedelta = WAITED_FOR) -> datetime:
    return datetime.now(UTC) + while_ + timedelta(seconds=10)


def test_a_run_that_dagster_forgot_to_begin_again_is_begun_again(
    at_work: WorkspaceProcessContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_forgotten_run(at_work, monkeypatch)
    begin_again(at_work)
    forgotten = at_work.instance.get_run_by_id(run.run_id)
    assert forgotten is not None
    assert forgotten.tags[WILL_RETRY_TAG] == "true"
    assert begun_again(at_work, run) == []

    asked = ask_again(at_work.instance, later())
    begin_again(at_work)

    assert asked == (run.run_id,)
    (again,) = begun_again(at_work, run)
    assert again.is_success


def test_it_is_asked_for_once_whatever_comes_of_it(
    at_work: WorkspaceProcessContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_forgotten_run(at_work, monkeypatch)

    assert ask_again(at_work.instance, later()) == (run.run_id,)
    assert ask_again(at_work.instance, later(2 * WAITED_FOR)) == ()


def test_one_that_was_begun_again_is_left_alone(at_work: WorkspaceProcessContext) -> None:
    run = a_run_at_work(at_work)
    at_work.instance.report_run_failed(run, "its process is gone")
    begin_again(at_work)
    assert len(begun_again(at_work, run)) == 1

    assert ask_again(at_work.instance, later()) == ()


def test_dagster_has_a_minute_and_what_is_old_is_left_alone(
    at_work: WorkspaceProcessContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_forgotten_run(at_work, monkeypatch)

    assert ask_again(at_work.instance, datetime.now(UTC)) == ()
    assert ask_again(at_work.instance, later(OLDEST)) == ()
