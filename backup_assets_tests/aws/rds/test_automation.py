"""A day of snapshots as Dagster sees it: schedule, waiting, sensor, materialized, copied."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_assets.aws.rds.automation import Polled, build_polling_sensor, rds_definitions
from backup_assets.aws.rds.work import Pending
from backup_assets.definitions import build_definitions
from backup_assets.errors import EnvironmentFault
from backup_assets.queueing import NO_OUTCOME
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets_tests.aws.conftest import INSTANCE, OSAKA, PretendedAws
from backup_assets_tests.aws.rds.examples import AT_0230, DAY, NAME, SLOTS, copies_of, database_of, rds_of, settings_of

HOUR = timedelta(hours=1)
SNAPSHOT = dg.AssetKey(["erp4", "rds_snapshot"])
COPY = dg.AssetKey(["erp4", "rds_snapshot_copy"])
AUTOMATED = dg.AssetKey(["erp4", "rds_automated_backups"])


@dataclass
class Operation:
    """Dagster at work for one database on RDS, at whatever time it is."""

    aws: PretendedAws
    settings: Settings
    instance: dg.DagsterInstance
    now: datetime = AT_0230
    definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        made = rds_definitions(self.database, self.settings, AT_0230, running=True, clock=lambda: self.now)
        spec = dg.AssetSpec(["erp4", "postgres"])
        executor = dg.Definitions(executor=dg.in_process_executor, assets=[spec])
        self.definitions = dg.Definitions.merge(made, executor)

    @property
    def database(self) -> DatabaseSettings:
        return self.settings.databases[0]

    def tick(self) -> list[dg.RunRequest]:
        """Return what the schedule of the snapshots asks for now."""
        repository = self.definitions.get_repository_def()
        schedule = repository.get_schedule_def("erp4_rds_snapshot_schedule")
        context = dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=self.now, repository_def=repository
        )
        return list(schedule.evaluate_tick(context).run_requests or [])

    def poll(self) -> list[dg.RunRequest]:
        """Return what the sensor asks for now."""
        sensor = self.definitions.get_repository_def().get_sensor_def("erp4_rds_sensor")
        context = dg.build_sensor_context(
            instance=self.instance, definitions=self.definitions, sensor_name="erp4_rds_sensor"
        )
        return list(sensor.evaluate_tick(context).run_requests or [])

    def look(self) -> dg.RunRequest | None:
        """Return what the sensor asks for now that examines the protection."""
        sensor = self.definitions.get_repository_def().get_sensor_def("erp4_rds_watch_sensor")
        context = dg.build_sensor_context(
            instance=self.instance, definitions=self.definitions, sensor_name="erp4_rds_watch_sensor"
        )
        return next(iter(sensor.evaluate_tick(context).run_requests or []), None)

    def launch(self, request: dg.RunRequest, job: str | None = None) -> dg.ExecuteInProcessResult:
        """Run what was asked for."""
        name = job or request.job_name
        assert name is not None
        return self.definitions.resolve_job_def(name).execute_in_process(
            partition_key=request.partition_key, tags=request.tags, instance=self.instance, raise_on_error=False
        )

    def run(self, job: str, tags: Mapping[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Run a job that has no partitions."""
        made = self.definitions.resolve_job_def(job)
        return made.execute_in_process(tags=dict(tags or {}), instance=self.instance, raise_on_error=False)

    def materialized(self, key: dg.AssetKey) -> set[str]:
        """Return the slots of an asset that Dagster shows as materialized."""
        return self.instance.get_materialized_partitions(key)


@pytest.fixture
def operation(aws: PretendedAws, an_instance: dict[str, Any], tmp_path: Path) -> Iterator[Operation]:
    database = database_of(rds_of(aws, copies=copies_of(aws)))
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Operation(aws, settings_of(aws, database, tmp_path / "backups"), instance)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [one for one in result.all_events if one.is_step_failure]
    description = event.step_failure_data.user_failure_data
    assert description is not None
    return str(description.description)


