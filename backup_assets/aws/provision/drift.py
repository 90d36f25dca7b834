"""What did somebody change by hand in the resources that a stack of ours made?

CloudFormation compares, this waits for it and reads the result. Where CloudFormation did not look is told, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from backup_assets.aws.access import Access
from backup_assets.aws.answers import explained
from backup_assets.aws.provision.lines import Line
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.stacks import Stack, StackPlan
from backup_assets.aws.provision.template import parameters_in, resources_of
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.stores.s3_errors import code_of

#: Of each type in the templates: in which console it is set back, and what its deletion means. Tests hold both against
#: the templates.
CONSOLES: Mapping[str, str] = {
    "Backup": "AWS Backup",
    "Events": "EventBridge",
    "IAM": "IAM",
    "KMS": "KMS",
    "SQS": "SQS",
}
LOST: Mapping[str, str] = {
    "AWS::Backup::BackupPlan": "AWS Backup makes no recovery points of these databases any more",
    "AWS::Backup::BackupSelection": "AWS Backup makes no recovery points of its database any more",
    "AWS::Backup::BackupVault": "recovery points and copies have no place to go to, and their jobs fail",
    "AWS::Backup::RestoreTestingPlan": "AWS Backup restores nothing on trial any more",
    "AWS::Backup::RestoreTestingSelection": "AWS Backup does not restore these databases on trial any more",
    "AWS::Events::Rule": "what happens in RDS and AWS Backup is sent to the queue no more",
    "AWS::IAM::Role": "what AWS does in its name fails",
    "AWS::KMS::Alias": "the key has lost this name",
    "AWS::KMS::Key": (
        "what is encrypted with it cannot be restored; a key whose deletion is only scheduled looks like this too: "
        "`aws kms cancel-key-deletion` and `aws kms enable-key` at once"
    ),
    "AWS::SQS::Queue": "events are lost, and nothing is read from aws.events.queue_url",
    "AWS::SQS::QueuePolicy": "EventBridge may not send to the queue any more",
}
_DRIFTED = {"MODIFIED", "DELETED"}
_IN_SYNC = "IN_SYNC"
_COMPLETE = "DETECTION_COMPLETE"
#: Characters of a value in a line, and how many of them stand before the first difference.
_SHOWN, _BEFORE = 120, 40


@dataclass(frozen=True)
class Drift:
    """What CloudFormation found in one stack.

    ``checked`` is how many resources it compared, ``unchecked`` names those that it did not, and ``error`` says why the
    look failed; there may be ``lines`` all the same.
    """

    place: str
    checked: int = 0
    lines: tuple[Line, ...] = ()
    unchecked: tuple[str, ...] = ()
    error: BackupError | None = None


def drift_of(access: Access, plan: StackPlan, pace: Pace) -> Drift:
    """Let CloudFormation compare what a stack made with its template, wait for it, and return what it found.

    ``access`` is that of the stack's region. It changes nothing of the resources. Errors of the family of `errors.py`
    are in the result, never raised, so that the plan and the other stack are shown all the same.
    """
    if plan.stack is None:
        return Drift(plan.place)
    try:
        ended = _detected(access, plan.stack, pace)
        return _read(plan.place, plan.stack, ended, _results(access, plan.stack, ended))
    except BackupError as error:
        return Drift(plan.place, error=error)


def _detected(access: Access, stack: Stack, pace: Pace) -> Mapping[str, Any]:
    """Start a detection, after the end of one that is under way, and return how it ended.

    One that somebody else started cannot be joined, as CloudFormation tells its id to nobody else; and what it read
    first may be older than the question.
    """
    client = access.client("cloudformation")
    remedy = "repeat it later; `aws cloudformation describe-stacks` shows when it looked last"
    detection, answer = "", {}
    for _ in pace.looks(f"the look for drift in the stack {stack.name} in {access.region}", remedy):
        with explained(f"look for drift in the stack {stack.name}", access):
            detection = detection or _started(client, stack)
            if not detection:
                continue
            answer = client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        if answer["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            break
    return answer


def _started(client: Any, stack: Stack) -> str:
    """Return the id of a new detection, "" while another one is under way."""
    try:
        return client.detect_stack_drift(StackName=stack.id)["StackDriftDetectionId"]
    except ClientError as error:
        # CloudFormation has no code of its own for it; `OperationInProgressException` is of sets of stacks.
        if code_of(error) == "ValidationError" and "already in progress" in str(error):
            return ""
        raise


def _results(access: Access, stack: Stack, ended: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the result of every resource that was looked at, of all pages.

    They are asked for without a filter: one that is as it should be has a result too, and what has none at all was not
    looked at. Of a detection that failed there may be none to read; then its own reason is what is told.
    """
    client = access.client("cloudformation")
    found: list[Mapping[str, Any]] = []
    try:
        with explained(f"read the drift of the stack {stack.name}", access):
            answer = client.describe_stack_resource_drifts(StackName=stack.id)
            found += answer["StackResourceDrifts"]
            while token := answer.get("NextToken"):
                answer = client.describe_stack_resource_drifts(StackName=stack.id, NextToken=token)
                found += answer["StackResourceDrifts"]
    except BackupError:
        if ended["DetectionStatus"] == _COMPLETE:
            raise
    return found


