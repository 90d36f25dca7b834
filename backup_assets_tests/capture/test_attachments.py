from __future__ import annotations

import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import zstandard

from backup_assets.capture.attachments import RACY_NS, Archived, _outputs, archive_differential, archive_full
from backup_assets.capture.attachments_index import IndexHeader, escape, read_index
from backup_assets.capture.attachments_walk import walk
from backup_assets.errors import CheckFailed, EnvironmentFault, Refused
from backup_assets.files import sha256_of
from backup_assets.restore.attachments import check_archive
from backup_assets_tests.capture.attachment_trees import (
    ODD_NAMES,
    Sets,
    contents,
    plant,
    plant_a_pipe_and_a_socket,
    plant_odd_things,
    rewrite,
    settled_clock,
)

LARGE = 9 << 20  # more than the 8 MiB after which progress is reported


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path)


def where(index: Path) -> dict[str, str]:
    return {escape(entry.path)[2:]: entry.archive for entry in read_index(index)[1]}


def take(sets: Sets, on_progress: Callable[[int], None]) -> Archived:
    return archive_full(sets.source, sets.full, sets.full_index, set_id="F", on_progress=on_progress)


def test_odd_things_come_back_with_stock_zstd_and_tar(sets: Sets) -> None:
    plant_odd_things(sets.source)
    archived = sets.take_full()
    sets.stock_restore(sets.full_index, sets.full, sets.work / "out")
    assert contents(sets.work / "out") == contents(sets.source)
    assert archived.facts.hard_linked == 2
    assert set(ODD_NAMES) <= contents(sets.work / "out").keys()


def test_the_archive_is_listed_by_an_independent_reader(sets: Sets) -> None:
    plant_odd_things(sets.source)
    sets.take_full()
    with tarfile.open(fileobj=_unzstd(sets.full), mode="r|", errors="surrogateescape") as archive:
        listed = {os.fsencode(member.name).removeprefix(b"./"): member.size for member in archive}
    there = {path: len(content) for path, (kind, content) in contents(sets.source).items() if kind == "f"}
    assert listed.keys() == contents(sets.source).keys()
    assert {path: size for path, size in listed.items() if path in there} == there


def _unzstd(path: Path) -> IO[bytes]:
    return zstandard.ZstdDecompressor().stream_reader(path.open("rb"))


def test_the_result_describes_the_files_as_they_are_stored(sets: Sets) -> None:
    plant(sets.source, {b"a": b"12345", b"d": {b"b": b"123"}, b"l": (b"a",)})
    archived = sets.take_full()
    assert (archived.archive_sha256, archived.archive_bytes) == (sha256_of(sets.full), sets.full.stat().st_size)
    assert (archived.index_sha256, archived.index_bytes) == (sha256_of(sets.full_index), sets.full_index.stat().st_size)
    assert (archived.facts.files, archived.facts.bytes) == (2, 8)
    assert (archived.facts.mode, archived.facts.full_set) == ("full", "F")
    assert {path.stat().st_mode & 0o777 for path in (sets.full, sets.full_index)} == {0o600}


def test_the_attachments_directory_may_be_a_symbolic_link(sets: Sets) -> None:
    plant(sets.work / "elsewhere", {b"a": b"1"})
    sets.source.rmdir()
    sets.source.symlink_to("elsewhere")
    assert sets.take_full().facts.files == 1


def test_pipes_and_sockets_are_skipped_and_named(sets: Sets) -> None:
    plant_a_pipe_and_a_socket(sets.source)
    assert sets.take_full().facts.skipped == ("pipe", "socket")
    assert where(sets.full_index) == {}


def test_an_unchanged_tree_gives_an_empty_archive_and_reads_nothing(sets: Sets) -> None:
    plant_odd_things(sets.source)
    full = sets.take_full()
    progress: list[int] = []
    diff = archive_differential(
        sets.source,
        sets.full_index,
        sets.diff,
        sets.diff_index,
        set_id="D",
        full_set="F",
        on_progress=progress.append,
    )
    assert progress == [0]
    assert (diff.facts.archived_files, diff.facts.files, diff.facts.bytes) == (0, full.facts.files, full.facts.bytes)
    assert set(where(sets.diff_index).values()) == {"full"}
    with tarfile.open(fileobj=_unzstd(sets.diff), mode="r|") as archive:
        assert archive.getmembers() == []


