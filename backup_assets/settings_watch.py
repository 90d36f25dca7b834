"""What was promised, and who is told where it is not kept?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from backup_assets.settings_model import Model

#: Objectives by tier, in hours, as the users' own policy states them.
RPO_HOURS = {"ordinary": 24.0, "important": 6.0}
RTO_HOURS = {"ordinary": 4.0, "important": 2.0}
#: A proof takes long: one of yesterday is good enough however often backups are taken.
LEAST_VERIFIED_WITHIN_HOURS = 48.0


class ObjectivesSettings(Model):
    """What was promised: how much may be lost, and how long a restore may take."""

    rpo_hours: float | None = Field(
        default=None, gt=0, description="Recovery point objective; left out: 24 for `ordinary`, 6 for `important`."
    )
    rto_hours: float | None = Field(
        default=None, gt=0, description="Recovery time objective; left out: 4 for `ordinary`, 2 for `important`."
    )
    verified_within_hours: float | None = Field(
        default=None,
        gt=0,
        description="Greatest age of the newest set that is proven by a restore; left out: twice the RPO, at least 48.",
    )


class WatchSettings(Model):
    """How the watch looks, and whom it tells."""

    channels: tuple[SecretStr, ...] = Field(
        default=(),
        description="Whom to tell: addresses as the library Apprise takes them (`mailto://…`, `slack://…`, "
        "`jsons://…`), one or several with commas between; each is a secret.",
    )
    heartbeat: SecretStr | None = Field(
        default=None,
        description="Address that is requested after every look that went well, so that somebody outside notices when "
        "none does.",
    )
    reminder_hours: float = Field(
        default=24.0, gt=0, le=8760, description="Hours after which what still holds is told again."
    )
    interval_minutes: float = Field(default=5.0, gt=0, le=15, description="Minutes between two looks.")
    ui_url: str | None = Field(
        default=None, description="Address of the Dagster UI, such as `https://dagster.example`, for links in alerts."
    )
    language: Literal["en", "ja"] = Field(
        default="en", description="Language of the monthly report and, unless `alert_language` is set, of alerts."
    )
    alert_language: Literal["en", "ja"] | None = Field(
        default=None, description="Language of alerts, where it is another one: `en` or `ja`."
    )
