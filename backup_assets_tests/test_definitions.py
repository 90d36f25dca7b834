from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_capture import AttachmentsSettings, FileColumn
from backup_assets.settings_loading import demo_settings
from backup_assets.settings_restore import VerificationSettings
from backup_assets_tests.bench.bench_definitions import LOAD, TICK, in_process, prepare

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
PURPOSES = ("backup", "drill", "retention", "verification", "watch", "report")


def definitions_of(tmp_path: Path, *databases: DatabaseSettings) -> dg.Definitions:
    return build_definitions(Settings(backup_dir=tmp_path, databases=databases), NOW)


def assets_of(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_what_is_not_configured_does_not_exist(tmp_path: Path):
    definitions = definitions_of(tmp_path, DatabaseSettings(name="erp4", database="erp4"))

    assert {"erp4/postgres", "erp4/db_dump", "erp4/globals", "erp4/metadata"} <= assets_of(definitions)
    assert not assets_of(definitions) & {"erp4/pdf_archive", "erp4/attachments", "erp4/important_tables"}


def test_what_is_configured_exists_with_its_checks(tmp_path: Path):
    database = DatabaseSettings(
        name="erp4",
        database="erp4",
        important_tables=("invoices",),
        attachments=AttachmentsSettings(directory=tmp_path, files=(FileColumn(table="invoices", column="pdf"),)),
    )
    definitions = definitions_of(tmp_path, database)

    assert {"erp4/pdf_archive", "erp4/attachments", "erp4/important_tables"} <= assets_of(definitions)
    checks = {
        f"{key.asset_key.to_user_string()}:{key.name}" for key in definitions.resolve_asset_graph().asset_check_keys
    }
    assert {
        "erp4/db_dump:readable",
        "erp4/db_dump:restored",
        "erp4/globals:roles_present",
        "erp4/pdf_archive:matches_index",
        "erp4/pdf_archive:rows_and_files_agree",
        "erp4/important_tables:readable",
        "erp4/important_tables:restored",
    } <= checks


def test_each_database_has_jobs_and_schedules_of_its_own(tmp_path: Path):
    definitions = definitions_of(
        tmp_path, DatabaseSettings(name="erp4", database="erp4"), DatabaseSettings(name="crm", database="crm")
    )
    repository = definitions.get_repository_def()

    assert {"erp4_backup_job", "crm_backup_job", "erp4_restore_job", "crm_restore_job"} <= set(repository.job_names)
    assert {"erp4_drill_job", "crm_drill_job"} <= set(repository.job_names)
    assert {s.name for s in repository.schedule_defs} == {
        f"{name}_{purpose}_schedule" for name in ("erp4", "crm") for purpose in PURPOSES
    }
    assert all(s.default_status == dg.DefaultScheduleStatus.RUNNING for s in repository.schedule_defs)
    assert {f"{name}_missed_slots_sensor" for name in ("erp4", "crm")} <= {s.name for s in repository.sensor_defs}


def test_all_can_be_loaded_together(tmp_path: Path):
    dg.Definitions.validate_loadable(definitions_of(tmp_path, DatabaseSettings(name="erp4", database="erp4")))


def test_every_step_of_a_run_shares_one_process(tmp_path: Path):
    job = definitions_of(tmp_path, DatabaseSettings(name="erp4", database="erp4")).resolve_job_def("erp4_backup_job")

    assert job.executor_def is dg.in_process_executor


def test_the_demo_shows_its_copies_and_starts_nothing_for_that(tmp_path: Path):
    definitions = build_definitions(demo_settings(tmp_path / "backups", tmp_path / "demo"), NOW)

    graph = definitions.resolve_asset_graph()
    tokyo, osaka = (dg.AssetKey(["erp4", name]) for name in ("s3_upload", "cross_region_copy"))
    assert graph.get(tokyo).parent_keys == {dg.AssetKey(["erp4", "metadata"])}
    assert graph.get(osaka).parent_keys == {tokyo}
    assert list(tmp_path.iterdir()) == []


def test_the_demo_runs_nothing_of_a_real_database_by_itself(tmp_path: Path):
    repository = build_definitions(demo_settings(tmp_path / "b", tmp_path / "d"), NOW).get_repository_def()

    assert {s.default_status for s in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}
    missed = repository.get_sensor_def("erp4_missed_slots_sensor")
    assert missed.default_status == dg.DefaultSensorStatus.STOPPED


def test_a_rotation_of_none_a_night_does_not_exist(tmp_path: Path):
    database = DatabaseSettings(name="erp4", database="erp4", verification=VerificationSettings(nightly_limit=0))
    definitions = definitions_of(tmp_path, database)

    assert "erp4/verification" not in assets_of(definitions)
    assert "erp4_verification_job" not in definitions.get_repository_def().job_names


def test_a_job_is_made_of_the_assets_of_its_own_database_alone(tmp_path: Path):
    databases = (DatabaseSettings(name="erp", database="erp"), DatabaseSettings(name="erp_test", database="erp_test"))
    definitions = build_definitions(Settings(backup_dir=tmp_path, databases=databases), NOW)
    alone = build_definitions(Settings(backup_dir=tmp_path, databases=databases[:1]), NOW).get_repository_def()
    repository = definitions.get_repository_def()

    for name in alone.job_names:
        if name.startswith("erp_"):
            job = repository.get_job(name)
            assert job.get_job_snapshot_id() == alone.get_job(name).get_job_snapshot_id()
            graph = job.asset_layer.asset_graph
            assert {key.path[0] for key in graph.get_all_asset_keys()} <= {"erp"}


def seconds_of_a_code_location(databases: int) -> float:
    """Return the seconds of the processor that the code location takes, without what Python loads first."""
    with tempfile.TemporaryDirectory() as home:
        seen = in_process(LOAD, prepare(Path(home), databases, bucket=True))
    return seen["the whole code location"][1] - seen["import dagster"][1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hundreds_of_databases_take_as_many_times_as_long_as_tens():
    # The quickest of several, one size after the other: what else the machine does falls into some of them only.
    few = many = float("inf")
    for _ in range(2):
        few = min(few, seconds_of_a_code_location(15))
        many = min(many, seconds_of_a_code_location(120))

    # Eight times as many; looking at every asset for every job took twenty-five times as long.
    assert many < 16 * few, (few, many)
    assert many < 90  # 8 s on a machine that is not busy; Dagster waits for a code location for three minutes


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_tick_of_all_schedules_and_sensors_grows_with_the_databases():
    seen: dict[int, dict[str, tuple[float, float]]] = {}
    for databases in (10, 60):
        with tempfile.TemporaryDirectory() as home:
            seen[databases] = in_process(TICK, prepare(Path(home), databases, sets=30))

    for name in ("schedules", "sensors, first look", "sensors, next look"):
        assert seen[60][name][1] < 2.5 * 6 * seen[10][name][1] + 1, (name, seen)
