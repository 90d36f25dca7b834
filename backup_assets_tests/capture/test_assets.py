from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from pydantic import SecretStr

from backup_assets.capture import assets
from backup_assets.capture.assets import RETRIES
from backup_assets.command_runs import COMMAND_LINE, STARTED_BY
from backup_assets.definitions import build_definitions
from backup_assets.local import local_store, place_of
from backup_assets.settings import Settings
from backup_assets.settings_capture import SecretsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests import midday
from backup_assets_tests.capture.test_capture import TRUNCATING, a_lying_directory
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, listed

TODAY = f"{midday.TODAY}"
SINCE = ScheduleSettings(timezone=midday.ZONE, since=midday.TODAY - timedelta(days=10))


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def settings_of(source: Source, **fields: Any) -> Settings:
    return source.settings(schedule=SINCE, **fields)


def run_job(
    settings: Settings, instance: dg.DagsterInstance, *, slot: str | None = None, job: str = "erp4_backup_job",
    config: dict[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:  # fmt: skip
    definitions = build_definitions(settings, datetime.now(UTC))
    return definitions.resolve_job_def(job).execute_in_process(
        partition_key=slot or TODAY,
        instance=instance,
        raise_on_error=False,
        run_config=config and {"ops": {"erp4_capture": {"config": config}}},
    )


def materialized(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey(["erp4", asset]))


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)


def test_a_green_run_is_a_set_that_is_there_and_proven(a_database: Source, an_instance: dg.DagsterInstance):
    settings = settings_of(a_database)

    result = run_job(settings, an_instance, config={"label": "before release", "hold": "audit"})

    assert result.success
    (found,) = listed(settings)
    assert proof_of(found) is not None
    assert (found.manifest.label, found.manifest.hold and found.manifest.hold.reason) == ("before release", "audit")
    assert materialized(an_instance, "db_dump") == materialized(an_instance, "metadata") == {TODAY}
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"readable": True, "roles_present": True, "restored": True}
    (event,) = [m for m in result.asset_materializations_for_node("erp4_capture") if m.asset_key.path[-1] == "db_dump"]
    assert event.metadata["set_id"].value == found.id
    assert event.metadata["dagster/row_count"].value == 1050


def test_secrets_are_an_asset_of_the_backup_and_no_value_is_in_its_events(
    a_database: Source, an_instance: dg.DagsterInstance, keyrings: Keyrings, tmp_path: Path
):
    canary = "correct horse battery staple"
    (tmp_path / ".env").write_text(f"JWT_SECRET={canary}\n")
    settings = settings_of(a_database, secrets=SecretsSettings(files=(tmp_path / ".env",))).model_copy(
        update={"encryption": EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)}
    )

    result = run_job(settings, an_instance)

    assert result.success
    assert materialized(an_instance, "secrets") == {TODAY}
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks["encrypted"] is True
    (event,) = [m for m in result.asset_materializations_for_node("erp4_capture") if m.asset_key.path[-1] == "secrets"]
    assert event.metadata["recipients"].value == keyrings.lena
    assert event.metadata["secret_count"].value == 1
    assert "| file | .env | 40 |" in str(event.metadata["captured"].value)
    told = "".join(str(entry) for entry in an_instance.all_logs(result.run_id))
    assert "1 secrets encrypted to" in told
    assert canary not in told


def test_without_secrets_there_is_no_such_asset(a_database: Source, tmp_path: Path):
    (tmp_path / ".env").write_text("A=1")
    without = build_definitions(settings_of(a_database), datetime.now(UTC)).resolve_asset_graph()
    secrets = SecretsSettings(files=(tmp_path / ".env",))
    graph = build_definitions(settings_of(a_database, secrets=secrets), datetime.now(UTC)).resolve_asset_graph()

    added = graph.get_all_asset_keys() - without.get_all_asset_keys()
    assert added == {dg.AssetKey(["erp4", "environment"]), dg.AssetKey(["erp4", "secrets"])}
    assert graph.get(dg.AssetKey(["erp4", "secrets"])).parent_keys == {dg.AssetKey(["erp4", "environment"])}
    assert dg.AssetKey(["erp4", "secrets"]) in graph.get(dg.AssetKey(["erp4", "metadata"])).parent_keys


def test_several_runs_in_one_slot_make_several_sets(a_database: Source, an_instance: dg.DagsterInstance):
    settings = settings_of(a_database)

    assert run_job(settings, an_instance).success
    assert run_job(settings, an_instance).success

    assert [one.manifest.slot for one in listed(settings)] == [TODAY, TODAY]
    assert all(proof_of(one) for one in listed(settings))


