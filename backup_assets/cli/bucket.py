"""How is shown in what a bucket differs from a safe place for backups, and how is that confirmed and changed?"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from backup_assets.cli.output import Column, heading, say_json, say_table, tell
from backup_assets.errors import CheckFailed, Refused
from backup_assets.named_stores import configured_store, store_named
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_bucket_plan import Applied, BucketPlan, apply_plan, plan_bucket
from backup_assets.stores.s3_location import S3Location

_COLUMNS = (
    Column("store"), Column("what", wide=True), Column("state"), Column("found", wide=True),
    Column("wanted", wide=True), Column("next", wide=True),
)  # fmt: skip


def plan(arguments: Namespace) -> int:
    """Show how every chosen bucket is and what would be changed; status 1 when something stands that apply leaves."""
    plans = {name: plan_bucket(location) for name, location in _chosen(arguments).items()}
    if arguments.json:
        say_json([_as_json(name, one) for name, one in plans.items()])
    else:
        _show(plans)
    return _ended(plans)


def apply(arguments: Namespace) -> int:
    """Show the plan, ask, change what differs, and look again; status 1 when something is not as wanted then.

    Raises Refused when it is not confirmed, or when a bucket is missing and is not to be created.
    """
    plans = {name: plan_bucket(location) for name, location in _chosen(arguments).items()}
    if not arguments.json:
        _show(plans)
    missing = [one.location.bucket for one in plans.values() if not one.exists]
    if missing and not arguments.create:
        raise Refused(
            f"the bucket {missing[0]} does not exist",
            why="nothing was changed",
            remedy="correct the bucket's name in the settings, or repeat with --create",
        )
    changing = {name: one for name, one in plans.items() if one.changes or not one.exists}
    done: dict[str, list[Applied]] = {}
    if changing:
        _require_confirmation(arguments, changing)
        for name, one in changing.items():
            done[name] = []
            for applied in apply_plan(one, create=arguments.create):
                done[name].append(applied)
                tell(f"{name}: {applied.name} {applied.text}" + (f": {applied.error}" if applied.error else ""))
        plans = {name: plan_bucket(one.location) for name, one in plans.items()}
    if arguments.json:
        say_json([{**_as_json(name, one), "applied": _told(done.get(name, ()))} for name, one in plans.items()])
    failed = [f"{name}: {one.name}" for name, all_of_it in done.items() for one in all_of_it if one.error]
    if failed:
        tell(f"error: not changed: {', '.join(failed)}")
    status = _ended(plans)
    return CheckFailed.exit_code if failed else status


def _chosen(arguments: Namespace) -> dict[str, S3Location]:
    """Return by name the locations of the stores that are meant, each as the role that looks at buckets sees it."""
    settings = load_settings()
    names = [arguments.store] if arguments.store else [one.name for one in settings.stores if one.kind == "s3"]
    if not names:
        raise Refused(
            "no store of kind s3 is configured",
            remedy="set S3_BUCKET, or add a store to backup.yaml (docs/off-site.md)",
        )
    return {name: _location(settings, name, arguments.profile) for name in names}


def _location(settings: Settings, name: str, profile: str | None) -> S3Location:
    kind = configured_store(settings, name).kind
    store = store_named(settings, name)
    if not isinstance(store, S3Store):
        raise Refused(f"the store {name} is no bucket", why=f"it is of kind {kind}", remedy="name a store of kind s3")
    return replace(store.location, profile=profile) if profile else store.location


def _show(plans: dict[str, BucketPlan]) -> None:
    for name, one in plans.items():
        heading(f"{name}: {one.location.url}")
        rows = [(name, line.name, line.state, line.found, line.wanted, line.remedy) for line in one.lines]
        if not one.exists:
            lock = " with Object Lock" if one.location.object_lock else ""
            there = f"a bucket in {one.location.region}{lock}"
            rows.insert(0, (name, "bucket", "to create", "it does not exist", there, "apply with --create"))
        say_table(_COLUMNS, rows)


def _require_confirmation(arguments: Namespace, changing: dict[str, BucketPlan]) -> None:
    if arguments.yes:
        return
    buckets = ", ".join(one.location.url for one in changing.values())
    if sys.stdin.isatty():
        tell(f"Change {buckets} as shown? Write yes:")
        if sys.stdin.readline().strip() == "yes":
            return
    raise Refused(
        f"{buckets} was not changed: it is not confirmed", remedy="answer yes in a terminal, or repeat with --yes"
    )


def _ended(plans: dict[str, BucketPlan]) -> int:
    changes = sum(len(one.changes) for one in plans.values())
    missing = [one.location.bucket for one in plans.values() if not one.exists]
    standing = [f"{name}: {line.name} ({line.state})" for name, one in plans.items() for line in one.standing]
    if missing:
        tell(f"to be created: {', '.join(missing)}")
    if changes:
        tell(f"{changes} to change: `backup-assets bucket apply`")
    elif not missing:
        tell("nothing to do" + (" that this command can do" if standing else ""))
    if standing:
        tell(f"error: not as wanted, and left to you: {', '.join(standing)}")
    return CheckFailed.exit_code if standing else 0


def _as_json(name: str, one: BucketPlan) -> dict[str, Any]:
    lines = [asdict(line) for line in one.lines]
    return {"store": name, "bucket": one.location.bucket, "exists": one.exists, "lines": lines}


def _told(done: Sequence[Applied]) -> list[dict[str, str]]:
    return [{"name": one.name, "text": one.text, "error": str(one.error or "")} for one in done]
