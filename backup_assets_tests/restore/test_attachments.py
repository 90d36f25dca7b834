from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.restore.attachments import RestoredAttachments, check_archive, restore_attachments
from backup_assets_tests.capture.attachment_archives import put
from backup_assets_tests.capture.attachment_trees import (
    Sets,
    Tree,
    changed,
    contents,
    everything,
    plant,
    plant_odd_things,
    replant,
    rewrite,
    trees,
)


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path)


def restore_full(sets: Sets, target: Path) -> RestoredAttachments:
    return restore_attachments(target, index_path=sets.full_index, archive_path=sets.full)


def restore_differential(sets: Sets, target: Path) -> RestoredAttachments:
    return restore_attachments(target, index_path=sets.diff_index, archive_path=sets.diff, full_archive_path=sets.full)


def test_odd_things_come_back_with_modes_and_times(sets: Sets) -> None:
    plant_odd_things(sets.source)
    sets.take_full()
    restored = restore_full(sets, sets.work / "out")
    assert everything(sets.work / "out") == everything(sets.source)
    files = [content for kind, content in contents(sets.source).values() if kind == "f"]
    assert (restored.files, restored.bytes) == (len(files), sum(map(len, files)))
    assert (sets.work / "out").stat().st_mode & 0o777 == 0o700


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), before=trees.filter(lambda tree: isinstance(tree, dict)))
def test_any_tree_and_any_change_of_it_come_back(data: st.DataObject, before: Tree) -> None:
    after = data.draw(changed(before))
    with tempfile.TemporaryDirectory() as work:
        sets = Sets(Path(work))
        plant(sets.source, before)
        sets.take_full()
        at_full = everything(sets.source)
        replant(sets.source, before, after)
        facts = sets.take_differential().facts
        assert (facts.vanished, facts.changing, facts.skipped) == ((), (), ())
        restore_full(sets, sets.work / "full")
        restore_differential(sets, sets.work / "diff")
        sets.stock_restore(sets.diff_index, sets.diff, sets.work / "stock")
        assert everything(sets.work / "full") == at_full
        assert everything(sets.work / "diff") == everything(sets.source)
        assert contents(sets.work / "stock") == contents(sets.source)
        assert check_archive(sets.diff_index, sets.diff, sets.full).ok


def test_deleted_files_do_not_come_back_with_stock_programs_even_when_nothing_is_left_of_the_full(sets: Sets) -> None:
    plant(sets.source, {b"d": {b"deleted": b"1"}})
    sets.take_full()
    replant(sets.source, {b"d": {b"deleted": b"1"}}, {b"new": b"2"})
    sets.take_differential()
    sets.stock_restore(sets.diff_index, sets.diff, sets.work / "out")
    assert contents(sets.work / "out") == {b"new": ("f", b"2")}


def test_a_deleted_file_in_a_directory_that_did_not_change_itself_does_not_come_back(sets: Sets) -> None:
    plant(sets.source, {b"d": {b"e": {b"deleted": b"1", b"kept": b"2"}}})
    sets.take_full()
    (sets.source / "d" / "e" / "deleted").unlink()
    sets.take_differential()
    sets.stock_restore(sets.diff_index, sets.diff, sets.work / "stock")
    restore_differential(sets, sets.work / "ours")
    for out in ("stock", "ours"):
        assert contents(sets.work / out) == contents(sets.source)


def test_owners_come_back_when_restored_as_root(sets: Sets) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    plant(sets.source, {b"d": {b"f": b"1", b"l": (b"f",)}})
    for name in ("d", "d/f", "d/l"):
        os.chown(sets.source / name, 1234, 3_000_000, follow_symlinks=False)
    sets.take_full()
    restore_full(sets, sets.work / "out")
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (sets.work / "out").rglob("*")}
    assert owners == {(1234, 3_000_000)}


def test_progress_ends_at_the_bytes_restored(sets: Sets) -> None:
    plant(sets.source, {b"a": bytes(20 << 20), b"b": b"1"})
    sets.take_full()
    progress: list[int] = []
    restore_attachments(
        sets.work / "out", index_path=sets.full_index, archive_path=sets.full, on_progress=progress.append
    )
    assert progress == sorted(progress)
    assert len(progress) > 2
    assert progress[-1] == (20 << 20) + 1


def test_a_target_that_is_not_empty_is_refused_and_left_alone(sets: Sets) -> None:
    plant(sets.source, {b"a": b"new"})
    sets.take_full()
    plant(sets.work / "out", {b"a": b"old"})
    with pytest.raises(Refused, match="not an empty directory"):
        restore_full(sets, sets.work / "out")
    assert contents(sets.work / "out") == {b"a": ("f", b"old")}


def test_an_empty_target_or_a_link_to_one_is_used(sets: Sets) -> None:
    plant(sets.source, {b"a": b"1"})
    sets.take_full()
    (sets.work / "out").mkdir()
    (sets.work / "link").symlink_to("out")
    restore_full(sets, sets.work / "link")
    assert contents(sets.work / "out") == contents(sets.source)


def test_a_differential_without_its_full_archive_is_refused(sets: Sets) -> None:
    sets.take_full()
    sets.take_differential()
    with pytest.raises(Refused, match="need the full archive of F"):
        restore_attachments(sets.work / "out", index_path=sets.diff_index, archive_path=sets.diff)
    assert not (sets.work / "out").exists()


def test_the_archive_of_another_set_fails_and_names_what_is_missing(sets: Sets) -> None:
    plant(sets.source, {b"a": b"1", b"b": b"2"})
    sets.take_full()
    rewrite(sets.source / "b", b"3")
    sets.take_differential()
    with pytest.raises(CheckFailed) as caught:
        restore_attachments(sets.work / "out", index_path=sets.full_index, archive_path=sets.diff)
    assert "./a is missing" in caught.value.why
    assert "./b does not have the content" in caught.value.why


def test_no_flipped_bit_and_no_truncation_is_ever_restored_as_if_it_were_well(sets: Sets) -> None:
    plant(sets.source, {b"a": random.Random(1).randbytes(300), b"d": {b"b": bytes(5000)}, b"l": (b"a",)})
    sets.take_full()
    whole, expected = sets.full.read_bytes(), everything(sets.source)
    cut = [whole[:length] for length in range(0, len(whole), 7)]
    flipped = []
    for bit in range(0, len(whole) * 8, 11):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        flipped.append(bytes(damaged))
    failures = 0
    for number, damaged in enumerate(cut + flipped):
        sets.full.write_bytes(damaged)
        try:
            restore_full(sets, sets.work / f"{number}")
        except BackupError:
            failures += 1
        else:
            assert everything(sets.work / f"{number}") == expected
    assert failures > len(cut)


def test_a_member_below_a_link_is_never_written_through_it(sets: Sets) -> None:
    outside = sets.work / "outside"
    outside.mkdir()
    put(sets, [(b"./l", "l", os.fsencode(outside)), (b"./l/x", "f", b"escaped")])
    with pytest.raises(BackupError):
        restore_full(sets, sets.work / "out")
    assert list(outside.iterdir()) == []


def test_a_file_in_the_place_of_a_directory_fails(sets: Sets) -> None:
    put(sets, [(b"./a", "f", b"1"), (b"./a/x", "f", b"2")])
    with pytest.raises(CheckFailed, match=r"\./a/x cannot be restored"):
        restore_full(sets, sets.work / "out")