def test_a_past_slot_fails_at_once_and_stays_empty(a_database: Source, an_instance: dg.DagsterInstance):
    settings = settings_of(a_database)
    yesterday = f"{datetime.now(ZoneInfo(midday.ZONE)) - timedelta(days=1):%Y-%m-%d}"

    result = run_job(settings, an_instance, slot=yesterday)

    assert not result.success
    text = failure_text(result)
    assert f"the slot {yesterday} is over, and a past slot is never filled with today's data" in text
    assert f"into the current slot {TODAY}" in text
    assert materialized(an_instance, "db_dump") == set()
    assert listed(settings) == []
    assert not any(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


def test_a_second_backup_of_the_same_database_is_refused_at_once(a_database: Source, an_instance: dg.DagsterInstance):
    settings = settings_of(a_database)
    place = place_of(settings.databases[0], settings)
    local_store(settings).check()

    with local_store(settings).capture_lock(f"{place.prefix}-{place.env}", run="the first"):
        result = run_job(settings, an_instance)

    assert not result.success
    assert "another run is at work" in failure_text(result)
    assert "the first" in failure_text(result)
    assert listed(settings) == []
    assert not any(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


@pytest.mark.parametrize(("tags", "attempts"), [({}, 3), ({STARTED_BY: COMMAND_LINE}, 1)])
def test_a_server_that_is_away_is_tried_again_unless_somebody_sits_there(
    a_database: Source,
    an_instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tags: dict[str, str],
    attempts: int,
):
    # As the real policy in everything but its minutes.
    monkeypatch.setattr(assets, "RETRIES", RETRIES._replace(max_retries=2, delay=0.01))
    away = settings_of(a_database, server=a_database.server_settings(host="/nonexistent"))

    result = (
        build_definitions(away, datetime.now(UTC))
        .resolve_job_def("erp4_backup_job")
        .execute_in_process(partition_key=TODAY, instance=an_instance, raise_on_error=False, tags=tags)
    )

    assert not result.success
    started = [event for event in result.all_events if event.is_step_start or event.is_step_restarted]
    assert [event.step_key for event in started] == ["erp4_capture"] * attempts
    assert "cannot connect to database" in failure_text(result)


def test_a_capture_is_tried_again_after_one_three_and_seven_minutes():
    waits = [RETRIES.calculate_delay(attempt) for attempt in range(1, RETRIES.max_retries + 1)]
    assert waits == [60, 180, 420]


def test_a_failed_quick_check_is_shown_and_the_run_fails_without_a_set(
    a_database: Source, an_instance: dg.DagsterInstance, tmp_path: Path
):
    settings = settings_of(a_database, client_bin_dir=a_lying_directory(tmp_path, 17, "pg_dump", TRUNCATING))

    result = run_job(settings, an_instance)

    assert not result.success
    evaluations = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert evaluations["readable"] is False
    assert "cannot be read to its end" in failure_text(result)
    assert listed(settings) == []
    for asset in ("db_dump", "globals", "metadata"):
        assert materialized(an_instance, asset) == set()


def test_the_weekly_set_of_the_important_tables_is_captured_and_proven(
    a_database: Source, an_instance: dg.DagsterInstance
):
    settings = settings_of(a_database, important_tables=("invoices",))
    now = datetime.now(ZoneInfo(midday.ZONE))
    sunday = f"{now - timedelta(days=now.isoweekday() % 7):%Y-%m-%d}"

    result = run_job(settings, an_instance, slot=sunday, job="erp4_important_tables_job")

    assert result.success, failure_text(result)
    (found,) = listed(settings)
    assert (found.manifest.kind, found.manifest.slot) == ("important_tables", sunday)
    assert proof_of(found) is not None


def test_a_password_is_in_no_event_of_a_run_and_in_no_definition(a_database: Source, an_instance: dg.DagsterInstance):
    token = f"t0ken{uuid.uuid4().hex}"
    role = f"dumper_{uuid.uuid4().hex[:8]}"
    a_database.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{token}'")
    server = a_database.server_settings(user=role, password=SecretStr(token))
    try:
        good = run_job(settings_of(a_database, server=server), an_instance)
        bad = run_job(settings_of(a_database, server=server, database="no_such_database"), an_instance)
    finally:
        a_database.execute(f"DROP ROLE {role}")

    assert (good.success, bad.success) == (True, False)
    for result in (good, bad):
        records = an_instance.all_logs(result.run_id)
        assert len(records) > 10
        assert token not in "\n".join(str(record) for record in records)
    for path in Path(an_instance.root_directory).rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path
    assert "DB_NAME" in failure_text(bad)


def test_a_hold_that_would_be_over_already_fails_the_run_before_anything_is_dumped(
    a_database: Source, an_instance: dg.DagsterInstance
):
    settings = settings_of(a_database)

    result = run_job(settings, an_instance, config={"hold": "release 4.2", "hold_until": "2020-01-31"})

    assert not result.success
    assert "the hold would be over already" in failure_text(result)
    assert listed(settings) == []
