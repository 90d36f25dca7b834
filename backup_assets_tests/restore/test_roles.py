from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import one_value, open_session
from backup_assets.restore.roles import RestoredRoles, restore_roles, select_statements, session_for_roles
from backup_assets_tests.other_encodings import own_server
from backup_assets_tests.restore.restoring import Erp, can_log_in, databases_of, server_state, unique
from backup_assets_tests.sources import connect

END = "\n--\n-- PostgreSQL database cluster dump complete\n--\n"
SCRIPT = '''
CREATE ROLE clerk;
ALTER ROLE clerk WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x;y';
CREATE ROLE "Some ""body""";
ALTER ROLE "Some ""body""" SET search_path TO 'a;b';
COMMENT ON ROLE clerk IS 'CREATE ROLE mallory;';
CREATE TABLESPACE fast OWNER clerk LOCATION '/old/disk';
GRANT ALL ON TABLESPACE fast TO clerk;
GRANT clerk TO "Some ""body""" WITH INHERIT TRUE GRANTED BY postgres;
GRANT readers TO clerk GRANTED BY postgres;
'''


ENCODINGS = ("SQL_ASCII", "UTF8", "EUC_JP")


def restored(cluster: Cluster, path: Path) -> RestoredRoles:
    with open_session(Server.from_settings(cluster.server_settings()), "postgres") as session:
        return restore_roles(session, path)


def test_of_missing_roles_everything_is_restored_but_tablespaces():
    wanted, outcome = select_statements(SCRIPT, {"postgres", "readers"})

    assert outcome.created == ("clerk", 'Some "body"')
    assert outcome.kept == ()
    assert len(outcome.left_out) == 2
    assert all("TABLESPACE" in statement for statement in outcome.left_out)
    assert len(wanted) == 7


def test_of_existing_roles_nothing_is_changed():
    wanted, outcome = select_statements(SCRIPT, {"clerk", 'Some "body"', "readers"})

    assert wanted == []
    assert outcome.kept == ("clerk", 'Some "body"')


def test_an_existing_role_gets_no_rights_by_a_restore_and_the_operator_is_told():
    wanted, outcome = select_statements(SCRIPT, {'Some "body"', "readers"})

    grant = 'GRANT clerk TO "Some ""body""" WITH INHERIT TRUE GRANTED BY postgres'
    assert grant in outcome.left_out
    assert grant not in wanted
    assert "GRANT readers TO clerk GRANTED BY postgres" in wanted


def test_rights_to_set_parameters_come_back_with_new_roles_only():
    old, new = (f"GRANT SET ON PARAMETER session_replication_role TO {name}" for name in ('"Old one"', "clerk"))
    everybody = "GRANT ALL ON PARAMETER log_statement TO PUBLIC"
    revoked = "REVOKE ALL ON PARAMETER log_statement FROM postgres"
    script = "CREATE ROLE clerk;\n" + "".join(f"{one};\n" for one in (old, new, everybody, revoked))

    wanted, outcome = select_statements(script, {"postgres", "Old one"})

    assert wanted == ["CREATE ROLE clerk", new]
    assert outcome.left_out == (old, everybody, revoked)


def test_a_right_that_was_taken_from_an_existing_role_does_not_come_back(an_erp: Erp):
    role, right = unique("clerk"), "session_replication_role"
    an_erp.source.execute(f"CREATE ROLE {role}", f"GRANT SET ON PARAMETER {right} TO {role}")
    try:
        an_erp.captured()
        an_erp.source.execute(f"REVOKE SET ON PARAMETER {right} FROM {role}")

        an_erp.restore(into=unique("copy"))

        assert not an_erp.source.value(f"SELECT has_parameter_privilege('{role}', '{right}', 'SET')")
    finally:
        an_erp.source.execute(f"REVOKE ALL ON PARAMETER {right} FROM {role}")


