from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.command_runs import FOLDER, abandoned, at_work, end_abandoned


@dg.op
def nothing() -> None: ...


@dg.job
def a_job() -> None:
    nothing()


@pytest.fixture
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def started_run(instance: dg.DagsterInstance) -> str:
    run = instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED)
    return run.run_id


#: As a command does, and then it is killed: it says when its run is shown as at work.
AT_WORK = """
import sys, time
from pathlib import Path
from backup_assets.command_runs import at_work
with at_work(Path(sys.argv[1]), sys.argv[2]):
    print("at work", flush=True)
    time.sleep(600)
"""


def a_killed_command(home: Path, run_id: str, *, while_alive: list[tuple[str, ...]]) -> None:
    process = subprocess.Popen([sys.executable, "-c", AT_WORK, home, run_id], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        while_alive.append(abandoned(home))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_run_whose_command_was_killed_is_ended_as_failed(an_instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id = started_run(an_instance)
    seen: list[tuple[str, ...]] = []
    a_killed_command(tmp_path, run_id, while_alive=seen)

    assert seen == [()]
    assert abandoned(tmp_path) == (run_id,)
    assert end_abandoned(tmp_path, an_instance) == (run_id,)
    run = an_instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "was killed" in "".join(str(entry.dagster_event) for entry in an_instance.all_logs(run_id))
    assert abandoned(tmp_path) == ()
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_run_that_is_at_work_is_left_alone_and_leaves_nothing(
    an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id = started_run(an_instance)
    with at_work(tmp_path, run_id):
        assert end_abandoned(tmp_path, an_instance) == ()
        run = an_instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.STARTED
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_run_that_ended_before_its_command_was_killed_stays_as_it_is(
    an_instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    done = a_job.execute_in_process(instance=an_instance)
    a_killed_command(tmp_path, done.run_id, while_alive=[])

    assert end_abandoned(tmp_path, an_instance) == ()
    assert abandoned(tmp_path) == ()
    run = an_instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.is_success


def test_a_file_that_is_just_being_made_is_nobodys_death(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "a-run").touch()
    assert abandoned(tmp_path) == ()


def test_where_no_command_ever_ran_there_is_nothing_to_end(tmp_path: Path) -> None:
    assert abandoned(tmp_path / "nowhere") == ()
