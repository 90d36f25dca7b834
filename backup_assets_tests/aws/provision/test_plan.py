"""What `aws plan` finds, and that it only reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from moto.core.responses import BaseResponse

from backup_assets.aws.provision.plan import OPT_IN, plan_of
from backup_assets.errors import EnvironmentFault, SettingsError
from backup_assets.settings import Settings
from backup_assets_tests.aws.conftest import CLUSTER, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.provision.conftest import Lacking, database, settings_of


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that moto was asked for."""
    found: list[str] = []
    act = BaseResponse.call_action

    def noted(self: BaseResponse) -> Any:
        found.append(self._get_action())
        return act(self)

    monkeypatch.setattr(BaseResponse, "call_action", noted)
    return found


def test_a_plan_only_reads(aws: PretendedAws, settings: Settings, asked: list[str]) -> None:
    aws.make_instance(BackupRetentionPeriod=7)
    asked.clear()

    plan = plan_of(settings)
    assert plan.changes
    assert asked
    assert all(name.startswith(("Describe", "List", "Get")) for name in asked), asked


def test_the_second_region_comes_first(aws: PretendedAws, settings: Settings) -> None:
    aws.make_instance()

    assert [stack.wanted.region for stack in plan_of(settings).stacks] == [OSAKA, TOKYO]


def test_without_a_plan_of_aws_backup_the_events_are_wanted_all_the_same(aws: PretendedAws, tmp_path: Path) -> None:
    aws.make_instance()

    plan = plan_of(settings_of(aws, tmp_path, plan=None))
    assert {line.name for stack in plan.stacks for line in stack.lines} == {
        "Events", "EventsPolicy", "EventsRule", "ForwarderRole", "termination protection",
    }  # fmt: skip
    assert plan.opt_in is None


def test_aurora_has_to_be_opted_in(aws: PretendedAws, tmp_path: Path, lacking: Lacking) -> None:
    aws.make_cluster()

    plan = plan_of(settings_of(aws, tmp_path, databases=(database("erp4", cluster=CLUSTER),)))
    assert plan.opt_in is not None
    assert [(line.name, line.state) for line in plan.opt_in.lines] == [(f"{OPT_IN}: Aurora", "to change")]
    assert plan.opt_in.preferences == {"RDS": True, "Aurora": True, "EBS": False}


def test_a_missing_database_is_in_no_selection(aws: PretendedAws, settings: Settings) -> None:
    plan = plan_of(settings)

    assert "Selection1" not in [line.name for line in plan.lines]
    assert [line.state for line in plan.lines if line.place == "database erp4"] == ["left"]


def test_a_vault_that_is_there_already_is_found_before_anything_is_made(aws: PretendedAws, settings: Settings) -> None:
    aws.make_instance()
    aws.client("backup", OSAKA).create_backup_vault(BackupVaultName="backup-assets")

    osaka, tokyo = plan_of(settings).stacks
    assert [line.name for line in osaka.dangers] == ["BackupVault"]
    assert not tokyo.dangers


def test_settings_without_aws_are_an_error(aws: PretendedAws, tmp_path: Path) -> None:
    local = settings_of(aws, tmp_path, plan=None).model_copy(
        update={"databases": (database("erp4", instance="x").model_copy(update={"rds": None}),)}
    )

    with pytest.raises(SettingsError, match="nothing in AWS is configured"):
        plan_of(local)


def test_a_plan_for_no_database_is_an_error(aws: PretendedAws, tmp_path: Path) -> None:
    local = settings_of(aws, tmp_path).model_copy(
        update={"databases": (database("erp4", instance="x").model_copy(update={"rds": None}),)}
    )

    with pytest.raises(SettingsError, match=r"aws\.backup_plan backs up no database"):
        plan_of(local)


def test_credentials_that_do_not_exist_are_told_in_one_message(
    aws: PretendedAws, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(EnvironmentFault, match="there are no credentials"):
        plan_of(settings)
