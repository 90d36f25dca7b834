from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.aws.infrastructure.place import infrastructure_databases
from backup_assets.definitions import build_definitions
from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.aws.conftest import INSTANCE, PretendedAws
from backup_assets_tests.aws.infrastructure.estate import make_estate, settings_of
from backup_assets_tests.ciphers.keys import Keyrings

#: Stands for the slot in which a run begins, which may be another one than that in which the tests were collected.
TODAY = "today"


@pytest.fixture
def an_instance_of_dagster() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path, aws: PretendedAws) -> Settings:
    make_estate(aws)
    (tmp_path / "usb").mkdir()
    usb = StoreSettings(name="usb", kind="folder", directory=tmp_path / "usb")
    return settings_of(tmp_path, aws, usb)


def run(
    settings: Settings, instance: dg.DagsterInstance, job: str = "erp4_infrastructure_job", slot: str | None = TODAY
) -> dg.ExecuteInProcessResult:
    now = datetime.now(UTC)
    definitions = build_definitions(settings, now)
    return definitions.resolve_job_def(job).execute_in_process(
        partition_key=f"{now:%Y-%m-%d}" if slot == TODAY else slot, instance=instance, raise_on_error=False
    )


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {
        one.check_name: (one.passed, one.description or "")
        for one in result.get_asset_check_evaluations()
        if one.asset_key == dg.AssetKey(["erp4", "infrastructure"])
    }


def test_a_day_is_captured_copied_and_pruned(settings: Settings, an_instance_of_dagster: dg.DagsterInstance) -> None:
    result = run(settings, an_instance_of_dagster)

    assert result.success
    assert checks_of(result)["unchanged"][0]
    assert checks_of(result)["complete"][0]
    (database,) = infrastructure_databases(settings)
    (copy,) = catalog_in(store_named(settings, "usb"), place_of(database, settings)).sets()
    assert (copy.state, copy.manifest.kind) == ("complete", "infrastructure")
    pruned = run(settings, an_instance_of_dagster, "erp4_infrastructure_retention_job", None)
    assert pruned.success
    (made,) = pruned.get_asset_materialization_events()
    assert made.materialization.metadata["kept_count"].value == 2


def test_a_change_fails_the_check_as_a_warning_and_not_the_run(
    settings: Settings, an_instance_of_dagster: dg.DagsterInstance, aws: PretendedAws
) -> None:
    run(settings, an_instance_of_dagster)
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=INSTANCE, BackupRetentionPeriod=1)

    result = run(settings, an_instance_of_dagster)

    assert result.success
    passed, text = checks_of(result)["unchanged"]
    assert not passed
    assert f"rds/{INSTANCE}/BackupRetentionPeriod: 14 → 1" in text
    severities = {one.check_name: one.severity for one in result.get_asset_check_evaluations()}
    assert severities["unchanged"] == dg.AssetCheckSeverity.WARN
    (made,) = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["erp4", "infrastructure"])
    ]
    assert "| 14 | 1 |" in str(made.metadata["changes"].value)


def test_a_change_is_told_again_when_the_run_that_told_it_left_no_word_in_dagster(
    settings: Settings, an_instance_of_dagster: dg.DagsterInstance, aws: PretendedAws
) -> None:
    run(settings, an_instance_of_dagster)
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=INSTANCE, BackupRetentionPeriod=1)
    with dg.instance_for_test() as lost:  # its events are as if the run had been killed before them
        run(settings, lost)

    result = run(settings, an_instance_of_dagster)

    passed, text = checks_of(result)["unchanged"]
    assert not passed
    assert f"rds/{INSTANCE}/BackupRetentionPeriod: 14 → 1" in text
    assert checks_of(run(settings, an_instance_of_dagster))["unchanged"][0]


def test_what_changed_is_on_record_before_the_document_is(
    settings: Settings, an_instance_of_dagster: dg.DagsterInstance
) -> None:
    kinds = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.ASSET_MATERIALIZATION}
    events = run(settings, an_instance_of_dagster).all_events
    found = [event for event in events if event.event_type in kinds and event.step_key == "erp4_infrastructure"]
    assert [event.event_type_value for event in found] == [
        *("ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION", "ASSET_MATERIALIZATION")
    ]


def test_what_is_missing_fails_the_other_check(
    settings: Settings, an_instance_of_dagster: dg.DagsterInstance, aws: PretendedAws
) -> None:
    aws.client("lambda").delete_function(FunctionName="erp4-mailer")

    passed, text = checks_of(run(settings, an_instance_of_dagster))["complete"]

    assert not passed
    assert "lambda/erp4-mailer was not captured" in text


def test_a_past_slot_is_never_filled(settings: Settings, an_instance_of_dagster: dg.DagsterInstance) -> None:
    since = settings.databases[0].schedule.model_copy(update={"since": datetime(2026, 1, 1).date()})  # noqa: DTZ001
    database = settings.databases[0].model_copy(update={"schedule": since})
    settings = settings.model_copy(update={"databases": (database,)})

    assert not run(settings, an_instance_of_dagster, slot="2026-01-02").success
    (place,) = infrastructure_databases(settings)
    assert catalog_in(store_named(settings, "local"), place_of(place, settings)).sets() == []


def test_with_encryption_only_the_envelope_leaves_and_the_next_day_is_compared(
    settings: Settings, an_instance_of_dagster: dg.DagsterInstance, keyrings: Keyrings, tmp_path: Path
) -> None:
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)
    settings = settings.model_copy(update={"encryption": encryption})

    assert run(settings, an_instance_of_dagster).success
    second = run(settings, an_instance_of_dagster)

    assert second.success
    assert checks_of(second)["unchanged"][1].startswith("as in ")
    copied = b"".join(path.read_bytes() for path in (tmp_path / "usb").rglob("*") if path.is_file())
    assert b"BackupRetentionPeriod" not in copied
