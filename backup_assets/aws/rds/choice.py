"""What is restored: which snapshot, which copy, which moment?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backup_assets.aws.rds.api import RdsApi, Snapshot, Source
from backup_assets.aws.rds.tagging import is_ours
from backup_assets.errors import CheckFailed, Refused, TransientFault
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings


@dataclass(frozen=True)
class Choice:
    """What is restored, in ``region``: ``snapshot``, or without one the source as of the moment ``shows``.

    ``what`` is half a sentence about it.
    """

    what: str
    region: str
    shows: datetime
    snapshot: Snapshot | None = None


def region_of_drill(rds: RdsSettings, region: str) -> str:
    """Return where a drill takes place, when ``region`` is that of the source."""
    takes_copies = rds.drill is not None and rds.drill.source == "copy" and rds.copies is not None
    return rds.copies.region if takes_copies and rds.copies is not None else region


def choose(
    api: RdsApi, database: DatabaseSettings, rds: RdsSettings, env: str, *, source: Source, before: datetime | None
) -> Choice:
    """Return the newest that is configured to be drilled, showing ``before`` or an earlier moment.

    ``api`` is that of the region in which the drill takes place. Raises CheckFailed when there is none.
    """
    kind = rds.drill.source if rds.drill is not None else "snapshot"
    if kind == "point_in_time":
        return _point_in_time(api, source, before)
    role = "copy" if kind == "copy" else "snapshot"
    found = [
        one
        for one in api.manual_snapshots()
        if one.is_of(rds.identifier) and one.is_available and is_ours(one.tags, database.name, env, role)
    ]
    dated = [(one.taken_at, one) for one in found if one.taken_at and (before is None or one.taken_at <= before)]
    if not dated:
        until = f" that shows {before:%Y-%m-%d %H:%M} UTC or before" if before else ""
        raise CheckFailed(
            f"{rds.identifier} has no available {role} of ours in {api.access.region}{until}",
            why="nothing can be drilled, and nothing could be restored from there",
            remedy=f"launch `{'rds_snapshot_copy' if role == 'copy' else 'rds_snapshot'}`, wait until it is available, "
            "and repeat the drill",
        )
    shows, newest = max(dated, key=lambda one: one[0])
    return Choice(f"the {role} {newest.identifier}", api.access.region, shows, newest)


def at_moment(api: RdsApi, source: Source, moment: datetime) -> Choice:
    """Return the choice of exactly this moment (whole seconds).

    Raises CheckFailed when the automated backups reach no moment, Refused when they do not reach back so far, and
    TransientFault when they do not reach it yet.
    """
    latest = _latest(source)
    if moment > latest:
        raise TransientFault(
            f"the automated backups of {source.identifier} do not reach {moment:%Y-%m-%d %H:%M} UTC yet",
            why=f"the latest moment that they reach is {latest:%Y-%m-%d %H:%M} UTC",
            remedy="launch it again in some minutes",
        )
    remedy = "nothing can be rebuilt from before it; where a snapshot of that day is left, restore that (docs/aws.md)"
    _require_reached(source, moment, remedy)
    return _moment(api, moment)


def _point_in_time(api: RdsApi, source: Source, before: datetime | None) -> Choice:
    latest = _latest(source)
    shows = latest if before is None else min(latest, before)
    remedy = "drill the current month, or a past one from snapshots (`rds.drill.source: snapshot`)"
    _require_reached(source, shows, remedy)
    return _moment(api, shows)


def _latest(source: Source) -> datetime:
    if source.latest_restorable is None:
        raise CheckFailed(
            f"{source.identifier} cannot be restored to any point in time",
            why=f"its automated backups are kept for {source.retention_days} days and reach no moment",
            remedy="switch automated backups on: `backup-assets aws apply`",
        )
    return source.latest_restorable


def _require_reached(source: Source, shows: datetime, remedy: str) -> None:
    earliest = source.earliest_restorable
    if earliest is not None and shows < earliest:
        raise Refused(
            f"the automated backups of {source.identifier} do not reach back to {shows:%Y-%m-%d %H:%M} UTC",
            why=f"the earliest moment that they reach is {earliest:%Y-%m-%d %H:%M} UTC",
            remedy=remedy,
        )


def _moment(api: RdsApi, shows: datetime) -> Choice:
    shows = shows.replace(microsecond=0)
    return Choice(f"the moment {shows:%Y-%m-%d %H:%M:%S} UTC", api.access.region, shows)
