"""How is the retention shown and applied, and a set held or released, from the command line?"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from backup_assets.cli.context import Context, context_of
from backup_assets.cli.output import Column, local_time, say_json, say_table, tell
from backup_assets.errors import SettingsError
from backup_assets.named_stores import LOCAL
from backup_assets.progress import human_bytes
from backup_assets.retention.holding import Held, place_hold, release_holds
from backup_assets.retention.pruning import Pruned, halved_text, prune_all
from backup_assets.retention.pruning import prune as prune_store
from backup_assets.sets.holds import hold_from
from backup_assets.sets.manifest import Hold
from backup_assets.sets.retention_plan import Line, RetentionPlan
from backup_assets.settings_aws import RdsSettings

NOT_DONE = 1


def prune(arguments: Namespace) -> int:
    """Show the plan of one store or all, and carry it out with --apply; status 1 when something could not be done."""
    named = arguments.store
    arguments.store = "local"
    context = context_of(arguments)
    options = {"apply": arguments.apply, "allow_large_share": arguments.allow_large_share}
    if named is None:
        pruned = [*prune_all(context.database, context.settings, **options), *_of_rds(context, **options)]
    elif context.database.rds is None or named in _stores(context):
        pruned = [prune_store(context.database, context.settings, named, **options)]
    else:
        _require_place(context, context.database.rds, named)
        pruned = list(_of_rds(context, only=named, **options))
    if arguments.json:
        say_json([_as_json(one) for one in pruned])
    else:
        say_table(
            (Column("set"), Column("store"), Column("decision"), Column("size", number=True), Column("why", wide=True)),
            [_row(one, line) for one in pruned if one.plan for line in one.plan.lines],
        )
    for one in pruned:
        _tell(one)
    return 0 if all(one.is_well for one in pruned) else NOT_DONE


def _stores(context: Context) -> tuple[str, ...]:
    return (LOCAL, *(store.name for store in context.settings.stores))


def _require_place(context: Context, rds: RdsSettings, named: str) -> None:
    """Raise SettingsError, with every name that there is, for one that is no place of snapshots either."""
    from backup_assets.aws.rds.pruning import places_of

    places = places_of(context.settings, rds)
    if named not in places:
        raise SettingsError(
            f"there is no store {named}",
            why=f"configured: {', '.join((*_stores(context), *places))}",
            remedy="correct the name, or configure the store (docs/off-site.md); rds-… are the snapshots in RDS",
        )


def _of_rds(context: Context, **options: Any) -> Iterator[Pruned]:
    """Yield what is decided about the snapshots of a database that RDS runs."""
    if context.database.rds is not None:
        # boto3 costs a third of a second: only who asks AWS pays it.
        from backup_assets.aws.rds.pruning import prune_snapshots

        yield from prune_snapshots(context.database, context.settings, **options)


def _row(one: Pruned, line: Line) -> list[str]:
    reasons = "; ".join(reason.text for reason in line.reasons)
    return [line.set.id, one.store, line.decision, human_bytes(line.set.manifest.size_bytes), reasons]


def _tell(one: Pruned) -> None:
    if one.skipped:
        tell(f"{one.store}: {one.skipped}")
    if one.plan is not None:
        for reason in one.plan.blocked:
            tell(f"{one.store}: nothing is deleted: {reason.text}")
            if reason.code == "too_large_a_share":
                tell("  next: read the plan; if it is meant, run it once with --apply --allow-large-share")
        for set_id in one.plan.damaged:
            tell(f"{one.store}: the manifest of {set_id} is damaged, and nothing is decided about that set")
        tell(f"{one.store}: {_outcome(one, one.plan)}")
    for set_id in one.carried:
        tell(f"{one.store}: {set_id} is held there too now, as in another store")
    for halved in one.halved:
        tell(f"{one.store}: {halved_text(one.store, halved)}")
    for failed in one.failed:
        tell(f"{one.store}: {failed.set_id} was not deleted, the next run tries again: {failed.error}")
    if one.error is not None:
        tell(f"error: {one.store}: {one.error}")


def _outcome(one: Pruned, made: RetentionPlan) -> str:
    kept = f"{len(made.kept)} sets stay ({human_bytes(made.kept_bytes)})"
    if not made.deleted:
        return f"{kept}, none goes"
    if one.applied:
        return f"{kept}, {len(one.deleted)} deleted ({human_bytes(sum(d.size for d in one.deleted))} freed)"
    going = f"{len(made.deleted)} would go ({human_bytes(made.freed_bytes)})"
    return f"{kept}, {going}; run it again with --apply"


def _as_json(one: Pruned) -> dict[str, Any]:
    made = one.plan
    return {
        "store": one.store,
        "applied": one.applied,
        "skipped": one.skipped or None,
        "error": None if one.error is None else str(one.error),
        "blocked": [{"code": reason.code, "text": reason.text} for reason in made.blocked] if made else [],
        "damaged": list(made.damaged) if made else [],
        "sets": [
            {
                "id": line.set.id,
                "decision": line.decision,
                "size_bytes": line.set.manifest.size_bytes,
                "reasons": [{"code": reason.code, "text": reason.text} for reason in line.reasons],
            }
            for line in (made.lines if made else ())
        ],
        "deleted": [
            {"id": done.set_id, "files": done.files, "size_bytes": done.size, "left": list(done.left)}
            for done in one.deleted
        ],
        "failed": [{"id": done.set_id, "error": str(done.error)} for done in one.failed],
        "held_too": list(one.carried),
        "kept_bytes": made.kept_bytes if made else None,
        "freed_bytes": sum(done.size for done in one.deleted) if one.applied else (made.freed_bytes if made else None),
    }


def hold(arguments: Namespace) -> int:
    """Hold a set in every store that has it; status 1 when one of them did not take it, or it is not held then."""
    context = context_of(arguments)
    zone = ZoneInfo(context.database.schedule.timezone)
    wished = hold_from(arguments.reason, arguments.until, zone) or Hold(reason=arguments.reason)
    held = place_hold(context.database, context.settings, arguments.set, wished)
    status = _told(held, arguments)
    if held.hold is None:
        tell(
            f"error: no hold of {held.set_id} is in force where its manifest can be read: repeat this when every store "
            "above can be written"
        )
        return NOT_DONE
    return status


def unhold(arguments: Namespace) -> int:
    """End every hold of a set in every store that has it; status 1 when one did not take it, or it is still held."""
    context = context_of(arguments)
    held = release_holds(context.database, context.settings, arguments.set, arguments.reason)
    status = _told(held, arguments)
    if held.hold is not None:
        tell(f"{held.set_id} is still held: {held.hold.reason}")
        return NOT_DONE
    return status


def _told(held: Held, arguments: Namespace) -> int:
    if arguments.json:
        stores = [
            {
                "store": one.store,
                "state": one.state,
                "error": None if one.error is None else str(one.error),
                "removed_around": min((ending.at for ending in one.endings), default=None),
            }
            for one in held.stores
        ]
        in_force = None if held.hold is None else {"reason": held.hold.reason, "until": held.hold.until}
        say_json({"id": held.set_id, "stores": stores, "hold": in_force})
    else:
        now = "-"
        if held.hold is not None:
            now = held.hold.reason + (f", until {local_time(held.hold.until)}" if held.hold.until else "")
        say_table(
            (Column("set"), Column("store"), Column("state"), Column("held now", wide=True)),
            [(held.set_id, one.store, one.state, now) for one in held.stores if one.state != "absent"],
        )
    for one in held.stores:
        if one.error is not None:
            knows = "does not know of it" if one.state == "failed" else "could not be made to keep it"
            tell(f"error: {one.store} {knows}; repeat this when it can be written: {one.error}")
        for ending in one.endings:
            what = "it" if ending.part == held.set_id else f"{ending.part}, which it cannot be restored without,"
            tell(
                f"error: the lifecycle rules of {one.store} remove {what} around {local_time(ending.at)} all the same: "
                "docs/retention.md says what to do"
            )
    return 0 if held.is_well else NOT_DONE
