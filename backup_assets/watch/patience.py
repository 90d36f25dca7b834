"""What is the answer of work that may take longer than the caller can wait?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

#: An answer that came late is used by later callers for so many seconds.
USABLE_SECONDS = 1200.0
Value = TypeVar("Value")


@dataclass
class _Work(Generic[Value]):
    future: Future[Value]
    thread: threading.Thread
    begun: float


@dataclass
class _State(Generic[Value]):
    work: _Work[Value] | None = None
    answer: tuple[Value, float] | None = None


@dataclass
class Patience(Generic[Value]):
    """Work in threads of its own, one at a time for each key; what ends late answers the next caller."""

    _states: dict[Hashable, _State[Value]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, key: Hashable, work: Callable[[], Value]) -> None:
        """Begin ``work``, unless the last one for this key still goes on."""
        with self._guard:
            state = self._states.setdefault(key, _State())
            # Not whether its thread lives, which it does for a moment after the end of the work.
            if state.work is None or state.work.future.done():
                state.work = self._start(state, work)

    def answer(self, key: Hashable, seconds: float) -> tuple[Value | None, float]:
        """Return an answer not older than `USABLE_SECONDS`, or None, and for how many seconds the work has gone on.

        Waits for ``seconds`` at most; raises what the work that was asked for last has raised.
        """
        state = self._states[key]
        if state.work is None:
            raise AssertionError("asked before")
        future = state.work.future
        # Not `result`, whose TimeoutError could be the work's own.
        state.work.thread.join(max(0.0, seconds))
        now = monotonic()
        if future.done():
            return future.result(), 0.0
        if state.answer is not None and now - state.answer[1] <= USABLE_SECONDS:
            return state.answer[0], 0.0
        # Not since an answer was first missed: while an old one served, nothing new has come either.
        return None, now - state.work.begun

    def _start(self, state: _State[Value], work: Callable[[], Value]) -> _Work[Value]:
        future: Future[Value] = Future()

        def run() -> None:
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the answer
                future.set_exception(error)
                return
            state.answer = (value, monotonic())
            future.set_result(value)

        # Not a pool: its threads are waited for when the process ends, and one before a dead disk never returns.
        thread = threading.Thread(target=run, name="watch", daemon=True)
        begun = monotonic()
        thread.start()
        return _Work(future, thread, begun)
