"""What `aws apply` makes, that a second one makes nothing, and what it does when something fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException

from backup_assets.aws.provision.apply import apply_of, settled
from backup_assets.aws.provision.lines import Applied
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.plan import plan_of
from backup_assets.errors import Refused
from backup_assets.settings import Settings
from backup_assets_tests.aws.conftest import INSTANCE, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.provision.conftest import HASTY, Lacking, database, settings_of
from backup_assets_tests.aws.provision.test_buckets import BUCKET, store

NAME = "backup-assets"


def applied(settings: Settings) -> list[Applied]:
    return list(apply_of(plan_of(settings), settings, HASTY))


def errors(done: list[Applied]) -> list[str]:
    return [str(one.error) for one in done if one.error]


def stack(aws: PretendedAws, region: str) -> dict[str, Any]:
    return aws.client("cloudformation", region).describe_stacks(StackName=NAME)["Stacks"][0]


def parameters(aws: PretendedAws, region: str) -> dict[str, str]:
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack(aws, region)["Parameters"]}


def change_sets(aws: PretendedAws) -> int:
    return sum(
        len(aws.client("cloudformation", region).list_change_sets(StackName=NAME)["Summaries"])
        for region in (TOKYO, OSAKA)
    )


def test_everything_is_made_and_then_nothing_differs(aws: PretendedAws, tmp_path: Path, lacking: Lacking) -> None:
    aws.make_instance(BackupRetentionPeriod=7, DeletionProtection=False)
    settings = settings_of(aws, tmp_path, stores=(store(aws),), rds={"copies": None})

    assert errors(applied(settings)) == []
    for region in (TOKYO, OSAKA):
        assert stack(aws, region)["StackStatus"] == "CREATE_COMPLETE"
        assert stack(aws, region)["EnableTerminationProtection"] is True
    assert aws.client("sqs").get_queue_url(QueueName="backup-assets-events")
    assert aws.client("events").list_targets_by_rule(Rule="backup-assets-events")["Targets"]
    assert aws.client("s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    after = plan_of(settings)
    assert after.differing == ()

    before = change_sets(aws)
    assert list(apply_of(after, settings, HASTY)) == []
    assert change_sets(aws) == before


def test_one_more_database_changes_the_first_stack_alone(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    applied(settings_of(aws, tmp_path))
    aws.make_instance("hr-prod")
    both = settings_of(
        aws, tmp_path, databases=(database("hr", instance="hr-prod"), database("erp4", instance=INSTANCE))
    )

    plan = plan_of(both)
    assert [(line.place, line.name) for line in plan.changes if line.place.startswith("stack")] == [
        (f"stack {NAME} in {TOKYO}", "Selection2"),
        (f"stack {NAME} in {TOKYO}", "RestoreTestingOfRds"),
    ]
    assert errors(list(apply_of(plan, both, HASTY))) == []
    assert parameters(aws, TOKYO)["Source2"].endswith(":hr-prod")
    assert plan_of(both).differing == ()


def test_another_schedule_is_applied_in_place(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    applied(settings_of(aws, tmp_path))
    six = settings_of(aws, tmp_path, plan={"every_hours": 6})

    done = applied(six)
    assert errors(done) == []
    assert parameters(aws, TOKYO)["Schedule"] == "cron(0 0,6,12,18 ? * * *)"


def test_fewer_days_change_nothing(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    applied(settings_of(aws, tmp_path, plan={"keep_days": 30}))
    fewer = settings_of(aws, tmp_path, plan={"keep_days": 14})

    plan = plan_of(fewer)
    assert {line.state for line in plan.differing if line.place.startswith("stack")} == {"refused"}
    list(apply_of(plan, fewer, HASTY))
    assert parameters(aws, TOKYO)["KeepDays"] == "30"
    assert parameters(aws, OSAKA)["LockDays"] == "30"


def test_another_vault_is_refused_without_a_change_set(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()
    applied(settings_of(aws, tmp_path))
    before = change_sets(aws)

    done = applied(settings_of(aws, tmp_path, plan={"vault": "another"}))
    assert any("BackupVault: it is replaced, as BackupVaultName cannot be changed" in text for text in errors(done))
    assert isinstance(next(one.error for one in done if one.error), Refused)
    assert change_sets(aws) == before
    assert parameters(aws, TOKYO)["Vault"] == "backup-assets"


def test_what_cloudformation_would_replace_is_refused_although_the_plan_did_not_see_it(
    aws: PretendedAws, tmp_path: Path, lacking: Lacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.make_instance()
    applied(settings_of(aws, tmp_path))
    lacking.replacement = "Conditional"
    # moto tells a changed resource only by a changed template.
    from backup_assets.aws.provision import change_sets as module

    text = module.template_text("first").replace("StartWindowMinutes: 60", "StartWindowMinutes: 90")
    monkeypatch.setattr(module, "template_text", lambda _: text)

    done = applied(settings_of(aws, tmp_path, plan={"every_hours": 6}))
    assert "Modify BackupPlan (AWS::Backup::BackupPlan): it might be replaced" in errors(done)[0]
    assert parameters(aws, TOKYO)["Schedule"] == "cron(0 0,3,6,9,12,15,18,21 ? * * *)"


class Denied(ServiceException):
    """As moto's own errors of CloudFormation; it tells by the module which service an error is of."""

    __module__ = "moto.cloudformation.exceptions"
    code = "AccessDenied"


