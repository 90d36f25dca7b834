from __future__ import annotations

import threading

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.watch.patience import USABLE_SECONDS, Patience


def test_an_answer_in_time_is_taken() -> None:
    patience: Patience[int] = Patience()
    patience.ask("erp4", lambda: 7)

    assert patience.answer("erp4", 10) == (7, 0.0)


def test_work_that_has_ended_is_begun_anew_although_its_thread_lives_on() -> None:
    patience: Patience[int] = Patience()
    go, ended, gone = threading.Event(), threading.Event(), threading.Event()

    def living_on(_: object) -> None:
        ended.set()
        gone.wait(60)

    patience.ask("erp4", lambda: 1 if go.wait(60) else 0)
    work = patience._states["erp4"].work
    assert work is not None
    work.future.add_done_callback(living_on)  # it runs in the thread of the work
    go.set()
    assert ended.wait(60)
    assert work.thread.is_alive()
    patience.ask("erp4", lambda: 2)
    try:
        assert patience.answer("erp4", 60) == (2, 0.0)
    finally:
        gone.set()


def test_an_answer_that_comes_late_is_that_of_the_next_look() -> None:
    patience: Patience[int] = Patience()
    go, first_done = threading.Event(), threading.Event()

    def slow() -> int:
        go.wait(30)
        first_done.set()
        return 1

    patience.ask("erp4", slow)
    value, silent = patience.answer("erp4", 0)
    assert value is None
    assert silent >= 0
    go.set()
    assert first_done.wait(30)
    assert patience.answer("erp4", 30) == (1, 0.0)
    stuck = threading.Event()
    patience.ask("erp4", lambda: 2 if stuck.wait(30) else 3)
    assert patience.answer("erp4", 0) == (1, 0.0)
    stuck.set()
    assert patience.answer("erp4", 30) == (2, 0.0)


def test_while_an_old_answer_serves_the_silence_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("backup_assets.watch.patience.monotonic", lambda: clock[0])
    patience: Patience[int] = Patience()
    patience.ask("erp4", lambda: 7)
    assert patience.answer("erp4", 30) == (7, 0.0)
    go = threading.Event()
    patience.ask("erp4", lambda: 8 if go.wait(30) else 9)

    clock[0] = USABLE_SECONDS
    assert patience.answer("erp4", 0) == (7, 0.0)
    clock[0] = USABLE_SECONDS + 1
    assert patience.answer("erp4", 0) == (None, USABLE_SECONDS + 1)
    go.set()
    assert patience.answer("erp4", 30) == (8, 0.0)


def test_work_that_goes_on_is_not_begun_again() -> None:
    patience: Patience[int] = Patience()
    begun, go = [], threading.Event()

    def work() -> int:
        begun.append(1)
        go.wait(30)
        return len(begun)

    patience.ask("erp4", work)
    patience.ask("erp4", work)
    go.set()

    assert patience.answer("erp4", 30) == (1, 0.0)


def test_what_the_work_raises_is_raised() -> None:
    patience: Patience[int] = Patience()

    def failing() -> int:
        raise EnvironmentFault("no disk")

    patience.ask("erp4", failing)

    with pytest.raises(EnvironmentFault, match="no disk"):
        patience.answer("erp4", 10)
