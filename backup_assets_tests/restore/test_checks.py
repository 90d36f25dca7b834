from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from backup_assets.capture.request import Captured
from backup_assets.definitions import build_definitions
from backup_assets.errors import Refused
from backup_assets.restore.checks import sets_to_prove
from backup_assets.settings import Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.restore.restoring import Erp, flip_bit, path_of, reseal
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import capture as captured_now
from backup_assets_tests.sources import catalog_of

CHECK = dg.AssetCheckKey(dg.AssetKey(["erp4", "db_dump"]), "restored")
WEEKLY_CHECK = dg.AssetCheckKey(dg.AssetKey(["erp4", "important_tables"]), "restored")


def with_slots(erp: Erp, **fields: Any) -> Settings:
    schedule = ScheduleSettings(timezone=ZONE, since=TODAY - timedelta(days=21))
    return erp.source.settings(schedule=schedule, **fields)


def capture(settings: Settings, **request: Any) -> Captured:
    """Capture into the slot of today, whatever the date in UTC is."""
    return captured_now(settings, **{"slot": f"{TODAY}", **request})


def run_check(
    settings: Settings, slot: date, instance: dg.DagsterInstance, key: dg.AssetCheckKey = CHECK
) -> dg.ExecuteInProcessResult:
    """Run the check alone for one slot, as a backfill of it does."""
    definitions = build_definitions(settings, datetime.now(UTC))
    job = dg.define_asset_job("only_the_check", selection=dg.AssetSelection.checks(key))
    return (
        dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
        .resolve_job_def("only_the_check")
        .execute_in_process(instance=instance, tags={"dagster/partition": f"{slot}"}, raise_on_error=False)
    )


def evaluations(instance: dg.DagsterInstance, key: dg.AssetCheckKey = CHECK) -> list[dg.AssetCheckEvaluation]:
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    found = []
    for record in records:
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found.append(event.asset_check_evaluation_data)
    return found


def why_it_failed(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = (event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE)
    error = failure.step_failure_data.error
    assert error is not None
    return error.message


def test_a_slot_with_good_sets_passes_with_every_one_of_them_proven(an_erp: Erp):
    settings = with_slots(an_erp)
    first, second = capture(settings), capture(settings)
    instance = dg.DagsterInstance.ephemeral()

    result = run_check(settings, TODAY, instance)

    assert result.success
    (evaluation,) = evaluations(instance)
    assert evaluation.passed
    assert evaluation.partition == f"{TODAY}"
    assert evaluation.metadata["set_count"].value == 2
    assert evaluation.metadata["row_count"].value == 440
    for captured in (first, second):
        found = catalog_of(settings).find(captured.manifest.id)
        assert found is not None
        assert proof_of(found) is not None


def test_the_check_of_a_past_slot_proves_the_sets_that_were_taken_then(an_erp: Erp):
    settings = with_slots(an_erp)
    past = TODAY - timedelta(days=9)
    then = capture(settings, slot=f"{past}").manifest
    now = capture(settings).manifest

    result = run_check(settings, past, dg.DagsterInstance.ephemeral())

    assert result.success
    verified = {one.id for one in catalog_of(settings).sets() if proof_of(one)}
    assert verified == {then.id}
    assert now.id not in verified


def test_a_set_that_does_not_restore_makes_the_run_fail_with_the_evaluation_stored(an_erp: Erp):
    settings = with_slots(an_erp)
    good, bad = capture(settings).manifest, capture(settings).manifest

    def one_row_more(tree: dict[str, Any]) -> None:
        tree["fingerprints"]["tables"][0]["rows"] += 1

    reseal(settings, bad, one_row_more)
    instance = dg.DagsterInstance.ephemeral()

    result = run_check(settings, TODAY, instance)

    assert not result.success
    (evaluation,) = evaluations(instance)
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.description is not None
    assert "1 of 2 sets do not restore" in evaluation.description
    assert f"\n\n{bad.id}: rows of accounting.entries: 101 expected, 100 found" in evaluation.description
    assert "rows of accounting.entries" in why_it_failed(result)
    assert {one.id for one in catalog_of(settings).sets() if proof_of(one)} == {good.id}


def test_a_damaged_file_makes_the_run_fail_too(an_erp: Erp):
    settings = with_slots(an_erp)
    bad = capture(settings).manifest
    flip_bit(path_of(settings, bad, "dump"), 1000)
    instance = dg.DagsterInstance.ephemeral()

    result = run_check(settings, TODAY, instance)

    assert not result.success
    (evaluation,) = evaluations(instance)
    assert not evaluation.passed
    assert "SHA-256" in str(evaluation.description)


def test_a_slot_without_sets_fails_and_passes_nothing(an_erp: Erp):
    settings = with_slots(an_erp)
    capture(settings)
    instance = dg.DagsterInstance.ephemeral()

    result = run_check(settings, TODAY - timedelta(days=1), instance)

    assert not result.success
    assert evaluations(instance) == []
    assert "has no complete set to prove" in why_it_failed(result)


def test_a_slot_with_an_incomplete_set_only_fails(an_erp: Erp):
    settings = with_slots(an_erp)
    path_of(settings, capture(settings).manifest, "globals").unlink()

    result = run_check(settings, TODAY, dg.DagsterInstance.ephemeral())

    assert not result.success
    assert "1 incomplete ones are there" in why_it_failed(result)


def test_a_set_of_important_tables_is_proven_by_its_own_check(an_erp: Erp):
    settings = with_slots(an_erp, important_tables=("invoices",))
    sunday = TODAY - timedelta(days=(TODAY.weekday() + 1) % 7)
    weekly = capture(settings, slot=f"{sunday}", kind="important_tables").manifest
    instance = dg.DagsterInstance.ephemeral()

    result = run_check(settings, sunday, instance, WEEKLY_CHECK)

    assert result.success
    (evaluation,) = evaluations(instance, WEEKLY_CHECK)
    assert evaluation.metadata["row_count"].value == 100
    found = catalog_of(settings).find(weekly.id)
    assert found is not None
    assert proof_of(found) is not None


def test_in_the_run_that_captured_a_set_that_set_alone_is_proven(an_erp: Erp):
    settings = with_slots(an_erp)
    mine = capture(settings, run_id="11111111-aaaa-4000-8000-000000000000").manifest
    other = capture(settings, run_id="22222222-aaaa-4000-8000-000000000000").manifest
    database = settings.databases[0]

    of_mine = sets_to_prove(database, settings, f"{TODAY}", "11111111-aaaa-4000-8000-000000000000", "full")
    of_none = sets_to_prove(database, settings, f"{TODAY}", "33333333-aaaa-4000-8000-000000000000", "full")

    assert [one.id for one in of_mine] == [mine.id]
    assert {one.id for one in of_none} == {mine.id, other.id}
    with pytest.raises(Refused, match="has no complete set"):
        sets_to_prove(database, settings, f"{TODAY}", "33333333", "important_tables")
