"""Which drills should a run see to, and which of their servers must go although no run removes them?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from backup_assets.aws.access import access_of
from backup_assets.aws.answers import Busy
from backup_assets.aws.rds.api import RdsApi, api_of
from backup_assets.aws.rds.drill.servers import DrillServer, drill_servers, remove
from backup_assets.aws.rds.tagging import STARTED
from backup_assets.aws.rds.work import Pending
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.settings import DatabaseSettings, Settings

#: The run of the slot removes what is overdue, and tells it. What is still there then has no such run.
GRACE = timedelta(minutes=30)


def drill_apis(database: DatabaseSettings, settings: Settings) -> tuple[RdsApi, ...]:
    """Return how each region is reached in which a drill of a database may have left something."""
    if database.rds is None:
        return ()
    home = api_of(access_of(settings.aws), database.rds)
    if database.rds.copies is None:
        return (home,)
    return home, home.within(database.rds.copies.region)


def servers_of_drills(database: DatabaseSettings, settings: Settings) -> tuple[DrillServer, ...]:
    """Return every server that was made for drills of a database, in every region; raises as RDS answers."""
    apis = drill_apis(database, settings)
    return tuple(one for api in apis for one in drill_servers(api, database, settings.env))


def pending_drills(database: DatabaseSettings, settings: Settings, now: datetime) -> tuple[Pending, ...]:
    """Return the slots whose drill has come so far that a run should go on with it; one for each event."""
    return tuple(
        Pending(
            one.slot,
            f"{one.identifier}/{one.region}/{one.tags.get(STARTED, '')}/{event}",
            f"the server of the drill, {one.identifier} in {one.region}, is {event}",
        )
        for one in servers_of_drills(database, settings)
        if one.slot and (event := _event(one, now)) is not None
    )


def _event(server: DrillServer, now: datetime) -> str | None:
    if server.is_going or server.is_concluded:
        return None
    if server.broken is not None:
        return server.broken
    if server.deadline is not None and now >= server.deadline:
        return "overdue"
    if server.needs_member:
        return "without an instance"
    return "available" if server.is_ready else None


def sweep_drills(
    database: DatabaseSettings, settings: Settings, now: datetime, *, log: Callable[[str], None]
) -> tuple[str, ...]:
    """Delete the servers of drills that are over, and return their names; for every look of the polling sensor.

    Over is a drill that has an outcome, and one that is past its deadline for longer than its own run would need; one
    without a readable deadline is over too. What RDS does not delete in its present state is left for the next look.
    Raises EnvironmentFault, after all of them were tried, when any could not be deleted.
    """
    removed: list[str] = []
    errors: list[BackupError] = []
    for api in drill_apis(database, settings):
        for server in drill_servers(api, database, settings.env):
            if not is_left_over(server, now):
                continue
            try:
                remove(api, server, database, settings.env)
            except Busy as error:
                log(f"{server.identifier} cannot be deleted yet, which is tried again: {error.why}")
            except BackupError as error:
                errors.append(error)
            else:
                log(f"RDS removes {server.identifier}, which a drill left in {server.region}")
                removed.append(server.identifier)
    if errors:
        raise EnvironmentFault(
            f"{len(errors)} servers of drills could not be deleted, and cost money",
            why="; ".join(_sentences(errors)),
            remedy=errors[0].remedy or "delete them in the RDS console",
        )
    return tuple(removed)


def is_left_over(server: DrillServer, now: datetime) -> bool:
    """Tell whether a server should have been removed by now, and nobody is doing it."""
    if server.is_going:
        return False
    return server.is_concluded or server.deadline is None or now >= server.deadline + GRACE


def _sentences(errors: list[BackupError]) -> Iterator[str]:
    for error in errors:
        yield f"{error.what}: {error.why}" if error.why else error.what
