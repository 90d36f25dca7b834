"""What Dagster's own scheduler does after an outage, with the schedules of a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon import get_default_daemon_logger
from dagster._scheduler.scheduler import launch_scheduled_runs

from backup_assets_tests.cli.conftest import variables_of
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.offsite.test_assets import LOCATION, backfilling_instance
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, listed

SCHEDULE = "erp4_backup_schedule"
BEFORE_THE_OUTAGE = timedelta(days=4)


@pytest.fixture
def at_work(a_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceProcessContext]:
    """The scheduler with a database that is backed up at every midnight, which is far away at noon."""
    variables = {**variables_of(a_database), "BACKUP_TIMEZONE": ZONE, "BACKUP_TIME": "00:00"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    location = tmp_path / "location.py"
    location.write_text(LOCATION)
    target = PythonFileTarget(str(location), attribute=None, working_directory=None, location_name="backup_assets")
    with backfilling_instance() as instance, create_test_daemon_workspace_context(target, instance) as context:
        yield context


def last_at_work(context: WorkspaceProcessContext, moment: datetime) -> None:
    """Make the daemon believe that it looked at the schedule at ``moment`` for the last time."""
    location = context.create_request_context().get_code_location("backup_assets")
    (repository,) = location.get_repositories().values()
    schedule = repository.get_schedule(SCHEDULE)
    data = ScheduleInstigatorData(schedule.cron_schedule, start_timestamp=moment.timestamp())
    state = InstigatorState(
        schedule.get_remote_origin(), InstigatorType.SCHEDULE, InstigatorStatus.DECLARED_IN_CODE, data
    )
    context.instance.add_instigator_state(state)


def iterate(context: WorkspaceProcessContext) -> None:
    """Let the scheduler look once, as its daemon does again and again."""
    logger = get_default_daemon_logger("scheduler")
    errors = [error for error in launch_scheduled_runs(context, logger, datetime.now(UTC), {}) if error is not None]
    assert not [error for error in errors if type(error).__name__ == "SerializableErrorInfo"], errors


@pytest.mark.slow
def test_after_an_outage_the_current_slot_is_filled_once_and_no_other_is_tried(
    at_work: WorkspaceProcessContext, a_database: Source
) -> None:
    last_at_work(at_work, datetime.now(UTC) - BEFORE_THE_OUTAGE)

    iterate(at_work)
    iterate(at_work)

    (run,) = at_work.instance.get_runs()
    assert (run.job_name, run.status) == ("erp4_backup_job", dg.DagsterRunStatus.SUCCESS)
    (one,) = listed(a_database.settings())
    assert run.tags["dagster/partition"] == one.manifest.slot == f"{TODAY}"
    assert proof_of(one) is not None


@pytest.mark.slow
def test_a_daemon_that_was_never_away_starts_nothing_between_the_ticks(at_work: WorkspaceProcessContext) -> None:
    last_at_work(at_work, datetime.now(UTC))

    iterate(at_work)

    assert list(at_work.instance.get_runs()) == []
