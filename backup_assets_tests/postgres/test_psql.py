from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.names import is_plain
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, one_value, open_session, text_value
from backup_assets.settings_server import ContainerSettings
from backup_assets_tests.other_encodings import make_euc_jp, own_server
from backup_assets_tests.postgres.engines import an_engine
from backup_assets_tests.sources import connect


@pytest.fixture
def a_session(every_cluster: Cluster, tmp_path: Path) -> Iterator[Session]:
    engine = ContainerSettings(name="erp-db", engine=str(an_engine(tmp_path, every_cluster)))
    settings = every_cluster.server_settings().model_copy(update={"container": engine})
    with open_session(Server.from_settings(settings), "postgres") as session:
        yield session


def test_a_query_that_fails_after_its_first_rows_is_an_error_and_the_session_lives_on(a_session: Session):
    query = "SELECT 1 / (3000 - n) FROM generate_series(1, 5000) n"

    for _ in range(2):
        with pytest.raises(EnvironmentFault) as caught:
            list(a_session.rows(query))
        assert caught.value.why.startswith("ERROR:  division by zero in: COPY (SELECT 1")
        assert one_value(a_session, "SELECT 'alive'") == "alive"


def test_a_rejected_statement_ends_its_transaction_only(a_session: Session):
    a_session.execute("BEGIN")
    with pytest.raises(EnvironmentFault, match="rejected or lost a statement"):
        a_session.execute("ALTER DATABASE nowhere RENAME TO elsewhere")
    with pytest.raises(EnvironmentFault) as caught:
        a_session.execute("SELECT 1")
    a_session.execute("ROLLBACK")

    assert "current transaction is aborted" in caught.value.why
    assert one_value(a_session, "SELECT 1") == "1"


@pytest.mark.parametrize("later", [0, 100])
def test_a_session_that_is_lost_after_a_rejected_statement_is_no_fault_of_the_engine(
    a_cluster: Cluster, tmp_path: Path, later: int
):
    engine = ContainerSettings(name="erp-db", engine=str(an_engine(tmp_path, a_cluster)))
    server = Server.from_settings(a_cluster.server_settings().model_copy(update={"container": engine}))

    with pytest.raises(TransientFault, match="lost the session") as caught, open_session(server, "postgres") as session:
        with pytest.raises(EnvironmentFault, match="rejected or lost a statement"):
            session.execute("SELECT 1/0")
        for _ in range(later):
            session.execute("SELECT")
        backend = text_value(session, "SELECT pg_backend_pid()")
        with connect(a_cluster, "postgres") as connection:
            connection.execute(f"SELECT pg_terminate_backend({backend}, 60000)".encode())
        one_value(session, "SELECT 1")

    assert "terminating connection" in caught.value.why
    assert not later or "division by zero" not in caught.value.why


def test_the_excerpt_of_a_rejected_statement_is_not_repeated(a_session: Session):
    with pytest.raises(EnvironmentFault) as caught:
        a_session.execute("CREATE ROLE somebody PASSWORD 'SCRAM-SHA-256$hash' NO_SUCH_OPTION")

    words, _, statement = caught.value.why.partition(" in: ")
    assert "SCRAM" in statement
    assert "SCRAM" not in words
    assert "NO_SUCH_OPTION" in words or "no_such_option" in words


def test_rows_that_nobody_reads_are_not_the_next_answer(a_session: Session):
    rows = a_session.rows("SELECT n FROM generate_series(1, 100000) n")
    assert next(rows) == ("1",)
    rows.close()  # type: ignore[attr-defined]

    assert one_value(a_session, "SELECT 'mine'") == "mine"


@pytest.mark.parametrize("query", ["SELECT 'open", 'SELECT "open', "SELECT $$open", "SELECT 1 /* open", "SELECT 1 \\g"])
def test_a_query_that_psql_would_not_send_is_refused_at_once(a_session: Session, query: str):
    with pytest.raises(EnvironmentFault, match="rejected or lost a statement") as caught:
        list(a_session.rows(query))

    assert "not closed" in caught.value.why
    assert one_value(a_session, "SELECT 1") == "1"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "SELECT '\\', E'\\'', \"\\\", $$'\\$$ -- it's\n/* \\ /* ' */ */",
        "SELECT 1 -- it's",
        "SELECT a$b FROM t",
    ],
)
def test_what_is_closed_is_plain(statement: str):
    assert is_plain(statement)


def test_a_name_that_is_not_utf_8_is_an_error_as_it_is_over_the_wire(tmp_path: Path):
    with own_server() as cluster:
        make_euc_jp(cluster, tmp_path, 'CREATE ROLE "経理"')
        engine = ContainerSettings(name="erp-db", engine=str(an_engine(tmp_path, cluster)))
        direct = cluster.server_settings()
        for settings in (direct, direct.model_copy(update={"container": engine})):
            with open_session(Server.from_settings(settings), "postgres") as session:
                with pytest.raises(EnvironmentFault, match="holds a name or text that is not UTF-8") as caught:
                    list(session.rows("SELECT rolname FROM pg_roles"))

                assert "pg_roles" in caught.value.why
                assert "--without-roles" in caught.value.remedy
                assert one_value(session, "SELECT 'alive'") == "alive"


def test_what_the_engine_has_not_passed_on_is_asked_for_again(a_cluster: Cluster, tmp_path: Path):
    # As podman does now and then: nothing of what psql said about its first connection arrives.
    engine, silent = an_engine(tmp_path, a_cluster), tmp_path / "silent"
    script = engine.read_text()
    engine.write_text(script.replace("\nPATH=", f"\nif rm {silent} 2>/dev/null; then exec 2>/dev/null; fi\nPATH="))
    container = ContainerSettings(name="erp-db", engine=str(engine))
    settings = a_cluster.server_settings().model_copy(update={"container": container, "password": SecretStr("wrong")})
    silent.touch()

    with (
        pytest.raises(EnvironmentFault, match="cannot connect to database postgres") as caught,
        open_session(Server.from_settings(settings), "postgres"),
    ):
        pass

    assert not silent.exists()
    assert "password authentication failed" in caught.value.why
    assert "DB_PASSWORD" in caught.value.remedy
