"""Which changes of a change set are made, which never, and how the end is waited for. CloudFormation is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from backup_assets.aws.access import Access
from backup_assets.aws.provision.change_sets import ChangeSet, execute, make, reviewed
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.template import template_text
from backup_assets.aws.provision.wanted import Wanted
from backup_assets.errors import EnvironmentFault, Refused

STACK = "arn:aws:cloudformation:ap-northeast-1:123456789012:stack/backup-assets/1"
ARN = "arn:aws:cloudformation:ap-northeast-1:123456789012:changeSet/one/1"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
WANTED = Wanted("ap-northeast-1", "backup-assets", "first", {"Name": "backup-assets", "Environment": "production"})
ONE = ChangeSet(ARN, STACK, "one", ())
QUICK = Pace(seconds=0, deadline_seconds=60)


def change(action: str = "Modify", replacement: str | None = "False", *targets: str, **more: Any) -> dict[str, Any]:
    body = {"Action": action, "LogicalResourceId": "BackupVault", "ResourceType": "AWS::Backup::BackupVault", **more}
    if replacement:
        body["Replacement"] = replacement
    if targets:
        body["Details"] = [{"Target": {"Attribute": "Properties", "Name": name}} for name in targets]
    return {"Type": "Resource", "ResourceChange": body}


def test_what_is_added_or_changed_in_place_is_no_danger() -> None:
    assert reviewed(change("Add", None)).danger == ""
    found = reviewed(change("Modify", "False", "BackupVaultTags"))
    assert (found.text, found.danger) == ("Modify BackupVault (AWS::Backup::BackupVault): BackupVaultTags", "")


@pytest.mark.parametrize(
    ("raw", "danger"),
    [
        (change("Remove", None), "it would be removed"),
        (change("Modify", "True"), "it would be replaced"),
        (change("Modify", "Conditional"), "it might be replaced"),
        (change("Modify", None), "CloudFormation does not say that it stays"),
        (change("Dynamic", None), "Dynamic is never done here"),
        (change("Import", None), "Import is never done here"),
        (change("Modify", "False", "LockConfiguration"), "a lock would be changed"),
        (change("Modify", "False", PolicyAction="ReplaceAndRetain"), "CloudFormation would ReplaceAndRetain it"),
        ({"Type": "Resource"}, "it is of a kind that is not known here"),
    ],
)
def test_everything_else_is_a_danger(raw: dict[str, Any], danger: str) -> None:
    assert reviewed(raw).danger == danger


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Answers of CloudFormation in the order in which they are asked for; an unasked one fails the test."""
    client = boto3.client("cloudformation", "ap-northeast-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    monkeypatch.setattr(Access, "client", lambda *_: client)
    with stubber:
        yield stubber
        stubber.assert_no_pending_responses()


ACCESS = Access("ap-northeast-1")


def created(stubber: Stubber, kind: str = "UPDATE") -> None:
    request = {
        "StackName": "backup-assets",
        "ChangeSetName": ANY,
        "ChangeSetType": kind,
        "TemplateBody": template_text("first"),
        "Parameters": [
            {"ParameterKey": "Environment", "ParameterValue": "production"},
            {"ParameterKey": "Name", "ParameterValue": "backup-assets"},
        ],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    stubber.add_response("create_change_set", {"Id": ARN, "StackId": STACK}, request)


def described(stubber: Stubber, status: str, *changes: Any, token: str | None = None, **more: Any) -> None:
    request = {"ChangeSetName": ARN, "StackName": STACK} | ({"NextToken": token} if token else {})
    stubber.add_response("describe_change_set", {"Status": status, "Changes": list(changes), **more}, request)


def withdrawn(stubber: Stubber) -> None:
    stubber.add_response("delete_change_set", {}, {"ChangeSetName": ARN, "StackName": STACK})


def test_a_change_set_is_waited_for_and_read_to_its_last_page(recorded: Stubber) -> None:
    created(recorded)
    described(recorded, "CREATE_PENDING")
    described(recorded, "CREATE_IN_PROGRESS")
    described(recorded, "CREATE_COMPLETE", change("Add", None), NextToken="2")
    described(recorded, "CREATE_COMPLETE", change("Modify", "False"), token="2")

    found = make(ACCESS, WANTED, exists=True, pace=QUICK)
    assert found and found.arn == ARN and len(found.changes) == 2


def test_a_danger_on_the_last_page_is_seen_and_the_change_set_withdrawn(recorded: Stubber) -> None:
    created(recorded, "CREATE")
    described(recorded, "CREATE_COMPLETE", change("Add", None), NextToken="2")
    described(recorded, "CREATE_COMPLETE", change("Remove", None), token="2")
    withdrawn(recorded)

    with pytest.raises(Refused, match="something would be lost") as raised:
        make(ACCESS, WANTED, exists=False, pace=QUICK)
    assert "Remove BackupVault (AWS::Backup::BackupVault): it would be removed" in raised.value.why


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_a_change_set_without_changes_is_withdrawn_and_no_error(recorded: Stubber, reason: str) -> None:
    created(recorded)
    described(recorded, "FAILED", StatusReason=reason)
    withdrawn(recorded)

    assert make(ACCESS, WANTED, exists=True, pace=QUICK) is None


def test_a_change_set_that_fails_says_why(recorded: Stubber) -> None:
    created(recorded)
    described(recorded, "FAILED", StatusReason="Transform AWS::Nothing failed")
    withdrawn(recorded)

    with pytest.raises(EnvironmentFault, match="could not make a change set") as raised:
        make(ACCESS, WANTED, exists=True, pace=QUICK)
    assert raised.value.why == "Transform AWS::Nothing failed"


def test_a_change_set_is_not_waited_for_endlessly(recorded: Stubber) -> None:
    created(recorded)
    described(recorded, "CREATE_IN_PROGRESS")
    described(recorded, "CREATE_IN_PROGRESS")
    clock = iter([0.0, 30.0, 61.0])
    slept: list[float] = []

    with pytest.raises(EnvironmentFault, match="has not ended after 1 minutes"):
        make(ACCESS, WANTED, exists=True, pace=Pace(5, 60, slept.append, lambda: next(clock)))
    assert slept == [5]


def stack(stubber: Stubber, status: str, updated: datetime | None = None) -> None:
    body: dict[str, Any] = {"StackName": "backup-assets", "CreationTime": NOW, "StackStatus": status}
    if updated:
        body["LastUpdatedTime"] = updated
    stubber.add_response("describe_stacks", {"Stacks": [body]}, {"StackName": STACK})


def executed(stubber: Stubber) -> None:
    request = {"ChangeSetName": ARN, "StackName": STACK, "ClientRequestToken": "one"}
    stubber.add_response("execute_change_set", {}, request)


def event(resource: str, status: str, reason: str = "", of: str = "one") -> dict[str, Any]:
    return {
        "StackId": STACK,
        "EventId": f"{resource}-{status}",
        "StackName": "backup-assets",
        "LogicalResourceId": resource,
        "ResourceType": "AWS::Backup::BackupPlan",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": NOW,
        "ClientRequestToken": of,
    }


def test_the_status_before_the_change_is_not_taken_for_its_end(recorded: Stubber) -> None:
    # CloudFormation may still show the end of the last change when it is asked for the first time.
    stack(recorded, "UPDATE_COMPLETE", NOW)
    executed(recorded)
    stack(recorded, "UPDATE_COMPLETE", NOW)
    described(recorded, "CREATE_COMPLETE", ExecutionStatus="EXECUTE_IN_PROGRESS")
    stack(recorded, "UPDATE_IN_PROGRESS", NOW.replace(minute=1))
    stack(recorded, "UPDATE_COMPLETE", NOW.replace(minute=1))

    assert execute(ACCESS, ONE, QUICK) == "UPDATE_COMPLETE"


def test_a_failure_is_told_with_the_events_of_this_change_the_first_one_first(recorded: Stubber) -> None:
    stack(recorded, "UPDATE_COMPLETE", NOW)
    executed(recorded)
    stack(recorded, "UPDATE_ROLLBACK_IN_PROGRESS", NOW.replace(minute=1))
    stack(recorded, "UPDATE_ROLLBACK_COMPLETE", NOW.replace(minute=1))
    events = [
        event("EventsRule", "UPDATE_FAILED", "Resource update cancelled"),
        event("Selection2", "CREATE_FAILED", "followed"),
        event("BackupPlan", "UPDATE_FAILED", "Invalid lifecycle"),
        event("BackupPlan", "UPDATE_IN_PROGRESS"),
        event("BackupPlan", "UPDATE_FAILED", "of last year", of="other"),
    ]
    recorded.add_response("describe_stack_events", {"StackEvents": events}, {"StackName": STACK})

    with pytest.raises(
        EnvironmentFault, match="the stack backup-assets in ap-northeast-1 ended UPDATE_ROLLBACK"
    ) as raised:
        execute(ACCESS, ONE, QUICK)
    assert raised.value.why == (
        "BackupPlan (AWS::Backup::BackupPlan): Invalid lifecycle; Selection2 (AWS::Backup::BackupPlan): followed"
    )


def test_an_execution_is_not_waited_for_endlessly(recorded: Stubber) -> None:
    stack(recorded, "REVIEW_IN_PROGRESS")
    executed(recorded)
    stack(recorded, "CREATE_IN_PROGRESS")
    clock = iter([0.0, 61.0])

    with pytest.raises(EnvironmentFault, match="has not ended") as raised:
        execute(ACCESS, ONE, Pace(5, 60, lambda _: None, lambda: next(clock)))
    assert "backup-assets aws plan" in raised.value.remedy


def test_a_denied_execution_names_the_permission(recorded: Stubber) -> None:
    stack(recorded, "REVIEW_IN_PROGRESS")
    said = (
        "User: arn:aws:sts::123456789012:assumed-role/x/y is not authorized to perform: cloudformation:ExecuteChangeSet"
    )
    recorded.add_client_error("execute_change_set", "AccessDenied", said, 403)

    with pytest.raises(EnvironmentFault) as raised:
        execute(ACCESS, ONE, QUICK)
    assert "allow cloudformation:ExecuteChangeSet" in raised.value.remedy
