from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.local import local_store
from backup_assets.postgres.throw_away import sweep_stale_clusters
from backup_assets.sets.place import set_id_of
from backup_assets_tests.faults.dying import Task
from backup_assets_tests.restore.conftest import a_tidy_server, an_erp
from backup_assets_tests.restore.restoring import Erp, databases_of, verified
from backup_assets_tests.sources import connect, listed, proven

__all__ = ["a_tidy_server", "an_erp"]

ROWS = {"accounting.entries": 100, "public.customers": 20, "public.invoices": 100}
FILES = {"1.pdf": "invoice 1", "2.pdf": "invoice 2", "3.pdf": "invoice 3"}


@pytest.fixture
def a_scratch_parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of this test alone for the scratch clusters of the process that dies."""
    parent = Path(tempfile.mkdtemp(prefix="ba-killed-"))
    parent.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(parent))
    yield parent
    sweep_stale_clusters()
    parent.rmdir()


def die(erp: Erp, action: str, point: str, nth: int = 1) -> None:
    """Run an action in a process of its own that is killed at a point, and wait for what it had started."""
    server = erp.source.server_settings()
    task = Task(
        action=action,
        point=point,
        nth=nth,
        host=server.host,
        port=server.port,
        user=server.user,
        password=erp.cluster.password,
        database=erp.name,
        backup_dir=str(erp.settings.backup_dir),
        attachments=str(erp.attachments),
    )
    outcome = subprocess.run(
        [sys.executable, "-m", "backup_assets_tests.faults.dying"],
        input=task.to_json(),
        capture_output=True,
        timeout=400,
        check=False,
    )
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr.decode()
    until = time.monotonic() + 120
    while our_sessions(erp):  # a pg_dump that lost us comes to its end by itself
        assert time.monotonic() < until
        time.sleep(0.05)


def our_sessions(erp: Erp) -> int:
    with connect(erp.cluster, "postgres") as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backup_assets'"
        return connection.execute(query).fetchall()[0][0]


def content(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def stored_files(erp: Erp) -> list[Path]:
    return [path for path in erp.settings.backup_dir.rglob("*") if path.is_file() and "erp4" in path.parts]


def restoring_left(erp: Erp) -> set[str]:
    return {name for name in databases_of(erp.cluster) if name.startswith(f"{erp.name}__restoring_")}


CAPTURE_POINTS = (
    "subprocess.Popen pg_dump --snapshot",
    "os.link db/",
    "subprocess.Popen pg_restore --file=/dev/null",
    "subprocess.Popen pg_dumpall",
    "os.link globals/",
    "os.link .tar.zst.",
    "os.link .index.tsv.zst.",
    "os.link .manifest.json",
)


@pytest.mark.parametrize("point", CAPTURE_POINTS)
def test_a_capture_that_is_killed_leaves_no_set_and_is_swept_and_repeated(an_erp: Erp, point: str):
    good = an_erp.captured().manifest
    before = stored_files(an_erp)
    (an_erp.attachments / "2.pdf").write_text("invoice 2, changed")

    die(an_erp, "capture", point)

    assert [one.id for one in listed(an_erp.settings)] == [good.id]
    assert an_erp.rows() == ROWS
    store = local_store(an_erp.settings)
    left = set(stored_files(an_erp)) - set(before)
    assert store.sweep(datetime.now(UTC)) == []
    swept = store.sweep(datetime.now(UTC) + timedelta(days=2))
    assert {store.root / one.key for one in swept} == left
    assert sorted(stored_files(an_erp)) == sorted(before)

    again = an_erp.captured()

    assert [one.id for one in listed(an_erp.settings)] == [again.manifest.id, good.id]
    assert proven(an_erp.settings, again).record.passed


def test_the_first_capture_of_all_killed_before_its_commit_leaves_no_set(an_erp: Erp):
    die(an_erp, "capture", "os.link .manifest.json")

    assert listed(an_erp.settings) == []
    assert {set_id_of(path.name) for path in stored_files(an_erp)} != set()

    again = an_erp.captured()
    assert [one.id for one in listed(an_erp.settings)] == [again.manifest.id]
    local_store(an_erp.settings).sweep(datetime.now(UTC) + timedelta(days=2))
    assert {set_id_of(path.name) for path in stored_files(an_erp)} == {again.manifest.id}


VERIFY_POINTS = (
    "subprocess.Popen initdb",
    "subprocess.Popen pg_ctl start",
    "restoring on a scratch server",
    "subprocess.Popen pg_restore --exit-on-error",
)


@pytest.mark.parametrize("point", VERIFY_POINTS)
def test_a_verification_that_is_killed_proves_nothing_and_its_cluster_is_swept(
    an_erp: Erp, a_scratch_parent: Path, point: str
):
    good = an_erp.captured().manifest
    before = an_erp.state()

    die(an_erp, "verify", point)

    (chosen,) = listed(an_erp.settings)
    assert chosen.records == ()
    assert an_erp.state() == before
    left = [path for path in a_scratch_parent.iterdir() if path.name.startswith("backup-assets-scratch-")]
    assert len(left) == 1
    assert set(left) <= set(sweep_stale_clusters())
    assert not left[0].exists()
    assert verified(an_erp.settings, good.id).record.passed
    assert [path for path in a_scratch_parent.iterdir() if path.name.startswith("backup-assets-scratch-")] == []


BEFORE_THE_SWAP = (
    "fetch:",
    "read:",
    "roles:",
    "subprocess.Popen pg_restore --exit-on-error",
    "database:",
    "compare:",
    "attachments:",
)


@pytest.mark.parametrize("point", BEFORE_THE_SWAP)
def test_a_restore_that_is_killed_before_the_swap_leaves_the_live_database_and_files(an_erp: Erp, point: str):
    an_erp.captured()
    work_goes_on(an_erp)
    rows, files = an_erp.rows(), content(an_erp.attachments)

    die(an_erp, "restore", point)

    assert an_erp.rows() == rows
    assert content(an_erp.attachments) == files
    the_next_restore_is_right(an_erp)


def test_a_restore_that_is_killed_between_rows_and_files_has_replaced_neither(an_erp: Erp):
    an_erp.captured()
    work_goes_on(an_erp)
    rows, files = an_erp.rows(), content(an_erp.attachments)

    die(an_erp, "restore", "os.rename attachments__before_")

    assert an_erp.rows() == rows
    assert content(an_erp.attachments) == files
    the_next_restore_is_right(an_erp)


def test_a_restore_that_is_killed_between_the_renames_of_the_files_has_lost_none(an_erp: Erp):
    an_erp.captured()
    work_goes_on(an_erp)
    rows, files = an_erp.rows(), content(an_erp.attachments)

    die(an_erp, "restore", "os.rename attachments__restoring_")

    assert an_erp.rows() == rows
    (kept,) = an_erp.attachments.parent.glob("attachments__before_*")
    assert content(kept) == files
    the_next_restore_is_right(an_erp)


def test_a_restore_that_is_killed_after_the_swap_is_done(an_erp: Erp):
    an_erp.captured()
    work_goes_on(an_erp)

    die(an_erp, "restore", "swap:")

    assert an_erp.rows() == ROWS
    assert content(an_erp.attachments) == FILES
    assert restoring_left(an_erp) == set()


def work_goes_on(erp: Erp) -> None:
    erp.source.execute("DELETE FROM accounting.entries")
    (erp.attachments / "1.pdf").write_text("scribbled over")
    (erp.attachments / "4.pdf").write_text("invoice 4")


def the_next_restore_is_right(erp: Erp) -> None:
    outcome = erp.restore(now=lambda: datetime.now(UTC) + timedelta(minutes=1))

    assert outcome.record.passed
    assert restoring_left(erp) == set()
    assert erp.rows() == ROWS
    assert content(erp.attachments) == FILES
