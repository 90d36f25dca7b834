from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup_assets.errors import BackupError, EnvironmentFault, TransientFault
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import LockedOut, connection_fault, one_row, one_value, open_session, text_value
from backup_assets.settings_server import ContainerSettings, ServerSettings
from backup_assets_tests.postgres.engines import an_engine
from backup_assets_tests.sources import Source


@pytest.fixture(params=["direct", "in a container"])
def a_server(request: pytest.FixtureRequest, an_empty_database: Source, tmp_path: Path) -> Server:
    if request.param == "direct":
        return an_empty_database.server
    engine = ContainerSettings(name="erp-db", engine=str(an_engine(tmp_path, an_empty_database.cluster)))
    return Server.from_settings(an_empty_database.server_settings(container=engine))


VALUES = (
    None,
    "NULL",
    "\\N",
    "",
    " ",
    "tab\there",
    "line\nbreak",
    "cr\rx",
    "back\\slash",
    "\\t",
    "日本 ä",
    "a" * 100_000,
)


def test_values_come_back_as_text_whatever_they_hold(a_server: Server, an_empty_database: Source):
    with an_empty_database.connect() as connection:
        connection.execute("CREATE TABLE v (n int, t text)")
        for number, value in enumerate(VALUES):
            connection.execute("INSERT INTO v VALUES (%s, %s)", (number, value))

    with open_session(a_server, an_empty_database.name) as session:
        assert tuple(value for (value,) in session.rows("SELECT t FROM v ORDER BY n")) == VALUES
        assert list(session.rows('SELECT n AS a, t AS "b c" FROM v WHERE n < 1', header=True)) == [
            ("a", "b c"),
            ("0", None),
        ]
        assert list(session.rows("SELECT 1 WHERE false")) == []


def test_a_lock_that_is_not_given_in_time_is_an_error_of_its_own(a_server: Server, an_empty_database: Source):
    an_empty_database.execute("CREATE TABLE busy (id int)")
    with (
        an_empty_database.connect(autocommit=False) as migration,
        open_session(a_server, an_empty_database.name) as session,
    ):
        migration.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        session.execute("SET lock_timeout = '20ms'")

        with pytest.raises(LockedOut) as caught:
            one_value(session, "SELECT count(*) FROM busy")

        migration.rollback()
        assert one_value(session, "SELECT count(*) FROM busy") == "0"
    assert "did not give a lock in time" in caught.value.what
    assert "FROM busy" in caught.value.why
    assert "pg_locks" in caught.value.remedy


def test_statements_share_one_transaction(a_server: Server, an_empty_database: Source):
    with open_session(a_server, an_empty_database.name) as session:
        session.execute("BEGIN")
        session.execute("CREATE TABLE passing AS SELECT 1 AS id")
        assert one_value(session, "SELECT count(*) FROM passing -- a comment at the end") == "1"
        session.execute("ROLLBACK")
        assert one_value(session, "SELECT to_regclass('passing')") is None


def test_habits_of_a_database_do_not_change_what_is_read(a_server: Server, an_empty_database: Source):
    # The limit comes last and leaves a slow machine time for one statement: it is in force until a session lifts it.
    for habit in ("datestyle = 'German'", "timezone = 'Asia/Tokyo'", "statement_timeout = '2s'"):
        an_empty_database.execute(f"ALTER DATABASE {an_empty_database.name} SET {habit}")

    with open_session(a_server, an_empty_database.name) as session:
        assert one_row(session, "SELECT pg_sleep(2.5)::text, timestamptz '2026-01-31 00:00Z'") == (
            "",
            "2026-01-31 00:00:00+00",
        )


def test_a_rejected_statement_is_an_error_with_the_servers_words(a_server: Server, an_empty_database: Source):
    with pytest.raises(EnvironmentFault) as caught, open_session(a_server, an_empty_database.name) as session:
        list(session.rows("SELECT * FROM nowhere"))

    assert 'relation "nowhere" does not exist' in caught.value.why
    assert not isinstance(caught.value, TransientFault)


def test_another_thread_is_interrupted(a_server: Server, an_empty_database: Source):
    errors: list[BackupError] = []
    begun = time.monotonic()
    try:
        with open_session(a_server, an_empty_database.name) as session:

            def sleep() -> None:
                try:
                    list(session.rows("SELECT pg_sleep(400)"))
                except (BackupError, BrokenPipeError) as error:
                    errors.append(error)  # type: ignore[arg-type]

            thread = threading.Thread(target=sleep)
            thread.start()
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(400)%' "
                "AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            while an_empty_database.value(query) == 0:
                assert time.monotonic() - begun < 200
            session.interrupt()
            thread.join(200)
    except EnvironmentFault as error:  # a psql that was ended says so at the end of the block
        errors.append(error)

    assert errors
    assert time.monotonic() - begun < 300  # long before the statement would have ended by itself


def test_a_connection_that_the_server_ends_may_be_tried_again(an_empty_database: Source):
    with open_session(an_empty_database.server, an_empty_database.name) as session:
        pid = text_value(session, "SELECT pg_backend_pid()")
        an_empty_database.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(TransientFault, match="rejected or lost"):
            list(session.rows("SELECT 1"))
        session.interrupt()


def test_one_row_means_one(an_empty_database: Source):
    with open_session(an_empty_database.server, an_empty_database.name) as session:
        with pytest.raises(EnvironmentFault, match="returned 2 rows instead of one"):
            one_row(session, "SELECT generate_series(1, 2)")
        with pytest.raises(EnvironmentFault, match="returned NULL"):
            text_value(session, "SELECT NULL")


def test_rows_stream_in_bounded_memory(an_empty_database: Source):
    with open_session(an_empty_database.server, an_empty_database.name) as session:
        rows = session.rows("SELECT n FROM generate_series(1, 200000) n")
        assert next(rows) == ("1",)
        assert sum(1 for _ in rows) == 199_999


@pytest.mark.parametrize(
    ("why", "setting", "retriable"),
    [
        ('FATAL: database "x" does not exist', "DB_NAME", False),
        ("FATAL: password authentication failed", "DB_PASSWORD", False),
        ("fe_sendauth: no password supplied", "DB_PASSWORD", False),
        ("FATAL: no pg_hba.conf entry for host", "pg_hba.conf", False),
        ("connection refused", "DB_HOST", True),
        ("FATAL: the database system is starting up", "DB_PORT", True),
        ("FATAL: sorry, too many clients already", "server", True),
        # Of a server with Japanese messages that was started in the locale C: nobody can say what it is about.
        ('FATAL: ??????"x"???????', "DB_PASSWORD", True),
    ],
)
def test_a_failed_connection_says_what_to_look_at(why: str, setting: str, retriable: bool):
    server = Server("h", 5432, "u", SecretStr("s3cret"))

    error = connection_fault(server, "erp4", why + "\n with s3cret")

    assert setting in error.remedy
    assert error.retriable is retriable
    assert "s3cret" not in str(error)


def test_a_container_that_cannot_be_reached_is_one_clear_fault(tmp_path: Path):
    engine = tmp_path / "engine"
    engine.write_text("#!/bin/sh\necho 'Error: no container with name erp-db' >&2\nexit 125\n")
    engine.chmod(0o755)
    server = Server.from_settings(ServerSettings(container=ContainerSettings(name="erp-db", engine=str(engine))))

    with pytest.raises(EnvironmentFault) as caught, open_session(server, "erp4"):
        pass

    assert "no container with name erp-db" in caught.value.why
