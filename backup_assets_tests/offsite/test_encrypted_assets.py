from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.local import local_store, place_of
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.ciphers.keys import AgeKeys
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store
from backup_assets_tests.offsite.test_assets import checks_of, failures_of, run, sets_in_any, steps_in_order
from backup_assets_tests.sets.examples import a_verification, proof_of, put_record
from backup_assets_tests.sources import Source, capture, listed

KEY = dg.AssetKey(["erp4", "encrypted"])


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(a_database: Source, age_keys: AgeKeys, tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    schedule = ScheduleSettings(timezone=ZONE, since=TODAY - timedelta(days=14))
    return a_database.settings(schedule=schedule).model_copy(
        update={
            "stores": (folder_store(tmp_path / "usb"),),
            "encryption": EncryptionSettings(cipher="age", recipients=(age_keys.lena,)),
        }
    )


def run_alone(settings: Settings, instance: dg.DagsterInstance, slot: date = TODAY) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    alone = dg.define_asset_job("encrypt_alone", selection=dg.AssetSelection.assets(KEY))
    return (
        dg.Definitions.merge(definitions, dg.Definitions(jobs=[alone]))
        .resolve_job_def("encrypt_alone")
        .execute_in_process(partition_key=f"{slot}", instance=instance, raise_on_error=False)
    )


def plain_dumps(settings: Settings) -> list[str]:
    return [path.name for path in settings.backup_dir.rglob("*.dump")]


def test_without_recipients_there_is_no_encryption(settings: Settings) -> None:
    graph = build_definitions(
        settings.model_copy(update={"encryption": EncryptionSettings()}), datetime.now(UTC)
    ).resolve_asset_graph()
    assert KEY not in graph.get_all_asset_keys()
    assert graph.get(dg.AssetKey(["erp4", "folder_copy"])).parent_keys == {dg.AssetKey(["erp4", "metadata"])}


def test_every_copy_comes_after_the_encryption(settings: Settings) -> None:
    graph = build_definitions(settings, datetime.now(UTC)).resolve_asset_graph()
    node = graph.get(KEY)
    assert node.parent_keys == {dg.AssetKey(["erp4", "metadata"])}
    assert graph.get(dg.AssetKey(["erp4", "folder_copy"])).parent_keys == {KEY}
    assert node.backfill_policy is None
    assert node.kinds == {"age"}
    assert "removed once the set is proven" in (node.description or "")


def test_a_backup_is_encrypted_copied_and_proven_and_then_its_plain_files_go(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    result = run(settings, an_instance)

    assert result.success, failures_of(result)
    assert steps_in_order(result) == ["erp4_capture", "erp4_encrypted", "erp4_folder_copy", "erp4_db_dump_restored"]
    assert checks_of(result)["encrypted_whole"] is True
    (one,) = listed(settings)
    assert one.state == "complete"
    assert one.is_encrypted
    assert proof_of(one) is not None
    assert plain_dumps(settings) == []
    assert sets_in_any(settings) == {one.id}
    (event,) = result.asset_materializations_for_node("erp4_encrypted")
    figures = {name: value.value for name, value in event.metadata.items()}
    assert int(str(figures["size_bytes"])) > one.manifest.size_bytes
    assert figures["recipients"] == settings.encryption.recipients[0]


def test_sets_of_a_past_slot_are_encrypted_by_a_backfill_once(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    capture(settings, slot=f"{TODAY}")
    assert run_alone(settings, an_instance).success
    before = {path: path.stat().st_mtime_ns for path in settings.backup_dir.rglob("*.age")}

    assert run_alone(settings, an_instance).success

    assert before
    assert {path: path.stat().st_mtime_ns for path in settings.backup_dir.rglob("*.age")} == before
    assert plain_dumps(settings) != []  # nothing has proven it


def test_a_damaged_set_makes_the_check_and_the_run_fail_and_the_others_are_encrypted(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    good, bad = (capture(settings, slot=f"{TODAY}").manifest for _ in range(2))
    (path,) = settings.backup_dir.rglob(f"{bad.id}.sql")
    flip_a_bit(path)

    result = run_alone(settings, an_instance)

    assert not result.success
    assert checks_of(result) == {"encrypted_whole": False}
    assert {one.id for one in listed(settings) if one.is_encrypted} == {good.id}
    assert an_instance.get_materialized_partitions(KEY) == set()


def test_an_encrypted_file_that_is_damaged_makes_the_run_red_after_every_copy_and_its_plain_one_stays(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    yesterday = capture(settings, slot=f"{TODAY - timedelta(days=1)}").manifest
    kept = settings.model_copy(update={"encryption": settings.encryption.model_copy(update={"keep_plain": True})})
    assert run_alone(kept, an_instance, TODAY - timedelta(days=1)).success
    put_record(local_store(settings), a_verification(yesterday.id), place_of(settings.databases[0], settings))
    (damaged,) = settings.backup_dir.rglob(f"{yesterday.id}.dump.age")
    flip_a_bit(damaged)

    result = run(settings, an_instance)

    assert not result.success
    assert list(failures_of(result)) == ["erp4_db_dump_restored"]
    assert damaged.name in failures_of(result)["erp4_db_dump_restored"]
    assert checks_of(result)["restored"] is True
    assert len(sets_in_any(settings)) == 1
    assert plain_dumps(settings) == [f"{yesterday.id}.dump"]
    assert not run_alone(settings, an_instance, TODAY - timedelta(days=1)).success


def test_a_slot_without_a_set_fails_with_the_explanation(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    result = run_alone(settings, an_instance, TODAY - timedelta(days=1))

    assert "has no set" in failures_of(result)["erp4_encrypted"]
