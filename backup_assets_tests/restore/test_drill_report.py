from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from backup_assets.restore.drill_report import Drilled, duration, report_of
from backup_assets.sets.records import Problem

GOOD = Drilled(
    database="erp4",
    env="production",
    store="osaka",
    where="the bucket erp4-osaka",
    reason="it is the farthest: a bucket that is copied from another one (nearer: tokyo, local)",
    zone="Asia/Tokyo",
    started_at=datetime(2026, 11, 30, 20, 0, 3, tzinfo=UTC),
    total_seconds=754.2,
    rto_hours=2.0,
    rpo_hours=6.0,
    within_rto=True,
    set_id="2026-12-01-20261130T170003Z-1a2b3c4d",
    taken_at=datetime(2026, 11, 30, 17, 0, 4, tzinfo=UTC),
    age_hours=3.0,
    server="a throw-away cluster of PostgreSQL 17",
    fetched_bytes=338_000_000,
    stages={"find": 0.4, "fetch": 31.0, "restore": 700.0, "application": 22.8},
    confirmed=("all 4 files have the size and SHA-256 of their manifest", "http://127.0.0.1:8080/health answered 200"),
)
GOLDEN = """\
# Restore drill of erp4 (production): PASSED

On 2026-12-01 05:00 JST a backup was fetched from `osaka`, restored on a separate server and compared with what the \
live system held when it was taken, and the application was tried on it. It took 12 min 34 s. If the live system were \
lost, it could be brought back from there.

| Question | Promised | Measured | Result |
|---|---|---|---|
| How long does it take to be back (RTO)? | 2 h | 12 min 34 s | met |
| How much work would be lost (RPO)? | 6 h | 3 h | met |

## What was tried

- Copy: `osaka`, the bucket erp4-osaka. Chosen because it is the farthest: a bucket that is copied from another one \
(nearer: tokyo, local).
- Backup: `2026-12-01-20261130T170003Z-1a2b3c4d`, which shows 2026-12-01 02:00 JST.
- Size in the store: 338 MB.
- Restored on a throw-away cluster of PostgreSQL 17, never on the live server.

## What was found right

- all 4 files have the size and SHA-256 of their manifest
- http://127.0.0.1:8080/health answered 200

## Times

| Step | Time |
|---|---:|
| Find the backup | 0.4 s |
| Fetch and decrypt it, compare every checksum | 31 s |
| Restore the database | 11 min 40 s |
| Start the application and ask it | 23 s |
| **All together, from the first step to the last** | **12 min 34 s** |

## What to do next

- Nothing has to be done. Keep this report with those of the other months.
"""


def failed(*problems: Problem, **fields: Any) -> str:
    return report_of(replace(GOOD, **{"problems": problems, "within_rto": None, **fields}))


def test_a_report_of_a_drill_that_passed_reads_like_this():
    assert report_of(GOOD) == GOLDEN


def test_a_failure_tells_what_happened_why_and_what_to_do():
    text = failed(Problem(what="the application ended", found="line one\n# line two", remedy="start it by hand"))
    assert text.startswith("# Restore drill of erp4 (production): FAILED\n")
    assert "**It did not succeed:** one problem was found, the first of them: the application ended." in text
    assert "1. **the application ended**\n\n   Cause:\n\n       line one\n       # line two\n\n" in text
    assert "   Action: start it by hand\n" in text
    assert "| 2 h | broke off after 12 min 34 s | **unknown** |" in text
    assert "repeat the drill until one passes" in text
    assert "Nothing has to be done" not in text


def test_a_difference_tells_what_was_expected_and_found():
    text = failed(
        Problem(what="rows of invoices", expected="100", found="99", remedy="x"), Problem(what="y", remedy="z")
    )
    assert "2 problems were found" in text
    assert "   Expected: 100\n\n   Found:\n\n       99\n" in text


def test_too_slow_and_too_old_are_told_in_the_table():
    text = failed(Problem(what="too slow", remedy="x"), within_rto=False, age_hours=30.5)
    assert "| 2 h | 12 min 34 s | **NOT MET** |" in text
    assert "| 6 h | 30 h 30 min | **exceeded** |" in text
    assert "older than promised" in text


def test_without_a_set_there_is_still_a_report():
    nothing = failed(Problem(what="the folder /mnt/usb does not exist", remedy="mount it"), set_id=None, age_hours=None)
    assert "- Backup: none could be chosen." in nothing
    assert "| no backup | **unknown** |" in nothing


def test_a_drill_that_did_not_try_the_application_says_so():
    text = report_of(replace(GOOD, stages={"restore": 1.0}))
    assert "application was tried" not in text
    assert "The application itself was not tried" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"),
     (3599.6, "1 h"), (3600, "1 h"), (4320, "1 h 12 min"), (86400, "24 h"), (59.96, "1 min")],
)  # fmt: skip
def test_times_are_told_in_their_largest_units(seconds: float, text: str):
    assert duration(seconds) == text
