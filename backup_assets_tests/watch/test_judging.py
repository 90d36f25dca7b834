from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.settings import Settings
from backup_assets.watch.memory import Cursor
from backup_assets.watch.rounds import Round, make_round
from backup_assets.watch.runs import RunsRead
from backup_assets_tests.watch.listening import Webhook, a_webhook
from backup_assets_tests.watch.stores_at_work import NOW
from backup_assets_tests.watch.test_rounds import in_order, watched

DAY = timedelta(days=1)


@dataclass
class HangingFolder:
    """A folder that hangs as a mount whose server is gone, before threads whose names begin with ``before``."""

    path: Path
    before: str = ""
    released: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def a_hanging_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingFolder]:
    scandir, folder = os.scandir, HangingFolder(tmp_path / "usb")

    def hanging(directory: str):
        name = threading.current_thread().name
        if name.startswith(folder.before) and os.fspath(directory).startswith(str(folder.path)):
            folder.released.wait(300)
        return scandir(directory)

    def at_work() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "watch" or one.name.startswith("look at ")]

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", hanging)
        yield folder
        folder.released.set()
        # One begins another.
        while threads := at_work():
            threads[0].join(60)


@pytest.fixture
def a_hook() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


@pytest.fixture
def a_beat() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


def look(settings: Settings, at: datetime = NOW, *, seconds: float, silent_seconds: float = 600.0) -> Round:
    def read(_database: str, _cursor: Cursor, now: datetime) -> RunsRead:
        return RunsRead((), Cursor(updated_at=now))

    return make_round(settings, at, read, seconds=seconds, silent_seconds=silent_seconds)


def test_a_store_that_hangs_does_not_hide_that_the_newest_backup_is_old(
    tmp_path: Path, a_hook: Webhook, a_hanging_folder: HangingFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_assets.watch.judging.ANSWER_SECONDS", 5.0)
    settings = watched(in_order(tmp_path), a_hook)

    done = look(settings, NOW + 3 * DAY, seconds=20)

    assert not a_hanging_folder.released.is_set()
    assert {"erp4:rpo:", "erp4:store_unreachable:usb"} <= {one.key for one in done.conditions}
    assert "the store usb did not answer" in a_hook.text()
    assert (done.problems, done.unjudged) == ((), ())


def test_what_hangs_beside_the_figures_hides_none_of_them_and_is_a_problem(
    tmp_path: Path, a_hook: Webhook, a_beat: Webhook, a_hanging_folder: HangingFolder
) -> None:
    a_hanging_folder.before = "watch"  # the stores themselves answer
    settings = watched(in_order(tmp_path), a_hook, heartbeat=a_beat)

    first = look(settings, NOW + 3 * DAY, seconds=5)
    later = look(settings, NOW + 3 * DAY + timedelta(minutes=10), seconds=5, silent_seconds=1)

    assert ("erp4:rpo:" in {one.key for one in first.conditions}, first.problems, first.pinged) == (True, (), True)
    assert {"erp4:rpo:", "erp4:not_measured:facts"} <= {one.key for one in later.conditions}
    (problem,) = later.problems
    assert re.fullmatch(r"looking at them for erp4 has not ended for \d minutes", problem)
    assert (later.unjudged, later.pinged) == ((), False)
    assert "the retention, the holds and the encryption keys could not be looked at" in a_hook.text()


def test_while_nothing_can_be_judged_there_is_no_heartbeat_and_it_is_not_called_well(
    tmp_path: Path, a_hook: Webhook, a_beat: Webhook, a_hanging_folder: HangingFolder
) -> None:
    settings = watched(in_order(tmp_path), a_hook, heartbeat=a_beat)

    first = look(settings, seconds=1)

    assert (first.conditions, first.problems, first.unjudged, first.pinged) == ((), (), ("erp4",), False)
    a_hanging_folder.released.set()
    again = look(settings, NOW + timedelta(minutes=5), seconds=60)
    assert (again.conditions, again.problems, again.unjudged, again.pinged) == ((), (), (), True)
    assert a_hook.posted == []


def test_a_look_without_a_later_one_tells_that_nothing_answered(
    tmp_path: Path, a_hook: Webhook, a_beat: Webhook, a_hanging_folder: HangingFolder
) -> None:
    settings = watched(in_order(tmp_path), a_hook, heartbeat=a_beat)

    done = look(settings, seconds=1, silent_seconds=0)

    assert [one.key for one in done.conditions] == ["erp4:not_measured:"]
    assert done.problems == ("the stores of erp4 have not answered for 0 minutes",)
    assert a_hook.titles() == ["[erp4 prod] the stores could not be looked at"]
    assert (done.unjudged, done.pinged) == (("erp4",), False)
