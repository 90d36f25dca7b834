"""What was changed by hand in a stack, and what is never said of what was not looked at. CloudFormation is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from backup_assets.aws.access import Access
from backup_assets.aws.provision.drift import CONSOLES, LOST, drift_of
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.stacks import Stack, StackPlan
from backup_assets.aws.provision.template import template_text
from backup_assets.aws.provision.wanted import Wanted
from backup_assets.errors import EnvironmentFault
from backup_assets_tests.aws.provision.test_templates import all_resources

ID = "arn:aws:cloudformation:ap-northeast-3:123456789012:stack/backup-assets/1"
PLACE = "stack backup-assets in ap-northeast-3"
BEGUN = datetime(2026, 11, 22, tzinfo=UTC)
ACCESS = Access("ap-northeast-3")
QUICK = Pace(seconds=0, deadline_seconds=60)
WANTED = Wanted("ap-northeast-3", "backup-assets", "second", {})
#: Without a plan of AWS Backup there are two resources: a role and a rule.
STACK = Stack("backup-assets", ID, "CREATE_COMPLETE", "", {"Name": "backup-assets"}, {}, True, template_text("second"))
PLAN = StackPlan(WANTED, STACK, ())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Answers of CloudFormation in the order in which they are asked for; an unasked one fails the test."""
    client = boto3.client("cloudformation", "ap-northeast-3", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    monkeypatch.setattr(Access, "client", lambda *_: client)
    with stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def started(stubber: Stubber) -> None:
    stubber.add_response("detect_stack_drift", {"StackDriftDetectionId": "one"}, {"StackName": ID})


def looked(stubber: Stubber, status: str = "DETECTION_COMPLETE", drift: str = "IN_SYNC", **more: Any) -> None:
    answer = {
        "StackId": ID,
        "StackDriftDetectionId": "one",
        "DetectionStatus": status,
        "StackDriftStatus": drift,
        "Timestamp": BEGUN,
        **more,
    }
    stubber.add_response("describe_stack_drift_detection_status", answer, {"StackDriftDetectionId": "one"})


def found(stubber: Stubber, *results: Any, token: str | None = None, following: str | None = None) -> None:
    request = {"StackName": ID} | ({"NextToken": token} if token else {})
    answer = {"StackResourceDrifts": list(results)} | ({"NextToken": following} if following else {})
    stubber.add_response("describe_stack_resource_drifts", answer, request)


def result(name: str, status: str = "IN_SYNC", kind: str = "AWS::IAM::Role", **more: Any) -> dict[str, Any]:
    return {
        "StackId": ID,
        "LogicalResourceId": name,
        "ResourceType": kind,
        "StackResourceDriftStatus": status,
        "Timestamp": BEGUN + timedelta(seconds=12),
        **more,
    }


def difference(path: str, wanted: str, actual: str, kind: str = "NOT_EQUAL") -> dict[str, str]:
    return {"PropertyPath": path, "ExpectedValue": wanted, "ActualValue": actual, "DifferenceType": kind}


ROLE = result("ForwarderRole")
RULE = result("EventsRule", kind="AWS::Events::Rule")


def test_without_drift_there_is_no_line_and_everything_was_looked_at(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded)
    found(recorded, ROLE, RULE)

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert (drift.place, drift.checked, drift.lines, drift.unchecked, drift.error) == (PLACE, 2, (), (), None)


def test_every_changed_property_is_a_line_that_is_left_to_a_person(recorded: Stubber) -> None:
    changes = [
        difference("/State", "ENABLED", "DISABLED"),
        difference("/EventPattern/source/2", "null", "aws.ec2", "ADD"),
        difference("/Targets/0/RoleArn", "arn:aws:iam::1:role/x", "null", "REMOVE"),
    ]
    started(recorded)
    looked(recorded, drift="DRIFTED", DriftedStackResourceCount=1)
    found(recorded, ROLE, result("EventsRule", "MODIFIED", "AWS::Events::Rule", PropertyDifferences=changes))

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert [(one.name, one.found, one.wanted) for one in drift.lines] == [
        ("EventsRule/State", "DISABLED", "ENABLED"),
        ("EventsRule/EventPattern/source/2", "aws.ec2", "none"),
        ("EventsRule/Targets/0/RoleArn", "none", "arn:aws:iam::1:role/x"),
    ]
    assert {(one.place, one.state, one.differs) for one in drift.lines} == {(PLACE, "left", True)}
    assert "by hand in the console of EventBridge" in drift.lines[0].how
    assert "`aws apply` does not change it" in drift.lines[0].how
    assert (drift.checked, drift.unchecked) == (2, ())


def test_a_deleted_resource_says_what_that_means(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, drift="DRIFTED")
    found(recorded, ROLE, RULE, result("Key", "DELETED", "AWS::KMS::Key"))

    (line,) = drift_of(ACCESS, PLAN, QUICK).lines
    assert (line.name, line.state, line.found, line.wanted) == ("Key", "left", "deleted", "AWS::KMS::Key")
    assert "cancel-key-deletion" in line.how


def test_a_modified_resource_without_a_named_property_is_drift_all_the_same(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, drift="DRIFTED")
    found(recorded, ROLE, result("EventsRule", "MODIFIED", "AWS::Events::Rule", PropertyDifferences=[]))

    assert [(one.name, one.state) for one in drift_of(ACCESS, PLAN, QUICK).lines] == [("EventsRule", "left")]


def test_drift_that_no_resource_explains_is_a_line(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, drift="DRIFTED", DriftedStackResourceCount=1)
    found(recorded, ROLE, RULE)

    (line,) = drift_of(ACCESS, PLAN, QUICK).lines
    assert (line.place, line.state) == (PLACE, "left")


def test_drift_on_the_last_page_is_found(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, drift="DRIFTED")
    found(recorded, ROLE, following="2")
    found(recorded, RULE, token="2", following="3")
    found(recorded, result("BackupVault", "DELETED", "AWS::Backup::BackupVault"), token="3")

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert ([one.name for one in drift.lines], drift.checked) == (["BackupVault"], 3)


def test_what_has_no_result_was_not_looked_at(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded)
    found(recorded, ROLE)

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert (drift.checked, drift.unchecked) == (1, ("EventsRule (AWS::Events::Rule)",))
    assert drift.error is None


@pytest.mark.parametrize("status", ["NOT_CHECKED", "UNSUPPORTED"])
def test_what_cloudformation_does_not_support_was_not_looked_at(recorded: Stubber, status: str) -> None:
    started(recorded)
    looked(recorded)
    found(recorded, ROLE, {**RULE, "StackResourceDriftStatus": status})

    assert drift_of(ACCESS, PLAN, QUICK).unchecked == ("EventsRule (AWS::Events::Rule)",)


def test_the_result_of_an_earlier_look_proves_nothing_and_its_drift_is_not_lost(recorded: Stubber) -> None:
    earlier = BEGUN - timedelta(days=1)
    started(recorded)
    looked(recorded)
    found(
        recorded, {**ROLE, "Timestamp": earlier}, {**RULE, "Timestamp": earlier, "StackResourceDriftStatus": "DELETED"}
    )

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert drift.checked == 0
    assert len(drift.unchecked) == 2
    assert [one.name for one in drift.lines] == ["EventsRule"]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("Failed to detect drift on resource [EventsRule]", "Failed to detect drift on resource [EventsRule]"),
        (
            json.dumps({"Summary": "x", "Failures": [{"Resource": "EventsRule", "FailureReason": "Access\ndenied"}]}),
            "EventsRule: Access denied",
        ),
        (json.dumps({"Summary": "Failed to detect drift on resources [EventsRule]"}), "resources [EventsRule]"),
        ('"a text in quotes"', '"a text in quotes"'),
    ],
)
def test_a_failed_detection_is_an_error_with_its_reason_beside_what_was_found(
    recorded: Stubber, reason: str, shown: str
) -> None:
    started(recorded)
    looked(recorded, "DETECTION_FAILED", DetectionStatusReason=reason)
    found(recorded, result("ForwarderRole", "DELETED"))

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert isinstance(drift.error, EnvironmentFault)
    assert drift.error.what == f"CloudFormation could not look at everything in the {PLACE}"
    assert shown in drift.error.why
    assert "docs/aws.md" in drift.error.remedy
    assert [one.name for one in drift.lines] == ["ForwarderRole"]
    assert drift.unchecked == ("EventsRule (AWS::Events::Rule)",)


