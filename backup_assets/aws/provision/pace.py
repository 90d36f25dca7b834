"""How long is waited for AWS, and how often is it asked?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backup_assets.errors import EnvironmentFault


@dataclass(frozen=True)
class Pace:
    """``seconds`` between two looks and ``deadline_seconds`` for all of them; the clock can be another one."""

    seconds: float = 5.0
    deadline_seconds: float = 1800.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def looks(self, what: str, remedy: str) -> Iterator[None]:
        """Yield once for each look; raises EnvironmentFault once the deadline has passed."""
        started = self.clock()
        while True:
            yield
            if self.clock() - started > self.deadline_seconds:
                raise EnvironmentFault(
                    f"{what} has not ended after {self.deadline_seconds / 60:.0f} minutes",
                    why="AWS goes on with it",
                    remedy=remedy,
                )
            self.sleep(self.seconds)
