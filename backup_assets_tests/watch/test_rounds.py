from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.sets.place import Place
from backup_assets.settings import Settings
from backup_assets.settings_aws import RdsSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_watch import ObjectivesSettings, WatchSettings
from backup_assets.watch.memory import Cursor, memory_path, one_at_a_time
from backup_assets.watch.rounds import Round, make_round
from backup_assets.watch.runs import RunsRead
from backup_assets.watch.sensors import runs_reader
from backup_assets.watch.troubles import FinishedRun
from backup_assets_tests.sets.examples import ERP4, a_manifest, put_set
from backup_assets_tests.watch.listening import Webhook, a_webhook
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    NOW,
    a_folder,
    copy_recorded,
    drilled,
    proven,
    settings_of,
    taken,
    with_slot,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def a_hook() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


@pytest.fixture
def another_hook() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


def watched(settings: Settings, *hooks: Webhook, heartbeat: Webhook | None = None) -> Settings:
    watch = {"channels": [f"json://{hook.address}" for hook in hooks], "ui_url": "https://dagster.example/"}
    if heartbeat is not None:
        watch["heartbeat"] = f"http://{heartbeat.address}/beat"
    return settings.model_copy(update={"watch": WatchSettings.model_validate(watch)})


def in_order(tmp_path: Path, **fields: object) -> Settings:
    """Return settings about whose backups nothing is to be told at NOW."""
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), **fields)
    manifest = taken(settings, NOW - 10 * HOUR, stores=("local", "usb"))
    proven(settings, manifest, at=NOW - 9 * HOUR)
    drilled(settings, manifest, at=NOW - 9 * HOUR)
    return settings


def look(settings: Settings, at: datetime = NOW, *runs: FinishedRun) -> Round:
    def read(_database: str, _cursor: Cursor, now: datetime) -> RunsRead:
        return RunsRead(runs, Cursor(updated_at=now))

    return make_round(settings, at, read, seconds=60)


def a_failed_run(at: datetime = NOW) -> FinishedRun:
    return FinishedRun("1a2b", "erp4_backup_job", "2026-11-22", False, at, "pg_dump failed: no route", "see the server")


def move_away(store: StoreSettings) -> Path:
    assert store.directory is not None
    return store.directory.rename(store.directory.with_name("away"))


def test_nothing_is_told_while_nothing_is_wrong(tmp_path: Path, a_hook: Webhook, another_hook: Webhook) -> None:
    done = look(watched(in_order(tmp_path), a_hook, heartbeat=another_hook))

    assert done.conditions == done.problems == ()
    assert (a_hook.posted, another_hook.requested) == ([], ["/beat"])


def test_an_alert_says_what_why_what_is_safe_and_what_to_do(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)

    look(settings, NOW, a_failed_run())

    (posted,) = a_hook.posted
    assert posted["title"] == "[erp4 prod] the run of erp4_backup_job failed for the slot 2026-11-22"
    lines = posted["message"].splitlines()
    assert lines[0].startswith("PROBLEM: the run of erp4_backup_job failed")
    assert "database erp4, slot 2026-11-22" in lines[1]
    assert lines[2] == "Because: pg_dump failed: no route"
    assert lines[3].startswith("Safe: 2026-11-22-")
    assert "10 h old, in local and usb) is proven by a restore" in lines[3]
    assert lines[4:] == ["To do: see the server", "See: https://dagster.example/runs/1a2b"]


