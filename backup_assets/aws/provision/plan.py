"""In what does AWS differ from what the settings want of it? Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backup_assets.aws.access import Access
from backup_assets.aws.answers import explained
from backup_assets.aws.provision.buckets import StorePlan, plan_stores
from backup_assets.aws.provision.databases import DatabasePlan, plan_database
from backup_assets.aws.provision.drift import Drift
from backup_assets.aws.provision.lines import Line
from backup_assets.aws.provision.stacks import StackPlan, look_at, planned
from backup_assets.aws.provision.wanted import first_stack, second_stack
from backup_assets.aws.rds.api import Source
from backup_assets.errors import BackupError, SettingsError
from backup_assets.settings import Settings

OPT_IN = "resource types that AWS Backup may back up"


@dataclass(frozen=True)
class OptIn:
    """Whether AWS Backup may back up the types of the databases; ``preferences`` is all of them as wanted."""

    access: Access
    lines: tuple[Line, ...]
    preferences: Mapping[str, bool]


@dataclass(frozen=True)
class Plan:
    """Everything that was looked at, in the order in which it is applied; ``drifts`` is None when not asked for."""

    stacks: tuple[StackPlan, ...]
    opt_in: OptIn | None
    databases: tuple[DatabasePlan, ...]
    stores: tuple[StorePlan, ...]
    drifts: tuple[Drift, ...] | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every property that was looked at."""
        opt_in = self.opt_in.lines if self.opt_in else ()
        of_stacks = (*(one.lines for one in self.stacks), *(one.lines for one in self.drifts or ()))
        parts = (*of_stacks, opt_in, *(one.lines for one in self.databases), *(one.lines for one in self.stores))
        return tuple(line for part in parts for line in part)

    @property
    def differing(self) -> tuple[Line, ...]:
        """What is not as wanted."""
        return tuple(line for line in self.lines if line.differs)

    @property
    def changes(self) -> tuple[Line, ...]:
        """What applying would change."""
        return tuple(line for line in self.lines if line.state == "to change")

    @property
    def faults(self) -> tuple[BackupError, ...]:
        """Why not everything could be looked at, so that nothing may be said to be as wanted."""
        return tuple(one.error for one in self.drifts or () if one.error)

    @property
    def queue_url(self) -> str | None:
        """The queue of events, for `aws.events.queue_url`, once there is one."""
        return next((url for one in self.stacks if one.stack and (url := one.stack.outputs.get("QueueUrl"))), None)


def access_for(settings: Settings) -> Access:
    """Return how `aws plan` and `aws apply` reach the region of the databases."""
    aws = settings.aws
    return Access(aws.region, aws.apply_profile or aws.profile, aws.endpoint_url)


def plan_of(settings: Settings) -> Plan:
    """Look at the stacks, the databases and the buckets, and return what differs.

    Raises SettingsError when nothing of AWS is configured, Refused for a stack that cannot be changed, and the errors
    of `answers.explained`.
    """
    access = access_for(settings)
    stores = tuple(plan_stores(settings))
    databases = tuple(
        plan_database(access, database, database.rds) for database in settings.databases if database.rds is not None
    )
    if not databases and settings.aws.backup_plan is None and not stores:
        raise SettingsError(
            "nothing in AWS is configured",
            remedy="set `rds` of a database, `aws.backup_plan`, or a store of kind s3 (docs/aws.md)",
        )
    if settings.aws.backup_plan is not None and not databases:
        raise SettingsError(
            "aws.backup_plan backs up no database",
            why="no database has `rds`",
            remedy="set `rds` of the databases that it is for, or remove `aws.backup_plan`",
        )
    sources = [one.source for one in databases if one.source is not None]
    stacks = tuple(_stacks(settings, access, sources)) if databases else ()
    opt_in = _opt_in(access, sources) if settings.aws.backup_plan is not None and sources else None
    return Plan(stacks, opt_in, databases, stores)


def _stacks(settings: Settings, access: Access, sources: list[Source]) -> Iterator[StackPlan]:
    """Yield the second region first: the plan in the first one copies into its vault."""
    aws = settings.aws
    for region in (aws.second_region, aws.region):
        here = access.within(region)
        stack = look_at(here, aws.name, settings.env)
        present = stack.parameters if stack else None
        first = region == aws.region
        wanted = first_stack(settings, sources, present) if first else second_stack(settings, present)
        yield planned(wanted, stack, _vaults(here) if wanted.parameters.get("Vault") and not stack else {})


def _vaults(access: Access) -> dict[str, Any]:
    # Of a vault that does not exist `DescribeBackupVault` says that access is denied, so they are listed.
    with explained("list the backup vaults", access):
        pages = access.client("backup").get_paginator("list_backup_vaults").paginate()
        return {one["BackupVaultName"]: one for page in pages for one in page["BackupVaultList"]}


def _opt_in(access: Access, sources: list[Source]) -> OptIn:
    """Look at what AWS Backup may back up in this region: without it, it leaves Aurora out without a word."""
    with explained("look at the settings of AWS Backup", access):
        answer = access.client("backup").describe_region_settings()
    found: dict[str, bool] = answer.get("ResourceTypeOptInPreference", {})
    types = sorted({"Aurora" if source.engine.startswith("aurora") else "RDS" for source in sources})
    lines = []
    for name in types:
        on = found.get(name, False)
        state, how = ("as wanted", "") if on else ("to change", "at once; concerns every plan of this region")
        lines.append(
            Line(f"AWS Backup in {access.region}", f"{OPT_IN}: {name}", state, "on" if on else "off", "on", how)
        )
    return OptIn(access, tuple(lines), {**found, **dict.fromkeys(types, True)})
