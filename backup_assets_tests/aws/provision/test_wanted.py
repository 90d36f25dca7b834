"""Which parameters come from the settings, and what of the settings is not followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backup_assets.aws.provision.template import parameters_in, template_text
from backup_assets.aws.provision.wanted import SLOTS, first_stack, schedule_of, second_stack
from backup_assets.aws.rds.api import Source
from backup_assets.errors import Refused, SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_aws import BackupPlanSettings
from backup_assets_tests.aws.conftest import PretendedAws
from backup_assets_tests.aws.provision.conftest import settings_of
from backup_assets_tests.aws.provision.test_templates import EVERYTHING

NOWHERE = PretendedAws("http://127.0.0.1:9", "", "arn:aws:kms:ap-northeast-3:123456789012:key/1")


def source(name: str, engine: str = "postgres") -> Source:
    kind = "cluster" if engine.startswith("aurora") else "instance"
    arn = f"arn:aws:rds:ap-northeast-1:123456789012:{'cluster' if kind == 'cluster' else 'db'}:{name}"
    return Source(
        kind, name, arn, "available", engine, "17.6", True, None, 14, True, False, None, None, None, None, None, (), {}
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(NOWHERE, tmp_path)


def plan(tmp_path: Path, **changes: Any) -> Settings:
    return settings_of(NOWHERE, tmp_path, plan=changes)


def test_every_parameter_is_one_of_the_template(settings: Settings) -> None:
    for wanted in (first_stack(settings, [source("a")], None), second_stack(settings, None)):
        assert set(wanted.parameters) <= set(parameters_in(template_text(wanted.template)))
        assert wanted.notes == ()


@pytest.mark.parametrize(("hours", "text"), [(3, "0,3,6,9,12,15,18,21"), (24, "0"), (12, "0,12")])
def test_recovery_points_are_made_at_hours_from_midnight(hours: Any, text: str) -> None:
    assert schedule_of(BackupPlanSettings(every_hours=hours)) == f"cron(0 {text} ? * * *)"


def test_a_new_plan_has_what_is_configured(tmp_path: Path) -> None:
    wanted = first_stack(
        plan(tmp_path, keep_days=30, vault="erp4"), [source("a"), source("b", "aurora-postgresql")], None
    )

    expected = {
        "Vault": "erp4",
        "KeepDays": "30",
        "LockDays": "30",
        "RestoreTestingPlan": "backup_assets",
        "RestoreTestingDays": "30",
        "Source1": source("a").arn,
        "Source2": source("b", "aurora-postgresql").arn,
        "TestedRds": source("a").arn,
        "TestedAurora": source("b", "aurora-postgresql").arn,
        "Zone": "Asia/Tokyo",
    }
    assert expected.items() <= wanted.parameters.items()


def test_restore_testing_looks_back_a_year_at_most(tmp_path: Path) -> None:
    assert first_stack(plan(tmp_path, keep_days=400), [source("a")], None).parameters["RestoreTestingDays"] == "365"


def test_without_a_lock_there_are_no_least_days(tmp_path: Path) -> None:
    assert first_stack(plan(tmp_path, locked=False), [source("a")], None).parameters["LockDays"] == "0"


def test_the_order_of_the_databases_moves_none_of_them(settings: Settings) -> None:
    present = first_stack(settings, [source("a"), source("b")], None).parameters

    wanted = first_stack(settings, [source("c"), source("b"), source("a")], present)
    assert [wanted.parameters[slot].rpartition(":")[2] for slot in SLOTS[:3]] == ["a", "b", "c"]


def test_a_database_that_is_no_longer_configured_stays_in_the_plan(settings: Settings) -> None:
    present = first_stack(settings, [source("a"), source("b")], None).parameters

    wanted = first_stack(settings, [source("b")], present)
    assert wanted.parameters == present
    (note,) = wanted.notes
    assert (note.state, note.found) == ("left", source("a").arn)
    assert "Source1 = (empty)" in note.how


def test_fewer_days_are_refused_and_the_old_ones_stay(settings: Settings, tmp_path: Path) -> None:
    present = first_stack(plan(tmp_path, keep_days=30, locked=False), [source("a")], None).parameters

    wanted = first_stack(plan(tmp_path, keep_days=14, locked=False), [source("a")], present)
    assert wanted.parameters["KeepDays"] == "30"
    assert [(note.state, note.found, note.wanted) for note in wanted.notes] == [("refused", "30", "14")]
    assert "KeepDays = 14" in wanted.notes[0].how


def test_more_days_are_kept_and_the_lock_stays(tmp_path: Path) -> None:
    present = first_stack(plan(tmp_path, keep_days=14), [source("a")], None).parameters

    wanted = first_stack(plan(tmp_path, keep_days=30), [source("a")], present)
    assert (wanted.parameters["KeepDays"], wanted.parameters["LockDays"]) == ("30", "14")
    assert [(note.name, note.state) for note in wanted.notes] == [("least days of the vault's lock", "refused")]


@pytest.mark.parametrize("template", ["first", "second"])
def test_a_lock_is_not_lifted(tmp_path: Path, template: str) -> None:
    lifted = plan(tmp_path, locked=False)
    wanted = first_stack(lifted, [], EVERYTHING) if template == "first" else second_stack(lifted, EVERYTHING)

    assert wanted.parameters["LockDays"] == "14"
    assert any(note.state == "refused" and note.wanted == "0" for note in wanted.notes)


def test_a_plan_that_is_no_longer_configured_is_left_alone(tmp_path: Path) -> None:
    none = settings_of(NOWHERE, tmp_path, plan=None)

    wanted = first_stack(none, [], EVERYTHING)
    assert EVERYTHING.items() <= wanted.parameters.items()
    assert [note.state for note in wanted.notes] == ["left"]


def test_restore_testing_is_not_taken_away(tmp_path: Path) -> None:
    wanted = first_stack(plan(tmp_path, restore_testing=False), [], EVERYTHING)

    assert wanted.parameters["RestoreTestingPlan"] == "backup_assets"
    assert "restore testing" in [note.name for note in wanted.notes]


def test_a_ninth_database_is_refused(settings: Settings) -> None:
    with pytest.raises(Refused, match="9 databases do not fit"):
        first_stack(settings, [source(f"db{number}") for number in range(9)], None)


def test_a_key_is_named_by_its_arn(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="alias/backups, which is no ARN") as raised:
        second_stack(plan(tmp_path, second_kms_key_id="alias/backups"), None)
    assert "--region ap-northeast-3 --key-id alias/backups" in raised.value.remedy
