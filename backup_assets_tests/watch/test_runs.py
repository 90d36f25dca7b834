from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from backup_assets.errors import EnvironmentFault
from backup_assets.faults import as_failure
from backup_assets.queueing import NO_OUTCOME
from backup_assets.watch.memory import Cursor
from backup_assets.watch.runs import DAMAGED_AFTER, FIRST_LOOK, RunsRead, databases_of, ended_runs
from backup_assets_tests.watch.stores_at_work import NOW

DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01", end_offset=1)
DATABASES = ("erp", "erp_test")


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def a_job(name: str = "erp", *, fails: str = "", passes: bool = True) -> dg.JobDefinition:
    spec = dg.AssetCheckSpec("restored", asset=dg.AssetKey([name, "db_dump"]), partitions_def=DAYS)

    @dg.asset(key=[name, "db_dump"], partitions_def=DAYS, check_specs=[spec])
    def db_dump() -> dg.MaterializeResult:
        with as_failure():
            if fails:
                raise EnvironmentFault("pg_dump failed", why=fails, remedy="start the server")
        text = "two rows differ" if not passes else "equal"
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=passes, description=text)])

    job = dg.define_asset_job(f"{name}_backup_job", selection=[db_dump])
    return dg.Definitions(assets=[db_dump], jobs=[job]).resolve_job_def(f"{name}_backup_job")


def run(job: dg.JobDefinition, instance: dg.DagsterInstance, day: str = "2026-11-22") -> str:
    return job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False).run_id


def read(instance: dg.DagsterInstance, cursor: Cursor | None = None, database: str = "erp") -> RunsRead:
    return ended_runs(instance, database, DATABASES, cursor or Cursor(), datetime.now(UTC))


def test_a_run_that_failed_brings_cause_and_remedy(an_instance: dg.DagsterInstance) -> None:
    run_id = run(a_job(fails="no route to host"), an_instance)

    (found,) = read(an_instance).runs

    assert (found.run_id, found.subject, found.partition) == (run_id, "erp_backup_job", "2026-11-22")
    assert (found.succeeded, found.cause) == (False, "pg_dump failed: no route to host")
    assert found.remedy == "start the server"


def test_a_run_over_its_limit_has_failed_however_dagster_calls_it(an_instance: dg.DagsterInstance) -> None:
    """The order of these events is that of a run under Dagster's run monitoring, whose process spoke last."""
    made = an_instance.create_run_for_job(a_job(), status=dg.DagsterRunStatus.STARTED)
    an_instance.report_run_canceling(made, message="Canceling due to exceeding maximum runtime of 5 seconds.")
    an_instance.report_run_failed(made, "Exceeded maximum runtime of 5 seconds.")
    an_instance.report_run_canceled(made)

    (found,) = read(an_instance).runs

    assert (found.run_id, found.succeeded) == (made.run_id, False)
    assert found.cause == "the run took longer than its limit and was ended"


def test_a_run_that_a_person_cancelled_has_not_failed(an_instance: dg.DagsterInstance) -> None:
    made = an_instance.create_run_for_job(a_job(), status=dg.DagsterRunStatus.STARTED)
    an_instance.report_run_canceling(made)
    an_instance.report_run_canceled(made)

    assert read(an_instance).runs == ()


def test_a_run_that_ends_without_an_outcome_says_nothing_unless_it_fails(an_instance: dg.DagsterInstance) -> None:
    run_id = run(a_job(), an_instance)
    an_instance.add_run_tags(run_id, {NO_OUTCOME: "true"})
    failed_id = run(a_job(fails="no route to host"), an_instance)
    an_instance.add_run_tags(failed_id, {NO_OUTCOME: "true"})

    assert [one.run_id for one in read(an_instance).runs] == [failed_id]


def test_a_check_that_failed_in_a_green_run_is_read(an_instance: dg.DagsterInstance) -> None:
    run(a_job(passes=False), an_instance)

    (found,) = read(an_instance).runs

    assert found.succeeded
    (check,) = found.checks
    assert (check.subject, check.partition, check.passed, check.text) == (
        "erp/db_dump restored",
        "2026-11-22",
        False,
        "two rows differ",
    )


def test_each_run_is_read_once_by_its_own_database(an_instance: dg.DagsterInstance) -> None:
    run(a_job("erp"), an_instance)
    run(a_job("erp_test"), an_instance)

    first = read(an_instance)
    assert [one.subject for one in first.runs] == ["erp_backup_job"]
    assert [one.subject for one in read(an_instance, database="erp_test").runs] == ["erp_test_backup_job"]
    assert read(an_instance, first.cursor).runs == ()
    late = run(a_job("erp"), an_instance, "2026-11-21")
    assert [one.run_id for one in read(an_instance, first.cursor).runs] == [late]


