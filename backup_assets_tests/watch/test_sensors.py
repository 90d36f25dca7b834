from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from backup_assets.settings_loading import load_settings
from backup_assets.settings_watch import WatchSettings
from backup_assets.watch.conditions import Condition
from backup_assets.watch.sensors import NAME, build_watch_sensor, summary
from backup_assets_tests.end_to_end.dagster_ui import wait_for
from backup_assets_tests.ports import free_port
from backup_assets_tests.watch.listening import Webhook, a_webhook
from backup_assets_tests.watch.stores_at_work import drilled, proven, settings_of, taken

SECONDS = 300.0


def test_the_sensor_looks_often_enough_and_runs_unless_in_the_demo(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    sensor = build_watch_sensor(settings, running=True)
    assert (sensor.name, sensor.minimum_interval_seconds) == (NAME, 300)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert build_watch_sensor(settings, running=False).default_status == dg.DefaultSensorStatus.STOPPED


def test_a_tick_says_what_is_wrong(tmp_path: Path) -> None:
    sensor = build_watch_sensor(settings_of(tmp_path), running=True)

    with dg.instance_for_test() as instance:
        tick = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, sensor_name=NAME))

    assert "older than the recovery point objective" in str(tick.skip_message)


def test_a_tick_whose_alert_reaches_nobody_fails_and_the_next_one_tells_it(tmp_path: Path) -> None:
    with a_webhook() as hook, dg.instance_for_test() as instance:
        watch = WatchSettings.model_validate({"channels": [f"json://{hook.address}"]})
        settings = settings_of(tmp_path).model_copy(update={"watch": watch})
        sensor = build_watch_sensor(settings, running=True)
        hook.status = 500
        with pytest.raises(Exception, match="could not do everything"):
            sensor.evaluate_tick(dg.build_sensor_context(instance=instance, sensor_name=NAME))
        hook.status = 200
        sensor.evaluate_tick(dg.build_sensor_context(instance=instance, sensor_name=NAME))
        sensor.evaluate_tick(dg.build_sensor_context(instance=instance, sensor_name=NAME))

        assert len([title for title in hook.titles() if title.startswith("[erp4 prod]")]) == 1
        assert "older than the recovery point objective" in hook.text()


def test_a_summary_is_short() -> None:
    many = tuple(Condition("erp4", "slot_missed", str(place), "error", f"missed {place}") for place in range(30))

    assert summary(()) == "nothing is wrong"
    assert summary((), ("erp4",)) == "nothing is known of erp4 yet: the stores have not answered"
    assert summary(many[:1], ("erp5",)) == "1 wrong: erp4: missed 0; not judged: erp5"
    assert summary(many).startswith("30 wrong: erp4: missed 0; ")
    assert summary(many).endswith("; …")


@contextmanager
def a_daemon(directory: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run the real daemon, with its code location, until the block ends."""
    argv = [sys.executable, "-c", "from dagster._daemon.cli import main; main()", "run"]
    with (directory / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "-m", "backup_assets.definitions"],
            cwd=directory, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_daemon_tells_of_a_database_and_a_store_that_are_down_once_and_of_the_recovery(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    environment = {"DAGSTER_HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    tree = {
        "env": "prod",
        "backup_dir": "local",
        "databases": {"erp4": {"server": {"host": "127.0.0.1", "port": free_port()}}},
        "stores": {"usb": {"kind": "folder", "directory": "usb", "off_site": True}},
        "watch": {"channels": [{"env": "HOOK"}], "heartbeat": {"env": "BEAT"}, "interval_minutes": 0.05},
    }
    (tmp_path / "backup.yaml").write_text(yaml.safe_dump(tree))
    with a_webhook() as hook, a_webhook() as beat:
        environment |= {"HOOK": f"json://{hook.address}", "BEAT": f"http://{beat.address}/beat"}
        settings = load_settings(environment, tmp_path)
        now = datetime.now(UTC)
        manifest = taken(settings, now - timedelta(minutes=5), stores=("local", "usb"))
        proven(settings, manifest, at=now - timedelta(minutes=4))
        drilled(settings, manifest, at=now - timedelta(minutes=4))

        def heard(text: str) -> bool | None:
            return True if text in hook.text() else None

        with a_daemon(tmp_path, environment):
            wait_for("the first look", lambda: beat.requested or None, SECONDS)
            assert hook.posted == []

            backup = [sys.executable, "-m", "backup_assets.cli.main", "backup"]
            ended = subprocess.run(
                backup, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, timeout=SECONDS
            )
            assert ended.returncode == 3, ended.stderr.decode()
            wait_for("the failed run", lambda: heard("the run of erp4_backup_job failed"), SECONDS)

            (tmp_path / "usb").rename(tmp_path / "away")
            wait_for("the lost store", lambda: heard("the store usb did not answer"), SECONDS)

            (tmp_path / "away").rename(tmp_path / "usb")
            wait_for("the recovery", lambda: heard("OVER: the store usb did not answer"), SECONDS)
            beats = len(beat.requested)
            wait_for("two more looks", lambda: True if len(beat.requested) > beats + 1 else None, SECONDS)

    marks = [line for line in hook.text().splitlines() if line.startswith(("PROBLEM:", "WARNING:", "OVER:"))]
    assert sorted(line for line in marks if "usb did not" in line or "erp4_backup_job" in line) == [
        "OVER: the store usb did not answer",
        "PROBLEM: the run of erp4_backup_job failed for the slot " + _slot(hook),
        "PROBLEM: the store usb did not answer",
    ]
    assert f"{manifest.id} " in hook.text()


def _slot(hook: Webhook) -> str:
    return hook.text().partition("erp4_backup_job failed for the slot ")[2][:10]
