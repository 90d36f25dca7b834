from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.restore.attachments import check_archive
from backup_assets_tests.capture.attachment_archives import Entries, put
from backup_assets_tests.capture.attachment_trees import Sets, plant, plant_odd_things, rewrite


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path)


def test_an_archive_that_matches_its_index_has_no_problems(sets: Sets) -> None:
    plant_odd_things(sets.source)
    facts = sets.take_full().facts
    check = check_archive(sets.full_index, sets.full)
    assert (check.ok, check.problems) == (True, ())
    assert check.entries > facts.files


def test_a_differential_is_checked_alone_or_with_its_full_archive(sets: Sets) -> None:
    plant(sets.source, {b"a": b"1", b"b": b"2", b"c": b"3"})
    sets.take_full()
    rewrite(sets.source / "b", b"4")
    (sets.source / "c").unlink()
    sets.take_differential()
    alone = check_archive(sets.diff_index, sets.diff)
    both = check_archive(sets.diff_index, sets.diff, sets.full)
    assert (alone.ok, alone.entries) == (True, 1)
    assert (both.ok, both.entries) == (True, 2)


A: Entries = [(b"./a", "f", b"1")]
AB: Entries = [(b"./a", "f", b"1"), (b"./b", "f", b"2")]


@pytest.mark.parametrize(
    ("members", "indexed", "problem"),
    [
        (A, AB, "./b is missing in full.tar.zst.partial"),
        ([AB[1]], AB, "./a is missing in full.tar.zst.partial"),
        (AB, A, "./b is in full.tar.zst.partial but not in the index"),
        ([(b"./a", "f", b"2")], A, "./a does not have the content that the index describes (sha256)"),
        ([(b"./a", "f", b"12")], A, "./a has 2 bytes in the archive and 1 in the index"),
        ([(b"./a", "l", b"1")], A, "./a is of type l in the archive and f in the index"),
        ([(b"./a", "f", b"1"), (b"./a", "f", b"2")], A, "./a does not have the content"),
        ([(b"./a", "d", b""), (b"./a", "f", b"1")], A, "out of order"),
        ([AB[1], AB[0]], AB, "out of order"),
    ],
)
def test_every_difference_is_a_problem(sets: Sets, members: Entries, indexed: Entries, problem: str) -> None:
    put(sets, members, indexed)
    check = check_archive(sets.full_index, sets.full)
    assert not check.ok
    assert any(problem in found for found in check.problems), check.problems


def test_the_last_member_of_a_name_counts(sets: Sets) -> None:
    put(sets, [(b"./a", "f", b"torn"), (b"./a", "f", b"1")], A)
    assert check_archive(sets.full_index, sets.full).ok


def test_many_problems_are_counted_and_cut(sets: Sets) -> None:
    put(sets, [], [(b"./%04d" % number, "f", b"1") for number in range(150)])
    problems = check_archive(sets.full_index, sets.full).problems
    assert len(problems) == 101
    assert problems[-1] == "... and 50 more"


def test_a_truncated_archive_is_a_problem_and_not_an_error(sets: Sets) -> None:
    put(sets, AB)
    sets.full.write_bytes(sets.full.read_bytes()[:-1])
    assert not check_archive(sets.full_index, sets.full).ok


def test_a_missing_archive_is_the_environments_fault(sets: Sets) -> None:
    put(sets, AB)
    with pytest.raises(EnvironmentFault, match="gone cannot be read"):
        check_archive(sets.full_index, sets.work / "gone")
