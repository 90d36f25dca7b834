"""What is remembered of the events from one look to the next?"""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Heard(BaseModel):
    """When AWS was asked last, and the ids of what it told lately; the cursor of the sensor."""

    model_config = ConfigDict(frozen=True)

    until: AwareDatetime | None = None
    ids: dict[str, AwareDatetime] = {}
    #: Since when AWS cannot be asked, and when that was told; None: it can.
    silent_since: AwareDatetime | None = None
    told_at: AwareDatetime | None = None
