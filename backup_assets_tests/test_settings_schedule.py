from __future__ import annotations

import pytest
from pydantic import ValidationError

from backup_assets.settings_schedule import ScheduleSettings


@pytest.mark.parametrize("zone", ["Asia/Tokio", "Asia", "../etc/passwd", ""])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValidationError, match="no IANA time zone"):
        ScheduleSettings(timezone=zone)
