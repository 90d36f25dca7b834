from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.errors import Refused
from backup_assets.restore.automation import parse_time
from backup_assets_tests.restore.restoring import Erp, path_of, unique
from backup_assets_tests.restore.restoring import rows_of as rows_in

ROWS = {"accounting.entries": 100, "public.customers": 20, "public.invoices": 100}


def run_job(erp: Erp, **config: Any) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(erp.settings, datetime.now(UTC))
    return definitions.resolve_job_def("erp4_restore_job").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        run_config={"ops": {"erp4_restore": {"config": config}}},
        raise_on_error=False,
    )


def why_it_failed(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = (event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE)
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


@pytest.mark.parametrize("config", [{}, {"restore_confirm": 0}, {"restore_confirm": 2}])
def test_a_run_without_confirmation_fails_explains_and_changes_nothing(an_erp: Erp, config: dict[str, int]):
    an_erp.captured()
    an_erp.source.execute("DELETE FROM accounting.entries")
    before = an_erp.state()

    result = run_job(an_erp, **config)

    assert not result.success
    assert an_erp.state() == before
    assert "nothing was changed" in why_it_failed(result)
    assert f"would replace: database {an_erp.name}" in why_it_failed(result)
    assert "a restore needs restore_confirm: 1" in why_it_failed(result)
    assert "Open in Launchpad" in why_it_failed(result)


def test_a_confirmed_run_restores(an_erp: Erp):
    an_erp.captured()
    an_erp.source.execute("DELETE FROM accounting.entries")

    result = run_job(an_erp, restore_confirm=1)

    assert result.success
    assert an_erp.rows() == ROWS


def test_a_run_can_restore_a_chosen_set_into_another_database(an_erp: Erp):
    first = an_erp.captured().manifest
    an_erp.source.execute("DELETE FROM accounting.entries")
    an_erp.captured()
    into = unique("copy")

    result = run_job(an_erp, restore_confirm=1, backup_set=first.id, into=into)

    assert result.success
    assert rows_in(an_erp.cluster, into) == ROWS
    assert an_erp.rows() == {**ROWS, "accounting.entries": 0}


def test_a_run_restores_the_set_of_a_moment(an_erp: Erp):
    first = an_erp.captured().manifest
    an_erp.source.execute("DELETE FROM accounting.entries")
    an_erp.captured()

    result = run_job(an_erp, restore_confirm=1, at=first.snapshot.taken_at.isoformat())

    assert result.success
    assert an_erp.rows() == ROWS


def test_a_run_that_passes_over_a_newer_damaged_set_says_so(
    an_erp: Erp, capsys: pytest.CaptureFixture[str], tmp_path: Any
):
    an_erp.captured()
    newer = an_erp.captured().manifest
    path_of(an_erp.settings, newer, "dump").unlink()

    result = run_job(an_erp, restore_confirm=1)

    assert result.success
    assert f"the newer set {newer.id} is incomplete" in capsys.readouterr().err


def test_a_run_of_an_unknown_set_fails_with_the_next_step(an_erp: Erp):
    an_erp.captured()

    result = run_job(an_erp, restore_confirm=1, backup_set="2020-01-01")

    assert not result.success
    assert "there is no set '2020-01-01'" in why_it_failed(result)


def test_times_need_a_zone():
    assert parse_time(None) is None
    assert parse_time("2026-11-22T02:00+09:00") == datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
    with pytest.raises(Refused, match="has no zone"):
        parse_time("2026-11-22T02:00")
    with pytest.raises(Refused, match="is no time"):
        parse_time("yesterday")
