from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from backup_assets.demo.server import connect, demo_server, stop_demo_server

SERVER = """
import sys
from pathlib import Path
from backup_assets.demo.server import demo_server
cluster = demo_server(Path(sys.argv[1]))
print((cluster.data_directory / "postmaster.pid").read_text().split()[0], cluster.port)
"""


def test_two_processes_that_ask_at_once_get_the_same_server(a_home: Path):
    processes = [
        subprocess.Popen([sys.executable, "-c", SERVER, str(a_home)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=400)[0] for process in processes]

    assert answers[0]
    assert answers[0] == answers[1]


def test_the_server_outlives_who_asked_for_it_and_stops_when_told(a_home: Path):
    subprocess.run([sys.executable, "-c", SERVER, str(a_home)], check=True, timeout=400, stdout=subprocess.DEVNULL)
    cluster = demo_server(a_home)
    assert cluster.running

    assert stop_demo_server(a_home) is True
    assert not cluster.running
    assert stop_demo_server(a_home) is False


def test_data_and_port_are_kept_over_a_stop(a_home: Path):
    before = demo_server(a_home)
    with connect(before, "postgres") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stop_demo_server(a_home)

    after = demo_server(a_home)

    assert (after.port, after.password) == (before.port, before.password)
    with connect(after, "postgres") as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_stopping_what_never_was_makes_nothing(tmp_path: Path):
    assert stop_demo_server(tmp_path / "home") is False
    assert not (tmp_path / "home").exists()


def test_a_home_that_others_may_not_enter_stays_so(a_home: Path):
    demo_server(a_home)

    assert a_home.stat().st_mode & 0o007 == 0
    assert a_home.stat().st_uid == os.geteuid()