def test_a_differential_holds_only_what_changed_and_forgets_what_was_deleted(sets: Sets) -> None:
    plant(sets.source, {b"kept": b"1", b"changed": b"2", b"deleted": b"3", b"d": {b"kept": b"4"}, b"l": (b"kept",)})
    sets.take_full()
    rewrite(sets.source / "changed", b"9")
    (sets.source / "deleted").unlink()
    (sets.source / "new").write_bytes(b"5")
    facts = sets.take_differential().facts
    assert where(sets.diff_index) == {
        "changed": "here",
        "d": "full",
        "d/kept": "full",
        "kept": "full",
        "l": "full",
        "new": "here",
    }
    assert (facts.archived_files, facts.archived_bytes, facts.files) == (2, 2, 4)


def test_a_change_of_the_same_size_and_modification_time_is_taken(sets: Sets) -> None:
    plant(sets.source, {b"a": b"1"})
    sets.take_full()
    before = (sets.source / "a").stat()
    rewrite(sets.source / "a", b"2")
    os.utime(sets.source / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    sets.take_differential()
    assert where(sets.diff_index) == {"a": "here"}


def test_a_file_touched_just_before_the_full_is_taken_again(sets: Sets) -> None:
    plant(sets.source, {b"a": b"1"})
    touched = (sets.source / "a").stat().st_ctime_ns
    archive_full(sets.source, sets.full, sets.full_index, set_id="F", now_ns=lambda: touched + RACY_NS)
    sets.take_differential()
    assert where(sets.diff_index) == {"a": "here"}


def test_a_file_that_vanishes_after_it_was_listed_is_named_and_not_in_the_index(sets: Sets) -> None:
    plant(sets.source, {b"a": bytes(LARGE), b"b": b"soon gone", b"c": {b"x": b"also"}})

    def remove(_: int) -> None:
        (sets.source / "b").unlink(missing_ok=True)
        if (sets.source / "c").exists():
            (sets.source / "c").rename(sets.work / "moved")

    facts = take(sets, remove).facts
    assert facts.vanished == ("b", "c")
    assert where(sets.full_index) == {"a": "here"}
    assert check_archive(sets.full_index, sets.full).ok


def test_what_vanishes_between_a_look_and_the_reading_is_named(sets: Sets) -> None:
    plant(sets.source, {b"file": b"1", b"link": (b"file",), b"replaced": b"2"})
    with _outputs(sets.source, sets.full, sets.full_index, IndexHeader("F", "F", 0), None) as taking:
        for found in walk(sets.source):
            os.unlink(found.name, dir_fd=found.parent)
            if found.name == b"replaced":
                (sets.source / "replaced").symlink_to("/etc/passwd")
            taking.take(found)
    assert taking.result("full").facts.vanished == ("file", "link", "replaced")
    assert where(sets.full_index) == {}
    assert check_archive(sets.full_index, sets.full).ok


@pytest.mark.parametrize("now", [b"grown" + bytes(LARGE), b"shrunk"])
def test_a_file_that_changes_once_while_it_is_read_is_taken_again(sets: Sets, now: bytes) -> None:
    plant(sets.source, {b"a": bytes(LARGE), b"b": b"after it"})
    changes = [now]

    def change(_: int) -> None:
        if changes:
            (sets.source / "a").write_bytes(changes.pop())

    facts = take(sets, change).facts
    assert facts.changing == ()
    assert check_archive(sets.full_index, sets.full).problems == ()
    sets.stock_restore(sets.full_index, sets.full, sets.work / "out")
    assert contents(sets.work / "out") == {b"a": ("f", now), b"b": ("f", b"after it")}


def test_a_file_that_keeps_changing_is_kept_as_last_read_and_named(sets: Sets) -> None:
    plant(sets.source, {b"log": bytes(LARGE)})

    def append(_: int) -> None:
        with (sets.source / "log").open("ab") as handle:
            handle.write(b"more")

    facts = take(sets, append).facts
    assert facts.changing == ("log",)
    assert facts.files == 1
    assert check_archive(sets.full_index, sets.full).problems == ()


def test_a_file_that_vanishes_between_two_attempts_leaves_no_unlisted_member(sets: Sets) -> None:
    plant(sets.source, {b"a": bytes(LARGE)})
    assert take(sets, lambda _: (sets.source / "a").unlink(missing_ok=True)).facts.changing == ("a",)
    assert check_archive(sets.full_index, sets.full).problems == ()


def test_a_long_list_of_skipped_names_is_cut_and_says_so(sets: Sets) -> None:
    for number in range(1003):
        os.mkfifo(sets.source / f"{number:04d}")
    skipped = sets.take_full().facts.skipped
    assert len(skipped) == 1001
    assert skipped[-1] == "... and 3 more"


def test_a_missing_directory_names_the_setting_and_leaves_no_file(sets: Sets) -> None:
    sets.source.rmdir()
    with pytest.raises(EnvironmentFault, match="ASSET_DIR"):
        sets.take_full()
    assert list(sets.work.iterdir()) == []


@contextmanager
def an_unprivileged_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("hidden", ["file", "directory"])
def test_what_may_not_be_read_fails_the_backup_by_name(hidden: str) -> None:
    with tempfile.TemporaryDirectory() as work:
        Path(work).chmod(0o777)  # another user works in it
        with an_unprivileged_user():
            sets = Sets(Path(work))
            plant(sets.source, {b"file": b"1", b"directory": {b"x": b"2"}})
            (sets.source / hidden).chmod(0)
            with pytest.raises(EnvironmentFault, match=f"source/{hidden} cannot be read"):
                sets.take_full()
            (sets.source / hidden).chmod(0o700)
            assert [path.name for path in sets.work.iterdir()] == ["source"]


def test_an_existing_output_is_never_overwritten(sets: Sets) -> None:
    sets.full.write_bytes(b"precious")
    with pytest.raises(EnvironmentFault):
        sets.take_full()
    assert sets.full.read_bytes() == b"precious"


def test_the_index_of_another_set_is_refused(sets: Sets) -> None:
    sets.take_full()
    with pytest.raises(Refused, match="not the index of the full archive of other"):
        archive_differential(sets.source, sets.full_index, sets.diff, sets.diff_index, set_id="D", full_set="other")
    sets.take_differential()
    with pytest.raises(Refused, match="builds on F"):
        archive_differential(sets.source, sets.diff_index, sets.work / "x", sets.work / "y", set_id="E", full_set="D")


def test_a_truncated_full_index_fails_the_differential_and_leaves_no_file(sets: Sets) -> None:
    plant(sets.source, {b"%d" % number: b"1" for number in range(100)})
    sets.take_full()
    content = sets.full_index.read_bytes()
    sets.full_index.write_bytes(content[:-5])
    with pytest.raises(CheckFailed):
        sets.take_differential()
    assert not sets.diff.exists()
    assert not sets.diff_index.exists()


def test_a_full_index_without_its_end_is_noticed_even_when_nothing_is_left_to_compare(sets: Sets) -> None:
    sets.take_full()
    text = zstandard.ZstdDecompressor().decompressobj().decompress(sets.full_index.read_bytes())
    header = text.split(b"\n")[0] + b"\n"
    entry = b"here\td\t0\t2\t3\t4\t755\t-\t./%b\n"
    sets.full_index.write_bytes(zstandard.compress(header + entry % b"a" + entry % b"b"))
    with pytest.raises(CheckFailed, match="index"):
        sets.take_differential()


def test_the_index_says_when_the_scan_began(sets: Sets) -> None:
    before = time.time_ns()
    archive_full(sets.source, sets.full, sets.full_index, set_id="F")
    assert before <= read_index(sets.full_index)[0].scan_started_ns <= time.time_ns()
    assert settled_clock() > time.time_ns()
