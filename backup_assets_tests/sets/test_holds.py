from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backup_assets.errors import Refused
from backup_assets.sets.holds import hold_from


def test_a_day_begins_and_a_time_is_taken_as_it_is() -> None:
    day, moment = hold_from("audit", "2027-01-31"), hold_from("audit", "2027-01-31T18:00+09:00")
    assert day is not None
    assert moment is not None
    assert (day.until, moment.until) == (
        datetime(2027, 1, 31, tzinfo=UTC),
        datetime(2027, 1, 31, 9, 0, tzinfo=UTC),
    )


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(Refused, match="is no time"):
        hold_from("audit", "next year")
