"""What the watch promises of every sensor: told once, again after the reminder, and over when it is."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.capture.preflight import MARGIN_BYTES
from backup_assets.local import local_store
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.settings_watch import ObjectivesSettings, WatchSettings
from backup_assets.watch import facts
from backup_assets.watch.memory import Cursor
from backup_assets.watch.rounds import make_round
from backup_assets.watch.runs import RunsRead
from backup_assets.watch.troubles import CheckSeen, FinishedRun
from backup_assets_tests.sets.examples import ERP4
from backup_assets_tests.watch.listening import Webhook, a_webhook
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_folder,
    damage_manifest,
    drilled,
    proven,
    settings_of,
    taken,
)

MINUTE = timedelta(minutes=1)
#: Few enough that looks of one scenario are minutes apart: nothing else becomes late meanwhile.
REMINDER = timedelta(minutes=6)
JOB, SLOT = "erp4_backup_job", "2026-11-22"
Facts = namedtuple("Facts", "f_bavail f_frsize")


class Scene:
    """A database with a local store and a folder off-site, in good order at NOW, and what listens to its alerts."""

    def __init__(self, tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
        made = settings_of(tmp_path, a_folder(tmp_path, "usb"), **fields)
        watch = WatchSettings.model_validate(
            {
                "channels": [f"json://{hook.address}"],
                "ui_url": "https://dagster.example",
                "reminder_hours": REMINDER / HOUR,
            }
        )
        self.settings: Settings = made.model_copy(update={"watch": watch})
        self.hook, self.monkeypatch, self.path = hook, monkeypatch, tmp_path
        self.runs: tuple[FinishedRun, ...] = ()
        self.at = NOW

    def set_of(self, at: datetime, *, stores: tuple[str, ...] = ("local", "usb"), proof: bool = True) -> str:
        manifest = taken(self.settings, at, stores=stores)
        if proof:
            proven(self.settings, manifest, at=at + MINUTE)
        return manifest.id

    def in_order(self) -> None:
        manifest = taken(self.settings, NOW - 10 * HOUR, stores=("local", "usb"))
        proven(self.settings, manifest, at=NOW - 9 * HOUR)
        drilled(self.settings, manifest, at=NOW - 9 * HOUR)

    def look(self, after: timedelta = timedelta()) -> list[tuple[str, str, str]]:
        """Look a while later; return what was told about the database: mark and title, and the whole message."""
        self.at += after
        self.hook.posted.clear()
        runs, self.runs = self.runs, ()

        def read(_database: str, _cursor: Cursor, now: datetime) -> RunsRead:
            return RunsRead(runs, Cursor(updated_at=now))

        assert make_round(self.settings, self.at, read, seconds=60).problems == ()
        told = []
        for posted in self.hook.posted:
            for block in posted["message"].split("\n\n"):
                mark, _, title = block.splitlines()[0].partition(": ")
                told.append((mark, title, block))
        return told


def fail_a_run(scene: Scene) -> None:
    scene.runs = (FinishedRun("1a2b", JOB, SLOT, False, NOW, "no route", "see to the server"),)


def succeed(scene: Scene) -> None:
    scene.runs = (FinishedRun("2", JOB, SLOT, True, NOW),)


def fail_a_check(scene: Scene) -> None:
    check = CheckSeen("erp4/db_dump restored", SLOT, False, text="3 rows are missing")
    scene.runs = (FinishedRun("1a2b", JOB, SLOT, True, NOW, checks=(check,)),)


def pass_the_check(scene: Scene) -> None:
    scene.runs = (FinishedRun("2", JOB, SLOT, True, NOW, checks=(CheckSeen("erp4/db_dump restored", SLOT, True),)),)


def be_late(scene: Scene) -> None:
    scene.at = NOW + 14 * HOUR + 23 * MINUTE  # due at 02:00, broken at 02:30


def be_too_late(scene: Scene) -> None:
    scene.at = NOW + 14 * HOUR + 31 * MINUTE


def back_up(scene: Scene) -> None:
    drilled(scene.settings, taken(scene.settings, scene.at, stores=("local", "usb")), at=scene.at)
    scene.set_of(scene.at + MINUTE)


def not_copy(scene: Scene) -> None:
    scene.set_of(NOW + 14 * HOUR, stores=("local",))
    scene.at = NOW + 15 * HOUR + 2 * MINUTE


def not_prove(scene: Scene) -> None:
    for days in (1, 2):
        scene.set_of(NOW - 10 * HOUR + days * DAY, proof=False)
    scene.at = NOW + 40 * HOUR


def not_drill(scene: Scene) -> None:
    for days in range(1, 36):
        scene.set_of(NOW - 10 * HOUR + days * DAY)
    scene.at = NOW + 35 * DAY


def drill(scene: Scene) -> None:
    drilled(scene.settings, taken(scene.settings, scene.at, stores=("local", "usb")), at=scene.at)


def fill_the_disk(scene: Scene) -> None:
    size = taken(scene.settings, NOW - 10 * HOUR).size_bytes
    scene.monkeypatch.setattr(os, "statvfs", lambda _: Facts(MARGIN_BYTES + 3 * size, 1))


def free_space(scene: Scene) -> None:
    scene.monkeypatch.setattr(os, "statvfs", lambda _: Facts(10 * MARGIN_BYTES, 1))


def take_the_disk_away(scene: Scene) -> None:
    (scene.path / "usb").rename(scene.path / "away")


def bring_it_back(scene: Scene) -> None:
    (scene.path / "away").rename(scene.path / "usb")


def block_the_retention(scene: Scene) -> None:
    # The retention looks at the real clock, in which every set of these days is old.
    scene.monkeypatch.setattr(facts, "LOOKED_AT_EVERY_SECONDS", 0.0)
    now = datetime.now(NOW.tzinfo)
    for days in range(3, 9):
        scene.set_of(now - days * DAY, stores=("local",))
    for age in (30 * HOUR, HOUR):  # the first of them waits for its proof longer than the grace
        scene.set_of(now - age, stores=("local",), proof=False)


def unblock_it(scene: Scene) -> None:
    scene.set_of(datetime.now(NOW.tzinfo) - MINUTE)


def damage(scene: Scene) -> None:
    damage_manifest(scene.settings, taken(scene.settings, NOW - 30 * HOUR))


def mend(scene: Scene) -> None:
    store = local_store(scene.settings)
    for listed in store.list(ERP4.key("meta")):
        if store.path_of(listed.key).read_bytes() == b"not a manifest":
            store.delete(listed.key)


def lose_a_file(scene: Scene) -> None:
    older = scene.set_of(NOW - 34 * HOUR)
    (lost,) = (scene.path / "usb" / "erp4" / "prod" / "db").glob(f"{older}*")
    lost.rename(scene.path / lost.name)


def find_it_again(scene: Scene) -> None:
    (lost,) = scene.path.glob("*.dump")
    lost.rename(scene.path / "usb" / "erp4" / "prod" / "db" / lost.name)


def take_no_tables(scene: Scene) -> None:
    taken(scene.settings, NOW - 8 * DAY, stores=("local", "usb"), kind="important_tables")


def take_the_tables(scene: Scene) -> None:
    taken(scene.settings, scene.at, stores=("local", "usb"), kind="important_tables")


@pytest.mark.parametrize(
    ("begin", "end", "mark", "title", "slot"),
    [
        (fail_a_run, succeed, "PROBLEM", f"the run of {JOB} failed for the slot {SLOT}", SLOT),
        (fail_a_check, pass_the_check, "PROBLEM", f"the check erp4/db_dump restored failed for the slot {SLOT}", SLOT),
        (be_late, back_up, "WARNING", "the newest backup is about to miss the recovery point objective", ""),
        (be_too_late, back_up, "PROBLEM", "the newest backup is older than the recovery point objective", ""),
        (not_copy, back_up, "PROBLEM", "the copy in usb is late", ""),
        (not_prove, back_up, "PROBLEM", "the last proof by a restore is too old", ""),
        (not_drill, drill, "PROBLEM", "the restore drill failed or is overdue", ""),
        (fill_the_disk, free_space, "WARNING", "a store is nearly full", ""),
        (take_the_disk_away, bring_it_back, "PROBLEM", "the store usb did not answer", ""),
        (block_the_retention, unblock_it, "WARNING", "the retention deletes nothing in local", ""),
        (damage, mend, "PROBLEM", "1 manifests or records in local cannot be read", ""),
        (lose_a_file, find_it_again, "PROBLEM", "1 sets in usb are gone, or have lost files", ""),
        (
            take_no_tables,
            take_the_tables,
            "PROBLEM",
            "there is no weekly set of the important tables that is young enough",
            "",
        ),
    ],
)
def test_it_is_told_once_then_after_the_reminder_and_then_that_it_is_over(
    begin: Callable[[Scene], None],
    end: Callable[[Scene], None],
    mark: str,
    title: str,
    slot: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = RetentionSettings(daily=1, weekly=0, monthly=0, all_for_days=0, largest_share=1)
    fields: dict[str, object] = {"retention": few} if begin is block_the_retention else {}
    if begin is take_no_tables:
        fields["important_tables"] = ("invoices",)
    with a_webhook() as hook:
        scene = Scene(tmp_path, hook, monkeypatch, **fields)
        if begin is not block_the_retention:
            scene.in_order()
            assert scene.look() == []
        begin(scene)

        told = [one for one in scene.look() if one[1] == title]
        assert [one[0] for one in told] == [mark]
        lines = told[0][2].splitlines()
        assert lines[1].startswith("Of: database erp4" + (f", slot {slot}, since" if slot else ", since"))
        assert [line.partition(": ")[0] for line in lines[2:5]] == ["Because", "Safe", "To do"]
        assert all(line.partition(": ")[2] for line in lines[2:5])
        if slot:
            assert lines[5] == "See: https://dagster.example/runs/1a2b"
        assert [one for one in scene.look(MINUTE) if title in one[1]] == []
        again = [one[:2] for one in scene.look(REMINDER - MINUTE) if title in one[1]]
        assert again == [(mark, f"still: {title}")]

        end(scene)
        assert [one[:2] for one in scene.look(MINUTE) if title in one[1]] == [("OVER", title)]
        assert [one for one in scene.look(REMINDER) if title in one[1]] == []


def test_a_missed_slot_is_told_once_with_the_page_of_its_slot_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_webhook() as hook:
        scene = Scene(tmp_path, hook, monkeypatch, objectives=ObjectivesSettings(rpo_hours=100))
        scene.in_order()
        scene.set_of(NOW - 10 * HOUR + 2 * DAY)
        scene.at = NOW + 2 * DAY

        (told,) = [one for one in scene.look() if "has no complete set" in one[1]]
        assert told[:2] == ("PROBLEM", "the slot 2026-11-23 has no complete set, and is over")
        lines = told[2].splitlines()
        assert lines[1].startswith("Of: database erp4, slot 2026-11-23, since")
        assert lines[5] == ("See: https://dagster.example/assets/erp4/metadata?view=events")
        assert [one for one in scene.look(REMINDER) if "has no complete set" in one[1]] == []
