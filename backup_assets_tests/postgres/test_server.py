from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from backup_assets.postgres.clients import Clients, choose_clients, find_clients
from backup_assets.postgres.server import Server, database_argument
from backup_assets.process import run
from backup_assets.settings_server import ContainerSettings, ServerSettings
from backup_assets_tests.sources import Source

CLIENTS = Clients(Path("/opt/pg/bin"), "17.1", 17, True, "configured")
SECRET = "s3cret-token"


def a_server(**fields: object) -> Server:
    return Server.from_settings(ServerSettings.model_validate({"password": SecretStr(SECRET), **fields}))


def test_a_program_is_run_against_host_port_and_user_without_asking_for_a_password():
    argv = a_server(host="db.example", port=6543, user="dumper").argv(CLIENTS, "pg_dump", "--create")

    assert argv == [
        "/opt/pg/bin/pg_dump", "--host", "db.example", "--port", "6543", "--username", "dumper", "--no-password",
        "--create",
    ]  # fmt: skip


def test_inside_a_container_its_own_programs_are_run():
    server = a_server(container=ContainerSettings(name="erp-db", engine="podman"), user="dumper")

    argv = server.argv(None, "pg_dump", "--create")

    assert argv[:3] == ["podman", "exec", "-i"]
    assert argv.index("PGPASSWORD") < argv.index("erp-db") < argv.index("pg_dump")
    assert argv[argv.index("pg_dump") + 1 :] == [
        "--port", "5432", "--username", "dumper", "--no-password", "--create",
    ]  # fmt: skip


@pytest.mark.parametrize("container", [None, ContainerSettings(name="erp-db")])
def test_the_password_is_in_the_environment_and_never_in_arguments_or_texts(container: ContainerSettings | None):
    server = a_server(container=container)

    assert server.environment()["PGPASSWORD"] == SECRET
    assert SECRET not in " ".join(server.argv(CLIENTS, "pg_dump"))
    assert SECRET not in f"{server!r} {server} {server.place}"


def test_options_are_added_to_those_of_the_caller(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1GB")

    assert Server("h", 5432, "u", options="-c lc_messages=C").environment()["PGOPTIONS"] == (
        "-c work_mem=1GB -c lc_messages=C"
    )
    assert "PGOPTIONS" not in a_server().environment()


def test_without_a_password_the_password_file_of_the_caller_is_handed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGPASSFILE", "/run/secrets/pgpass")

    assert Server("h", 5432, "u").environment()["PGPASSFILE"] == "/run/secrets/pgpass"
    assert "PGPASSFILE" not in a_server().environment()
    assert "PGPASSWORD" not in Server("h", 5432, "u").environment()


def test_a_password_file_of_this_machine_means_nothing_in_a_container(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGPASSFILE", "/run/secrets/pgpass")
    inside = Server.from_settings(ServerSettings(container=ContainerSettings(name="erp-db")))

    assert "PGPASSFILE" not in inside.environment()


def test_an_encoding_set_outside_does_not_change_the_one_of_a_dump(
    monkeypatch: pytest.MonkeyPatch, an_empty_database: Source
):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    server = an_empty_database.server
    argv = server.argv(choose_clients(find_clients(), 17), "pg_dump", "--dbname", an_empty_database.name)

    assert "SET client_encoding = 'UTF8';" in run(argv, timeout=60, env=server.environment()).stdout


def test_encryption_as_configured_is_asked_of_the_programs():
    environment = a_server(sslmode="verify-full", sslrootcert=Path("/etc/ca.pem")).environment()

    assert (environment["PGSSLMODE"], environment["PGSSLROOTCERT"]) == ("verify-full", "/etc/ca.pem")
    assert "PGSSLMODE" not in a_server().environment()


def test_a_place_reads_well():
    assert a_server(host="db", port=5433).place == "db:5433"
    assert a_server(host="/run/postgresql").place == "/run/postgresql port 5432"
    assert a_server(container=ContainerSettings(name="erp-db")).place == "container erp-db (docker)"


@pytest.mark.parametrize("name", ["a=b", "postgresql://elsewhere/x", "postgres://x", "it's = \\ odd"])
def test_a_name_that_looks_like_a_connection_string_is_a_name_all_the_same(name: str):
    assert conninfo_to_dict(database_argument(name)) == {"dbname": name}


@pytest.mark.parametrize("name", ["erp4", "-dash", "Größe", 'a "b" c'])
def test_an_ordinary_name_is_left_as_it_is(name: str):
    assert database_argument(name) == name
