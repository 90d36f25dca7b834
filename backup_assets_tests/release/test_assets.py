"""A release backup as Dagster runs it: green only when it can be relied on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.release.assets import ASSET
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.offsite.copying import folder_store
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, listed

KEY = dg.AssetKey(["erp4", ASSET])


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(a_database: Source, tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    schedule = ScheduleSettings(timezone=ZONE, since=TODAY - timedelta(days=3))
    configured = a_database.settings(schedule=schedule)
    return configured.model_copy(update={"stores": (folder_store(tmp_path / "usb"),)})


def run(settings: Settings, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    job = definitions.resolve_job_def("erp4_release_backup_job")
    return job.execute_in_process(
        partition_key=f"{TODAY}",
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"erp4_capture": {"config": {"label": "4.2", "content_hashes": "ALWAYS", **config}}}},
    )


def why_it_failed(result: dg.ExecuteInProcessResult) -> str:
    return "".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)


def words_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.asset_materializations_for_node("erp4_release")
    return str(event.metadata["words"].value)


def in_store(settings: Settings, name: str) -> BackupSet:
    (one,) = catalog_in(store_named(settings, name), place_of(settings.databases[0], settings)).sets()
    return one


def test_a_green_release_backup_is_everywhere_proven_and_held_for_ninety_days(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    result = run(settings, an_instance)

    assert result.success, why_it_failed(result)
    (one,) = listed(settings)
    assert one.manifest.label == "4.2"
    proof = proof_of(one)
    assert proof is not None
    assert proof.content
    for store in ("local", "usb"):
        hold = in_store(settings, store).hold_at(datetime.now(UTC))
        assert hold is not None
        assert hold.reason == "release 4.2"
        assert hold.until is not None
        assert timedelta(days=89) < hold.until - datetime.now(UTC) <= timedelta(days=90)
    words = words_of(result)
    for part in (one.id, "for 4.2", "1,050 rows in 2 tables", "whole in local, usb", "held until", "release 4.2"):
        assert part in words
    assert words.endswith(f"RESTORE_CONFIRM=1 backup-assets restore {one.id}")
    assert "\n" not in words


def test_a_reason_and_an_end_are_those_that_were_given(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    result = run(settings, an_instance, hold="the auditors", hold_until="2099-01-31")

    assert result.success, why_it_failed(result)
    hold = in_store(settings, "usb").hold_at(datetime.now(UTC))
    assert hold is not None
    assert (hold.reason, hold.until) == ("the auditors", datetime(2099, 2, 1, tzinfo=ZoneInfo(ZONE)))
    assert "held until 2099-02-01 00:00:00" in words_of(result)


def test_without_a_copy_it_is_red_and_vouches_for_nothing(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "usb").rmdir()

    result = run(settings, an_instance)

    assert not result.success
    assert an_instance.get_latest_materialization_event(KEY) is None


def test_a_set_that_does_not_restore_to_what_it_should_is_not_vouched_for(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "checks.sql").write_text("-- name: changing\nSELECT clock_timestamp();\n")
    doubtful = settings.databases[0].model_copy(update={"integrity_sql": tmp_path / "checks.sql"})

    result = run(settings.model_copy(update={"databases": (doubtful,)}), an_instance)

    assert not result.success
    assert "do not release" in why_it_failed(result)
    assert "it was not restored on trial, or that failed" in why_it_failed(result)
    assert an_instance.get_latest_materialization_event(KEY) is None


def test_rows_that_were_only_counted_are_not_enough(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    result = run(settings, an_instance, content_hashes="NEVER")

    assert not result.success
    assert "its contents were not compared" in why_it_failed(result)


def test_vouching_without_having_captured_is_refused(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    assert run(settings, an_instance).success
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.assets(KEY))
    definitions = dg.Definitions.merge(build_definitions(settings, datetime.now(UTC)), dg.Definitions(jobs=[alone]))

    result = definitions.resolve_job_def("alone").execute_in_process(
        partition_key=f"{TODAY}", instance=an_instance, raise_on_error=False
    )

    assert not result.success
    assert "this run has captured no set of erp4" in why_it_failed(result)


def test_an_encrypted_copy_is_held_too(settings: Settings, an_instance: dg.DagsterInstance, keyrings: Keyrings) -> None:
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)

    result = run(settings.model_copy(update={"encryption": encryption}), an_instance)

    assert result.success, why_it_failed(result)
    copy = in_store(settings, "usb")
    assert copy.is_encrypted
    assert copy.hold_at(datetime.now(UTC)) is not None
