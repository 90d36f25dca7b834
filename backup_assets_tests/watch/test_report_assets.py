from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg

from backup_assets.slots import Slots
from backup_assets.watch.report_assets import report_definitions
from backup_assets_tests.watch.months import FIRST, MONTH, Place, an_october

KEY = dg.AssetKey(["erp4", "monthly_report"])
TOKYO = ZoneInfo("Asia/Tokyo")


def definitions_of(place: Place, since: date = FIRST, *, running: bool = True) -> dg.Definitions:
    return report_definitions(place.database, place.settings, Slots(place.database.schedule, since), running=running)


def asked(place: Place, now: datetime, since: date = FIRST) -> dg.RunRequest | dg.SkipReason:
    repository = definitions_of(place, since).get_repository_def()
    schedule = repository.get_schedule_def("erp4_report_schedule")
    context = dg.build_schedule_context(scheduled_execution_time=now, repository_def=repository)
    data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else dg.SkipReason(data.skip_message)


def test_a_past_month_is_made_with_a_link_and_figures_that_plot(tmp_path: Path):
    place = an_october(tmp_path)
    job = definitions_of(place).resolve_job_def("erp4_report_job")

    result = job.execute_in_process(partition_key=MONTH, instance=dg.DagsterInstance.ephemeral())

    (event,) = result.asset_materializations_for_node("erp4__monthly_report")
    figures = {name: value.value for name, value in event.metadata.items()}
    path = Path(str(figures["report_path"]))
    assert path.name == "2026-10.en.html"
    assert figures["report"] == path.as_uri()
    assert path.is_file()
    assert (figures["slot_count"], figures["verified_count"], figures["missed_count"]) == (31, 31, 0)
    assert (figures["rpo_hours"], figures["drill_count"]) == (24.0, 1)
    assert event.partition == MONTH


def test_the_first_of_a_month_asks_for_the_month_before(tmp_path: Path):
    place = an_october(tmp_path)

    request = asked(place, datetime(2026, 11, 1, 8, 0, tzinfo=TOKYO))

    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == MONTH


def test_a_month_before_the_first_slot_is_not_asked_for(tmp_path: Path):
    place = an_october(tmp_path)

    skipped = asked(place, datetime(2026, 11, 1, 8, 0, tzinfo=TOKYO), since=date(2026, 11, 1))

    assert isinstance(skipped, dg.SkipReason)
    assert "2026-10" in str(skipped.skip_message)


def test_in_the_demo_the_schedule_is_off(tmp_path: Path):
    place = an_october(tmp_path)

    first = {
        running: definitions_of(place, running=running)
        .get_repository_def()
        .get_schedule_def("erp4_report_schedule")
        .default_status
        for running in (True, False)
    }

    assert first == {True: dg.DefaultScheduleStatus.RUNNING, False: dg.DefaultScheduleStatus.STOPPED}
