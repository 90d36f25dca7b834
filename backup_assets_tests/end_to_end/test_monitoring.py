"""What becomes of runs that are killed or hang, under the real daemon with the packaged settings, only quicker."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from backup_assets.instance import PACKAGED_CONFIG
from backup_assets.queueing import pool_of
from backup_assets.watch.memory import Cursor
from backup_assets.watch.runs import ended_runs
from backup_assets_tests.cli.conftest import variables_of
from backup_assets_tests.end_to_end.dagster_ui import DagsterUi, running_ui, wait_for
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, connect, listed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

JOB, SECONDS = "erp4_backup_job", 600.0
_STATUS = """query($i:ID!){runOrError(runId:$i){... on Run{status}}}"""
_POOLS = """{instance{concurrencyLimits{concurrencyKey claimedSlots{runId} pendingSteps{runId}}}}"""
_EVENTS = "query($i:ID!){logsForRun(runId:$i,limit:1000){... on EventConnection{events{... on MessageEvent{message}}}}}"
_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")
_RUNS = """{runsOrError{... on Runs{results{runId status tags{key value}}}}}"""


def a_quick_home(directory: Path) -> Path:
    """Return a home with what is packaged, in which every minute is a second."""
    config = yaml.safe_load(PACKAGED_CONFIG.read_text())
    config["run_monitoring"] |= {"poll_interval_seconds": 1, "free_slots_after_run_end_seconds": 1}
    home = directory / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    return home


@contextmanager
def locked(source: Source) -> Iterator[None]:
    """Lock a table, so that `pg_dump` waits for it."""
    with connect(source.cluster, source.name, autocommit=False) as connection:
        connection.execute("LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE")
        yield


def dumping(source: Source) -> bool | None:
    """Return True while a session of ours, `pg_dump` or another, waits for the lock."""
    with connect(source.cluster, "postgres") as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", (source.name,)
        )
        return True if found.fetchall()[0][0] else None


def sessions(source: Source) -> int:
    with connect(source.cluster, "postgres") as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return connection.execute(query, (source.name,)).fetchall()[0][0]


def dumps(source: Source) -> set[str]:
    """Return the processes of `pg_dump` that are about a database."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if argv[0].endswith(b"pg_dump") and any(source.name.encode() in argument for argument in argv):
            found.add(path.parent.name)
    return found


def worker_of(ui: DagsterUi, run_id: str) -> int:
    """Return the process that carries out a run, as its events tell."""
    events = ui.ask(_EVENTS, i=run_id)["logsForRun"]["events"]
    (pid,) = {found[1] for event in events if (found := _STARTED.search(event.get("message", "")))}
    return int(pid)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def at_work(a_database: Source, tmp_path: Path) -> Iterator[DagsterUi]:
    # At noon nothing is due: only what is launched runs.
    environment = {**variables_of(a_database), "DAGSTER_HOME": str(a_quick_home(tmp_path)), "BACKUP_TIMEZONE": ZONE}
    with running_ui(tmp_path, environment) as ui:
        yield ui


def test_a_killed_run_and_one_over_its_time_limit_are_failed_and_hold_up_nobody(
    at_work: DagsterUi, a_database: Source, tmp_path: Path
) -> None:
    settings = a_database.settings()
    database = settings.databases[0]
    slot = f"{TODAY}"

    def status(run_id: str) -> str:
        return at_work.ask(_STATUS, i=run_id)["runOrError"]["status"]

    def failed(run_id: str) -> bool | None:
        return True if status(run_id) == "FAILURE" else None

    def begun(run_id: str) -> bool | None:
        # It is at work for a few seconds only, which may be over at the next look.
        return True if status(run_id) not in ("QUEUED", "NOT_STARTED", "STARTING") else None

    def ended(run_id: str) -> bool | None:
        # Dagster's monitoring says that it failed, its own process that it was cancelled; who is later, wins.
        return True if status(run_id) in ("FAILURE", "CANCELED") else None

    once = {"dagster/max_retries": "0"}
    with locked(a_database):
        killed = at_work.launch(JOB, slot, more=once)
        wait_for("the dump", lambda: dumping(a_database), SECONDS)
        waiting = at_work.launch(JOB, slot, more={**once, "dagster/max_runtime": "5"})
        assert status(waiting) in ("QUEUED", "NOT_STARTED")
        os.kill(worker_of(at_work, killed), signal.SIGKILL)
        wait_for("the killed run to be shown as failed", lambda: failed(killed), SECONDS)
        orphans = dumps(a_database)  # a pg_dump that lost us comes to its end by itself

        wait_for("the waiting run to start", lambda: begun(waiting), SECONDS)
        wait_for("the run over its limit to be ended", lambda: ended(waiting), SECONDS)
        hanging = worker_of(at_work, waiting)
        wait_for("its process to end", lambda: None if is_alive(hanging) else True, SECONDS)
        wait_for("its dump to end", lambda: True if dumps(a_database) <= orphans else None, SECONDS)
    # A server's process sees that its client is gone when it has its lock.
    wait_for("the server's side to end", lambda: None if sessions(a_database) else True, SECONDS)
    assert not dumps(a_database)
    assert listed(settings) == []

    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        told = ended_runs(instance, "erp4", ["erp4"], Cursor(), datetime.now(UTC)).runs
    assert {one.run_id: one.succeeded for one in told} == {killed: False, waiting: False}

    last = at_work.launch(JOB, slot)

    assert at_work.finished(last) == "SUCCESS"
    (one,) = listed(settings)
    assert proof_of(one) is not None
    pools = {pool["concurrencyKey"]: pool for pool in at_work.ask(_POOLS)["instance"]["concurrencyLimits"]}
    assert not any(pool["claimedSlots"] or pool["pendingSteps"] for pool in pools.values()), pools
    assert pool_of(database) in pools
    assert {run["runId"] for run in at_work.ask(_RUNS)["runsOrError"]["results"]} == {killed, waiting, last}
