from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backup_assets.errors import Refused
from backup_assets.sets.holds import hold_from

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_a_day_begins_and_a_time_is_taken_as_it_is() -> None:
    day = hold_from("audit", "2027-01-31", now=NOW)
    moment = hold_from("audit", "2027-01-31T18:00+09:00", now=NOW)
    assert day is not None
    assert moment is not None
    assert (day.until, moment.until) == (
        datetime(2027, 1, 31, tzinfo=UTC),
        datetime(2027, 1, 31, 9, 0, tzinfo=UTC),
    )


@pytest.mark.parametrize("until", ["2026-11-22", "2026-11-22T21:00+09:00", "2026-11-22T12:00Z"])
def test_a_hold_that_would_be_over_already_is_refused(until: str) -> None:
    with pytest.raises(Refused, match="over already") as caught:
        hold_from("audit", until, now=NOW)

    assert caught.value.why.startswith("it ends 2026-11-22T")
    assert hold_from("audit", "2026-11-22T12:00:01Z", now=NOW) is not None


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(Refused, match="is no time"):
        hold_from("audit", "next year")
