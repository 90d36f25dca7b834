"""How far a long stage is: reported to a log at sane intervals, or to a bar in a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

LOG_INTERVAL_SECONDS = 15.0
_POLL_SECONDS = 0.5


class Progress(Protocol):
    """Takes the state of a stage: bytes done so far, and the expected total if there is one."""

    def __call__(self, stage: str, done_bytes: int, expected_bytes: int | None) -> None:
        """Report; cheap enough to be called often."""
        ...


#: Set by the command line when a person watches; unset, progress goes to the run's log.
WATCHER: ContextVar[Progress | None] = ContextVar("backup_assets_progress", default=None)


def human_bytes(count: float) -> str:
    """Return a size with a decimal unit, for example ``338 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class LoggedProgress:
    """Writes a line at the first report after each interval: bytes, rate, percent of the expected size."""

    def __init__(
        self,
        log: Callable[[str], None],
        *,
        interval: float = LOG_INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._interval = interval
        self._clock = clock
        self._begun: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def __call__(self, stage: str, done_bytes: int, expected_bytes: int | None) -> None:
        """Log one line when the interval since the last one has passed."""
        now = self._clock()
        begun = self._begun.setdefault(stage, now)
        if now - self._last.setdefault(stage, begun) < self._interval:
            return
        self._last[stage] = now
        rate = done_bytes / max(now - begun, 0.001)
        share = f", {min(100, 100 * done_bytes // expected_bytes)} % of the expected size" if expected_bytes else ""
        self._log(f"{stage}: {human_bytes(done_bytes)} so far, {human_bytes(rate)}/s{share}")


def progress_for(log: Callable[[str], None]) -> Progress:
    """Return the watcher's progress if a person watches, else one that logs."""
    watcher = WATCHER.get()
    return LoggedProgress(log) if watcher is None else watcher


def _size_on_disk(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # the program has not created it yet, or has just renamed it


@contextmanager
def watching(path: Path, stage: str, progress: Progress, expected_bytes: int | None) -> Iterator[None]:
    """Report the growth of a file or directory that another program writes, until the block ends."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(_POLL_SECONDS):
            progress(stage, _size_on_disk(path), expected_bytes)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    progress(stage, _size_on_disk(path), expected_bytes)
