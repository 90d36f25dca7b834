"""The history in a real PostgreSQL, from the file that the kind `postgres` writes."""

from __future__ import annotations

import threading

import dagster as dg
import pytest
from dagster import DagsterEventType, EventLogEntry
from dagster._core.definitions.run_request import InstigatorType

from backup_assets_tests.instances.conftest import InstanceOf
from backup_assets_tests.instances.history import PASSWORD, History
from backup_assets_tests.instances.location import hello_job


def test_what_happens_in_a_run_is_written_and_read_back(instance_of: InstanceOf, a_history: History) -> None:
    instance = instance_of("postgres")

    ended = hello_job.execute_in_process(instance=instance)

    (run,) = instance.get_runs()
    assert (run.run_id, run.status) == (ended.run_id, dg.DagsterRunStatus.SUCCESS)
    kinds = [entry.dagster_event_type for entry in instance.all_logs(run.run_id) if entry.is_dagster_event]
    assert kinds[0] == DagsterEventType.RUN_START
    assert kinds[-1] == DagsterEventType.RUN_SUCCESS
    assert a_history.rows("event_logs") >= len(kinds)


def test_who_watches_a_run_is_told_of_what_another_process_writes(instance_of: InstanceOf) -> None:
    watching, writing = instance_of("postgres"), instance_of("postgres")
    run = writing.create_run_for_job(hello_job)
    told: list[EventLogEntry] = []
    arrived = threading.Event()

    def tell(entry: EventLogEntry, cursor: str) -> None:
        told.append(entry)
        arrived.set()

    watching.watch_event_logs(run.run_id, None, tell)
    writing.report_engine_event("something happened", run)

    assert arrived.wait(120)
    assert told[0].dagster_event is not None
    assert told[0].dagster_event.message == "something happened"
    watching.end_watch_event_logs(run.run_id, tell)


def test_the_settings_of_the_common_file_hold(instance_of: InstanceOf) -> None:
    instance = instance_of("postgres")
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 0
    assert instance.run_retries_max_retries == 1
    queue = instance.get_concurrency_config()
    assert queue.pool_config.default_pool_limit == 1
    assert str(queue.pool_config.pool_granularity) == "PoolGranularity.RUN"
    assert not instance.telemetry_enabled
    assert set(instance.get_tick_retention_settings(InstigatorType.SCHEDULE).values()) == {90}


def test_neither_the_shown_settings_nor_what_a_worker_gets_name_a_secret(
    instance_of: InstanceOf, monkeypatch: pytest.MonkeyPatch, a_history: History
) -> None:
    url = a_history.environment["DAGSTER_PG_URL"].replace("@/", f":{PASSWORD.replace(':', '%3A')}@/")
    a_history.password_file.write_text("")
    instance = instance_of("postgres", DAGSTER_PG_URL=url)
    secret = PASSWORD.partition(":")[2]
    assert secret not in (a_history.home / "dagster.yaml").read_text()
    assert secret not in instance.info_str()
    assert secret not in str(instance.get_ref().to_dict())
