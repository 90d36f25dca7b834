from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from backup_assets.aws.rds.tagging import DRILL, STARTED, drill_of, drill_text, is_ours, moment_of, tags_of

AT = datetime(2026, 11, 22, 2, 30, tzinfo=timezone(timedelta(hours=9)))


def test_what_we_make_is_ours_in_its_role_alone():
    tags = tags_of("erp4", "production", "2026-11-22", "snapshot", AT)

    assert is_ours(tags, "erp4", "production", "snapshot")
    assert is_ours(tags, "erp4", "production", "copy", "snapshot")
    assert not is_ours(tags, "erp4", "production", "copy")
    assert not is_ours(tags, "erp5", "production", "snapshot")
    assert not is_ours(tags, "erp4", "staging", "snapshot")
    assert not is_ours({}, "erp4", "production", "snapshot")


def test_moments_are_written_in_utc():
    assert tags_of("erp4", "production", "2026-11-22", "copy", AT)["backup-assets:started"] == "2026-11-21T17:30:00Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-31T12:00:00Z", datetime(2026, 12, 31, 12, tzinfo=UTC)),
        ("2026-12-31T12:00:00", datetime(2026, 12, 31, 12, tzinfo=UTC)),
        ("2026-12-31T12:00:00+09:00", datetime(2026, 12, 31, 3, tzinfo=UTC)),
        ("end of the year", None),
        ("", None),
    ],
)
def test_a_moment_is_read_with_and_without_its_zone(text: str, moment: datetime | None):
    assert moment_of({STARTED: text}, STARTED) == moment


def test_a_drill_is_written_and_read():
    assert drill_of({DRILL: drill_text(passed=True, at=AT)}) == (True, AT)
    assert drill_of({DRILL: drill_text(passed=False, at=AT)}) == (False, AT)


@pytest.mark.parametrize("text", ["", "passed", "passed yesterday", "maybe 2026-11-22T00:00:00Z", "passed 2026-11-22"])
def test_what_we_did_not_write_says_nothing_of_a_drill(text: str):
    assert drill_of({DRILL: text}) is None
