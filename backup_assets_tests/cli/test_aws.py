from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult

from backup_assets_tests.aws.conftest import INSTANCE, OSAKA, TOKYO, PretendedAws, aws  # noqa: F401 - a fixture
from backup_assets_tests.aws.examples import ACCOUNT, TOKYO_KEY
from backup_assets_tests.aws.provision.conftest import lacking, moto_address  # noqa: F401 - fixtures
from backup_assets_tests.aws.provision.test_apply import Denied
from backup_assets_tests.cli.conftest import Command


@pytest.fixture
def a_bucket(an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in AWS that variables configure."""
    for name, value in {
        "S3_BUCKET": "erp4-tokyo",
        "S3_PREFIX": "backups",
        "S3_REGION": "ap-northeast-1",
        "SSE_KMS_KEY_ID": TOKYO_KEY,
        "DB_NAME": "erp4",
        "DB_HOST": "localhost",
    }.items():
        monkeypatch.setenv(name, value)


def test_the_policies_are_printed_as_json(command: Command, a_bucket: None) -> None:
    ended = command("aws", "policies")
    assert ended.status == 0
    assert "policies/uploader-s3.json" in json.loads(ended.out)


def test_names_of_roles_and_people_are_filled_in(command: Command, a_bucket: None) -> None:
    ended = command("aws", "policies", "--restorer", "restores", "--trust", "restorer=alice", "--trust", "restorer=bob")
    documents = json.loads(ended.out)
    users = [f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in ("alice", "bob")]
    assert documents["trust/restorer.json"]["Statement"][0]["Principal"]["AWS"] == users
    assert f"arn:aws:iam::{ACCOUNT}:role/restores" in json.dumps(documents)
    assert "backup-restorer" not in ended.out


def test_files_are_written_privately_with_the_commands_that_apply_them(
    command: Command, a_bucket: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = command("aws", "policies", "--output", str(out))
    assert ended.status == 0
    assert "put-key-policy" in (out / "README.md").read_text()
    assert json.loads((out / "buckets" / "erp4-tokyo.json").read_text())["Version"] == "2012-10-17"
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert f"{len(files)} files written" in ended.out


def test_writing_again_changes_nothing_and_other_content_is_never_replaced(
    command: Command, a_bucket: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command("aws", "policies", "--output", str(out))
    assert "has them already" in command("aws", "policies", "--output", str(out)).out

    changed = out / "policies" / "uploader-s3.json"
    changed.write_text("{}")
    (out / "README.md").unlink()
    ended = command("aws", "policies", "--output", str(out))

    assert ended.status == 2
    assert f"{changed} exists with other content" in ended.err
    assert changed.read_text() == "{}"
    assert not (out / "README.md").exists()


def test_without_a_store_in_aws_the_error_says_what_to_configure(command: Command, an_empty_directory: Path) -> None:
    ended = command("aws", "policies")
    assert ended.status == 2
    assert ended.out == ""
    assert "no store in AWS is configured" in ended.err
    assert "tokyo (the demo)" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [("--store", "osaka"), ("--account", "12"), ("--trust", "alice")])
def test_wrong_arguments_are_one_clear_error(command: Command, a_bucket: None, arguments: tuple[str, str]) -> None:
    ended = command("aws", "policies", *arguments)
    assert ended.status == 2
    assert arguments[1] in ended.err
    assert "next:" in ended.err


class TestPlanAndApply:
    @pytest.fixture
    def tokyo(self, an_empty_directory: Path, aws: PretendedAws) -> PretendedAws:  # noqa: F811 - the fixture
        """An instance that is not as wanted, and the settings that want it."""
        aws.make_instance(BackupRetentionPeriod=7)
        tree = {
            "env": "production",
            "databases": {"erp4": {"server": {"host": "erp4.example.com"}, "rds": {"instance": INSTANCE}}},
            "aws": {"endpoint_url": aws.endpoint_url, "backup_plan": {}},
        }
        (an_empty_directory / "backup.yaml").write_text(yaml.safe_dump(tree))
        return aws

    def days(self, tokyo: PretendedAws) -> int:
        return tokyo.client("rds").describe_db_instances()["DBInstances"][0]["BackupRetentionPeriod"]

    def test_a_plan_shows_what_differs_and_changes_nothing(self, command: Command, tokyo: PretendedAws) -> None:
        ended = command("aws", "plan")

        assert ended.status == 1
        lines = {line[1]: line for line in ended.lines if line[0] == "database erp4"}
        assert lines["days of automated backups"][2:5] == ["to change", "7", "14"]
        assert "deletion protection" not in lines  # as wanted
        assert "`backup-assets aws apply`" in ended.err
        assert self.days(tokyo) == 7

    @pytest.mark.usefixtures("tokyo")
    def test_everything_is_shown_when_asked_for(self, command: Command) -> None:
        assert ["deletion protection", "as wanted"] in [line[1:3] for line in command("aws", "plan", "--all").lines]

    def test_nothing_is_applied_without_confirmation(self, command: Command, tokyo: PretendedAws) -> None:
        ended = command("aws", "apply")

        assert ended.status == 2
        assert "--yes" in ended.err
        assert self.days(tokyo) == 7
        assert not tokyo.client("cloudformation").list_stacks()["StackSummaries"]

    def test_it_is_applied_and_repeated_without_a_change(self, command: Command, tokyo: PretendedAws) -> None:
        ended = command("aws", "apply", "--yes")

        assert ended.status == 0, ended.err
        assert self.days(tokyo) == 14
        assert "change set: Add BackupVault (AWS::Backup::BackupVault)" in ended.err
        assert "AWS is as wanted" in ended.err
        again = command("aws", "apply")
        assert (again.status, again.out) == (0, "")
        plan = json.loads(command("aws", "plan", "--json").out)
        assert plan["lines"] and not any(line["differs"] for line in plan["lines"])

    def test_what_is_refused_leaves_the_status_at_one(self, command: Command, tokyo: PretendedAws) -> None:
        rds = tokyo.client("rds")
        rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, BackupRetentionPeriod=30, ApplyImmediately=True)
        ended = command("aws", "apply", "--yes")

        assert ended.status == 1
        assert "1 refused" in ended.err
        assert self.days(tokyo) == 30

    def test_a_failure_decides_the_status_and_does_not_stop_the_rest(
        self, command: Command, tokyo: PretendedAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(self: CloudFormationResponse) -> None:
            raise Denied("not authorized to perform: cloudformation:CreateChangeSet")

        monkeypatch.setattr(CloudFormationResponse, "create_change_set", denied)
        ended = command("aws", "apply", "--yes")
        assert ended.status == 3
        assert "allow cloudformation:CreateChangeSet" in ended.err
        assert "error: could not make a change set of the stack backup-assets in ap-northeast-3" in ended.err
        assert self.days(tokyo) == 14

    @pytest.fixture
    def results(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What CloudFormation tells of drift, by region: moto knows nothing of it."""
        begun = datetime(2026, 11, 22, tzinfo=UTC)
        rule = {"LogicalResourceId": "EventsRule", "ResourceType": "AWS::Events::Rule"}
        state: dict[str, Any] = {
            "ended": {"DetectionStatus": "DETECTION_COMPLETE", "StackDriftStatus": "IN_SYNC"},
            TOKYO: [{**rule, "StackResourceDriftStatus": "IN_SYNC"}],
            OSAKA: [{**rule, "StackResourceDriftStatus": "IN_SYNC"}],
        }

        def detect_stack_drift(self: CloudFormationResponse) -> ActionResult:
            assert self.cloudformation_backend.get_stack(self._get_param("StackName"))
            return ActionResult({"StackDriftDetectionId": "one"})

        def describe_stack_drift_detection_status(self: CloudFormationResponse) -> ActionResult:
            return ActionResult({"StackId": "x", "StackDriftDetectionId": "one", "Timestamp": begun, **state["ended"]})

        def describe_stack_resource_drifts(self: CloudFormationResponse) -> ActionResult:
            found = [{"StackId": "x", "Timestamp": begun, **one} for one in state[self.region]]
            return ActionResult({"StackResourceDrifts": found})

        for function in (detect_stack_drift, describe_stack_drift_detection_status, describe_stack_resource_drifts):
            monkeypatch.setattr(CloudFormationResponse, function.__name__, function, raising=False)
        return state

    @pytest.mark.usefixtures("tokyo", "results")
    def test_no_drift_is_never_said_of_what_was_not_looked_at(self, command: Command) -> None:
        command("aws", "apply", "--yes")
        ended = command("aws", "plan", "--drift")

        assert (ended.status, ended.out) == (0, "")
        assert "stack backup-assets in ap-northeast-3: waiting for CloudFormation" in ended.err
        assert "stack backup-assets in ap-northeast-1: no drift; resources looked at: 1" in ended.err
        (line,) = [line for line in ended.err.splitlines() if line.startswith("not looked at for drift: ")]
        assert "stack backup-assets in ap-northeast-3: Key (AWS::KMS::Key), " in line
        assert "EventsPolicy (AWS::SQS::QueuePolicy)" in line
        assert "EventsRule" not in line

    @pytest.mark.usefixtures("tokyo")
    def test_what_was_changed_by_hand_is_shown_and_not_changed_by_apply(
        self, command: Command, results: dict[str, Any]
    ) -> None:
        command("aws", "apply", "--yes")
        change = {
            "PropertyPath": "/State",
            "ExpectedValue": "ENABLED",
            "ActualValue": "DISABLED",
            "DifferenceType": "NOT_EQUAL",
        }
        results[OSAKA][0] |= {"StackResourceDriftStatus": "MODIFIED", "PropertyDifferences": [change]}
        results[TOKYO][0] |= {"StackResourceDriftStatus": "DELETED"}
        ended = command("aws", "plan", "--drift")

        assert ended.status == 1
        assert [line[:5] for line in ended.lines] == [
            ["stack backup-assets in ap-northeast-3", "EventsRule/State", "left", "DISABLED", "ENABLED"],
            ["stack backup-assets in ap-northeast-1", "EventsRule", "left", "deleted", "AWS::Events::Rule"],
        ]
        assert "2 left to you" in ended.err
        assert "AWS is as wanted" not in ended.err
        assert command("aws", "plan").status == 0  # nobody asked

        found = json.loads(command("aws", "plan", "--drift", "--json").out)
        assert [line["name"] for line in found["lines"] if line["differs"]] == ["EventsRule/State", "EventsRule"]
        assert [(one["place"].split()[-1], one["checked"], one["error"]) for one in found["drift"]] == [
            (OSAKA, 1, ""),
            (TOKYO, 1, ""),
        ]
        assert "Key (AWS::KMS::Key)" in found["drift"][0]["not_checked"]

    @pytest.mark.usefixtures("tokyo")
    def test_a_look_for_drift_that_failed_is_an_error_beside_the_plan(
        self, command: Command, results: dict[str, Any]
    ) -> None:
        command("aws", "apply", "--yes")
        results["ended"] = {"DetectionStatus": "DETECTION_FAILED", "DetectionStatusReason": "not authorized"}
        ended = command("aws", "plan", "--drift", "--all")

        assert ended.status == 3
        assert "error: CloudFormation could not look at everything in the stack backup-assets" in ended.err
        assert "because: not authorized" in ended.err
        assert "AWS is as wanted" not in ended.err
        assert "no drift" not in ended.err
        assert "Traceback" not in ended.err
        assert ["deletion protection", "as wanted"] in [line[1:3] for line in ended.lines]
        found = json.loads(command("aws", "plan", "--drift", "--json").out)
        assert ["not authorized" in one["error"] for one in found["drift"]] == [True, True]

    @pytest.mark.usefixtures("tokyo", "results")
    def test_without_a_stack_there_is_nothing_to_look_for_drift_in(self, command: Command) -> None:
        ended = command("aws", "plan", "--drift")
        assert ended.status == 1
        assert "no stack yet" in ended.err

    @pytest.mark.usefixtures("tokyo")
    def test_drift_is_null_where_nobody_asked_for_it(self, command: Command) -> None:
        assert json.loads(command("aws", "plan", "--json").out)["drift"] is None
