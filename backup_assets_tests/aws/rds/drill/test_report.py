from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_assets.aws.rds.drill.comparing import TableRow
from backup_assets.aws.rds.drill.report import RdsDrilled, last_passed, report_of, store_report
from backup_assets.sets.place import Place
from backup_assets.sets.records import Problem
from backup_assets.settings import DatabaseSettings, Settings

STARTED = datetime(2026, 11, 1, 20, 30, tzinfo=UTC)
PLACE = Place("erp4", "production")
DRILLED = RdsDrilled(
    database="erp4",
    env="production",
    slot="2026-11",
    zone="Asia/Tokyo",
    what="the snapshot daily",
    region="ap-northeast-1",
    server="the instance backup-assets-drill-2026-11",
    shows=STARTED - timedelta(hours=3),
    started_at=STARTED,
    total_seconds=1500,
    rto_hours=4,
    within_rto=True,
    age_hours=3,
    stages={"restore": 1200, "read": 280, "source": 20},
    confirmed=("all 12 rows in 2 tables of the restored database can be read",),
    notes=("how new the restored data is was not compared",),
    tables=(TableRow("public.invoices", 500, 503, "not compared"), TableRow("public.new", None, 3, "not there")),
)


def settings_in(directory: Path) -> Settings:
    return Settings(env="production", backup_dir=directory, databases=(DatabaseSettings(name="erp4", database="erp4"),))


def test_the_report_answers_what_how_long_and_what_differs() -> None:
    report = report_of(DRILLED)
    assert report.startswith("# RDS restore drill of erp4 (production): PASSED\n")
    assert "which shows 2026-11-02 02:30:00 JST" in report
    assert "Time until the last comparison: 25 min; promised (RTO) 4 h: met." in report
    assert "| public.invoices | 500 | 503 | -3 | not compared |" in report
    assert "| public.new | — | 3 |  | not there |" in report
    assert "- Note: how new the restored data is was not compared" in report


def test_a_failure_names_what_to_do() -> None:
    problem = Problem(what="table public.customers is empty", expected="50 rows", found="0", remedy="take another")
    report = report_of(replace(DRILLED, problems=(problem,), within_rto=None))
    assert "FAILED" in report
    assert "**table public.customers is empty: 50 rows expected, 0 found**" in report
    assert "Action: take another" in report
    assert "unknown: the drill broke off" in report


def test_the_last_drill_that_passed_is_known_from_the_stored_reports(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "backups")
    assert last_passed(settings, PLACE) is None
    bad = Problem(what="it failed", remedy="mend it")
    for days, problems in ((0, ()), (30, ()), (60, (bad,))):
        begun = STARTED + timedelta(days=days)
        path = store_report(settings, PLACE, replace(DRILLED, started_at=begun, problems=problems))
        assert path.read_text().startswith("# RDS restore drill")
        assert path.stat().st_mode & 0o077 == 0
    (tmp_path / "backups/erp4/production/drills/20270101T000000Z-1234.md").write_text("a drill of the sets")
    assert last_passed(settings, PLACE) == STARTED + timedelta(days=30)
