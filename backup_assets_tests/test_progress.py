from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.progress import WATCHER, LoggedProgress, human_bytes, progress_for, watching


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (338_000_000, "338 MB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")],
)
def test_sizes_read_well(count: float, text: str):
    assert human_bytes(count) == text


class Reports(list[tuple[str, int, int | None]]):
    """Keeps every report."""

    def __call__(self, stage: str, done_bytes: int, expected_bytes: int | None) -> None:
        self.append((stage, done_bytes, expected_bytes))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_logged_at_most_once_per_interval_with_rate_and_share():
    lines: list[str] = []
    clock = Clock()
    progress = LoggedProgress(lines.append, interval=15, clock=clock)

    for second in range(40):
        clock.now = 100.0 + second
        progress("dump", second * 1_000_000, 100_000_000)

    assert lines == [
        "dump: 15.0 MB so far, 1.0 MB/s, 15 % of the expected size",
        "dump: 30.0 MB so far, 1.0 MB/s, 30 % of the expected size",
    ]


def test_more_than_was_expected_is_not_more_than_everything():
    lines: list[str] = []
    clock = Clock()
    progress = LoggedProgress(lines.append, interval=1, clock=clock)
    progress("dump", 0, 10)
    clock.now += 2
    progress("dump", 50, 10)

    assert lines[-1].endswith("100 % of the expected size")


def test_whoever_watches_gets_the_progress_instead_of_the_log():
    seen, lines = Reports(), []
    token = WATCHER.set(seen)
    try:
        progress_for(lines.append)("dump", 1, None)
    finally:
        WATCHER.reset(token)

    assert (seen, lines) == ([("dump", 1, None)], [])
    assert isinstance(progress_for(lines.append), LoggedProgress)


def test_the_end_of_a_stage_is_always_reported(tmp_path: Path):
    seen = Reports()
    target = tmp_path / "growing"

    with watching(target, "dump", seen, 10):
        target.write_bytes(b"x" * 7)

    assert seen[-1] == ("dump", 7, 10)


def test_a_directory_counts_by_its_files(tmp_path: Path):
    seen = Reports()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"45")

    with watching(tmp_path, "dump", seen, None):
        pass

    assert seen[-1] == ("dump", 5, None)