def _read(place: str, stack: Stack, ended: Mapping[str, Any], results: list[Mapping[str, Any]]) -> Drift:
    """Return what the results mean. Nothing counts as checked but a result of this very look."""
    types = _types(stack)
    begun: datetime = ended["Timestamp"]
    lines: list[Line] = []
    fresh: set[str] = set()
    unknown: list[str] = []
    for one in results:
        name, status = one["LogicalResourceId"], one["StackResourceDriftStatus"]
        types.setdefault(name, one["ResourceType"])
        if status in _DRIFTED:
            # One of an earlier look is told as well, rather than drift be lost.
            lines += _lines(place, one)
        if status == "UNKNOWN":
            unknown.append(f"{name}: {_plain(one.get('DriftStatusReason', '')) or 'no reason is given'}")
        elif status in {*_DRIFTED, _IN_SYNC} and one["Timestamp"] >= begun:
            fresh.add(name)
    if ended.get("StackDriftStatus") == "DRIFTED" and not lines:
        how = "look at the drift of the stack in the console of CloudFormation"
        lines.append(Line(place, "drift", "left", "drifted, but no resource is named", "as the template says", how))
    unchecked = tuple(f"{name} ({kind})" for name, kind in types.items() if name not in fresh)
    failed = ended["DetectionStatus"] != _COMPLETE or ended.get("StackDriftStatus") == "UNKNOWN"
    error = None
    if failed or unknown:
        reasons = (_reason(ended.get("DetectionStatusReason", "")), *unknown)
        error = EnvironmentFault(
            f"CloudFormation could not look at everything in the {place}",
            why="; ".join(reason for reason in reasons if reason) or "it gives no reason",
            remedy="allow what it names (docs/aws.md lists what the stacks need), then repeat; what it did not look at "
            "may be changed",
        )
    return Drift(place, len(fresh), tuple(lines), unchecked, error)


def _types(stack: Stack) -> dict[str, str]:
    """Return the type of every resource that the stack has."""
    resources = resources_of(stack.template, {**parameters_in(stack.template), **stack.parameters})
    return {name: one.type for name, one in resources.items() if name != "Outputs"}


def _lines(place: str, result: Mapping[str, Any]) -> Iterator[Line]:
    name, kind = result["LogicalResourceId"], result["ResourceType"]
    if result["StackResourceDriftStatus"] == "DELETED":
        lost = LOST.get(kind, "what needs it fails")
        how = f"{lost}; CloudFormation does not make it again by itself, nor does `aws apply`: docs/aws.md, Drift"
        yield Line(place, name, "left", "deleted", kind, how)
        return
    console = CONSOLES.get(kind.split("::")[1], kind)
    how = f"set it back by hand in the console of {console}; `aws apply` does not change it: docs/aws.md, Drift"
    differences = result.get("PropertyDifferences", ())
    if not differences:  # reported of some types; the resource counts as drifted all the same
        yield Line(place, name, "left", "modified, but no property is named", "as the template says", how)
    for one in differences:
        found, wanted = _around_the_difference(_plain(one["ActualValue"]), _plain(one["ExpectedValue"]))
        yield Line(place, f"{name}{one['PropertyPath']}", "left", found, wanted, how)


def _around_the_difference(found: str, wanted: str) -> tuple[str, str]:
    """Return both as they are or, when one of them is long, the part of each in which they begin to differ."""
    if max(len(found), len(wanted)) <= _SHOWN:
        return found, wanted
    same = next((at for at, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other), 0)
    start = max(0, same - _BEFORE)
    return _cut(found, start), _cut(wanted, start)


def _cut(text: str, start: int) -> str:
    return f"{'…' if start else ''}{text[start : start + _SHOWN]}{'…' if len(text) > start + _SHOWN else ''}"


def _plain(text: str) -> str:
    """Return a value or reason in one line; what is not there is `null` in CloudFormation's words."""
    return "none" if text == "null" else " ".join(text.split())


def _reason(text: str) -> str:
    """Return why a detection failed: a sentence, or JSON with the reason of each resource."""
    try:
        told = json.loads(text)
    except ValueError:  # it is a sentence
        return _plain(text)
    if not isinstance(told, Mapping):
        return _plain(text)
    each = [one for one in told.get("Failures") or () if isinstance(one, Mapping)]
    failures = [f"{one.get('Resource')}: {one.get('FailureReason')}" for one in each]
    return _plain("; ".join(failures) or str(told.get("Summary", text)))