def test_a_tag_that_is_added_later_does_not_bring_a_run_back(an_instance: dg.DagsterInstance) -> None:
    run_id = run(a_job(fails="x"), an_instance)
    first = read(an_instance)

    an_instance.add_run_tags(run_id, {"note": "seen"})

    assert read(an_instance, first.cursor).runs == ()


def test_after_a_long_time_no_run_is_missed_and_each_look_reads_some(
    an_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_assets.watch.runs.MOST_RUNS", 2)
    cursor = read(an_instance).cursor
    made = [run(a_job(), an_instance, f"2026-11-{day}") for day in range(15, 20)]

    found: list[str] = []
    for _ in range(10):
        one = read(an_instance, cursor)
        assert len(one.runs) <= 2
        found += [each.run_id for each in one.runs]
        cursor = one.cursor
        if not one.more:
            break
    assert found == made


def test_a_clock_that_was_ahead_hides_no_failure_after_it(an_instance: dg.DagsterInstance) -> None:
    with freeze_time(datetime.now(UTC) + timedelta(hours=3)):
        early = run(a_job(), an_instance)
        ahead = read(an_instance)
    failed = run(a_job(fails="no route to host"), an_instance)

    found = read(an_instance, ahead.cursor)
    again = read(an_instance, found.cursor)
    later = run(a_job(fails="no route to host"), an_instance)

    assert [one.run_id for one in ahead.runs] == [early]
    assert [one.run_id for one in found.runs] == [failed]
    assert again.runs == ()
    assert [one.run_id for one in read(an_instance, again.cursor).runs] == [later]


def test_a_success_of_the_future_puts_nothing_right_that_failed_since(an_instance: dg.DagsterInstance) -> None:
    with freeze_time(datetime.now(UTC) + timedelta(hours=3)):
        run(a_job(), an_instance)
    run(a_job(fails="no route to host"), an_instance)

    found = read(an_instance)

    assert [one.succeeded for one in found.runs] == [True, False]
    assert found.cursor.updated_at is not None
    assert found.cursor.updated_at <= datetime.now(UTC)


def test_the_first_look_goes_back_a_day(an_instance: dg.DagsterInstance) -> None:
    run(a_job(), an_instance)
    tomorrow = datetime.now(UTC) + FIRST_LOOK + timedelta(hours=1)

    assert ended_runs(an_instance, "erp", DATABASES, Cursor(), tomorrow).runs == ()


def test_a_job_belongs_to_the_database_it_is_named_after() -> None:
    def of(job_name: str) -> frozenset[str]:
        return databases_of(dg.DagsterRun(job_name=job_name), DATABASES)

    assert of("erp_restore_job") == {"erp"}
    assert of("erp_test_restore_job") == {"erp_test"}
    assert of("somebody_elses_job") == frozenset()
    # `erp_backup` is a database here, and its own job would be `erp_backup_backup_job`.
    assert databases_of(dg.DagsterRun(job_name="erp_backup_job"), ("erp", "erp_backup")) == frozenset({"erp"})


def test_a_run_whose_events_are_damaged_has_failed_and_hides_none_after_it(an_instance: dg.DagsterInstance) -> None:
    damaged, later = run(a_job(), an_instance), run(a_job(fails="no route"), an_instance, "2026-11-23")
    (Path(an_instance.root_directory) / "history" / "runs" / f"{damaged}.db").write_bytes(b"no database")

    with pytest.raises(EnvironmentFault, match="runs of Dagster cannot be read"):
        read(an_instance)
    first, second = ended_runs(an_instance, "erp", DATABASES, Cursor(), datetime.now(UTC) + 2 * DAMAGED_AFTER).runs

    assert (first.run_id, first.succeeded, first.subject) == (damaged, False, "erp_backup_job")
    assert first.cause.startswith("what happened in it cannot be read: ")
    assert (second.run_id, second.cause) == (later, "pg_dump failed: no route")


def test_a_storage_that_cannot_be_read_is_one_clear_error() -> None:
    with dg.instance_for_test() as instance:
        run(a_job(), instance)
        (Path(instance.root_directory) / "history" / "runs.db").write_bytes(b"no database")
        with pytest.raises(EnvironmentFault, match="runs of Dagster cannot be read"):
            ended_runs(instance, "erp", DATABASES, Cursor(), NOW)
