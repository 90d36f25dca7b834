from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backup_assets.aws.rds.work import Waiting, waiting_for
from backup_assets.errors import EnvironmentFault

SINCE = datetime(2026, 11, 22, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_what_is_waited_for_says_since_when_and_until_when():
    waiting = waiting_for("the snapshot x is creating", SINCE, 6, SINCE + HOUR)

    assert str(waiting) == "the snapshot x is creating since 2026-11-22 03:00 UTC, until 2026-11-22 09:00 UTC at most"


def test_what_has_no_beginning_yet_begins_now():
    assert waiting_for("x", None, 6, SINCE) == Waiting("x", SINCE, SINCE + 6 * HOUR)


def test_time_is_up_at_the_deadline_itself():
    waiting_for("x", SINCE, 6, SINCE + 6 * HOUR - timedelta(seconds=1))
    with pytest.raises(EnvironmentFault, match=r"x for 6\.0 hours, longer than it may"):
        waiting_for("x", SINCE, 6, SINCE + 6 * HOUR)
