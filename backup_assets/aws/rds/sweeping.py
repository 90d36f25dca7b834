"""Which restored servers should a run see to, and which must go although no run removes them?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from backup_assets.aws.access import access_of
from backup_assets.aws.answers import Busy
from backup_assets.aws.rds.api import RdsApi, api_of
from backup_assets.aws.rds.restored_regions import DIRECTORY, noted_regions
from backup_assets.aws.rds.servers import RestoredServer, remove, restored_servers, untagged_servers
from backup_assets.aws.rds.tagging import STARTED
from backup_assets.aws.rds.work import Pending
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RestoredFor

#: The run of the slot removes what is overdue, and tells it. What is still there then has no such run.
GRACE = timedelta(minutes=30)


def apis_of(database: DatabaseSettings, settings: Settings) -> tuple[RdsApi, ...]:
    """Return how each region is reached in which something may have been restored for a database."""
    if database.rds is None:
        return ()
    home = api_of(access_of(settings.aws), database.rds)
    # Also where something was restored before the settings were changed.
    regions = dict.fromkeys([*_configured_regions(database, settings), *noted_regions(settings)])
    return tuple(home.within(region) for region in regions)


def _configured_regions(database: DatabaseSettings, settings: Settings) -> tuple[str, ...]:
    copies = database.rds.copies if database.rds is not None else None
    return (settings.aws.region, *([copies.region] if copies is not None else []))


def all_restored(database: DatabaseSettings, settings: Settings) -> tuple[RestoredServer, ...]:
    """Return every server that was restored for a database, in every region; raises as RDS answers."""
    found, errors = _looked_at(database, settings)
    if errors:
        raise errors[0]
    return tuple(server for _, server in found)


def all_untagged(database: DatabaseSettings, settings: Settings) -> tuple[RestoredServer, ...]:
    """Return what is named as a restored server and shows no tags, in every region; raises as RDS answers."""
    return tuple(server for api in apis_of(database, settings) for server in untagged_servers(api))


def _looked_at(
    database: DatabaseSettings, settings: Settings
) -> tuple[list[tuple[RdsApi, RestoredServer]], list[BackupError]]:
    """Return what was restored in the regions that answer, and what the others say.

    One into which this role may not look any more keeps nothing from going on in the others.
    """
    found: list[tuple[RdsApi, RestoredServer]] = []
    errors: list[BackupError] = []
    for api in apis_of(database, settings):
        try:
            found += [(api, server) for server in restored_servers(api, database, settings.env)]
        except BackupError as error:
            if api.access.region not in _configured_regions(database, settings):
                note = settings.backup_dir.absolute() / DIRECTORY / api.access.region
                error.remedy = (
                    f"{error.remedy}; or, once the RDS console shows that nothing is left there which was restored, "
                    f"delete {note}: the region is not looked into any more"
                )
            errors.append(error)
    return found, errors


def pending_servers(
    role: RestoredFor, database: DatabaseSettings, settings: Settings, now: datetime
) -> tuple[Pending, ...]:
    """Return the slots whose drill or rebuild has come so far that a run should go on with it; one for each event.

    Raises as RDS answers where there is none, and a region could not be asked.
    """
    found, errors = _looked_at(database, settings)
    pending = tuple(
        Pending(
            one.slot,
            f"{one.identifier}/{one.region}/{one.tags.get(STARTED, '')}/{event}",
            f"the server of the {role}, {one.identifier} in {one.region}, is {event}",
        )
        for _, one in found
        if one.role == role and one.slot and (event := _event(one, now)) is not None
    )
    if errors and not pending:
        raise errors[0]
    return pending


def _event(server: RestoredServer, now: datetime) -> str | None:
    if server.is_going or server.is_concluded:
        return None
    if server.broken is not None:
        return server.broken
    if server.deadline is not None and now >= server.deadline:
        return "overdue"
    if server.needs_member:
        return "without an instance"
    return "available" if server.is_ready else None


def sweep_servers(
    database: DatabaseSettings, settings: Settings, now: datetime, *, log: Callable[[str], None]
) -> tuple[str, ...]:
    """Delete the servers of drills and rebuilds that are over, and return their names; for every look of a sensor.

    Over is what has an outcome, and what is past its deadline for longer than its own run would need; one without a
    readable deadline is over too. What RDS does not delete in its present state is left for the next look.
    Raises EnvironmentFault, after all of them were tried, when any could not be deleted, else what a region says that
    could not be asked.
    """
    removed: list[str] = []
    errors: list[BackupError] = []
    found, unasked = _looked_at(database, settings)
    for api, server in found:
        if not is_left_over(server, now):
            continue
        try:
            remove(api, server, database, settings.env)
        except Busy as error:
            log(f"{server.identifier} cannot be deleted yet, which is tried again: {error.why}")
        except BackupError as error:
            errors.append(error)
        else:
            log(f"RDS removes {server.identifier}, which a {server.role} left in {server.region}")
            removed.append(server.identifier)
    if errors:
        raise EnvironmentFault(
            f"restored servers that could not be deleted, and cost money: {len(errors)}",
            why="; ".join(_sentences(errors)),
            remedy=errors[0].remedy or "delete them in the RDS console",
        )
    if unasked:
        raise unasked[0]
    return tuple(removed)


def is_left_over(server: RestoredServer, now: datetime) -> bool:
    """Tell whether a server should have been removed by now, and nobody is doing it."""
    if server.is_going:
        return False
    return server.is_concluded or server.deadline is None or now >= server.deadline + GRACE


def _sentences(errors: list[BackupError]) -> Iterator[str]:
    for error in errors:
        yield f"{error.what}: {error.why}" if error.why else error.what