def test_a_failing_second_region_stops_the_first_and_not_the_databases(
    aws: PretendedAws, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.make_instance(BackupRetentionPeriod=7)

    def denied(self: CloudFormationResponse) -> None:
        raise Denied("not authorized to perform: cloudformation:CreateChangeSet")

    monkeypatch.setattr(CloudFormationResponse, "create_change_set", denied)
    done = applied(settings)
    assert [one.place for one in done if one.error] == [f"stack {NAME} in {OSAKA}"]
    assert "allow cloudformation:CreateChangeSet" in errors(done)[0]
    with pytest.raises(ClientError):
        stack(aws, TOKYO)
    assert aws.client("rds").describe_db_instances()["DBInstances"][0]["BackupRetentionPeriod"] == 14


def test_types_are_opted_in_without_opting_others_out(aws: PretendedAws, settings: Settings, lacking: Lacking) -> None:
    aws.make_instance()
    lacking.opted_in = {"RDS": False, "EBS": True}

    assert errors(applied(settings)) == []
    assert lacking.opted_in == {"RDS": True, "EBS": True}


def test_an_interrupted_first_apply_is_taken_up_again(
    aws: PretendedAws, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.make_instance()
    with monkeypatch.context() as interrupted:

        def killed(self: CloudFormationResponse) -> None:
            raise Denied("not authorized to perform: cloudformation:ExecuteChangeSet")

        interrupted.setattr(CloudFormationResponse, "execute_change_set", killed)
        assert errors(applied(settings))

    assert errors(applied(settings)) == []
    assert stack(aws, TOKYO)["StackStatus"] == "CREATE_COMPLETE"


def of_events_alone(settings: Settings) -> Settings:
    """Return settings without a plan of AWS Backup, and without copies, which moto never shows as replicated."""
    aws = settings.aws.model_copy(update={"backup_plan": None})
    return settings.model_copy(update={"aws": aws, "databases": (database("erp4", instance=INSTANCE),)})


def test_what_rds_shows_a_little_later_is_waited_for(aws: PretendedAws, settings: Settings) -> None:
    aws.make_instance(DeletionProtection=False)
    rds, alone = aws.client("rds"), of_events_alone(settings)
    assert errors(applied(alone)) == []
    rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, DeletionProtection=False)

    def later(_: float) -> None:
        rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, DeletionProtection=True)

    assert settled(alone, Pace(5.0, 60.0, later)).changes == ()


def test_what_rds_never_shows_is_not_waited_for_endlessly(aws: PretendedAws, settings: Settings) -> None:
    aws.make_instance(DeletionProtection=False)
    clock, slept = iter([0.0, 30.0, 61.0]), []

    assert settled(of_events_alone(settings), Pace(5.0, 60.0, slept.append, lambda: next(clock))).changes
    assert slept == [5.0]
