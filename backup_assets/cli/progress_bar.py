"""How does a person see how far a long stage is?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from backup_assets.progress import WATCHER, Progress


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Show a bar for each stage on standard error while the block runs; yields None where no terminal is.

    Everything below reports through the yielded function, or through the context's watcher.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done_bytes: int, expected_bytes: int | None) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=expected_bytes)
        # An expectation is a guess from the last set: it grows with what is really there.
        total = max(expected_bytes, done_bytes) if expected_bytes else None
        bars.update(tasks[stage], completed=done_bytes, total=total)

    with bars:
        token = WATCHER.set(report)
        try:
            yield report
        finally:
            WATCHER.reset(token)
