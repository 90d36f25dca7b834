"""A day that does not end while tests run: today, in a zone where it is noon as they begin."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_NOW = datetime.now(UTC)
#: By its name `Etc/GMT-5` lies five hours to the east.
ZONE = f"Etc/GMT{_NOW.hour - 12:+d}"
TODAY = _NOW.astimezone(ZoneInfo(ZONE)).date()
