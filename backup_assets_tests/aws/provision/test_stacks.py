"""How a stack is looked at, and which ones are not touched."""

from __future__ import annotations

from typing import Any

import pytest

from backup_assets.aws.provision.lines import Line
from backup_assets.aws.provision.stacks import look_at, planned, require_usable
from backup_assets.aws.provision.template import template_text
from backup_assets.aws.provision.wanted import Wanted
from backup_assets.errors import BackupError, Refused
from backup_assets_tests.aws.conftest import TOKYO, PretendedAws
from backup_assets_tests.aws.provision.test_templates import EVERYTHING

NAME = "backup-assets"


def make_stack(aws: PretendedAws, parameters: dict[str, str], template: str | None = None, **more: Any) -> None:
    aws.client("cloudformation").create_stack(
        StackName=NAME,
        TemplateBody=template or template_text("first"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
        **more,
    )


def states(lines: tuple[Line, ...]) -> dict[str, str]:
    return {line.name: line.state for line in lines}


def wanted(**changes: str) -> Wanted:
    return Wanted(TOKYO, NAME, "first", {**EVERYTHING, **changes})


def test_without_a_stack_everything_is_to_be_made(aws: PretendedAws) -> None:
    assert look_at(aws.access(), NAME, "production") is None

    plan = planned(wanted(), None, {})
    assert set(states(plan.lines).values()) == {"to change"}
    assert {"BackupVault", "BackupPlan", "Selection1", "RestoreTesting", "Events", "EventsRule"} <= set(
        states(plan.lines)
    )


def test_a_stack_that_is_as_wanted_does_not_differ(aws: PretendedAws) -> None:
    make_stack(aws, EVERYTHING, EnableTerminationProtection=True)
    stack = look_at(aws.access(), NAME, "production")

    plan = planned(wanted(), stack, {})
    assert not plan.changes
    assert not [line for line in plan.lines if line.differs]


def test_a_stack_without_termination_protection_differs(aws: PretendedAws) -> None:
    make_stack(aws, EVERYTHING)

    plan = planned(wanted(), look_at(aws.access(), NAME, "production"), {})
    assert [(line.name, line.found) for line in plan.lines if line.differs] == [("termination protection", "off")]
    assert not plan.changes


def test_what_would_be_lost_is_refused_before_a_change_set_is_made(aws: PretendedAws) -> None:
    make_stack(aws, EVERYTHING)

    plan = planned(wanted(Vault="another"), look_at(aws.access(), NAME, "production"), {})
    assert "BackupVault" in [line.name for line in plan.dangers]


def test_a_vault_that_something_else_made_is_not_taken_over() -> None:
    plan = planned(wanted(), None, {"backup-assets": {}})

    (danger,) = plan.dangers
    assert "something else made" in danger.found
    assert "aws.backup_plan.vault" in danger.how


def test_a_change_set_that_was_never_executed_is_no_stack(aws: PretendedAws) -> None:
    aws.client("cloudformation").create_change_set(
        StackName=NAME,
        ChangeSetName="by-hand",
        ChangeSetType="CREATE",
        TemplateBody=template_text("first"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in EVERYTHING.items()],
    )

    assert look_at(aws.access(), NAME, "production") is None


@pytest.mark.parametrize(
    ("parameters", "template", "said"),
    [
        ({**EVERYTHING, "Environment": "staging"}, None, "environment staging, and these settings are of production"),
        ({}, "Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n", "belongs to something else"),
    ],
)
def test_the_stack_of_somebody_else_is_refused(
    aws: PretendedAws, parameters: dict[str, str], template: str | None, said: str
) -> None:
    make_stack(aws, parameters, template)

    with pytest.raises(Refused, match=said) as raised:
        look_at(aws.access(), NAME, "production")
    assert "aws.name" in raised.value.remedy


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("ROLLBACK_COMPLETE", "delete-stack --region ap-northeast-1 --stack-name backup-assets"),
        ("CREATE_FAILED", "delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --region ap-northeast-1"),
        ("DELETE_FAILED", "describe-stack-events"),
        ("UPDATE_IN_PROGRESS", "wait until CloudFormation has ended"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait until"),
    ],
)
def test_a_stack_that_cannot_be_changed_says_what_it_needs(aws: PretendedAws, status: str, remedy: str) -> None:
    with pytest.raises(Refused, match=f"is {status}, and cannot be changed") as raised:
        require_usable(NAME, status, "Key: access denied", aws.access())
    assert remedy in raised.value.remedy
    assert raised.value.why == "Key: access denied"


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_stack_in_a_good_state_can_be_changed(aws: PretendedAws, status: str) -> None:
    require_usable(NAME, status, "", aws.access())


def test_a_service_that_does_not_answer_is_an_error_and_no_missing_stack(aws: PretendedAws) -> None:
    nowhere = PretendedAws("http://127.0.0.1:9", "", "")

    with pytest.raises(BackupError, match="cannot be reached"):
        look_at(nowhere.access(), NAME, "production")
