from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from backup_assets.errors import Refused
from backup_assets.sets.holds import hold_from

TOKYO = ZoneInfo("Asia/Tokyo")
NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("until", "zone", "end"),
    [
        ("2027-01-31", TOKYO, datetime(2027, 1, 31, 15, tzinfo=UTC)),
        ("2027-01-31", NEW_YORK, datetime(2027, 2, 1, 5, tzinfo=UTC)),
        ("2027-01-31T18:00", TOKYO, datetime(2027, 1, 31, 9, tzinfo=UTC)),
        ("2027-01-31T18:00Z", TOKYO, datetime(2027, 1, 31, 18, tzinfo=UTC)),
    ],
)
def test_a_day_holds_to_its_end_and_what_has_no_zone_is_of_the_schedule(
    until: str, zone: ZoneInfo, end: datetime
) -> None:
    hold = hold_from("audit", until, zone, now=NOW)

    assert hold is not None
    assert hold.until == end


def test_a_hold_until_today_is_in_force_today() -> None:
    hold = hold_from("audit", "2026-11-22", TOKYO, now=NOW)

    assert hold is not None
    assert hold.until == datetime(2026, 11, 22, 15, tzinfo=UTC)


@pytest.mark.parametrize("until", ["2026-11-21", "2026-11-22T21:00", "2026-11-22T21:00+09:00", "2026-11-22T12:00Z"])
def test_a_hold_that_would_be_over_already_is_refused(until: str) -> None:
    with pytest.raises(Refused, match="over already") as caught:
        hold_from("audit", until, TOKYO, now=NOW)

    assert caught.value.why.startswith("it ends 2026-11-2")


def test_without_an_end_it_holds_until_it_is_released() -> None:
    hold = hold_from("audit", None, TOKYO)

    assert hold is not None
    assert hold.until is None


def test_an_end_needs_a_reason() -> None:
    assert hold_from(None, None, TOKYO) is None
    with pytest.raises(Refused, match="a hold needs a reason"):
        hold_from(None, "2027-01-31", TOKYO)


@pytest.mark.parametrize("until", ["next year", "2026-02-30", "9999-12-31", ""])
def test_what_is_no_time_is_refused(until: str) -> None:
    with pytest.raises(Refused, match="is no time"):
        hold_from("audit", until, NEW_YORK)
