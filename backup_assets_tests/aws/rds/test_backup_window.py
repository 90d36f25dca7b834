from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backup_assets.aws.rds.backup_window import BackupWindow, backup_window, window_findings
from backup_assets.findings import Finding
from backup_assets.settings_aws import RdsSettings
from backup_assets_tests.aws.rds.test_protection import SOURCE

#: Of a year whose changes of clocks are history.
NOW = datetime(2023, 11, 22, 12, 0, tzinfo=UTC)
TOKYO, BERLIN, NEW_YORK, KATHMANDU = "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"


def looked(window: str | None, at: str, zone: str = TOKYO, now: datetime = NOW) -> BackupWindow | None:
    source = replace(SOURCE, raw={} if window is None else {"PreferredBackupWindow": window})
    return backup_window(source, RdsSettings(instance="erp4-prod", snapshot_at=at), zone, now)


def found(window: str, at: str, zone: str = TOKYO, kind: str = "instance") -> Finding:
    source = replace(SOURCE, kind=kind, raw={"PreferredBackupWindow": window})
    (only,) = window_findings(source, RdsSettings(instance="erp4-prod", snapshot_at=at), zone, NOW)
    return only


def covers(window: str, at: str, zone: str = TOKYO, now: datetime = NOW) -> bool:
    known = looked(window, at, zone, now)
    assert known is not None
    return known.covers_snapshot


@pytest.mark.parametrize(
    ("at", "covered"), [("02:15", False), ("02:16", True), ("02:30", True), ("02:46", True), ("02:47", False)]
)
def test_a_snapshot_in_the_window_is_covered_to_its_last_minute(at: str, covered: bool) -> None:
    assert covers("17:16-17:46", at) == covered


@pytest.mark.parametrize(
    ("window", "at", "zone"),
    [
        # The window passes midnight in UTC, and so does the snapshot in its zone.
        ("23:45-00:15", "08:50", TOKYO),
        ("23:45-00:15", "09:10", TOKYO),
        ("14:45-15:15", "23:50", TOKYO),
        ("14:45-15:15", "00:10", TOKYO),
        ("20:30-21:00", "02:30", KATHMANDU),
    ],
)
def test_midnight_and_odd_zones_are_minded(window: str, at: str, zone: str) -> None:
    assert covers(window, at, zone)


@pytest.mark.parametrize("at", ["08:44", "09:16", "20:50", "21:10"])
def test_what_is_not_in_a_window_over_midnight_is_not_covered(at: str) -> None:
    assert not covers("23:45-00:15", at)


@pytest.mark.parametrize("now", [datetime(2023, month, 15, 12, 0, tzinfo=UTC) for month in (1, 4, 7, 11)])
@pytest.mark.parametrize(
    ("window", "zone", "shown"),
    [
        ("01:20-01:50", BERLIN, "01:20-01:50 UTC (02:20-02:50 at UTC+01:00 in Europe/Berlin)"),
        ("00:20-00:50", BERLIN, "00:20-00:50 UTC (02:20-02:50 at UTC+02:00 in Europe/Berlin)"),
        ("06:20-06:50", NEW_YORK, "06:20-06:50 UTC (02:20-02:50 at UTC-04:00 in America/New_York)"),
        (
            "00:20-01:50",
            BERLIN,
            "00:20-01:50 UTC (01:20-02:50 at UTC+01:00 and 02:20-03:50 at UTC+02:00 in Europe/Berlin)",
        ),
    ],
)
def test_a_window_that_covers_it_in_winter_or_in_summer_alone_is_told_at_any_time_of_the_year(
    now: datetime, window: str, zone: str, shown: str
) -> None:
    assert looked(window, "02:30", zone, now) == BackupWindow(shown, f"02:30 in {zone}", covers_snapshot=True)


def test_a_window_that_covers_it_neither_in_winter_nor_in_summer_is_none_to_mind() -> None:
    assert not covers("02:20-02:50", "02:30", BERLIN)


def test_the_warning_names_window_moment_and_remedy() -> None:
    warning = found("17:16-17:46", "02:30")
    assert warning.state == "warn"
    assert "window of erp4-prod, 17:16-17:46 UTC (02:16-02:46 in Asia/Tokyo), covers" in warning.found
    assert "`rds.snapshot_at`, 02:30 in Asia/Tokyo" in warning.found
    assert "move `rds.snapshot_at`" in warning.remedy
    assert "aws rds modify-db-instance --db-instance-identifier erp4-prod --preferred-backup-window" in warning.remedy
    assert "aws rds modify-db-cluster --db-cluster-identifier" in found("17:16-17:46", "02:30", kind="cluster").remedy


def test_a_window_elsewhere_is_shown_and_well() -> None:
    assert found("13:14-13:44", "02:30") == Finding(
        "backup window", "ok", "13:14-13:44 UTC (22:14-22:44 in Asia/Tokyo); the snapshot is due at 02:30 in Asia/Tokyo"
    )


@pytest.mark.parametrize("window", [None, "", "sun:18:00-sun:18:30"])
def test_nothing_is_said_where_rds_names_no_window(window: str | None) -> None:
    assert looked(window, "02:30") is None
