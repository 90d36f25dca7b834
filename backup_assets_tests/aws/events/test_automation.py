"""From an event in AWS to the alert, and from the next success to its end: by real runs of Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.aws.events.automation import NAME, event_definitions
from backup_assets.aws.events.heard import Heard
from backup_assets.definitions import build_definitions
from backup_assets.settings import Settings
from backup_assets.watch.sensors import build_watch_sensor
from backup_assets_tests.aws.conftest import PretendedAws
from backup_assets_tests.aws.events.hearing import a_copy_job, a_job, a_queue, send, settings_of, waiting
from backup_assets_tests.watch.listening import a_webhook

ASSET = dg.AssetKey(["erp4", "aws_events"])
MINUTE = timedelta(minutes=1)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


class Daemon:
    """Ticks the sensor, and executes what it requests, as the daemon would."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.now = datetime.now(UTC)
        self.instance = instance
        self.definitions = event_definitions(settings, running=True, clock=lambda: self.now)
        self.cursor: str | None = None
        self.runs: list[dg.ExecuteInProcessResult] = []

    def tick(self, minutes: int = 5) -> list[dg.ExecuteInProcessResult]:
        self.now += minutes * MINUTE
        sensor = self.definitions.resolve_sensor_def(NAME)
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, sensor_name=NAME)
        ticked = sensor.evaluate_tick(context)
        self.cursor = ticked.cursor
        done = [
            self.definitions.resolve_job_def(request.job_name or "").execute_in_process(
                instance=self.instance, run_config=dict(request.run_config), raise_on_error=False
            )
            for request in ticked.run_requests or ()
        ]
        self.runs += done
        return done


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def test_a_failed_job_reaches_the_alert_and_the_next_success_ends_it(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    url = a_queue(aws)
    with a_webhook() as hook:
        settings = settings_of(tmp_path, aws, f"json://{hook.address}", queue_url=url)
        daemon, watch = Daemon(settings, instance), build_watch_sensor(settings, running=True)
        context = dg.build_sensor_context(instance=instance, sensor_name="watch_sensor")

        send(aws, url, a_job("FAILED", "7"))
        (told,) = daemon.tick()
        watch.evaluate_tick(context)

        assert checks_of(told) == {"backup_jobs": False, "listening": True, "messages_read": True}
        assert "aws_events backup_jobs" in hook.text()
        assert "the role is missing" in hook.text()
        assert "OVER" not in "".join(line for line in hook.text().splitlines() if "backup_jobs" in line)
        assert waiting(aws, url) == 0

        send(aws, url, a_job("COMPLETED", "8", datetime.now(UTC) + MINUTE))
        (told,) = daemon.tick()
        watch.evaluate_tick(context)

        assert checks_of(told)["backup_jobs"]
        over = [line for line in hook.text().splitlines() if line.startswith("OVER") and "backup_jobs" in line]
        assert over
        observed = instance.fetch_observations(ASSET, limit=10).records
        assert len(observed) == 1


def test_a_failure_is_told_although_the_same_answer_tells_of_another_s_success(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    url = a_queue(aws)
    daemon = Daemon(settings_of(tmp_path, aws, queue_url=url), instance)
    now = datetime.now(UTC)

    send(aws, url, a_copy_job("FAILED", "7", "osaka", now))
    send(aws, url, a_copy_job("COMPLETED", "8", "singapore", now + MINUTE))
    (told,) = daemon.tick()

    (check,) = [one for one in told.get_asset_check_evaluations() if one.check_name == "copy_jobs"]
    assert not check.passed
    assert "ended FAILED" in (check.description or "")


def test_an_event_that_was_asked_for_is_told_by_one_run(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    aws.make_instance()
    aws.client("rds").create_db_snapshot(DBInstanceIdentifier="erp4-prod", DBSnapshotIdentifier="by-hand")
    daemon = Daemon(settings_of(tmp_path, aws), instance)

    (told,) = daemon.tick()

    # moto tells of a backup of the instance too.
    assert checks_of(told) == {"snapshots": True, "automated_backups": True, "listening": True}
    assert daemon.tick() == []


def test_a_message_is_deleted_only_after_it_was_told(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    url = a_queue(aws)
    send(aws, url, a_job("FAILED"))
    settings = settings_of(tmp_path, aws, queue_url=url)
    definitions = event_definitions(settings, running=True)
    context = dg.build_sensor_context(instance=instance, sensor_name=NAME)

    ticked = definitions.resolve_sensor_def(NAME).evaluate_tick(context)

    (request,) = list(ticked.run_requests or ())
    assert request.run_key is None, "what comes again was not told"
    assert waiting(aws, url) == 1
    job = definitions.resolve_job_def(request.job_name or "")
    assert job.execute_in_process(instance=instance, run_config=dict(request.run_config)).success
    assert waiting(aws, url) == 0


def test_a_message_that_cannot_be_deleted_fails_the_run_after_the_checks_are_stored(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    url = a_queue(aws)
    send(aws, url, a_job("FAILED"))
    settings = settings_of(tmp_path, aws, queue_url=url)
    definitions = event_definitions(settings, running=True)
    context = dg.build_sensor_context(instance=instance, sensor_name=NAME)
    (request,) = list(definitions.resolve_sensor_def(NAME).evaluate_tick(context).run_requests or ())
    aws.client("sqs").delete_queue(QueueUrl=url)

    job = definitions.resolve_job_def(request.job_name or "")
    result = job.execute_in_process(instance=instance, run_config=dict(request.run_config), raise_on_error=False)

    assert not result.success
    assert checks_of(result)["backup_jobs"] is False


def test_what_concerns_nothing_of_ours_leaves_the_queue_without_a_run(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    url = a_queue(aws)
    send(aws, url, a_job("RUNNING"))
    send(aws, url, a_job("FAILED", arn="arn:aws:dynamodb:ap-northeast-1:123456789012:table/other"))
    daemon = Daemon(settings_of(tmp_path, aws, queue_url=url), instance)

    assert daemon.tick() == []
    assert waiting(aws, url) == 0


def test_a_message_that_is_no_event_is_told_and_at_last_deleted(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_assets.aws.events.queue.HIDDEN_SECONDS", 0)
    # Nothing is hidden, so that one message comes ten times in one look: one look takes one message.
    monkeypatch.setattr("backup_assets.aws.events.queue._MOST", 1)
    url = a_queue(aws)
    send(aws, url, "poison")
    daemon = Daemon(settings_of(tmp_path, aws, queue_url=url), instance)

    seen = []
    for _ in range(5):
        (told,) = daemon.tick()
        seen.append((checks_of(told)["messages_read"], waiting(aws, url)))

    assert seen == [(False, 1)] * 4 + [(False, 0)]
    (last,) = [one for one in daemon.runs[-1].get_asset_check_evaluations() if one.check_name == "messages_read"]
    assert "poison" in (last.description or "")
    assert last.severity == dg.AssetCheckSeverity.WARN


def test_a_silent_aws_is_told_once_it_lasts_and_so_is_its_end(
    tmp_path: Path, aws: PretendedAws, instance: dg.DagsterInstance
) -> None:
    silent = settings_of(tmp_path, aws, queue_url=f"{aws.endpoint_url}/123456789012/none")
    daemon = Daemon(silent, instance)

    assert daemon.tick() == []
    assert daemon.tick() == []
    (told,) = daemon.tick()
    assert checks_of(told) == {"listening": False}
    assert daemon.tick() == [], "it was told, and is told again after hours"

    a_queue_url = a_queue(aws)
    after = Daemon(settings_of(tmp_path, aws, queue_url=a_queue_url), instance)
    after.cursor, after.now = daemon.cursor, daemon.now
    (over,) = after.tick()
    assert checks_of(over)["listening"]
    assert after.tick() == []
    assert Heard.model_validate_json(after.cursor or "").silent_since is None


def test_the_code_location_listens_where_a_database_is_on_rds(tmp_path: Path, aws: PretendedAws) -> None:
    settings = settings_of(tmp_path, aws)
    assert NAME in {sensor.name for sensor in build_definitions(settings, datetime.now(UTC)).sensors or ()}
    apart = settings.databases[0].model_copy(update={"rds": None})
    without = settings.model_copy(update={"databases": (apart,)})
    assert NAME not in {sensor.name for sensor in build_definitions(without, datetime.now(UTC)).sensors or ()}
