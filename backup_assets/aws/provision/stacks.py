"""How is a stack of CloudFormation, in what does it differ from the wanted one, and what must a person mend first?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from backup_assets.aws.access import Access
from backup_assets.aws.answers import explained
from backup_assets.aws.provision.lines import Line
from backup_assets.aws.provision.template import differences, parameters_in, resources_of, template_text
from backup_assets.aws.provision.wanted import Wanted, place_of
from backup_assets.errors import Refused
from backup_assets.stores.s3_errors import code_of

#: A change set was made and never executed: there is a name, and nothing else.
_NAME_ONLY = {"REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}
GOOD = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}


@dataclass(frozen=True)
class Stack:
    """A stack as it is; ``reason`` is what CloudFormation says of its status."""

    name: str
    id: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    protected: bool
    template: str


@dataclass(frozen=True)
class StackPlan:
    """A stack, the wanted one, and what differs."""

    wanted: Wanted
    stack: Stack | None
    lines: tuple[Line, ...]

    @property
    def place(self) -> str:
        """What it is called in lines."""
        return place_of(self.wanted.name, self.wanted.region)

    @property
    def dangers(self) -> tuple[Line, ...]:
        """What keeps a change set from being made at all."""
        return tuple(one for one in self.lines if one.state == "refused" and one not in self.wanted.notes)

    @property
    def changes(self) -> bool:
        """Whether a change set is needed."""
        return any(one.state == "to change" and one.name != PROTECTION for one in self.lines)

    @property
    def unprotected(self) -> bool:
        """Whether termination protection is to be switched on."""
        return self.stack is None or not self.stack.protected


PROTECTION = "termination protection"


def look_at(access: Access, name: str, env: str) -> Stack | None:
    """Return the stack of that name, None when there is none (or only a change set that was never executed).

    Raises Refused for one that something else made, that is at work, or that a failure left in a state from which only
    a person brings it back.
    """
    client = access.client("cloudformation")
    with explained(f"look at the stack {name}", access):
        try:
            raw = client.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            # The one error of this call that is an answer; CloudFormation has no code of its own for it.
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
        if raw["StackStatus"] in _NAME_ONLY:
            return None
        stack = _stack(raw, _text(client.get_template(StackName=raw["StackId"])["TemplateBody"]))
    _require_ours(stack, access, env)
    require_usable(stack.name, stack.status, stack.reason, access)
    return stack


def _stack(raw: Mapping[str, Any], template: str) -> Stack:
    return Stack(
        name=raw["StackName"],
        id=raw["StackId"],
        status=raw["StackStatus"],
        reason=raw.get("StackStatusReason", ""),
        parameters={one["ParameterKey"]: one.get("ParameterValue", "") for one in raw.get("Parameters", ())},
        outputs={one["OutputKey"]: one["OutputValue"] for one in raw.get("Outputs", ())},
        protected=bool(raw.get("EnableTerminationProtection")),
        template=template,
    )


def _text(body: Any) -> str:
    # boto3 parses a template that is JSON. JSON is YAML too, but none of ours is; it is refused by its parameters.
    return body if isinstance(body, str) else str(dict(body))


def _require_ours(stack: Stack, access: Access, env: str) -> None:
    there = stack.parameters.get("Environment")
    if there == env:
        return
    raise Refused(
        f"the stack {stack.name} in {access.region} belongs to "
        + (f"the environment {there}, and these settings are of {env}" if there else "something else"),
        why="a stack is changed only by the settings that made it",
        remedy="set another `aws.name` (and `aws.backup_plan.vault`)",
    )


def require_usable(name: str, status: str, reason: str, access: Access) -> None:
    """Raise Refused, with what to do, for a stack that CloudFormation would not change now."""
    if status in GOOD:
        return
    of_it = f"--region {access.region} --stack-name {name}"
    if status.endswith("_IN_PROGRESS"):
        remedy = "wait until CloudFormation has ended, then repeat"
    elif status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"}:
        remedy = (
            "nothing of it is in use yet: remove its remains with `aws cloudformation delete-stack "
            f"{of_it}`, mend what the events name, and apply again (vaults and keys that it made stay)"
        )
    elif status == "UPDATE_ROLLBACK_FAILED":
        remedy = f"mend what the events name, then `aws cloudformation continue-update-rollback {of_it}`"
    else:
        remedy = (
            f"look at `aws cloudformation describe-stack-events {of_it}`; AWS's documentation says what {status} needs"
        )
    raise Refused(f"the stack {name} in {access.region} is {status}, and cannot be changed", why=reason, remedy=remedy)


def planned(wanted: Wanted, stack: Stack | None, vaults: Mapping[str, Any]) -> StackPlan:
    """Return what differs; ``vaults`` are those of the region by name. Raises as `template.resources_of`."""
    place = place_of(wanted.name, wanted.region)
    text = template_text(wanted.template)
    new = resources_of(text, wanted.parameters)
    old = resources_of(stack.template, {**parameters_in(stack.template), **stack.parameters}) if stack else {}
    lines: list[Line] = []
    for one in differences(old, new):
        if one.resource == "Outputs" and stack is None:
            continue
        if one.danger:
            how = "never done here; set the settings back, or see docs/aws.md for the way by hand"
            details = "; ".join((one.danger, *one.details))
            lines.append(Line(place, one.resource, "refused", one.type, details, how))
        elif one.action == "Add":
            lines.append(Line(place, one.resource, "to change", "none", one.type, "created by CloudFormation"))
        else:
            found = "; ".join(one.details)
            lines.append(Line(place, one.resource, "to change", one.type, found, "changed by CloudFormation"))
    if stack is None and (vault := wanted.parameters.get("Vault", "")) in vaults:
        how = "choose another aws.backup_plan.vault: what exists is never taken over"
        lines.append(Line(place, "BackupVault", "refused", f"a vault {vault} that something else made", "none", how))
    on = bool(stack and stack.protected)
    state, found = ("as wanted", "on") if on else ("to change", "off" if stack else "none")
    lines.append(Line(place, PROTECTION, state, found, "on", "" if on else "switched on at once"))
    return StackPlan(wanted, stack, (*lines, *wanted.notes))
