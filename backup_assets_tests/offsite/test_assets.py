from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon import get_default_daemon_logger
from dagster._daemon.backfill import execute_backfill_iteration

from backup_assets.definitions import build_definitions
from backup_assets.offsite import assets
from backup_assets.offsite.assets import copy_asset_keys
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.cli.conftest import variables_of
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store
from backup_assets_tests.offsite.cross_copying import a_bucket_store, bucket, replace_content, use_profiles
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, capture, listed
from backup_assets_tests.stores.object_server import ObjectServer, object_server

KEY = dg.AssetKey(["erp4", "folder_copy"])
BUCKET = StoreSettings(name="s3", kind="s3", bucket="erp4-backups", sse_s3="AES256")
SECOND = StoreSettings(name="osaka", kind="s3", bucket="erp4-osaka", sse_s3="AES256", copied_from="s3")


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    (tmp_path / "usb").mkdir()
    return tmp_path / "usb"


@pytest.fixture
def settings(a_database: Source, usb: Path) -> Settings:
    """A real database with two weeks of slots and a folder on other media."""
    schedule = ScheduleSettings(timezone=ZONE, since=TODAY - timedelta(days=14))
    configured = a_database.settings(schedule=schedule)
    return configured.model_copy(update={"stores": (folder_store(usb),)})


