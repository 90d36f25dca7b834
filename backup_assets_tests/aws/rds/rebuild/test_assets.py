"""A rebuild as Dagster sees it: launched for a slot, waiting, gone on with by the sensor, materialized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from moto.rds.models import rds_backends

from backup_assets.aws.rds.automation import rds_definitions
from backup_assets.queueing import NO_OUTCOME
from backup_assets_tests.aws.conftest import ACCOUNT, INSTANCE, TOKYO
from backup_assets_tests.aws.rds.rebuild.conftest import Rebuild
from backup_assets_tests.sources import listed

ASSET = dg.AssetKey(["erp4", "rds_rebuild"])
SENSOR = "erp4_rds_sensor"


@dataclass
class Operation:
    """Dagster at work for one database."""

    rebuild: Rebuild
    instance: dg.DagsterInstance
    definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        settings = self.rebuild.settings
        made = rds_definitions(settings.databases[0], settings, datetime.now(UTC), running=True)
        live = [dg.AssetSpec(["erp4", "postgres"])]
        self.definitions = dg.Definitions.merge(made, dg.Definitions(executor=dg.in_process_executor, assets=live))

    def run(self, tags: Any = None) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def("erp4_rds_rebuild_job")
        return job.execute_in_process(
            partition_key=self.rebuild.slot, tags=tags, instance=self.instance, raise_on_error=False
        )

    def poll(self) -> list[dg.RunRequest]:
        sensor = self.definitions.get_repository_def().get_sensor_def(SENSOR)
        context = dg.build_sensor_context(instance=self.instance, definitions=self.definitions, sensor_name=SENSOR)
        return [one for one in sensor.evaluate_tick(context).run_requests or [] if "rebuild" in (one.job_name or "")]

    def has_no_outcome(self, result: dg.ExecuteInProcessResult) -> bool:
        run = self.instance.get_run_by_id(result.run_id)
        return run is not None and NO_OUTCOME in run.tags


@pytest.fixture
def at_work(a_rebuild: Rebuild) -> Iterator[Operation]:
    with dg.instance_for_test() as instance:
        yield Operation(a_rebuild, instance)


def test_a_rebuild_waits_for_rds_and_fills_its_slot_by_the_run_that_the_sensor_asks_for(at_work: Operation) -> None:
    rebuild = at_work.rebuild
    first = at_work.run()
    assert first.success
    assert at_work.has_no_outcome(first)
    assert not first.get_asset_materialization_events()
    server = rds_backends[ACCOUNT][TOKYO].databases[rebuild.name]
    server.status = "creating"
    assert at_work.poll() == []
    server.status = "available"
    (request,) = at_work.poll()
    assert request.partition_key == rebuild.slot

    second = at_work.run({**request.tags, "dagster/sensor_name": SENSOR})

    assert second.success
    (event,) = second.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    (made,) = listed(rebuild.settings)
    assert metadata["set_id"].value == made.id
    assert metadata["shows"].value == rebuild.due.timestamp()
    assert metadata["row_count"].value == 550
    assert "rebuilt after its slot was over" in str(metadata["warnings"].value)
    (check,) = second.get_asset_check_evaluations()
    assert check.passed
    assert at_work.instance.get_materialized_partitions(ASSET) == {rebuild.slot}
    (told,) = second.get_asset_observation_events()
    assert (told.asset_key, told.partition) == (dg.AssetKey(["erp4", "metadata"]), rebuild.slot)
    assert at_work.poll() == []
    assert rebuild.drill.servers() == {INSTANCE}


def test_a_slot_that_has_a_set_is_no_failure_of_a_backfill(at_work: Operation) -> None:
    assert at_work.rebuild.rebuilt().passed
    done = at_work.run()
    assert done.success
    assert at_work.has_no_outcome(done)
    assert len(listed(at_work.rebuild.settings)) == 1


def test_a_rebuild_that_fails_fails_its_run_and_its_check_and_leaves_the_slot_empty(at_work: Operation) -> None:
    at_work.rebuild.drill.restored.execute("INSERT INTO invoices VALUES (900, 1, now())")
    at_work.run()
    (request,) = at_work.poll()
    failed = at_work.run({**request.tags, "dagster/sensor_name": SENSOR})
    assert not failed.success
    assert not failed.get_asset_materialization_events()
    (check,) = failed.get_asset_check_evaluations()
    assert not check.passed
    assert "has rows that are newer than" in str(check.description)
    assert listed(at_work.rebuild.settings) == []
    assert at_work.rebuild.drill.servers() == {INSTANCE}


def test_without_its_settings_there_is_no_such_asset(at_work: Operation) -> None:
    settings = at_work.rebuild.drill.settings
    made = rds_definitions(settings.databases[0], settings, datetime.now(UTC), running=True)
    assert ASSET not in {key for one in made.assets or [] if isinstance(one, dg.AssetsDefinition) for key in one.keys}