def test_a_failed_detection_without_a_reason_is_an_error_still(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, "DETECTION_FAILED")
    found(recorded, ROLE, RULE)

    error = drift_of(ACCESS, PLAN, QUICK).error
    assert error and error.why == "it gives no reason"


def test_a_failed_detection_without_results_tells_its_own_reason(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, "DETECTION_FAILED", DetectionStatusReason="Access denied")
    recorded.add_client_error("describe_stack_resource_drifts", "ValidationError", "there are none", 400)

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert drift.error and drift.error.why == "Access denied"
    assert len(drift.unchecked) == 2


def test_results_that_cannot_be_read_are_an_error_and_not_taken_for_none(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded)
    recorded.add_client_error("describe_stack_resource_drifts", "Throttling", "Rate exceeded", 400)

    error = drift_of(ACCESS, PLAN, QUICK).error
    assert error and "could not read the drift of the stack backup-assets" in error.what


def test_a_resource_that_could_not_be_read_is_an_error_with_its_reason(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded)
    found(recorded, ROLE, {**RULE, "StackResourceDriftStatus": "UNKNOWN", "DriftStatusReason": "Throttled"})

    drift = drift_of(ACCESS, PLAN, QUICK)
    assert drift.error and drift.error.why == "EventsRule: Throttled"
    assert drift.unchecked == ("EventsRule (AWS::Events::Rule)",)


