"""How are sets proven by a trial restore, and how is a restore rehearsed?"""

from __future__ import annotations

from pydantic import Field

from backup_assets.settings_model import LocalTime, Model, Name
from backup_assets.settings_server import ServerSettings


class VerificationSettings(Model):
    """Where and how deep a set is proven."""

    scratch: ServerSettings | None = Field(
        default=None,
        description="A server for trial restores, when extensions need one. Left out: a throw-away local cluster.",
    )
    jobs: int = Field(default=2, ge=1, le=64, description="Parallel jobs of a trial restore.")
    timeout_hours: float = Field(default=12.0, gt=0, description="A trial restore that takes longer is ended.")
    every_days: int = Field(
        default=30, ge=1, le=3650, description="Days within which every copy of a set in every store is verified again."
    )
    nightly_limit: int = Field(
        default=3, ge=0, le=10000, description="Most copies that are verified again in one night; 0: none ever."
    )
    at: LocalTime = Field(
        default="03:30", description="Local time at which older sets are verified again, in the zone of the schedule."
    )


class HttpCheck(Model):
    """One request to the application that runs on the restored database."""

    url: str = Field(description="Address, such as `http://127.0.0.1:8080/health`.")
    status: int = Field(default=200, ge=100, le=599, description="Status that the answer must have.")
    contains: str | None = Field(default=None, description="Text that the answer must contain.")
    timeout_seconds: float = Field(default=60.0, gt=0, description="How long the check is tried again before it fails.")


class DrillSettings(Model):
    """The monthly rehearsal: the newest set from off-site, restored into a separate environment and tried."""

    store: Name | None = Field(default=None, description="Store that the set is fetched from; left out: the farthest.")
    server: ServerSettings | None = Field(
        default=None, description="Server restored on, never the source. Left out: a throw-away local cluster."
    )
    start_command: tuple[str, ...] = Field(
        default=(),
        description="Program with its arguments that runs the application on the restored database while it is "
        "checked. It finds PGHOST, PGPORT, PGUSER, PGDATABASE and BACKUP_DRILL_ATTACHMENTS in its environment.",
    )
    http_checks: tuple[HttpCheck, ...] = Field(default=(), description="Requests that must be answered as expected.")
    command: tuple[str, ...] = Field(
        default=(), description="Program with its arguments that must end with status 0; same environment."
    )
    day_of_month: int = Field(default=1, ge=1, le=28, description="Day of the month that the drill is due.")
    at: LocalTime = Field(default="05:00", description="Local time of the drill, in the zone of the schedule.")
