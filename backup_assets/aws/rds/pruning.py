"""How is the retention plan of the snapshots made for each region and account, and carried out?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from backup_assets.aws.access import access_of
from backup_assets.aws.rds.api import RdsApi, Snapshot, api_of
from backup_assets.aws.rds.copies import in_account, in_copies
from backup_assets.aws.rds.retention import Translated, hold_reason, policy_of_snapshots, translated
from backup_assets.aws.rds.tagging import is_ours
from backup_assets.errors import BackupError, Refused
from backup_assets.retention.pruning import Pruned
from backup_assets.sets.deletion import Deleted
from backup_assets.sets.retention import plan
from backup_assets.sets.retention_plan import RetentionPlan
from backup_assets.sets.retention_policy import RetentionPolicy, known_elsewhere
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsSettings

#: What the places are called beside the stores.
PREFIX = "rds-"


def places_of(settings: Settings, rds: RdsSettings) -> dict[str, RdsApi]:
    """Return where snapshots and copies are: `rds-<region>`, and `rds-<region>-<profile>` of another account."""
    api = api_of(access_of(settings.aws), rds)
    places = {f"{PREFIX}{api.access.region}": api}
    if rds.copies is not None:
        places[f"{PREFIX}{rds.copies.region}"] = in_copies(api, rds.copies)
        other = in_account(api, rds.copies)
        if other is not None:
            places[f"{PREFIX}{rds.copies.region}-{rds.copies.account_profile}"] = other
    return places


def prune_snapshots(
    database: DatabaseSettings,
    settings: Settings,
    *,
    apply: bool = False,
    allow_large_share: bool = False,
    only: str | None = None,
    now: datetime | None = None,
) -> Iterator[Pruned]:
    """Plan the retention of a database's snapshots in every place and, with ``apply``, carry it out.

    ``only`` names one place; raises Refused for one that there is not. A place that does not answer, or a snapshot that
    cannot be deleted, is among the results and does not keep the others.
    """
    rds = database.rds
    if rds is None:
        return
    places = places_of(settings, rds)
    if only is not None and only not in places:
        raise Refused(f"there is no {only}", remedy=f"give one of {', '.join(places)}")
    # Taken before AWS is asked: nothing that it lists is younger than it was looked at.
    moment = now or datetime.now(UTC)
    policy = policy_of_snapshots(database, rds)
    if allow_large_share:
        policy = replace(policy, largest_share=1.0)
    listed: dict[str, Translated] = {}
    errors: dict[str, BackupError] = {}
    for name, api in places.items():
        try:
            listed[name] = translated(api.manual_snapshots(), database, settings.env, name, moment)
        except BackupError as error:
            errors[name] = error
    for name, api in places.items():
        if only not in {None, name}:
            continue
        if name in errors:
            yield Pruned(name, error=errors[name])
            continue
        made = _planned(name, listed, policy, moment)
        if not apply or not made.deleted:
            yield Pruned(name, made, applied=apply)
            continue
        done = [
            _delete(api, database, settings.env, one.id, listed[name].snapshots[one.id], moment) for one in made.deleted
        ]
        deleted, failed = [one for one in done if one.error is None], [one for one in done if one.error is not None]
        yield Pruned(name, made, True, tuple(deleted), tuple(failed))


def _planned(name: str, listed: Mapping[str, Translated], policy: RetentionPolicy, now: datetime) -> RetentionPlan:
    others = {other: found.sets for other, found in listed.items() if other != name}
    here = listed[name]
    return plan(here.sets, policy, now, store=name, elsewhere=known_elsewhere(others, now), damaged=here.damaged)


def _delete(api: RdsApi, database: DatabaseSettings, env: str, set_id: str, listed: Snapshot, now: datetime) -> Deleted:
    """Delete one snapshot, unless it became another one or was held since it was listed."""
    size = listed.size_bytes or 0
    try:
        found = api.snapshot(listed.identifier)
        if found is not None:
            _require_deletable(found, listed, database, env, now)
            api.delete_snapshot(found.identifier)
    except BackupError as error:
        return Deleted(set_id, 0, 0, error)
    return Deleted(set_id, 1, size)


def _require_deletable(found: Snapshot, listed: Snapshot, database: DatabaseSettings, env: str, now: datetime) -> None:
    held = hold_reason(found, database, now)
    changed = found.arn != listed.arn or found.taken_at != listed.taken_at
    if changed or held is not None or not is_ours(found.tags, database.name, env, "snapshot", "copy"):
        raise Refused(
            f"the snapshot {found.identifier} in {found.region} is not deleted",
            why=f"it is held: {held}" if held is not None else "it is another one than the plan was made for",
            remedy="nothing is to be done; the next run decides anew",
        )
