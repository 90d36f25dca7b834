from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.restore.attachments import RowsAndFiles, check_rows_and_files
from backup_assets_tests.capture.attachment_trees import Sets, plant

NFC, NFD = "が.pdf", "か\u3099.pdf"


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    sets = Sets(tmp_path)
    plant(sets.source, {b"a": b"1", b"d": {b"b c": b"2", NFC.encode(): b"3"}, b"l": (b"a",), b"\xff": b"4"})
    sets.take_full()
    return sets


def check(sets: Sets, *names: str) -> RowsAndFiles:
    return check_rows_and_files(names, sets.full_index, sets.work)


def test_rows_that_name_existing_files_agree(sets: Sets) -> None:
    result = check(sets, f"d/{NFC}", "a", "./d//b c", "/a", "a", "l", os.fsdecode(b"\xff"))
    assert result.ok
    assert (result.named_files, result.unnamed_files) == (5, 0)


def test_a_row_that_names_no_file_is_missing_and_shown(sets: Sets) -> None:
    result = check(sets, "a", "gone", "gone", f"d/{NFD}", "d")
    assert not result.ok
    assert result.missing_files == 3
    assert result.missing_examples == ("d", f"d/{NFD}", "gone")


def test_files_that_no_row_names_are_only_a_figure(sets: Sets) -> None:
    result = check(sets, "a")
    assert result.ok
    assert result.unnamed_files == 4
    assert result.unnamed_examples == ("d/b c", f"d/{NFC}", "l", "\\377")


def test_empty_values_name_no_file(sets: Sets) -> None:
    result = check(sets, "", "a", "")
    assert (result.ok, result.blank_names, result.named_files) == (True, 2, 1)


def test_examples_are_limited_and_counts_are_not(sets: Sets) -> None:
    result = check(sets, *(f"gone {number:03d}" for number in range(100)))
    assert result.missing_files == 100
    assert len(result.missing_examples) == 20


def test_names_are_not_kept_in_memory_and_nothing_is_left_behind(sets: Sets) -> None:
    before = set(sets.work.iterdir())
    tracemalloc.start()
    try:
        result = check_rows_and_files((f"{number:060d}" for number in range(100_000)), sets.full_index, sets.work)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.missing_files == 100_000
    assert peak < 8 << 20
    assert set(sets.work.iterdir()) == before


def test_a_missing_work_directory_is_named(sets: Sets) -> None:
    with pytest.raises(EnvironmentFault, match="nowhere"):
        check_rows_and_files(["a"], sets.full_index, sets.work / "nowhere")