def test_roles_are_restored_on_a_server_and_twice_is_as_once(a_tidy_server: Cluster, tmp_path: Path):
    role, group = unique("Clerk"), unique("group")
    path = tmp_path / "globals.sql"
    path.write_text(
        f'CREATE ROLE {group};\nCREATE ROLE "{role}";\nALTER ROLE "{role}" WITH LOGIN PASSWORD \'secret\';\n'
        f'GRANT {group} TO "{role}";\n{END}'
    )

    first = restored(a_tidy_server, path)
    state = server_state(a_tidy_server)
    second = restored(a_tidy_server, path)

    assert first.created == (group, role)
    assert second.kept == (group, role)
    assert second.created == ()
    assert can_log_in(a_tidy_server, role, "secret")
    assert server_state(a_tidy_server) == state


@pytest.fixture(scope="module")
def a_server_of_encodings() -> Iterator[Cluster]:
    """A server with an empty database of each encoding, by its name."""
    with own_server() as cluster:
        with connect(cluster, "postgres") as connection:
            for one in ENCODINGS:
                connection.execute(f"CREATE DATABASE \"{one}\" TEMPLATE template0 ENCODING '{one}' LOCALE 'C'".encode())
        yield cluster


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("there", ENCODINGS)
def test_a_role_is_found_in_a_database_of_its_encoding_whatever_that_of_the_server_is(
    a_server_of_encodings: Cluster, tmp_path: Path, encoding: str, there: str
):
    path, server = tmp_path / "globals.sql", Server.from_settings(a_server_of_encodings.server_settings())
    path.write_text(f'CREATE ROLE "経理";\nALTER ROLE "経理" SET app.title = \'経理部\';\n{END}', encoding="utf-8")
    before = databases_of(a_server_of_encodings)

    with open_session(server, there) as session, session_for_roles(server, session, encoding, "unused") as fitting:
        restore_roles(fitting, path)

    assert databases_of(a_server_of_encodings) == before
    with open_session(server, encoding) as session:
        assert one_value(session, "SELECT rolconfig FROM pg_roles WHERE rolname = '経理'") == "{app.title=経理部}"
        session.execute('DROP ROLE "経理"')


def test_a_script_without_its_end_changes_nothing(a_tidy_server: Cluster, tmp_path: Path):
    path = tmp_path / "globals.sql"
    path.write_text(f"CREATE ROLE {unique('clerk')};\n")
    before = server_state(a_tidy_server)

    with pytest.raises(CheckFailed, match=r"globals\.sql are cut off"):
        restored(a_tidy_server, path)

    assert server_state(a_tidy_server) == before


def test_a_rejected_statement_changes_nothing_and_its_secret_is_not_shown(a_tidy_server: Cluster, tmp_path: Path):
    path = tmp_path / "globals.sql"
    role = unique("clerk")
    path.write_text(f"CREATE ROLE {role};\nALTER ROLE {role} WITH NO_SUCH_OPTION PASSWORD 'SCRAM-hash';\n{END}")
    before = server_state(a_tidy_server)

    with pytest.raises(EnvironmentFault, match="cannot be restored") as fault:
        restored(a_tidy_server, path)

    assert "SCRAM-hash" not in str(fault.value)
    assert "unrecognized role option" in fault.value.why
    assert server_state(a_tidy_server) == before


def test_a_user_that_may_not_make_roles_is_told_what_to_do(a_tidy_server: Cluster, tmp_path: Path):
    weak = unique("weak")
    with connect(a_tidy_server, "postgres") as connection:
        connection.execute(f"CREATE ROLE {weak} LOGIN PASSWORD 'secret'")  # type: ignore[arg-type]
    path = tmp_path / "globals.sql"
    path.write_text(f"CREATE ROLE {unique('clerk')};\n{END}")
    server = Server(str(a_tidy_server.socket_directory), a_tidy_server.port, weak, SecretStr("secret"))

    with (
        open_session(server, "postgres") as session,
        pytest.raises(EnvironmentFault, match="cannot be restored") as fault,
    ):
        restore_roles(session, path)

    assert "permission denied" in fault.value.why
    assert "--without-roles" in fault.value.remedy
