"""A drill as Dagster sees it: schedule, waiting, sensor, materialized; and one that fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from backup_assets.aws.rds.automation import rds_definitions
from backup_assets.aws.rds.drill.assets import Months
from backup_assets.errors import Refused
from backup_assets.queueing import NO_OUTCOME
from backup_assets.restore.drill_assets import months_of
from backup_assets_tests.aws.conftest import INSTANCE
from backup_assets_tests.aws.rds.drilling import NAME, Drill
from backup_assets_tests.aws.rds.examples import SLOTS

ASSET = dg.AssetKey(["erp4", "rds_restore_drill"])
SENSOR = "erp4_rds_sensor"


@dataclass
class Operation:
    """Dagster at work for one database, at the time that it is, or hours ahead."""

    drill: Drill
    instance: dg.DagsterInstance
    ahead: timedelta = timedelta()
    definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        settings = self.drill.settings
        made = rds_definitions(settings.databases[0], settings, self.now(), running=True, clock=lambda: self.now())
        executor = dg.Definitions(executor=dg.in_process_executor, assets=[dg.AssetSpec(["erp4", "postgres"])])
        self.definitions = dg.Definitions.merge(made, executor)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @property
    def month(self) -> str:
        return months_of(SLOTS, self.drill.database).get_last_partition_key() or ""

    def run(self, tags: Any = None, month: str | None = None) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def("erp4_rds_drill_job")
        return job.execute_in_process(
            partition_key=month or self.month, tags=tags, instance=self.instance, raise_on_error=False
        )

    def poll(self) -> list[dg.RunRequest]:
        sensor = self.definitions.get_repository_def().get_sensor_def(SENSOR)
        context = dg.build_sensor_context(instance=self.instance, definitions=self.definitions, sensor_name=SENSOR)
        return [one for one in sensor.evaluate_tick(context).run_requests or [] if "drill" in (one.job_name or "")]

    def go_on(self) -> dg.ExecuteInProcessResult:
        """Run what the sensor asks for, tagged as Dagster tags such runs."""
        (request,) = self.poll()
        assert request.partition_key == self.month
        return self.run({**request.tags, "dagster/sensor_name": SENSOR})


def has_no_outcome(at_work: Operation, result: dg.ExecuteInProcessResult) -> bool:
    run = at_work.instance.get_run_by_id(result.run_id)
    assert run is not None
    return NO_OUTCOME in run.tags


@pytest.fixture
def at_work(a_drill: Drill) -> Iterator[Operation]:
    with dg.instance_for_test() as instance:
        yield Operation(a_drill, instance)


def test_a_drill_waits_for_rds_and_is_materialized_by_the_run_that_the_sensor_asks_for(at_work: Operation) -> None:
    at_work.drill.snapshot()
    first = at_work.run()
    assert first.success
    assert not first.get_asset_materialization_events()
    assert not first.get_asset_check_evaluations()
    assert has_no_outcome(at_work, first)
    name = next(name for name in at_work.drill.servers() if name.startswith("backup-assets-drill-"))

    at_work.drill.server_is("creating", name)
    assert at_work.poll() == []
    at_work.drill.server_is("available", name)
    second = at_work.go_on()

    assert second.success
    assert not has_no_outcome(at_work, second)
    (event,) = second.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["row_count"].value == 550
    assert metadata["problem_count"].value == 0
    assert metadata["restore_seconds"].value >= 0  # type: ignore[operator]
    assert "PASSED" in str(metadata["report"].value)
    (check,) = second.get_asset_check_evaluations()
    assert check.passed
    assert at_work.instance.get_materialized_partitions(ASSET) == {at_work.month}
    assert at_work.poll() == []
    assert at_work.drill.servers() == {INSTANCE}


def test_a_drill_that_fails_fails_its_run_and_its_check_and_is_not_materialized(at_work: Operation) -> None:
    at_work.drill.snapshot()
    at_work.drill.restored.execute("DROP TABLE customers")
    at_work.run()
    failed = at_work.go_on()
    assert not failed.success
    assert not failed.get_asset_materialization_events()
    (check,) = failed.get_asset_check_evaluations()
    assert not check.passed
    assert "the schema differs" in str(check.description)
    assert at_work.drill.servers() == {INSTANCE}


def test_a_drill_past_its_deadline_is_told_by_a_run_and_swept_when_no_run_does(at_work: Operation) -> None:
    at_work.drill.snapshot()
    at_work.run()
    name = next(name for name in at_work.drill.servers() if name.startswith("backup-assets-drill-"))
    at_work.drill.server_is("creating", name)
    at_work.ahead = timedelta(hours=3, minutes=1)
    (request,) = at_work.poll()
    assert request.run_key is not None
    assert request.run_key.endswith("/overdue")
    assert name in at_work.drill.servers()
    at_work.ahead = timedelta(hours=3, minutes=31)
    at_work.poll()
    assert at_work.drill.servers() == {INSTANCE}


def test_what_a_drill_left_is_swept_although_none_is_configured_any_more(at_work: Operation) -> None:
    at_work.drill.snapshot()
    at_work.run()
    assert len(at_work.drill.servers()) == 2
    settings = at_work.drill.settings
    without = settings.databases[0].model_copy(update={"rds": at_work.drill.rds.model_copy(update={"drill": None})})
    made = rds_definitions(without, settings, at_work.now(), running=True, clock=lambda: at_work.now())
    at_work.definitions = dg.Definitions.merge(made, dg.Definitions(assets=[dg.AssetSpec(["erp4", "postgres"])]))

    at_work.poll()
    assert len(at_work.drill.servers()) == 2
    at_work.ahead = timedelta(hours=3, minutes=31)
    at_work.poll()

    assert at_work.drill.servers() == {INSTANCE}


def test_a_run_of_the_sensor_whose_drill_is_over_does_nothing(at_work: Operation) -> None:
    at_work.drill.snapshot()
    done = at_work.run({"dagster/sensor_name": SENSOR})
    assert done.success
    assert not done.get_asset_materialization_events()
    assert has_no_outcome(at_work, done)
    assert at_work.drill.servers() == {INSTANCE}


def test_the_schedule_asks_for_the_month_of_its_tick(at_work: Operation) -> None:
    repository = at_work.definitions.get_repository_def()
    schedule = repository.get_schedule_def("erp4_rds_drill_schedule")
    assert schedule.cron_schedule == "30 5 2 * *"
    due = datetime(2026, 11, 30, 20, 30, tzinfo=UTC)  # December in Tokyo
    context = dg.build_schedule_context(
        instance=at_work.instance, scheduled_execution_time=due, repository_def=repository
    )
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.partition_key == "2026-12"


def test_only_months_that_exist_have_a_drill(a_drill: Drill) -> None:
    months = Months(months_of(SLOTS, a_drill.database))
    begin, end = months.window("2026-11")
    assert begin == datetime(2026, 10, 31, 15, tzinfo=UTC)
    assert end == datetime(2026, 11, 30, 15, tzinfo=UTC)
    with pytest.raises(Refused, match="there is no month '2026-10'"):
        months.window("2026-10")


def test_a_past_month_takes_a_snapshot_of_that_month_or_before(a_drill: Drill) -> None:
    a_drill.snapshot()
    with pytest.raises(Exception, match="that shows 2026-10-31 15:00 UTC or before"):
        a_drill.advance(before=datetime(2026, 10, 31, 15, tzinfo=UTC))
    assert NAME not in a_drill.servers()
