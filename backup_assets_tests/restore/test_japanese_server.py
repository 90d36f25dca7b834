"""A server whose messages are Japanese, which is what initdb chooses on a Japanese system."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from backup_assets.capture.dump import dump_globals
from backup_assets.errors import CheckFailed, EnvironmentFault, TransientFault
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.postgres.cluster import LOG_FILE, Cluster
from backup_assets.postgres.server import Server
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.session import LockedOut, one_value, open_session
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.postgres.unprivileged import server_identity
from backup_assets.process import run
from backup_assets.restore.database import Archive, restore_archive
from backup_assets.restore.server_words import CREATE_THE_ROLE
from backup_assets.restore.swap import swap_database
from backup_assets.settings_server import ContainerSettings
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.other_encodings import make_euc_jp
from backup_assets_tests.postgres.engines import an_engine
from backup_assets_tests.restore.restoring import unique
from backup_assets_tests.sources import Source, connect, drop_database, make_database

LOCALE = "ja_JP.UTF-8"
CLIENTS = choose_clients(find_clients(None), 15)
JAPANESE = {
    "lc_messages": LOCALE,
    "max_prepared_transactions": "1",
    "max_connections": "12",
    "max_locks_per_transaction": "10",
}


def has_locale() -> bool:
    listed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    return "ja_JP.utf8" in listed


@pytest.fixture(scope="module")
def a_japanese_cluster() -> Iterator[Cluster]:
    found = [binaries for binaries in find_server_binaries() if binaries.major == 15]
    if missing := "no PostgreSQL 15 server" if not found else None if has_locale() else f"no locale {LOCALE}":
        if "CI" in os.environ:
            pytest.fail(f"{missing} is installed")
        pytest.skip(f"{missing} is installed")
    with throw_away_cluster(None, found[0], locale=LOCALE, settings=JAPANESE) as cluster:
        # As its system starts it. Ours start theirs in the locale C, where what a server says before it knows the
        # database is question marks.
        cluster.stop()
        data = str(cluster.data_directory)
        run(
            [cluster.binaries.program("pg_ctl"), "start", "-D", data, "-w", "-s", "-l", f"{data}/{LOG_FILE}"],
            timeout=60,
            env={"LC_ALL": LOCALE},
            identity=server_identity(),
            cwd=Path("/"),
        )
        with connect(cluster, "postgres") as connection, pytest.raises(psycopg.Error, match="除算"):
            connection.execute("SELECT 1/0")
        yield cluster


@pytest.fixture(params=["direct", "in a container"])
def a_japanese_server(request: pytest.FixtureRequest, a_japanese_cluster: Cluster, tmp_path: Path) -> Server:
    settings = a_japanese_cluster.server_settings()
    if request.param != "direct":
        engine = ContainerSettings(name="erp-db", engine=str(an_engine(tmp_path, a_japanese_cluster)))
        settings = settings.model_copy(update={"container": engine})
    return Server.from_settings(settings)


@pytest.mark.parametrize(
    ("database", "changed", "setting"),
    [
        ("nowhere", {}, "DB_NAME"),
        ("postgres", {"password": SecretStr("wrong")}, "DB_PASSWORD"),
        ("postgres", {"user": "nobody"}, "DB_PASSWORD"),
    ],
    ids=["no such database", "wrong password", "no such role"],
)
def test_a_refused_connection_is_not_tried_again(
    a_japanese_server: Server, database: str, changed: dict[str, object], setting: str
):
    server = Server(**{**a_japanese_server.__dict__, **changed})

    with pytest.raises(EnvironmentFault) as caught, open_session(server, database):
        pass

    assert not caught.value.retriable
    assert setting in caught.value.remedy


def test_a_lock_that_is_not_given_in_time_is_an_error_of_its_own(
    a_japanese_server: Server, a_japanese_cluster: Cluster, source_of: SourceOf
):
    source = source_of(a_japanese_cluster, "CREATE TABLE busy (id int)")
    with (
        source.connect(autocommit=False) as migration,
        open_session(a_japanese_server, source.name) as session,
    ):
        migration.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        session.execute("SET lock_timeout = '20ms'")

        with pytest.raises(LockedOut) as caught:
            one_value(session, "SELECT count(*) FROM busy")

    assert "ロックのタイムアウト" in caught.value.why
    assert "LOCATION" not in caught.value.why


def test_a_connection_that_the_server_ends_may_be_tried_again(a_japanese_server: Server, a_japanese_cluster: Cluster):
    with pytest.raises(TransientFault), open_session(a_japanese_server, "postgres") as session:
        pid = one_value(session, "SELECT pg_backend_pid()")
        with connect(a_japanese_cluster, "postgres") as connection:
            connection.execute(f"SELECT pg_terminate_backend({pid}, 5000)".encode())
        one_value(session, "SELECT 1")


def test_databases_are_swapped_as_soon_as_nobody_is_in_them(a_japanese_cluster: Cluster, source_of: SourceOf):
    live = source_of(a_japanese_cluster, "CREATE TABLE old ()")
    new = source_of(a_japanese_cluster, "CREATE TABLE new ()", name=unique("new"))
    with live.connect(autocommit=False) as client:
        client.execute("CREATE TABLE prepared ()")
        client.execute("PREPARE TRANSACTION 'open'")
    ended = threading.Event()

    def end_it_after_the_first_attempt() -> None:
        log = a_japanese_cluster.data_directory / LOG_FILE
        deadline = time.monotonic() + 60
        while f'"{live.name}"は他のユーザーからアクセスされています' not in log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        live.execute("ROLLBACK PREPARED 'open'")
        ended.set()

    thread = threading.Thread(target=end_it_after_the_first_attempt)
    thread.start()
    try:
        assert swap_database(live.server, new.name, live.name, unique("kept"))
    finally:
        thread.join()

    assert ended.is_set()
    assert live.value("SELECT to_regclass('new')") == "new"


def dump_of(source: Source, directory: Path) -> Path:
    path = directory / "erp4.dump"
    argv = source.server.argv(CLIENTS, "pg_dump", "-Fc", f"--file={path}", source.name)
    run(argv, timeout=60, env=source.server.environment())
    return path


def a_role_of(cluster: Cluster, *, superuser: bool) -> Server:
    """Return the server as somebody of that right connects to it."""
    name = unique("role")
    with connect(cluster, "postgres") as connection:
        connection.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD 'long-enough' {'SUPERUSER' if superuser else 'NOSUPERUSER'}".encode()
        )
    settings = cluster.server_settings().model_copy(update={"user": name, "password": SecretStr("long-enough")})
    return Server.from_settings(settings)


@pytest.mark.parametrize(
    ("superuser", "encoding", "words"),
    [
        (True, "SQL_ASCII", "out of shared memory"),
        (False, "UTF8", "共有メモリが足りません"),
        (False, "SQL_ASCII", "ERROR:  ???"),
        (False, "EUC_JP", "ERROR:  \ufffd"),
    ],
)
def test_a_server_that_is_out_of_memory_is_not_taken_for_a_dump_that_is_rejected(
    a_japanese_cluster: Cluster, tmp_path: Path, superuser: bool, encoding: str, words: str
):
    server = a_role_of(a_japanese_cluster, superuser=superuser)
    tables = [f"t{n}" for n in range(60)]
    source, into = Source(a_japanese_cluster, unique("source"), tmp_path), unique("copy")
    with connect(a_japanese_cluster, "postgres") as connection:
        for name in (source.name, into):
            connection.execute(
                f"CREATE DATABASE {name} OWNER {server.user} ENCODING {encoding} LOCALE 'C' TEMPLATE template0".encode()
            )
    with source.connect(client_encoding="UTF8") as connection:
        connection.execute(f"CREATE SCHEMA own AUTHORIZATION {server.user}".encode())
        connection.execute(f"SET ROLE {server.user}".encode())
        connection.execute("SET search_path = own")
        for table in tables:
            connection.execute(f"CREATE TABLE {table} ()".encode())
        connection.execute(f"CREATE TABLE heir () INHERITS ({', '.join(tables)})".encode())  # which locks each
    archive = Archive(dump_of(source, tmp_path), directory_format=False)

    with (
        connect(a_japanese_cluster, "postgres") as hog,
        pytest.raises(EnvironmentFault, match="could not do its work") as caught,
    ):
        with pytest.raises(psycopg.errors.OutOfMemory):
            hog.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 1000000) n")
        hog.execute("SELECT pg_advisory_unlock(n) FROM generate_series(1, 30) n")  # for anything but the heir
        restore_archive(server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert words in caught.value.why


@pytest.mark.parametrize("superuser", [True, False], ids=["superuser", "owner"])
def test_a_role_that_the_server_lacks_is_named_with_what_to_do(
    a_japanese_cluster: Cluster, source_of: SourceOf, tmp_path: Path, superuser: bool
):
    role, into = unique("gone"), unique("copy")
    source = source_of(a_japanese_cluster, f"CREATE ROLE {role}", "CREATE TABLE t ()", f"ALTER TABLE t OWNER TO {role}")
    archive = Archive(dump_of(source, tmp_path), directory_format=False)
    source.execute("DROP TABLE t", f"DROP ROLE {role}")
    server = a_role_of(a_japanese_cluster, superuser=superuser)
    make_database(a_japanese_cluster, into, f"ALTER DATABASE {into} OWNER TO {server.user}")

    with pytest.raises(CheckFailed, match="needs a role") as caught:
        restore_archive(server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert caught.value.remedy == CREATE_THE_ROLE


def test_a_role_that_may_not_restore_says_nothing_against_the_dump(
    a_japanese_cluster: Cluster, source_of: SourceOf, tmp_path: Path
):
    role, into = unique("other"), unique("copy")
    source = source_of(a_japanese_cluster, f"CREATE ROLE {role}", "CREATE TABLE t ()", f"ALTER TABLE t OWNER TO {role}")
    archive = Archive(dump_of(source, tmp_path), directory_format=False)
    server = a_role_of(a_japanese_cluster, superuser=False)
    make_database(a_japanese_cluster, into, f"ALTER DATABASE {into} OWNER TO {server.user}")

    with pytest.raises(EnvironmentFault, match="may not do what the dump needs") as caught:
        restore_archive(server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert f'ロール"{role}"のメンバでなければなりません' in caught.value.why


def test_roles_in_two_encodings_are_said_with_what_to_do(a_japanese_cluster: Cluster, tmp_path: Path):
    source = make_euc_jp(a_japanese_cluster, tmp_path)
    with connect(a_japanese_cluster, "postgres") as connection:
        connection.execute('CREATE ROLE "経理"')
        try:
            with pytest.raises(EnvironmentFault, match="cannot be written in one encoding"):
                dump_globals(source.server, CLIENTS, source.name, tmp_path / "roles", passwords=False, timeout=60)
        finally:
            connection.execute('DROP ROLE "経理"')
            drop_database(a_japanese_cluster, source.name)
