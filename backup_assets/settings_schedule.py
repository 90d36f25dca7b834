"""When is a backup due?"""

from __future__ import annotations

import difflib
from datetime import date
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from backup_assets.settings_model import LocalTime, Model


class ScheduleSettings(Model):
    """When a backup is due: once a day, or every 1, 2, 3, 4, 6, 8 or 12 hours from midnight."""

    every: Literal["day", "12h", "8h", "6h", "4h", "3h", "2h", "1h"] = Field(
        default="day", description="How often a backup is due."
    )
    at: LocalTime = Field(default="02:00", description="Local time of the daily backup; only with `every: day`.")
    timezone: str = Field(default="Asia/Tokyo", description="IANA time zone of the schedule and the slots.")
    since: date | None = Field(
        default=None,
        description="Day (`2026-11-22`) of the first slot that exists; left out: the day of the oldest set in the "
        "local store, else today.",
    )

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a directory such as `Asia`
            close = difflib.get_close_matches(value, sorted(available_timezones()), n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise PydanticCustomError(
                "unknown_zone", "found '{found}', which is no IANA time zone{hint}", {"found": value, "hint": hint}
            ) from error
        return value