def test_a_stack_whose_drift_is_unknown_is_an_error(recorded: Stubber) -> None:
    started(recorded)
    looked(recorded, drift="UNKNOWN", DetectionStatusReason="it is not known")
    found(recorded, ROLE, RULE)

    error = drift_of(ACCESS, PLAN, QUICK).error
    assert error and error.why == "it is not known"


def test_a_detection_is_waited_for(recorded: Stubber) -> None:
    slept: list[float] = []
    started(recorded)
    looked(recorded, "DETECTION_IN_PROGRESS")
    looked(recorded, "DETECTION_IN_PROGRESS")
    looked(recorded)
    found(recorded, ROLE, RULE)

    assert drift_of(ACCESS, PLAN, Pace(5, 60, slept.append)).checked == 2
    assert slept == [5, 5]


def under_way(stubber: Stubber) -> None:
    said = f"Drift detection is already in progress for stack [{ID}]"
    stubber.add_client_error("detect_stack_drift", "ValidationError", said, 400)


def test_the_detection_of_somebody_else_is_waited_for_and_one_of_our_own_started(recorded: Stubber) -> None:
    slept: list[float] = []
    under_way(recorded)
    under_way(recorded)
    started(recorded)
    looked(recorded)
    found(recorded, ROLE, RULE)

    assert drift_of(ACCESS, PLAN, Pace(5, 60, slept.append)).checked == 2
    assert slept == [5, 5]


@pytest.mark.parametrize("ours", [True, False])
def test_a_detection_is_not_waited_for_endlessly(recorded: Stubber, ours: bool) -> None:
    clock = iter([0.0, 30.0, 61.0])
    if ours:
        started(recorded)
    for _ in range(2):
        looked(recorded, "DETECTION_IN_PROGRESS") if ours else under_way(recorded)

    error = drift_of(ACCESS, PLAN, Pace(5, 60, lambda _: None, lambda: next(clock))).error
    assert error and "the look for drift in the stack backup-assets in ap-northeast-3 has not ended" in error.what


def test_another_refusal_is_told_and_not_waited_for(recorded: Stubber) -> None:
    said = f"Drift detection cannot be performed on stack [{ID}] in status DELETE_FAILED"
    recorded.add_client_error("detect_stack_drift", "ValidationError", said, 400)

    error = drift_of(ACCESS, PLAN, QUICK).error
    assert error and "DELETE_FAILED" in error.why


def test_a_denied_detection_names_the_permission(recorded: Stubber) -> None:
    said = "User: arn:aws:iam::1:user/x is not authorized to perform: cloudformation:DetectStackDrift"
    recorded.add_client_error("detect_stack_drift", "AccessDenied", said, 403)

    error = drift_of(ACCESS, PLAN, QUICK).error
    assert error and "allow cloudformation:DetectStackDrift" in error.remedy


def test_long_values_show_where_they_differ(recorded: Stubber) -> None:
    policy = json.dumps([{"Sid": f"Statement{number}", "Effect": "Allow"} for number in range(100)])
    change = difference("/KeyPolicy", policy, policy.replace('70", "Effect": "Allow"', '70", "Effect": "Deny"'))
    started(recorded)
    looked(recorded, drift="DRIFTED")
    found(recorded, ROLE, RULE, result("Key", "MODIFIED", "AWS::KMS::Key", PropertyDifferences=[change]))

    (line,) = drift_of(ACCESS, PLAN, QUICK).lines
    assert '"Statement70", "Effect": "Deny"' in line.found
    assert '"Statement70", "Effect": "Allow"' in line.wanted
    assert len(line.found) < 130
    assert len(line.wanted) < 130


def test_a_stack_that_does_not_exist_is_not_asked_about(recorded: Stubber) -> None:
    assert drift_of(ACCESS, StackPlan(WANTED, None, ()), QUICK).lines == ()


def test_every_type_of_the_templates_has_its_words() -> None:
    kinds = {one["Type"] for _, _, one in all_resources()}

    assert LOST.keys() == kinds
    assert CONSOLES.keys() == {kind.split("::")[1] for kind in kinds}
