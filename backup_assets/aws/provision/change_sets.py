"""What would CloudFormation do, may it, and how did it end?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backup_assets.aws.access import Access
from backup_assets.aws.answers import explained
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.template import LOCK, template_text
from backup_assets.aws.provision.wanted import Wanted
from backup_assets.errors import EnvironmentFault, Refused

#: How CloudFormation says that a change set would change nothing; it has no code for it.
_NOTHING = ("didn't contain changes", "No updates are to be performed")
_ENDED_WELL = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
#: What is done to the resource itself when CloudFormation lets go of it.
_TAKES_AWAY = {"Delete", "ReplaceAndDelete", "ReplaceAndRetain", "ReplaceAndSnapshot", "Snapshot"}
#: Of no resource that fails because another one did.
_FOLLOWS = "cancelled"


@dataclass(frozen=True)
class Change:
    """One change of a change set in words; ``danger`` is why it may not be made, or ""."""

    text: str
    danger: str


@dataclass(frozen=True)
class ChangeSet:
    """A described change set; ``arn`` is what is executed, and nothing else."""

    arn: str
    stack_id: str
    name: str
    changes: tuple[Change, ...]


def reviewed(raw: Mapping[str, Any]) -> Change:
    """Return what one entry of `DescribeChangeSet` means. Only what adds, or changes in place, is without danger."""
    change = raw.get("ResourceChange")
    if not change:
        return Change(f"a change of type {raw.get('Type')}", "it is of a kind that is not known here")
    action, replacement = change["Action"], change.get("Replacement")
    properties = sorted({target.get("Name") or target["Attribute"] for target in _targets(change)})
    text = f"{action} {change['LogicalResourceId']} ({change['ResourceType']})"
    text += f": {', '.join(properties)}" if properties and action == "Modify" else ""
    return Change(text, _danger(action, replacement, change.get("PolicyAction"), properties))


def _danger(action: str, replacement: str | None, policy: str | None, properties: Sequence[str]) -> str:
    if action == "Add":
        return ""
    if action != "Modify":
        return "it would be removed" if action == "Remove" else f"{action} is never done here"
    if replacement != "False":
        return {"True": "it would be replaced", "Conditional": "it might be replaced"}.get(
            str(replacement), "CloudFormation does not say that it stays"
        )
    if policy in _TAKES_AWAY:
        return f"CloudFormation would {policy} it"
    return "a lock would be changed" if LOCK in properties else ""


def _targets(change: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for detail in change.get("Details", ()):
        if "Target" in detail and "Attribute" in detail["Target"]:
            yield detail["Target"]


def make(access: Access, wanted: Wanted, *, exists: bool, pace: Pace) -> ChangeSet | None:
    """Make a change set, wait until it is described, and return it; None when it would change nothing.

    Raises Refused, after it was withdrawn, when it would remove or replace anything or change a lock.
    """
    client = access.client("cloudformation")
    name = f"backup-assets-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with explained(f"make a change set of the stack {wanted.name}", access):
        made = client.create_change_set(
            StackName=wanted.name,
            ChangeSetName=name,
            ChangeSetType="UPDATE" if exists else "CREATE",
            TemplateBody=template_text(wanted.template),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(wanted.parameters.items())
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
    arn, stack_id = made["Id"], made["StackId"]
    remedy = "look at it in the console of CloudFormation, then repeat"
    raws: list[Mapping[str, Any]] = []
    for _ in pace.looks(f"the change set {name} in {access.region}", remedy):
        answer = _described(access, client, arn, stack_id)
        raws = answer["Changes"]
        if answer["Status"] == "CREATE_COMPLETE":
            break
        if answer["Status"] == "FAILED":
            _withdraw(access, client, arn, stack_id)
            reason = answer.get("StatusReason", "")
            if any(words in reason for words in _NOTHING):
                return None
            raise EnvironmentFault(
                f"CloudFormation could not make a change set of the stack {wanted.name} in {access.region}",
                why=reason,
                remedy="mend what it names, then repeat; nothing was changed",
            )
    found = ChangeSet(arn, stack_id, name, tuple(reviewed(raw) for raw in raws))
    dangers = [f"{one.text}: {one.danger}" for one in found.changes if one.danger]
    if dangers:
        _withdraw(access, client, arn, stack_id)
        raise Refused(
            f"the stack {wanted.name} in {access.region} was not changed: something would be lost",
            why="; ".join(dangers),
            remedy="set the settings back, or do it by hand in the console of CloudFormation if it is meant",
        )
    return found


def _described(access: Access, client: Any, arn: str, stack_id: str) -> dict[str, Any]:
    """Return the description with the changes of all its pages."""
    request = {"ChangeSetName": arn, "StackName": stack_id}
    with explained("look at a change set", access):
        answer = client.describe_change_set(**request)
        changes = list(answer.get("Changes", ()))
        while token := answer.get("NextToken"):
            answer = client.describe_change_set(**request, NextToken=token)
            changes += answer.get("Changes", ())
    return {**answer, "Changes": changes}


def _withdraw(access: Access, client: Any, arn: str, stack_id: str) -> None:
    """Delete a change set that will not be executed; of the stack nothing is touched."""
    with explained("withdraw a change set", access):
        client.delete_change_set(ChangeSetName=arn, StackName=stack_id)


def execute(access: Access, change_set: ChangeSet, pace: Pace) -> str:
    """Execute a described change set, wait for its end, and return the stack's status.

    Raises EnvironmentFault with what failed; CloudFormation has taken it back then, except for what is retained.
    """
    client = access.client("cloudformation")
    name = change_set.stack_id.split("/")[1] if "/" in change_set.stack_id else change_set.stack_id
    before = _stack(access, client, change_set)
    with explained("execute a change set", access):
        client.execute_change_set(
            ChangeSetName=change_set.arn, StackName=change_set.stack_id, ClientRequestToken=change_set.name
        )
    remedy = "run `backup-assets aws plan` later: it shows how it ended"
    status = ""
    for _ in pace.looks(f"the change of the stack {name} in {access.region}", remedy):
        now = _stack(access, client, change_set)
        status = now["StackStatus"]
        if not status.endswith("_IN_PROGRESS") and (_has_begun(before, now) or _executed(access, client, change_set)):
            break
    if status not in _ENDED_WELL:
        failed = _failures(access, client, change_set)
        raise EnvironmentFault(
            f"the stack {name} in {access.region} ended {status}",
            why="; ".join(failed) or "its events name no reason",
            remedy="mend what failed, then run `backup-assets aws plan`: it says whether the stack needs help first",
        )
    return status


def _stack(access: Access, client: Any, change_set: ChangeSet) -> Mapping[str, Any]:
    with explained("look at a stack", access):
        return client.describe_stacks(StackName=change_set.stack_id)["Stacks"][0]


def _has_begun(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether a status is that of this change: for a moment CloudFormation still shows the last one's."""
    return before["StackStatus"] != now["StackStatus"] or before.get("LastUpdatedTime") != now.get("LastUpdatedTime")


def _executed(access: Access, client: Any, change_set: ChangeSet) -> bool:
    status = _described(access, client, change_set.arn, change_set.stack_id).get("ExecutionStatus")
    return status in {"EXECUTE_COMPLETE", "EXECUTE_FAILED"}


def _failures(access: Access, client: Any, change_set: ChangeSet) -> list[str]:
    """Return what failed, the first failure first; the others often only follow it."""
    found: list[str] = []
    with explained("read the events of a stack", access):
        for page in client.get_paginator("describe_stack_events").paginate(StackName=change_set.stack_id):
            events = [one for one in page["StackEvents"] if one.get("ClientRequestToken") == change_set.name]
            for event in events:
                reason = event.get("ResourceStatusReason", "")
                if event.get("ResourceStatus", "").endswith("_FAILED") and _FOLLOWS not in reason:
                    found.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
            if not events:  # newest first: what follows is older than this change
                break
    return found[::-1]


def protect(access: Access, name: str) -> None:
    """Switch the termination protection of a stack on."""
    with explained(f"protect the stack {name}", access):
        access.client("cloudformation").update_termination_protection(StackName=name, EnableTerminationProtection=True)
