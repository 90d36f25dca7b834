"""What is understood of templates, and which differences are dangers."""

from __future__ import annotations

import pytest

from backup_assets.aws.provision.template import Difference, differences, parameters_in, resources_of, template_text
from backup_assets.errors import EnvironmentFault
from backup_assets_tests.aws.provision.test_templates import EVERYTHING

FIRST = template_text("first")
NOTHING = {"Environment": "production", "Name": "backup-assets"}


def between(old: dict[str, str], new: dict[str, str], template: str = FIRST) -> list[Difference]:
    return list(differences(resources_of(template, old), resources_of(template, new)))


def test_without_a_plan_only_the_events_are_made() -> None:
    assert list(resources_of(FIRST, NOTHING)) == ["Events", "EventsPolicy", "EventsRule", "Outputs"]


def test_parameters_are_filled_in_everywhere() -> None:
    made = resources_of(FIRST, {**EVERYTHING, "KeepDays": "30"})

    rule = made["BackupPlan"].body["Properties"]["BackupPlan"]["BackupPlanRule"][0]
    assert rule["Lifecycle"] == {"DeleteAfterDays": "30"}
    assert ":ap-northeast-3:${AWS::AccountId}:backup-vault:backup-assets" in str(rule["CopyActions"])
    assert made["RestoreTestingOfRds"].body["Properties"]["ProtectedResourceArns"] == [EVERYTHING["TestedRds"]]


def test_what_is_equal_does_not_differ() -> None:
    assert between(EVERYTHING, {**EVERYTHING}) == []


def test_another_comment_is_no_difference() -> None:
    # CloudFormation would find nothing to change in it, so that it could never be applied.
    other = FIRST.replace("Resources:\n", "# Another comment.\nResources:\n", 1)

    assert list(differences(resources_of(FIRST, EVERYTHING), resources_of(other, EVERYTHING))) == []


def test_another_schedule_is_changed_in_place() -> None:
    (found,) = between(EVERYTHING, {**EVERYTHING, "Schedule": "cron(0 0,6,12,18 ? * * *)"})

    assert (found.resource, found.action, found.danger) == ("BackupPlan", "Modify", "")
    assert "BackupPlanRule.0.ScheduleExpression: cron(0 0,3,6" in found.details[0]
    assert found.details[0].endswith("→ cron(0 0,6,12,18 ? * * *)")


def test_one_more_database_is_one_more_selection() -> None:
    (found,) = between({**EVERYTHING, "Source8": ""}, EVERYTHING)

    assert (found.resource, found.action, found.danger) == ("Selection8", "Add", "")


@pytest.mark.parametrize(
    ("change", "resource", "danger"),
    [
        ({"Source3": ""}, "Selection3", "it is removed"),
        ({"Source3": "arn:aws:rds:x:1:db:other"}, "Selection3", "it is replaced, as BackupSelection cannot be changed"),
        ({"Vault": "other"}, "BackupVault", "it is replaced, as BackupVaultName cannot be changed"),
        ({"LockDays": "30"}, "BackupVault", "a lock is changed"),
        ({"LockDays": "0"}, "BackupVault", "a lock is changed"),
    ],
)
def test_what_would_take_something_away_is_a_danger(change: dict[str, str], resource: str, danger: str) -> None:
    found = {one.resource: one for one in between(EVERYTHING, {**EVERYTHING, **change})}

    assert found[resource].danger == danger


def test_another_type_under_the_same_name_is_a_replacement() -> None:
    other = FIRST.replace("Type: AWS::SQS::Queue\n", "Type: AWS::SNS::Topic\n")

    found = {one.resource: one for one in differences(resources_of(FIRST, NOTHING), resources_of(other, NOTHING))}
    assert found["Events"].danger == "it is replaced"


def test_another_policy_for_deletion_is_seen() -> None:
    other = FIRST.replace("DeletionPolicy: Retain", "DeletionPolicy: Delete")

    assert list(differences(resources_of(FIRST, NOTHING), resources_of(other, NOTHING)))


def test_defaults_are_those_of_the_template() -> None:
    assert parameters_in(FIRST)["KeepDays"] == "14"
    assert parameters_in(FIRST)["Environment"] == ""


@pytest.mark.parametrize("text", ["not: [closed", "just text", "Resources: []"])
def test_what_is_no_template_is_an_error(text: str) -> None:
    with pytest.raises(EnvironmentFault, match="template"):
        resources_of(text, {})
