from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets_tests.restore.conftest import a_tidy_server, an_erp
from backup_assets_tests.restore.restoring import Erp
from backup_assets_tests.sources import listed, proven

__all__ = ["a_tidy_server", "an_erp"]

MEGABYTE = 1 << 20
#: More than the margin that a capture wants to see free before it begins.
DISK_BYTES = 80 * MEGABYTE


@pytest.fixture
def a_small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Write a file that leaves so many bytes free."""
    with (disk / "ballast").open("ab") as handle:
        handle.write(bytes(max(0, shutil.disk_usage(disk).free - leave)))


def stored(erp: Erp) -> set[Path]:
    return {path for path in erp.settings.backup_dir.rglob("*") if path.is_file()}


def on(disk: Path, erp: Erp) -> Erp:
    return Erp(erp.source, erp.settings.model_copy(update={"backup_dir": disk / "backups"}), erp.attachments)


def test_a_disk_that_is_too_full_is_refused_before_anything_is_written(an_erp: Erp, a_small_disk: Path):
    erp = on(a_small_disk, an_erp)
    good = erp.captured()
    before = stored(erp)
    fill(a_small_disk, leave=MEGABYTE)

    with pytest.raises(EnvironmentFault, match="not enough free disk") as fault:
        erp.captured()

    assert str(erp.settings.backup_dir) in fault.value.why
    assert "BACKUP_DIR" in fault.value.remedy
    assert stored(erp) == before
    assert [one.id for one in listed(erp.settings)] == [good.manifest.id]


@pytest.mark.parametrize("what", ["rows", "files"])
def test_a_disk_that_becomes_full_while_a_set_is_written_leaves_no_set_and_no_partial(
    an_erp: Erp, a_small_disk: Path, what: str
):
    erp = on(a_small_disk, an_erp)
    good = erp.captured()
    before = stored(erp)
    # Much more than the last set lets expect, and nothing that could be compressed.
    if what == "rows":
        erp.source.execute("CREATE TABLE noise (bytes bytea STORAGE EXTERNAL)")
        with erp.source.connect() as connection:
            for _ in range(DISK_BYTES // MEGABYTE):
                connection.execute("INSERT INTO noise VALUES (%b)", [os.urandom(MEGABYTE)])
    else:
        (erp.attachments / "noise").write_bytes(os.urandom(DISK_BYTES))

    with pytest.raises(EnvironmentFault) as fault:
        erp.captured()

    assert "No space left on device" in str(fault.value)
    assert "free" in fault.value.remedy
    assert [one.id for one in listed(erp.settings)] == [good.manifest.id]
    assert stored(erp) == before or what == "files"
    assert not [path for path in stored(erp) if path.name.endswith(".partial")]
    assert not list((erp.settings.backup_dir / ".work").iterdir())


def test_after_a_full_disk_was_cleared_the_next_capture_is_good(an_erp: Erp, a_small_disk: Path):
    erp = on(a_small_disk, an_erp)
    noise = erp.attachments / "noise"
    noise.write_bytes(os.urandom(DISK_BYTES))
    with pytest.raises(EnvironmentFault):
        erp.captured()
    noise.unlink()

    assert proven(erp.settings, erp.captured()).record.passed


def test_files_that_may_not_grow_fail_the_capture_the_same_way(an_erp: Erp):
    """A limit of the process is hit where no disk can be mounted to be filled."""
    (an_erp.attachments / "noise").write_bytes(os.urandom(4 * MEGABYTE))

    with no_file_larger_than(MEGABYTE), pytest.raises(EnvironmentFault) as fault:
        an_erp.captured()

    assert "File too large" in str(fault.value)
    assert listed(an_erp.settings) == []
    assert not [path for path in stored(an_erp) if path.name.endswith(".partial")]


def test_restored_files_that_do_not_fit_replace_nothing(an_erp: Erp, a_small_disk: Path):
    (an_erp.attachments / "noise").write_bytes(os.urandom(4 * MEGABYTE))
    captured = an_erp.captured()
    target = a_small_disk / "erp" / "attachments"
    target.mkdir(parents=True)
    (target / "here.pdf").write_text("what is here now")
    fill(a_small_disk, leave=MEGABYTE)
    before = an_erp.state()

    with pytest.raises(EnvironmentFault, match="cannot be written") as fault:
        an_erp.restore(captured.manifest.id, attachments_to=target)

    assert "No space left on device" in str(fault.value)
    assert an_erp.state() == before
    assert [path.name for path in target.parent.iterdir()] == ["attachments"]
    assert (target / "here.pdf").read_text() == "what is here now"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