def run(
    settings: Settings, instance: dg.DagsterInstance, slot: date = TODAY, job: str = "erp4_backup_job"
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    alone = dg.define_asset_job("copy_alone", selection=dg.AssetSelection.assets(KEY))
    jobs = [alone]
    if any(store.copied_from for store in settings.stores):
        second = dg.AssetSelection.assets(["erp4", "cross_region_copy"])
        jobs = [dg.define_asset_job("cross_copy_alone", selection=second)]
    return (
        dg.Definitions.merge(definitions, dg.Definitions(jobs=jobs))
        .resolve_job_def(job)
        .execute_in_process(partition_key=f"{slot}", instance=instance, raise_on_error=False)
    )


def steps_in_order(result: dg.ExecuteInProcessResult) -> list[str | None]:
    return [event.step_key for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_START]


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def failures_of(result: dg.ExecuteInProcessResult) -> dict[str | None, str]:
    return {event.step_key: str(event.event_specific_data) for event in result.all_events if event.is_step_failure}


def assets_with(*stores: StoreSettings, **fields: Any) -> set[str]:
    database = DatabaseSettings(name="erp4", database="erp4", **fields)
    definitions = build_definitions(
        Settings(backup_dir=Path("/nonexistent"), databases=(database,), stores=stores), datetime.now(UTC)
    )
    return {key.path[-1] for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_without_a_further_store_there_is_no_copy() -> None:
    assert not {name for name in assets_with() if "copy" in name or "upload" in name}


def test_each_store_has_an_asset_named_by_its_kind_and_where_needed_by_its_name(usb: Path) -> None:
    one, other = folder_store(usb), folder_store(usb / "x", "disk")
    assert {"folder_copy", "s3_upload"} <= assets_with(one, BUCKET)
    found = assets_with(one, other, BUCKET, important_tables=("invoices",))
    assert {"folder_copy_usb", "folder_copy_disk", "s3_upload"} <= found
    assert {"important_tables_folder_copy_usb", "important_tables_s3_upload"} <= found
    assert "folder_copy" not in found


def test_a_copy_comes_after_the_manifest_and_looks_like_its_neighbours(usb: Path) -> None:
    database = DatabaseSettings(name="erp4", database="erp4")
    settings = Settings(backup_dir=usb / "b", databases=(database,), stores=(folder_store(usb / "c"), BUCKET))
    graph = build_definitions(settings, datetime.now(UTC)).resolve_asset_graph()

    for key in copy_asset_keys(database, settings):
        node, metadata = graph.get(dg.AssetKey(key)), graph.get(dg.AssetKey(["erp4", "metadata"]))
        assert node.parent_keys == {metadata.key}
        assert node.partitions_def == metadata.partitions_def
        assert (node.group_name, node.owners) == (metadata.group_name, metadata.owners)
        assert node.backfill_policy is None
        assert node.description
        assert node.kinds
        assert len(node.pools or ()) == 1
        (check,) = node.check_keys
        assert check.name == "stored"
    pools = {pool for key in copy_asset_keys(database, settings) for pool in graph.get(dg.AssetKey(key)).pools or ()}
    assert pools == {"store_usb", "store_s3"}


def test_a_backup_is_copied_before_it_is_proven(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    result = run(settings, an_instance)

    assert result.success, failures_of(result)
    assert steps_in_order(result) == ["erp4_capture", "erp4_folder_copy", "erp4_db_dump_restored"]
    assert checks_of(result) == {"readable": True, "roles_present": True, "stored": True, "restored": True}
    (one,) = listed(settings)
    assert set(one.copies) == {"usb"}
    assert proof_of(one) is not None
    assert sets_in_any(settings) == {one.id}
    (event,) = result.asset_materializations_for_node("erp4_folder_copy")
    figures = {name: value.value for name, value in event.metadata.items()}
    assert (figures["set_count"], figures["copied_count"]) == (1, 1)
    assert figures["size_bytes"] == figures["sent_bytes"] == one.manifest.size_bytes
    assert float(str(figures["duration_seconds"])) > 0
    assert int(str(figures["throughput_bytes_per_second"])) > 0


def sets_in_any(settings: Settings) -> set[str]:
    """Return the sets in the folder; those of a real capture lie elsewhere than those of the examples."""
    directory = settings.stores[0].directory
    assert directory is not None
    return {path.name.partition(".")[0] for path in directory.rglob("*.manifest.json")}


def test_a_copy_that_fails_makes_the_run_fail_and_the_proof_is_made_all_the_same(
    settings: Settings, an_instance: dg.DagsterInstance, usb: Path
) -> None:
    usb.rmdir()

    result = run(settings, an_instance)

    assert not result.success
    assert set(failures_of(result)) == {"erp4_folder_copy"}
    assert "does not exist" in failures_of(result)["erp4_folder_copy"]
    (one,) = listed(settings)
    assert proof_of(one) is not None
    assert one.copies == {}
    assert an_instance.get_materialized_partitions(KEY) == set()


def test_a_proof_that_fails_does_not_stop_the_copy(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "checks.sql").write_text("-- name: changing\nSELECT clock_timestamp();\n")
    (database,) = settings.databases
    doubtful = database.model_copy(update={"integrity_sql": tmp_path / "checks.sql"})

    result = run(settings.model_copy(update={"databases": (doubtful,)}), an_instance)

    assert set(failures_of(result)) == {"erp4_db_dump_restored"}
    assert checks_of(result)["stored"] is True
    assert len(sets_in_any(settings)) == 1


def test_a_damaged_set_is_told_by_the_check_and_the_others_are_copied(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    good, bad = (capture(settings, slot=f"{TODAY}").manifest for _ in range(2))
    (path,) = settings.backup_dir.rglob(f"{bad.id}.sql")
    flip_a_bit(path)

    result = run(settings, an_instance, job="copy_alone")

    assert not result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.partition == f"{TODAY}"
    assert "1 of 2 sets are not in" in str(check.description)
    assert bad.id in str(check.description)
    assert sets_in_any(settings) == {good.id}
    assert an_instance.get_materialized_partitions(KEY) == set()


def test_a_slot_without_a_set_fails_with_the_explanation(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    yesterday = TODAY - timedelta(days=1)

    result = run(settings, an_instance, yesterday, job="copy_alone")

    assert not result.success
    assert f"the slot {yesterday} of erp4 has no set" in failures_of(result)["erp4_folder_copy"]
    assert not [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]


def test_a_store_that_is_away_is_tried_again_and_an_interrupt_is_not(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "RETRIES", assets.RETRIES._replace(delay=0.01))  # the real policy but for its seconds
    capture(settings, slot=f"{TODAY}")
    (tmp_path / "hosts").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = StoreSettings(
            name="away", kind="ssh", host="127.0.0.1", port=free.getsockname()[1], remote_dir="/srv/backups",
            known_hosts=tmp_path / "hosts",
        )  # fmt: skip
        key = dg.AssetKey(["erp4", "remote_copy"])
        definitions = build_definitions(settings.model_copy(update={"stores": (away,)}), datetime.now(UTC))
        alone = dg.define_asset_job("alone", selection=dg.AssetSelection.assets(key))
        result = (
            dg.Definitions.merge(definitions, dg.Definitions(jobs=[alone]))
            .resolve_job_def("alone")
            .execute_in_process(partition_key=f"{TODAY}", instance=an_instance, raise_on_error=False)
        )

    started = [event for event in result.all_events if event.is_step_start or event.is_step_restarted]
    assert [event.step_key for event in started] == ["erp4_remote_copy"] * 3
    # A policy of the step's own would apply to whoever ends the run, too.
    assert definitions.resolve_asset_graph().get(key).assets_def.op.retry_policy is None


def test_filling_past_slots_copies_exactly_what_is_missing_once(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    days = [TODAY - timedelta(days=back) for back in (3, 2, 1)]
    taken = [capture(settings, slot=f"{day}").manifest for day in days]
    assert run(settings, an_instance, days[1], job="copy_alone").success

    counts = [copied_count(run(settings, an_instance, day, job="copy_alone")) for day in days]

    assert counts == [1, 0, 1]
    assert sets_in_any(settings) == {one.id for one in taken}
    assert an_instance.get_materialized_partitions(KEY) == {f"{day}" for day in days}
    assert [len(one.copies) for one in listed(settings)] == [1, 1, 1]
    assert len(list(settings.backup_dir.rglob("*.copy.*"))) == 3


def copied_count(result: dg.ExecuteInProcessResult) -> object:
    assert result.success, failures_of(result)
    (event,) = result.asset_materializations_for_node("erp4_folder_copy")
    return event.metadata["copied_count"].value


def test_the_weekly_set_of_the_important_tables_is_copied_by_its_own_job(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    (database,) = settings.databases
    weekly = database.model_copy(update={"important_tables": ("invoices",)})
    settings = settings.model_copy(update={"databases": (weekly,)})
    sunday = TODAY - timedelta(days=TODAY.isoweekday() % 7)

    result = run(settings, an_instance, sunday, job="erp4_important_tables_job")

    assert result.success, failures_of(result)
    assert checks_of(result)["stored"]
    (one,) = listed(settings)
    assert (one.manifest.kind, sets_in_any(settings)) == ("important_tables", {one.id})


def test_a_second_bucket_is_an_asset_of_its_own_below_that_of_the_first(usb: Path) -> None:
    third = SECOND.model_copy(update={"name": "zurich", "bucket": "erp4-zurich"})
    assert {"s3_upload", "cross_region_copy"} <= assets_with(BUCKET, SECOND)
    assert {"s3_upload", "cross_region_copy_osaka", "cross_region_copy_zurich"} <= assets_with(BUCKET, SECOND, third)
    database = DatabaseSettings(name="erp4", database="erp4", important_tables=("invoices",))
    settings = Settings(backup_dir=usb / "b", databases=(database,), stores=(SECOND, BUCKET))

    graph = build_definitions(settings, datetime.now(UTC)).resolve_asset_graph()

    for prefix in ("", "important_tables_"):
        node = graph.get(dg.AssetKey(["erp4", f"{prefix}cross_region_copy"]))
        assert node.parent_keys == {dg.AssetKey(["erp4", f"{prefix}s3_upload"])}
        assert node.pools == {"store_osaka"}
        assert [check.name for check in node.check_keys] == ["stored"]


@pytest.fixture(scope="module")
def a_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def with_buckets(
    settings: Settings, a_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The same database with a bucket, and a second one that is copied from it."""
    use_profiles(a_server, tmp_path, monkeypatch)
    stores = (a_bucket_store(a_server, "tokyo"), a_bucket_store(a_server, "osaka", copied_from="tokyo"))
    return settings.model_copy(update={"stores": stores})


def test_a_backup_goes_on_to_the_second_bucket_before_it_is_proven(
    with_buckets: Settings, an_instance: dg.DagsterInstance
) -> None:
    result = run(with_buckets, an_instance)

    assert result.success, failures_of(result)
    assert steps_in_order(result) == [
        "erp4_capture",
        "erp4_s3_upload",
        "erp4_cross_region_copy",
        "erp4_db_dump_restored",
    ]
    (one,) = listed(with_buckets)
    assert set(one.copies) == {"tokyo", "osaka"}
    (event,) = result.asset_materializations_for_node("erp4_cross_region_copy")
    assert event.metadata["sent_bytes"].value == one.manifest.size_bytes
    keys = [stored.key for stored in bucket(with_buckets, "osaka").list("")]
    assert [key for key in keys if one.id in key] == [stored.key for stored in bucket(with_buckets, "tokyo").list("")]


def test_a_set_that_is_damaged_in_the_first_bucket_makes_the_run_red(
    with_buckets: Settings, an_instance: dg.DagsterInstance
) -> None:
    assert run(with_buckets, an_instance).success
    tokyo, osaka = bucket(with_buckets, "tokyo"), bucket(with_buckets, "osaka")
    for stored in [*osaka.list("")]:
        osaka.delete(stored.key)
    dump = next(stored for stored in tokyo.list("") if "/db/" in stored.key)
    replace_content(tokyo, dump.key, b"?" * dump.size)

    result = run(with_buckets, an_instance, job="cross_copy_alone")

    assert not result.success
    assert checks_of(result) == {"stored": False}
    assert not [stored for stored in osaka.list("") if "/meta/" in stored.key]


#: As backup_assets/definitions.py, read anew: this process has loaded that module with other settings.
LOCATION = """
from datetime import UTC, datetime
from backup_assets.definitions import build_definitions
from backup_assets.settings_loading import load_settings
defs = build_definitions(load_settings(), datetime.now(UTC))
"""


@pytest.mark.slow
def test_a_backfill_by_dagsters_own_machinery_copies_exactly_what_is_missing_once(
    settings: Settings, a_database: Source, usb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [TODAY - timedelta(days=back) for back in (3, 2, 1)]
    taken = [capture(settings, slot=f"{day}").manifest for day in days]
    for name, value in {
        **variables_of(a_database),
        "FOLDER_COPY_DIR": str(usb),
        "BACKUP_TIMEZONE": ZONE,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    location = tmp_path / "location.py"
    location.write_text(LOCATION)
    settings = settings.model_copy(update={"stores": (folder_store(usb, "folder"),)})  # as the variables name it
    with backfilling_instance() as instance:
        assert run(settings, instance, days[1], job="copy_alone").success

        for _ in range(2):
            assert backfill(instance, location, [f"{day}" for day in days]) == BulkActionStatus.COMPLETED_SUCCESS

        runs = instance.get_runs()
        assert len(runs) == 7
        assert all(one.is_success for one in runs)
        partitions = [one.tags["dagster/partition"] for one in runs]
        assert sorted(partitions) == sorted([f"{days[1]}", *[f"{day}" for day in days] * 2])
        assert instance.get_materialized_partitions(KEY) == {f"{day}" for day in days}
    assert sets_in_any(settings) == {one.id for one in taken}
    assert len(list(settings.backup_dir.rglob("*.copy.*"))) == 3


@contextmanager
def backfilling_instance() -> Iterator[dg.DagsterInstance]:
    """An instance whose runs are carried out in this process as soon as a backfill asks for them."""
    overrides = {
        "run_launcher": {
            "module": "dagster._core.launcher.sync_in_memory_run_launcher",
            "class": "SyncInMemoryRunLauncher",
        },
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    }
    with dg.instance_for_test(overrides=overrides) as instance:
        yield instance


def backfill(
    instance: dg.DagsterInstance, location: Path, slots: list[str], keys: Sequence[dg.AssetKey] = (KEY,)
) -> BulkActionStatus:
    """Ask for assets of slots, as the UI does, let the backfill daemon work, and return how it ended."""
    target = PythonFileTarget(str(location), attribute=None, working_directory=None, location_name="backup_assets")
    with create_test_daemon_workspace_context(target, instance) as context:
        graph = context.create_request_context().asset_graph
        asked = PartitionBackfill.from_asset_partitions(
            backfill_id=uuid.uuid4().hex[:8],
            asset_graph=graph,
            partition_names=slots,
            asset_selection=[*keys],
            backfill_timestamp=datetime.now(UTC).timestamp(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(asked)
        found = asked
        for _ in range(20):
            errors = list(execute_backfill_iteration(context, get_default_daemon_logger("backfill")))
            assert not any(errors)
            found = instance.get_backfill(asked.backfill_id)
            assert found is not None
            if found.status != BulkActionStatus.REQUESTED:
                break
        return found.status
