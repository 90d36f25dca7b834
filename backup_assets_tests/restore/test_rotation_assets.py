"""The rotation as Dagster runs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_assets.definitions import build_definitions
from backup_assets.local import local_store, place_of
from backup_assets.restore.rotation_assets import ASSET
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_restore import VerificationSettings
from backup_assets.settings_watch import WatchSettings
from backup_assets.watch.rounds import make_round
from backup_assets.watch.sensors import runs_reader
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store, sets_in, settings_with
from backup_assets_tests.retention.test_pruning import filled
from backup_assets_tests.sets.examples import put
from backup_assets_tests.sets.histories import DAY, a_set
from backup_assets_tests.sources import Source, listed
from backup_assets_tests.watch.listening import Webhook, a_webhook

KEY = dg.AssetKey(["erp4", ASSET])


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    return settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))


def within(settings: Settings, **wanted: Any) -> Settings:
    database = settings.databases[0].model_copy(update={"verification": VerificationSettings(**wanted)})
    return settings.model_copy(update={"databases": (database,)})


def run(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings, datetime.now(UTC))
    job = definitions.resolve_job_def("erp4_verification_job")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def why_it_failed(result: dg.ExecuteInProcessResult) -> str:
    return "".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)


def test_a_copy_that_does_not_restore_makes_the_run_red_and_the_others_are_looked_at(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    # Their dumps are no archives: whole, and not to be restored.
    sets = [a_set(datetime.now(UTC) - days * DAY) for days in (40, 50)]
    filled(settings, sets, "local")

    result = run(settings, an_instance)

    assert not result.success
    assert "2 copies are damaged" in why_it_failed(result)
    check = checks_of(result)["copies_are_good"]
    assert not check.passed
    assert check.metadata["problem_count"].value == 2
    assert all(f"{one.id} in local: DAMAGED" in str(check.description) for one in sets)
    assert all(not one.verifications[-1].passed for one in sets_in(settings, "local").values())
    assert an_instance.get_latest_materialization_event(KEY) is None


def test_when_nothing_is_due_the_run_is_green_and_says_so(settings: Settings, an_instance: dg.DagsterInstance) -> None:
    filled(settings, [a_set(datetime.now(UTC) - 3 * DAY)])

    result = run(settings, an_instance)

    assert result.success, why_it_failed(result)
    (event,) = result.asset_materializations_for_node("erp4_verification")
    found = {name: value.value for name, value in event.metadata.items()}
    assert (found["verified_count"], found["copy_count"], found["overdue_count"]) == (0, 2, 0)
    assert checks_of(result)["within_days"].passed


def test_a_store_that_does_not_answer_is_a_warning(
    settings: Settings, an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    filled(settings, [a_set(datetime.now(UTC) - 3 * DAY)], "local")
    (tmp_path / "usb").rmdir()

    result = run(settings, an_instance)

    assert result.success, why_it_failed(result)
    check = checks_of(result)["within_days"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "usb did not answer" in str(check.description)


def test_a_limit_that_cannot_keep_the_promise_is_told_with_the_one_that_can(
    settings: Settings, an_instance: dg.DagsterInstance
) -> None:
    filled(settings, [a_set(datetime.now(UTC) - days * DAY) for days in range(40, 48)])

    result = run(within(settings, every_days=4, nightly_limit=1), an_instance)

    check = checks_of(result)["within_days"]
    assert not check.passed
    assert "15 of 16 copies wait longer than 4 days" in str(check.description)
    assert "raise verification.nightly_limit to 4" in str(check.description)


def aged(settings: Settings, manifest: Manifest, days: int) -> Manifest:
    """Put a captured set again as one that was taken ``days`` earlier, with the same files."""
    own, store = manifest.backup_id, local_store(settings)
    taken_at = own.taken_at - days * DAY
    set_id = str(BackupId.make(f"{taken_at:%Y-%m-%d}", taken_at, own.run))
    place = place_of(settings.databases[0], settings)
    artifacts = []
    for artifact in manifest.artifacts:
        name = artifact.name.replace(manifest.id, set_id)
        content = store.path_of(place.key(artifact.name)).read_bytes()
        put(store, place.key(name), content)
        artifacts.append(artifact.model_copy(update={"name": name}))
    changed = {
        "id": set_id,
        "slot": f"{taken_at:%Y-%m-%d}",
        "snapshot": manifest.snapshot.model_copy(update={"taken_at": taken_at}),
        "generated_at": manifest.generated_at - days * DAY,
        "artifacts": tuple(artifacts),
    }
    older = manifest.model_copy(update=changed)
    put(store, place.manifest_key(set_id), older.to_json())
    return older


def tick_and_run(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Let the schedule ask for its run, and execute what it asked for."""
    repository = build_definitions(settings, datetime.now(UTC)).get_repository_def()
    schedule = repository.get_schedule_def("erp4_verification_schedule")
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime.now(UTC), repository_def=repository
    )
    (request,) = schedule.evaluate_tick(context).run_requests or []
    job = repository.get_job(schedule.job_name)
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=dict(request.tags))


