"""How many sets are kept?"""

from __future__ import annotations

from pydantic import Field

from backup_assets.settings_model import LocalTime, Model


class RetentionSettings(Model):
    """How many sets are kept in the local store and in folders; of each day, week and month the newest verified one."""

    daily: int = Field(default=14, ge=1, le=36500, description="Days that keep a set, the newest ones.")
    weekly: int = Field(default=8, ge=0, le=36500, description="ISO weeks that keep a set.")
    monthly: int = Field(default=12, ge=0, le=36500, description="Months that keep a set.")
    all_for_days: float = Field(default=2.0, ge=0, le=36500, description="Days for which every set is kept.")
    grace_hours: float = Field(
        default=24.0,
        gt=0,
        le=876000,
        description="Hours that sets may wait for their verification; after that nothing is deleted until one passes.",
    )
    damaged_days: float = Field(
        default=7.0, ge=0, le=36500, description="Least days for which an incomplete or failed set is kept."
    )
    largest_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Nothing is deleted when more than this share of all sets would go, and more than three.",
    )
    apply: bool = Field(
        default=True, description="Whether the daily retention deletes what may go; `false`: it only shows the plan."
    )
    at: LocalTime = Field(
        default="06:30", description="Local time of the daily retention, in the zone of the schedule."
    )