def test_an_alert_comes_once_then_its_reminder_then_its_end(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    look(settings, NOW, a_failed_run())
    look(settings, NOW + 5 * MINUTE)
    look(settings, NOW + 10 * MINUTE, FinishedRun("2", "erp4_backup_job", "2026-11-22", True, NOW + 9 * MINUTE))
    look(settings, NOW + 15 * MINUTE)

    assert a_hook.titles() == [
        "[erp4 prod] the run of erp4_backup_job failed for the slot 2026-11-22",
        "[erp4 prod] over: the run of erp4_backup_job failed for the slot 2026-11-22",
    ]
    assert "(10 min)" in a_hook.posted[1]["message"]


def test_a_failure_that_was_put_right_before_the_look_is_told_once_and_has_no_end(
    tmp_path: Path, a_hook: Webhook
) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    right = FinishedRun("2", "erp4_backup_job", "2026-11-22", True, NOW + MINUTE)

    look(settings, NOW + 5 * MINUTE, a_failed_run(), right)
    look(settings, NOW + 10 * MINUTE)
    look(settings, NOW + 30 * HOUR)

    told = [line for line in a_hook.text().splitlines() if "erp4_backup_job" in line and ": the run" in line[:20]]
    assert told == ["PROBLEM: the run of erp4_backup_job failed for the slot 2026-11-22, and a later one succeeded"]
    assert "See: https://dagster.example/runs/1a2b" in a_hook.posted[0]["message"]


def test_the_end_of_a_late_copy_is_told_while_a_store_of_a_name_that_begins_the_same_is_gone(
    tmp_path: Path, a_hook: Webhook
) -> None:
    stores = (a_folder(tmp_path, "s3"), a_folder(tmp_path, "s3_osaka"))
    settings = watched(settings_of(tmp_path, *stores), a_hook)
    taken(settings, NOW - 80 * HOUR, stores=("local", "s3", "s3_osaka"))
    manifest = taken(settings, NOW - 10 * HOUR, stores=("local", "s3"))
    look(settings)
    assert "the copy in s3_osaka is late" in a_hook.text()

    put_set(store_named(settings, "s3_osaka"), manifest)
    move_away(stores[0])
    look(settings, NOW + 5 * MINUTE)

    assert "OVER: the copy in s3_osaka is late" in a_hook.text()


def test_what_a_store_that_is_gone_means_is_told_and_nothing_is_over_for_that(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    later = NOW + 30 * HOUR
    late = look(settings, later)
    assert "erp4:copy_late:usb" in {one.key for one in late.conditions}
    away = move_away(settings.stores[0])
    a_hook.posted.clear()

    look(settings, later + 5 * MINUTE)
    assert "the store usb did not answer" in a_hook.text()
    assert "over: the copy in usb is late" not in a_hook.text()

    away.rename(away.with_name("usb"))
    a_hook.posted.clear()
    back = look(settings, later + 10 * MINUTE)
    assert "over: the store usb did not answer" in a_hook.text()
    assert "erp4:copy_late:usb" in {one.key for one in back.conditions}
    assert "copy in usb" not in a_hook.text()


def silenced(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Let a folder fail as a disk that breaks; what is beside it on the disk of the local store can be read."""
    scandir = os.scandir

    def failing(path: str):
        if os.fspath(path).startswith(str(directory)):
            raise OSError(errno.EIO, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)


def test_a_drill_that_failed_is_not_over_because_the_local_store_that_tells_it_is_gone(
    tmp_path: Path, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    (local, usb), meta = (tmp_path / "local", tmp_path / "usb"), "erp4/prod/meta"
    for record in (local / meta).glob("*.drill.*"):
        (usb / meta / record.name).write_bytes(record.read_bytes())
    (one,) = catalog_in(store_named(settings, "local"), ERP4).sets()
    drilled(settings, one.manifest, at=NOW - HOUR, seconds=5 * 3600.0, passed=False)
    assert {"erp4:drill:", "erp4:rto:"} <= {one.key for one in look(settings).conditions}

    silenced(monkeypatch, local / "erp4")
    look(settings, NOW + 5 * MINUTE)

    assert "the store local did not answer" in a_hook.text()
    assert "OVER" not in a_hook.text()


def test_that_a_copy_failed_its_verification_is_not_over_because_its_store_is_gone(
    tmp_path: Path, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    newest = taken(settings, NOW - 8 * HOUR, stores=("local", "usb"))
    proven(settings, newest, at=NOW - 7 * HOUR, store="usb", passed=False)
    assert "erp4:verified:" in {one.key for one in look(settings).conditions}

    silenced(monkeypatch, tmp_path / "usb")
    look(settings, NOW + 5 * MINUTE)

    assert "the store usb did not answer" in a_hook.text()
    assert "OVER" not in a_hook.text()


def test_that_a_store_is_full_is_not_over_because_it_is_gone(
    tmp_path: Path, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    full, statvfs = namedtuple("full", "f_bavail f_frsize")(1, 1), os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: full if Path(path) == tmp_path / "usb" else statvfs(path))
    assert "erp4:store_space:" in {one.key for one in look(settings).conditions}

    silenced(monkeypatch, tmp_path / "usb")
    look(settings, NOW + 5 * MINUTE)

    assert "the store usb did not answer" in a_hook.text()
    assert "OVER" not in a_hook.text()


def test_that_a_weekly_copy_is_missing_is_not_over_because_its_store_is_gone(
    tmp_path: Path, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = watched(in_order(tmp_path, important_tables=("invoices",)), a_hook)
    taken(settings, NOW - 9 * HOUR, kind="important_tables")
    assert "erp4:important_tables:" in {one.key for one in look(settings).conditions}

    silenced(monkeypatch, tmp_path / "usb")
    look(settings, NOW + 5 * MINUTE)

    assert "OVER" not in a_hook.text()


def test_a_missed_backup_is_warned_of_then_told(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path, objectives=ObjectivesSettings(rpo_hours=30)), a_hook)

    # The next backup is due 14 hours from NOW.
    for hours in range(13, 24):
        look(settings, NOW + hours * HOUR)

    told = [line for line in a_hook.text().splitlines() if "recovery point objective" in line and ": " in line[:10]]
    assert told == [
        "WARNING: the newest backup is about to miss the recovery point objective",
        "PROBLEM: now worse: the newest backup is older than the recovery point objective",
    ]


def test_a_channel_that_fails_is_told_on_the_others_and_hears_everything_later(
    tmp_path: Path, a_hook: Webhook, another_hook: Webhook
) -> None:
    settings = watched(in_order(tmp_path), a_hook, another_hook)
    another_hook.status = 500

    done = look(settings, NOW, a_failed_run())

    assert [problem for problem in done.problems if "2-json failed" in problem]
    assert len(a_hook.posted) == 2
    assert "[watch prod] the channel 2-json does not take alerts" in a_hook.titles()
    assert "500" in a_hook.text()
    another_hook.status = 200
    again = look(settings, NOW + 5 * MINUTE)
    assert again.problems == ()
    assert [title for title in another_hook.titles() if "erp4_backup_job failed" in title]
    assert a_hook.titles()[2:] == ["[watch prod] over: the channel 2-json does not take alerts"]
    look(settings, NOW + 10 * MINUTE)
    assert (len(a_hook.posted), len(another_hook.posted)) == (3, 1)


def test_a_channel_that_is_put_before_another_of_its_kind_hears_what_holds(
    tmp_path: Path, a_hook: Webhook, another_hook: Webhook
) -> None:
    settings = in_order(tmp_path)
    look(watched(settings, a_hook), NOW, a_failed_run())

    look(watched(settings, another_hook, a_hook), NOW + 5 * MINUTE)

    assert len(a_hook.posted) == 1
    assert [title for title in another_hook.titles() if "erp4_backup_job failed" in title]


def test_the_heartbeat_stops_when_nobody_hears_an_alert(tmp_path: Path, a_hook: Webhook, another_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook, heartbeat=another_hook)

    assert look(settings, NOW, a_failed_run()).pinged
    a_hook.status = 500
    assert not look(settings, NOW + 25 * HOUR).pinged
    assert another_hook.requested == ["/beat"]


def test_without_a_channel_the_heartbeat_stops_at_an_error(tmp_path: Path, another_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), heartbeat=another_hook)

    assert look(settings).pinged
    assert not look(settings, NOW + MINUTE, a_failed_run()).pinged


def test_a_heartbeat_that_is_not_taken_is_told_and_its_address_is_not(
    tmp_path: Path, a_hook: Webhook, another_hook: Webhook
) -> None:
    settings = watched(in_order(tmp_path), a_hook, heartbeat=another_hook)
    another_hook.status = 404

    done = look(settings)

    assert done.problems == ("the heartbeat failed: it answered 404",)
    assert a_hook.titles() == ["[watch prod] the heartbeat is not taken"]
    assert another_hook.address not in a_hook.text()


def test_runs_that_cannot_be_read_are_told_and_end_nothing(
    tmp_path: Path, a_hook: Webhook, another_hook: Webhook
) -> None:
    settings = watched(in_order(tmp_path), a_hook, heartbeat=another_hook)
    look(settings, NOW, a_failed_run())
    beats = len(another_hook.requested)

    def unreadable(_database: str, _cursor: Cursor, _now: datetime) -> RunsRead:
        raise EnvironmentFault("the runs of Dagster cannot be read", why="disk", remedy="see to it")

    done = make_round(settings, NOW + 5 * MINUTE, unreadable, seconds=60)

    assert {one.kind for one in done.conditions} == {"run_failed", "runs_unread"}
    assert a_hook.titles()[1:] == ["[erp4 prod] the runs of Dagster cannot be read"]
    assert len(another_hook.requested) == beats


def test_a_run_that_dagster_cannot_read_keeps_nothing_else_from_being_told(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    later = NOW + 30 * HOUR

    @dg.job(name="erp4_backup_job")
    def a_job() -> None:
        pass

    with dg.instance_for_test() as instance:
        with freeze_time(later - HOUR):
            a_job.execute_in_process(instance=instance)
        with closing(sqlite3.connect(Path(instance.root_directory) / "history" / "runs.db")) as runs, runs:
            # As of another version of Dagster.
            runs.execute("UPDATE runs SET run_body = ?", (json.dumps({"__class__": "RunOfTomorrow"}),))
        done = make_round(settings, later, runs_reader(instance, settings), seconds=60)

    assert {"erp4:rpo:", "erp4:runs_unread:"} <= {one.key for one in done.conditions}
    assert "the runs of Dagster cannot be read" in a_hook.text()
    assert "older than the recovery point objective" in a_hook.text()


def test_what_cannot_be_measured_of_one_database_keeps_nothing_of_another_from_being_told(
    tmp_path: Path, a_hook: Webhook, another_hook: Webhook
) -> None:
    settings = in_order(tmp_path)
    other = settings.databases[0].model_copy(update={"name": "crm", "prefix": "crm"})
    settings = watched(settings.model_copy(update={"databases": (other, *settings.databases)}), a_hook, another_hook)
    settings = watched(settings, a_hook, heartbeat=another_hook)
    no_day = with_slot(a_manifest(NOW - HOUR), "2026-99-99")
    put_set(store_named(settings, "local"), no_day, Place(other.store_prefix, "prod"))

    done = look(settings, NOW + 30 * HOUR)

    assert {"crm:not_measured:", "erp4:rpo:"} <= {one.key for one in done.conditions}
    assert "older than the recovery point objective" in a_hook.text()
    assert done.unjudged == ("crm",)
    assert another_hook.requested == []


def test_the_first_weekly_set_of_the_important_tables_is_waited_for_a_week(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    # Backups are older than a week; that these tables are wanted is new.
    taken(settings, NOW - 20 * DAY, stores=("local", "usb"))
    database = settings.databases[0].model_copy(update={"important_tables": ("invoices",)})
    wanted = settings.model_copy(update={"databases": (database,)})

    def told(at: datetime) -> bool:
        return "erp4:important_tables:" in {one.key for one in look(wanted, at).conditions}

    assert [told(NOW), told(NOW + 7 * DAY - MINUTE), told(NOW + 7 * DAY)] == [False, False, True]
    assert "no set of the important tables was taken yet" in a_hook.text()


def test_what_vanishes_from_a_store_is_told_after_an_hour_and_over_when_it_is_there_again(
    tmp_path: Path, a_hook: Webhook
) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    older = taken(settings, NOW - 34 * HOUR, stores=("local", "usb"))
    copy_recorded(settings, older, "usb")
    gone = [path for path in (tmp_path / "usb").rglob("*") if older.id in path.name]
    contents = {path: path.read_bytes() for path in gone}
    for path in gone:
        path.unlink()

    look(settings)
    look(settings, NOW + 59 * MINUTE)
    assert a_hook.titles() == []
    look(settings, NOW + 60 * MINUTE)
    assert a_hook.titles() == ["[erp4 prod] 1 sets in usb are gone, or have lost files"]
    assert older.id in a_hook.text()

    away = move_away(settings.stores[0])
    look(settings, NOW + 65 * MINUTE)
    assert "over: 1 sets" not in a_hook.text()
    away.rename(away.with_name("usb"))
    for path, content in contents.items():
        path.write_bytes(content)
    look(settings, NOW + 70 * MINUTE)
    assert "over: 1 sets in usb are gone, or have lost files" in a_hook.text()


def test_that_nobody_looks_at_rds_is_told_and_is_not_over_while_runs_cannot_be_read(
    tmp_path: Path, a_hook: Webhook
) -> None:
    settings = watched(in_order(tmp_path, rds=RdsSettings(instance="erp4-prod")), a_hook)

    def told(instance: dg.DagsterInstance, at: datetime) -> set[str]:
        return {one.kind for one in make_round(settings, at, runs_reader(instance, settings), seconds=60).conditions}

    with dg.instance_for_test() as instance:
        assert told(instance, NOW) == set()
        assert told(instance, NOW + 7 * HOUR) == {"rds_unwatched"}
        assert a_hook.titles() == ["[erp4 prod] nobody looks at the protection in RDS"]
        (Path(instance.root_directory) / "history" / "runs.db").write_bytes(b"no database")
        assert told(instance, NOW + 7 * HOUR + MINUTE) == {"runs_unread"}
    assert "over: nobody looks" not in a_hook.text()
    with dg.instance_for_test() as instance:
        assert told(instance, NOW + 7 * HOUR + 2 * MINUTE) == {"rds_unwatched"}
    assert len([title for title in a_hook.titles() if "nobody looks" in title]) == 1


def test_a_lost_memory_repeats_an_alert_once(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    move_away(settings.stores[0])
    look(settings)
    first = len(a_hook.posted)
    memory_path(settings, "erp4").unlink()

    look(settings, NOW + 5 * MINUTE)
    look(settings, NOW + 10 * MINUTE)

    assert (first, len(a_hook.posted)) == (1, 2)


def test_a_damaged_memory_is_told_kept_aside_and_begun_anew(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    look(settings)
    path = memory_path(settings, "erp4")
    path.write_text('{"format": "backup_assets/watch", "alerts": 7')

    done = look(settings, NOW + 5 * MINUTE)

    assert "was damaged" in done.problems[0]
    assert json.loads(path.read_text())["alerts"] == []
    assert [other.name.startswith("prod.erp4.json.damaged-") for other in path.parent.glob("*.damaged-*")] == [True]
    assert look(settings, NOW + 10 * MINUTE).problems == ()


def test_the_memory_is_private(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    look(settings)

    path = memory_path(settings, "erp4")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert a_hook.address not in path.read_text()


def test_a_memory_that_cannot_be_written_does_not_stop_or_repeat_an_alert(tmp_path: Path, a_hook: Webhook) -> None:
    settings = watched(in_order(tmp_path), a_hook)
    look(settings)
    path = memory_path(settings, "erp4")
    path.unlink()
    path.mkdir()  # where root writes, permissions stop nobody

    done = look(settings, NOW + MINUTE, a_failed_run())
    look(settings, NOW + 2 * MINUTE)

    assert [problem for problem in done.problems if "cannot be" in problem]
    assert len(a_hook.posted) == 1


def test_two_looks_at_once_are_refused(tmp_path: Path) -> None:
    settings = watched(in_order(tmp_path))

    with one_at_a_time(settings), pytest.raises(Refused, match="another look"):
        look(settings)
