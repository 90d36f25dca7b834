"""How is what differs made so, one thing after the other, without taking anything away?"""

from __future__ import annotations

from collections.abc import Iterator

from backup_assets.aws.answers import explained
from backup_assets.aws.provision.buckets import apply_store
from backup_assets.aws.provision.change_sets import execute, make, protect
from backup_assets.aws.provision.databases import apply_database
from backup_assets.aws.provision.lines import Applied
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.plan import OptIn, Plan, access_for, plan_of
from backup_assets.aws.provision.stacks import StackPlan
from backup_assets.errors import BackupError, Refused
from backup_assets.settings import Settings


def apply_of(plan: Plan, settings: Settings, pace: Pace) -> Iterator[Applied]:
    """Change what differs, and yield what becomes of it; what fails does not stop what does not depend on it.

    Stacks come first, that of the second region before the other, whose plan copies into its vault. Errors of the
    family of `errors.py` are yielded, never raised.
    """
    for stack in plan.stacks:
        failed = False
        for one in _stack(stack, settings, pace):
            failed = failed or one.error is not None
            yield one
        if failed:
            break
    if plan.opt_in and any(line.state == "to change" for line in plan.opt_in.lines):
        yield _opt_in(plan.opt_in)
    for database in plan.databases:
        place = f"database {database.name}"
        try:
            for text in apply_database(database):
                yield Applied(place, text)
        except BackupError as error:  # it is told, and the other databases are changed all the same
            yield Applied(place, "not changed", error)
    for store in plan.stores:
        if store.bucket.exists and not store.bucket.changes:
            continue
        try:
            yield from apply_store(store)
        except BackupError as error:
            yield Applied(store.place, "not created", error)


def settled(settings: Settings, pace: Pace) -> Plan:
    """Look again, until RDS shows what it was asked for or the deadline has passed, and return what differs then."""
    started = pace.clock()
    plan = plan_of(settings)
    while plan.changes and pace.clock() - started < pace.deadline_seconds:
        pace.sleep(pace.seconds)
        plan = plan_of(settings)
    return plan


def _stack(plan: StackPlan, settings: Settings, pace: Pace) -> Iterator[Applied]:
    access = access_for(settings).within(plan.wanted.region)
    try:
        if plan.dangers:
            raise Refused(
                f"the {plan.place} was not changed: something would be lost",
                why="; ".join(f"{line.name}: {line.wanted}" for line in plan.dangers),
                remedy=plan.dangers[0].how,
            )
        if plan.changes:
            change_set = make(access, plan.wanted, exists=plan.stack is not None, pace=pace)
            for change in change_set.changes if change_set else ():
                yield Applied(plan.place, f"change set: {change.text}")
            status = execute(access, change_set, pace) if change_set else "without a change"
            yield Applied(plan.place, status)
        if plan.unprotected:
            protect(access, plan.wanted.name)
            yield Applied(plan.place, "termination protection is on")
    except BackupError as error:
        yield Applied(plan.place, "not changed", error)


def _opt_in(opt_in: OptIn) -> Applied:
    place = f"AWS Backup in {opt_in.access.region}"
    try:
        with explained("change the settings of AWS Backup", opt_in.access):
            # All of them, as it is not said what becomes of those that are left out.
            opt_in.access.client("backup").update_region_settings(ResourceTypeOptInPreference=dict(opt_in.preferences))
    except BackupError as error:
        return Applied(place, "not changed", error)
    return Applied(place, "resource types are opted in")