def figures_of(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = [one for one in result.get_asset_materialization_events() if one.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_day_from_the_schedule_to_the_copy(operation: Operation, slow_snapshots: None):
    (due,) = operation.tick()
    begun = operation.launch(due, "erp4_rds_snapshot_job")

    assert due.partition_key == DAY
    assert begun.success
    assert has_no_outcome(operation, begun)
    assert operation.materialized(SNAPSHOT) == set()
    assert operation.poll() == []

    operation.now = AT_0230 + HOUR
    operation.aws.snapshots_are("available")
    (snapshot_is_over,) = operation.poll()
    told = operation.launch(snapshot_is_over)

    assert (snapshot_is_over.job_name, snapshot_is_over.partition_key) == ("erp4_rds_snapshot_job", DAY)
    assert told.success
    assert not has_no_outcome(operation, told)
    assert operation.materialized(SNAPSHOT) == {DAY}
    assert operation.materialized(COPY) == set()
    assert operation.poll() == []

    assert has_no_outcome(operation, operation.launch(snapshot_is_over, "erp4_rds_copy_job"))

    operation.now = AT_0230 + 2 * HOUR
    operation.aws.snapshots_are("available", OSAKA)
    (copy_is_over,) = operation.poll()
    copied = operation.launch(copy_is_over)

    assert (copy_is_over.job_name, copy_is_over.partition_key) == ("erp4_rds_copy_job", DAY)
    assert copied.success
    assert operation.materialized(COPY) == {DAY}
    assert operation.poll() == []

    assert figures_of(told, SNAPSHOT)["duration_seconds"] == 3600
    of_copy = figures_of(copied, COPY)
    assert of_copy["dagster/uri"] == f"arn:aws:rds:{OSAKA}:123456789012:snapshot:{NAME}"
    assert (of_copy["region"], of_copy["kms_key_id"]) == (OSAKA, operation.aws.osaka_key)
    assert of_copy["allocated_bytes"] == 20 << 30
    assert of_copy["duration_seconds"] == 3600


def has_no_outcome(operation: Operation, result: dg.ExecuteInProcessResult) -> bool:
    run = operation.instance.get_run_by_id(result.run_id)
    assert run is not None
    return NO_OUTCOME in run.tags


def test_one_run_is_enough_where_aws_is_quick(operation: Operation):
    (due,) = operation.tick()

    assert operation.launch(due, "erp4_rds_snapshot_job").success

    assert operation.materialized(SNAPSHOT) == operation.materialized(COPY) == {DAY}
    assert operation.poll() == []


def test_a_snapshot_that_failed_fails_a_run_and_the_next_begins_again(operation: Operation, slow_snapshots: None):
    (due,) = operation.tick()
    operation.launch(due, "erp4_rds_snapshot_job")
    operation.aws.snapshots_are("failed")

    (over,) = operation.poll()
    told = operation.launch(over)

    assert not told.success
    assert f"the snapshot {NAME} in ap-northeast-1 failed" in failure_of(told)
    assert operation.poll() == []
    assert operation.launch(due, "erp4_rds_snapshot_job").success
    operation.aws.snapshots_are("available")
    (again,) = operation.poll()
    assert operation.launch(again).success
    assert operation.materialized(SNAPSHOT) == {DAY}


def test_a_snapshot_that_takes_too_long_fails_a_run(operation: Operation, slow_snapshots: None):
    (due,) = operation.tick()
    operation.launch(due, "erp4_rds_snapshot_job")
    operation.now = AT_0230 + 6 * HOUR

    (overdue,) = operation.poll()
    told = operation.launch(overdue)

    assert not told.success
    assert "longer than it may" in failure_of(told)


def test_a_past_slot_is_never_filled(operation: Operation):
    operation.now = AT_0230 + 24 * HOUR

    refused = operation.launch(dg.RunRequest(partition_key=DAY), "erp4_rds_snapshot_job")

    assert not refused.success
    assert "a past slot is never filled with today's data" in failure_of(refused)
    assert operation.materialized(SNAPSHOT) == set()


def test_copies_of_past_slots_can_be_made(operation: Operation):
    (due,) = operation.tick()
    operation.launch(due, "erp4_rds_snapshot_job")
    operation.aws.access(OSAKA).client("rds").delete_db_snapshot(DBSnapshotIdentifier=NAME)
    operation.now = AT_0230 + 10 * 24 * HOUR

    assert operation.launch(dg.RunRequest(partition_key=DAY), "erp4_rds_copy_job").success

    found = operation.aws.client("rds", OSAKA).describe_db_snapshots(DBSnapshotIdentifier=NAME)
    assert found["DBSnapshots"][0]["Status"] == "available"


def test_the_automated_backups_are_shown_in_numbers(operation: Operation):
    begun = datetime.now(UTC)
    operation.now = begun + timedelta(minutes=5)

    shown = operation.run("erp4_rds_watch_job")

    ended = datetime.now(UTC)
    assert shown.success
    figures = figures_of(shown, AUTOMATED)
    assert figures["retention_days"] == 14
    # moto can restore the moment at which it is asked; how exact its answer is is its own matter.
    latest = datetime.fromtimestamp(figures["latest_restorable"], UTC)
    assert begun - timedelta(seconds=1) <= latest <= ended
    assert figures["rpo_minutes"] == pytest.approx((operation.now - latest) / timedelta(minutes=1), abs=0.1)
    assert figures["deletion_protection"] is True


def test_a_source_that_is_gone_fails_the_look(operation: Operation):
    rds = operation.aws.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, DeletionProtection=False)
    rds.delete_db_instance(DBInstanceIdentifier=INSTANCE, SkipFinalSnapshot=True)

    looked = operation.run("erp4_rds_watch_job")

    assert not looked.success
    assert "could not look at the instance erp4-prod in ap-northeast-1: it does not exist" in failure_of(looked)


def test_an_unreachable_region_does_not_keep_the_others(operation: Operation):
    def unreachable(now: datetime) -> list[Pending]:
        raise EnvironmentFault("Osaka does not answer")

    def answering(now: datetime) -> list[Pending]:
        return [Pending(DAY, "key", "something is over"), Pending("1999-01-01", "other", "of no slot")]

    job = next(one for one in operation.definitions.jobs or [] if one.name == "erp4_rds_copy_job")
    assert not isinstance(job, dg.JobDefinition)
    context = dg.build_sensor_context(instance=operation.instance, definitions=operation.definitions)

    def asked(*looks: Any) -> list[dg.RunRequest]:
        polled = [Polled(job, look, SLOTS) for look in looks]  # type: ignore[arg-type]
        sensor = build_polling_sensor(operation.database, polled, running=True)
        return list(sensor.evaluate_tick(context).run_requests or [])

    assert [one.run_key for one in asked(unreachable, answering)] == ["key"]
    with pytest.raises(dg.Failure, match="Osaka does not answer"):
        asked(unreachable)


def test_a_copy_that_could_not_be_begun_is_tried_again_by_the_job_of_the_snapshot(operation: Operation):
    (due,) = operation.tick()
    operation.launch(due, "erp4_rds_snapshot_job")
    operation.aws.client("rds", OSAKA).delete_db_snapshot(DBSnapshotIdentifier=NAME)
    operation.now = AT_0230 + timedelta(minutes=11)

    (again,) = operation.poll()

    assert (again.job_name, again.partition_key) == ("erp4_rds_snapshot_job", DAY)
    assert operation.launch(again).success
    assert operation.aws.access(OSAKA).client("rds").describe_db_snapshots()["DBSnapshots"]
    assert operation.poll() == []


def test_a_database_that_is_not_on_rds_gets_nothing(aws: PretendedAws, tmp_path: Path):
    database = DatabaseSettings(name="erp4", database="erp4")

    made = rds_definitions(database, settings_of(aws, database, tmp_path), AT_0230, running=True)

    assert not (made.assets or made.jobs or made.schedules or made.sensors)


def test_the_code_location_shows_snapshots_beside_the_sets(aws: PretendedAws, tmp_path: Path):
    definitions = build_definitions(settings_of(aws, database_of(rds_of(aws)), tmp_path), AT_0230)

    graph = definitions.resolve_asset_graph()

    postgres = dg.AssetKey(["erp4", "postgres"])
    assert graph.get(AUTOMATED).parent_keys == graph.get(SNAPSHOT).parent_keys == {postgres}
    assert graph.get(COPY).parent_keys == {SNAPSHOT}
    assert dg.AssetKey(["erp4", "metadata"]) in graph.get_all_asset_keys()


def test_loading_the_definitions_asks_and_imports_nothing_of_aws(tmp_path: Path):
    program = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from backup_assets.aws.rds.automation import rds_definitions
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsCopySettings, RdsSettings
database = DatabaseSettings(name="erp4", database="erp4", rds=RdsSettings(instance="x", copies=RdsCopySettings()))
settings = Settings(backup_dir=Path({str(tmp_path)!r}), databases=(database,))
assert rds_definitions(database, settings, datetime.now(UTC), running=True).assets
assert not [name for name in sys.modules if name in ("boto3", "botocore")]
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
