"""Which parameters do the settings give to the two stacks, such that nothing which is there already is lost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup_assets.aws.provision.lines import Line
from backup_assets.aws.rds.api import Source
from backup_assets.aws.scope import Roles
from backup_assets.errors import Refused, SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_aws import BackupPlanSettings

Parameters = Mapping[str, str]
#: As many as the template of the first region has selections.
SLOTS = tuple(f"Source{number}" for number in range(1, 9))
#: Restore testing takes recovery points of a year at most: the API reference of AWS Backup.
_LONGEST_WINDOW_DAYS = 365
#: What is left as it is once the plan is no longer configured.
_OF_THE_PLAN = ("Vault", "KeepDays", "LockDays", "Schedule", "RestoreTestingPlan", "RestoreTestingDays", "KeyArn")
_OF_SOURCES = (*SLOTS, "TestedRds", "TestedAurora")


@dataclass(frozen=True)
class Wanted:
    """The stack of one region: which template with which parameters, and what of the settings it does not follow."""

    region: str
    name: str
    template: str
    parameters: Parameters
    notes: tuple[Line, ...] = ()


def first_stack(settings: Settings, sources: Sequence[Source], present: Parameters | None) -> Wanted:
    """Return the stack of the databases' region; ``present`` are the parameters of the one that exists.

    What would shorten a retention, change a lock or drop a database is not followed, and is a note instead. Raises
    Refused for more databases than the template has room for.
    """
    aws, plan = settings.aws, settings.aws.backup_plan
    parameters = {
        "Environment": settings.env,
        "Name": aws.name,
        "SecondRegion": aws.second_region,
        "Zone": settings.databases[0].schedule.timezone,
    }
    notes: list[Line] = []
    place = place_of(aws.name, aws.region)
    if plan is not None:
        days = _kept(plan, present, place, notes)
        parameters |= {
            "Vault": plan.vault,
            "KeepDays": days,
            "RestoreTestingDays": str(min(int(days), _LONGEST_WINDOW_DAYS)),
            "LockDays": _lock(plan, present, place, notes),
            "Schedule": schedule_of(plan),
            "RestoreTestingPlan": _restore_testing(plan, aws.name, present, place, notes),
            **_slots(sources, present, place, notes),
            **_tested(sources, present),
        }
    elif _has_plan(present):
        parameters |= _left_alone(present or {}, (*_OF_THE_PLAN, *_OF_SOURCES))
        notes.append(_no_longer_configured(place, present or {}))
    return Wanted(aws.region, aws.name, "first", parameters, tuple(notes))


def second_stack(settings: Settings, present: Parameters | None) -> Wanted:
    """Return the stack of the second region; raises SettingsError for a key that is not named by its ARN there."""
    aws, plan, roles = settings.aws, settings.aws.backup_plan, Roles()
    parameters = {
        "Environment": settings.env,
        "Name": aws.name,
        "FirstRegion": aws.region,
        "Administrator": roles.administrator,
        "Custodian": roles.custodian,
        "Restorer": roles.restorer,
    }
    notes: list[Line] = []
    place = place_of(aws.name, aws.second_region)
    if plan is not None:
        key = plan.second_kms_key_id or ""
        if key and not key.startswith("arn:"):
            raise SettingsError(
                f"aws.backup_plan.second_kms_key_id is {key}, which is no ARN",
                why="a vault names its key by its ARN, as an alias can be moved",
                remedy=f"set it to what this prints: aws kms describe-key --region {aws.second_region} "
                f"--key-id {key} --query KeyMetadata.Arn --output text",
            )
        parameters |= {"Vault": plan.vault, "LockDays": _lock(plan, present, place, notes), "KeyArn": key}
    elif _has_plan(present):
        parameters |= _left_alone(present or {}, _OF_THE_PLAN)
        notes.append(_no_longer_configured(place, present or {}))
    return Wanted(aws.second_region, aws.name, "second", parameters, tuple(notes))


def schedule_of(plan: BackupPlanSettings) -> str:
    """Return when recovery points are made, as AWS Backup writes it: at hours counted from midnight."""
    hours = ",".join(str(hour) for hour in range(0, 24, plan.every_hours))
    return f"cron(0 {hours} ? * * *)"


def _has_plan(present: Parameters | None) -> bool:
    return bool((present or {}).get("Vault"))


def _left_alone(present: Parameters, names: Sequence[str]) -> Parameters:
    return {name: present[name] for name in names if name in present}


def place_of(name: str, region: str) -> str:
    """Return what a stack is called in a line."""
    return f"stack {name} in {region}"


def _by_hand(parameter: str, value: str) -> str:
    """Return the way that keeps the stack's own memory right, which a change in AWS Backup's console would not."""
    return (
        "if it is meant, by hand in the console of CloudFormation: update the stack with its existing template and "
        f"{parameter} = {value or '(empty)'}"
    )


def _no_longer_configured(place: str, present: Parameters) -> Line:
    how = "if it is meant, remove the plan in the console of AWS Backup; the vaults keep what is in them"
    return Line(place, "backup plan", "left", f"vault {present['Vault']}", "not configured", how)


def _kept(plan: BackupPlanSettings, present: Parameters | None, place: str, notes: list[Line]) -> str:
    if _has_plan(present) and (days := int((present or {}).get("KeepDays", "0"))) > plan.keep_days:
        how = f"fewer days delete sooner; {_by_hand('KeepDays', str(plan.keep_days))}"
        name = "days that recovery points are kept"
        notes.append(Line(place, name, "refused", str(days), str(plan.keep_days), how))
        return str(days)
    return str(plan.keep_days)


def _lock(plan: BackupPlanSettings, present: Parameters | None, place: str, notes: list[Line]) -> str:
    wanted = plan.keep_days if plan.locked else 0
    if not _has_plan(present):
        return str(wanted)
    days = int((present or {}).get("LockDays", "0"))
    # A lock that demands less than what is kept still holds all of it for its own days.
    if days != wanted:
        how = f"a lock is never changed; {_by_hand('LockDays', str(wanted))}"
        notes.append(Line(place, "least days of the vault's lock", "refused", str(days), str(wanted), how))
    return str(days)


def _restore_testing(
    plan: BackupPlanSettings, name: str, present: Parameters | None, place: str, notes: list[Line]
) -> str:
    before = (present or {}).get("RestoreTestingPlan", "")
    # AWS allows no hyphen in it.
    wanted = name.replace("-", "_") if plan.restore_testing else ""
    if before and not wanted:
        how = _by_hand("RestoreTestingPlan", "")
        notes.append(Line(place, "restore testing", "left", before, "none", how))
        wanted = before
    return wanted


def _slots(sources: Sequence[Source], present: Parameters | None, place: str, notes: list[Line]) -> Parameters:
    """Return which database is in which selection: each stays where it is, and new ones take what is free."""
    taken = {slot: arn for slot in SLOTS if (arn := (present or {}).get(slot, ""))}
    wanted = [source.arn for source in sources]
    for slot, arn in taken.items():
        if arn not in wanted:
            notes.append(Line(place, "backed up by the plan", "left", arn, "not configured", _by_hand(slot, "")))
    free = [slot for slot in SLOTS if slot not in taken]
    new = [arn for arn in wanted if arn not in taken.values()]
    if len(new) > len(free):
        raise Refused(
            f"{len(taken) + len(new)} databases do not fit into one plan of AWS Backup with room for {len(SLOTS)}",
            why="every database has a selection of its own, because a selection cannot be changed",
            remedy="spread the databases over several settings, each with an `aws.name` and `aws.backup_plan.vault`",
        )
    return taken | dict(zip(free, new, strict=False))


def _tested(sources: Sequence[Source], present: Parameters | None) -> Parameters:
    found: dict[str, str] = {}
    for name, aurora in (("TestedRds", False), ("TestedAurora", True)):
        before = [arn for arn in (present or {}).get(name, "").split(",") if arn]
        now = [source.arn for source in sources if source.engine.startswith("aurora") == aurora]
        found[name] = ",".join(dict.fromkeys((*before, *now)))
    return found
