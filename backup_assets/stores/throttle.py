"""How is a rate kept to, by all who send through it?"""

from __future__ import annotations

import threading
import time


class Throttle:
    """A rate in bytes per second that all uploads of one store share; None is no limit."""

    def __init__(self, bytes_per_second: int | None) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait_for(self, count: int) -> None:
        """Return when ``count`` bytes may go out."""
        if not self._rate:
            return
        with self._lock:
            begin = max(self._free_at, time.monotonic())
            self._free_at = begin + count / self._rate
        if (delay := begin - time.monotonic()) > 0:
            time.sleep(delay)