def told(settings: Settings, instance: dg.DagsterInstance, hook: Webhook) -> str:
    """Return what the watch tells after the run."""
    watch = WatchSettings.model_validate({"channels": [f"json://{hook.address}"]})
    watched = settings.model_copy(update={"watch": watch})
    assert make_round(watched, datetime.now(UTC), runs_reader(instance, watched), seconds=60).problems == ()
    return hook.text()


def test_the_schedule_has_the_oldest_sets_restored_again_and_a_green_check_says_so(
    a_database: Source, an_instance: dg.DagsterInstance
) -> None:
    settings = within(a_database.settings(), nightly_limit=2)
    fresh = a_database.captured(settings).manifest
    older = [aged(settings, fresh, days) for days in (20, 60, 40)]

    with a_webhook() as hook:
        result = tick_and_run(settings, an_instance)
        text = told(settings, an_instance, hook)

    assert result.success, why_it_failed(result)
    records = {one.id: one.verifications for one in listed(settings)}
    assert [(len(records[one.id])) for one in (fresh, *older)] == [0, 0, 1, 1]
    for one in older[1:]:
        (record,) = records[one.id]
        assert (record.passed, record.level, record.store) == (True, "restored", "local")
    checks = checks_of(result)
    assert (checks["copies_are_good"].passed, checks["within_days"].passed) == (True, True)
    assert "good at level restored" in str(checks["copies_are_good"].description)
    (event,) = result.asset_materializations_for_node("erp4_verification")
    assert event.metadata["verified_count"].value == 2
    assert "erp4_verification_job" not in text
    assert "copies_are_good" not in text


def test_a_set_that_does_not_restore_makes_the_check_red_and_an_alert_says_which(
    a_database: Source, an_instance: dg.DagsterInstance
) -> None:
    settings = within(a_database.settings(), nightly_limit=2)
    fresh = a_database.captured(settings).manifest
    good, bad = aged(settings, fresh, 40), aged(settings, fresh, 60)
    (dump,) = settings.backup_dir.rglob(f"{bad.id}.dump*")
    flip_a_bit(dump)

    with a_webhook() as hook:
        result = tick_and_run(settings, an_instance)
        text = told(settings, an_instance, hook)

    assert not result.success
    assert not checks_of(result)["copies_are_good"].passed
    records = {one.id: [record.passed for record in one.verifications] for one in listed(settings)}
    assert (records[good.id], records[bad.id]) == ([True], [False])
    assert "PROBLEM: the run of erp4_verification_job failed" in text
    assert "PROBLEM: the check erp4/verification copies_are_good failed" in text
    assert f"{bad.id} in local: DAMAGED" in text
    assert f"Safe: {good.id} " in text
