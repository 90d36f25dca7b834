from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup_assets.compressed import CompressedFile
from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import open_session
from backup_assets.process import run
from backup_assets.restore.database import (
    Archive,
    Selection,
    create_database,
    database_exists,
    drop_database,
    opened_archive,
    rename_in,
    restore_archive,
    select_entries,
)
from backup_assets.sets.manifest import Artifact
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.full_disk import files_no_larger_than
from backup_assets_tests.restore.restoring import TABLES, rows_of, unique
from backup_assets_tests.sources import Source, connect, make_database

OWNED = [("public", "a"), ("public", "a b"), ("s", "t")]
LISTING = [
    "200; 1259 16400 TABLE public a owner",
    "3400; 0 16400 TABLE DATA public a owner",
    "3401; 0 16401 TABLE DATA public a b owner",
    "3402; 0 16402 TABLE DATA s t owner",
    "3403; 0 16403 TABLE DATA public settings_of_an_extension owner",
    "3500; 2606 16410 CONSTRAINT public a a_pkey owner",
    "3501; 2606 16411 FK CONSTRAINT s t t_a_fkey owner",
    "3600; 0 0 SEQUENCE SET public a_id_seq owner",
]
CLIENTS = choose_clients(find_clients(), 17)


def data_lines(selection: Selection) -> list[str]:
    return [line.split(" DATA ")[1] for line in select_entries(LISTING, selection, OWNED) if " DATA " in line]


def test_a_table_is_not_taken_for_one_whose_name_begins_alike():
    assert data_lines(Selection(tables=frozenset({("public", "a")}))) == ["public a owner"]
    assert data_lines(Selection(tables=frozenset({("public", "a b")}))) == ["public a b owner"]


def test_a_selection_leaves_out_foreign_keys_and_other_rows_only():
    chosen = select_entries(LISTING, Selection(schemas=frozenset({"s"})), OWNED)

    assert set(LISTING) - set(chosen) == {LISTING[1], LISTING[2], LISTING[4], LISTING[6]}


def test_without_foreign_keys_alone_every_row_stays():
    assert set(LISTING) - set(select_entries(LISTING, Selection(without_foreign_keys=True), OWNED)) == {LISTING[6]}


@pytest.mark.parametrize(
    ("statement", "renamed"),
    [
        ("CREATE DATABASE erp4 WITH TEMPLATE = template0", 'CREATE DATABASE "n""w" WITH TEMPLATE = template0'),
        ('ALTER DATABASE "e ""4" OWNER TO x', 'ALTER DATABASE "n""w" OWNER TO x'),
        (
            "COMMENT ON DATABASE erp4 IS 'not ON DATABASE erp4'",
            'COMMENT ON DATABASE "n""w" IS \'not ON DATABASE erp4\'',
        ),
        ("GRANT CONNECT ON DATABASE erp4 TO erp4", 'GRANT CONNECT ON DATABASE "n""w" TO erp4'),
        (
            "ALTER ROLE erp4 IN DATABASE erp4 SET work_mem TO '1MB'",
            'ALTER ROLE erp4 IN DATABASE "n""w" SET work_mem TO \'1MB\'',
        ),
    ],
)
def test_a_statement_about_the_database_is_applied_under_another_name(statement: str, renamed: str):
    assert rename_in(statement, 'n"w') == renamed


def test_a_statement_that_names_no_database_is_never_applied():
    with pytest.raises(CheckFailed, match="under another name"):
        rename_in("DROP TABLE x", "erp4")


def dump_of(source: Source, path: Path, *arguments: str) -> Path:
    argv = source.server.argv(CLIENTS, "pg_dump", *arguments, f"--file={path}", "--dbname", source.name)
    run(argv, timeout=60, env=source.server.environment())
    return path


def test_a_locale_that_the_server_lacks_is_named_with_what_to_install(a_tidy_server: Cluster):
    name = unique("copy")
    server = Server.from_settings(a_tidy_server.server_settings())

    with open_session(server, "postgres") as session:
        with pytest.raises(EnvironmentFault, match=f"{name} cannot be created") as fault:
            create_database(
                session,
                "CREATE DATABASE x WITH TEMPLATE = template0 LOCALE_PROVIDER = libc LOCALE = 'tlh_QO.UTF-8'",
                name,
                keep_tablespace=False,
            )
        assert not database_exists(session, name)

    assert "tlh_QO.UTF-8" in fault.value.why
    assert "locale-gen" in fault.value.remedy


def test_a_tablespace_of_another_machine_is_left_out_unless_it_is_to_be_kept(a_tidy_server: Cluster):
    statement = "CREATE DATABASE x WITH TEMPLATE = template0 TABLESPACE = fast"
    name = unique("copy")
    with open_session(Server.from_settings(a_tidy_server.server_settings()), "postgres") as session:
        with pytest.raises(EnvironmentFault, match="cannot be created"):
            create_database(session, statement, name, keep_tablespace=True)

        create_database(session, statement, name, keep_tablespace=False)

        assert database_exists(session, name)
        drop_database(session, name)
        assert not database_exists(session, name)


def test_a_disk_that_is_full_while_a_dump_is_unpacked_is_told_and_nothing_is_left(tmp_path: Path):
    stored = CompressedFile(tmp_path / "erp4.dump.zst", all_cores=False)
    stored.write(bytes(200_000))
    stored.close()
    workdir = tmp_path / "work"
    workdir.mkdir()
    artifact = Artifact(
        kind="db", role="dump", name="db/erp4.dump.zst", format="pg_custom.zst", size_bytes=1, sha256="0" * 64
    )

    with (
        files_no_larger_than(100_000),
        pytest.raises(EnvironmentFault, match=r"could not unpack erp4\.dump\.zst") as caught,
        opened_archive(tmp_path / "erp4.dump.zst", artifact, workdir),
    ):
        pytest.fail("it was unpacked")

    assert str(workdir) in caught.value.what
    assert caught.value.remedy
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_archive_is_restored_with_jobs(a_tidy_server: Cluster, source_of: SourceOf, tmp_path: Path, jobs: int):
    source = source_of(a_tidy_server, *TABLES)
    archive = Archive(dump_of(source, tmp_path / "d.dump", "-Fc"), directory_format=False)
    into = unique("copy")
    make_database(a_tidy_server, into)

    restore_archive(source.server, CLIENTS, archive, into, tmp_path, jobs=jobs, timeout=60)

    assert rows_of(a_tidy_server, into) == rows_of(a_tidy_server, source.name)


def test_the_first_error_ends_a_restore(a_tidy_server: Cluster, source_of: SourceOf, tmp_path: Path):
    source = source_of(a_tidy_server, *TABLES)
    archive = Archive(dump_of(source, tmp_path / "d.dump", "-Fc"), directory_format=False)
    into = unique("copy")
    make_database(a_tidy_server, into, "CREATE TABLE customers ()")

    with pytest.raises(CheckFailed, match="rejected the dump") as failure:
        restore_archive(source.server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert 'relation "customers" already exists' in failure.value.why


def a_weak_role(cluster: Cluster, into: str) -> Server:
    """Return the server as somebody who owns the new database ``into``, and nothing else."""
    name = unique("weak")
    with connect(cluster, "postgres") as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")  # type: ignore[arg-type]
    make_database(cluster, into, f"ALTER DATABASE {into} OWNER TO {name}")
    return Server(str(cluster.socket_directory), cluster.port, name, SecretStr("secret"))


LONG_BODY = "SELECT 'a long function';" * 10 + "\n"
LONG_FUNCTION = f"CREATE FUNCTION f() RETURNS text LEAKPROOF LANGUAGE sql AS $$\n{LONG_BODY * 500}$$"


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (("CREATE TABLE t ()", "ALTER TABLE t OWNER TO {other}"), 'must be able to SET ROLE "{other}"'),
        (("CREATE SCHEMA s AUTHORIZATION {other}",), 'must be able to SET ROLE "{other}"'),
        (("CREATE FUNCTION f(cstring) RETURNS int LANGUAGE internal AS 'int4in'",), "permission denied for language"),
        ((LONG_FUNCTION,), "only superuser can define a leakproof function"),
        (("CREATE PUBLICATION p FOR ALL TABLES",), "must be superuser to create FOR ALL TABLES"),
    ],
    ids=["owner of a table", "owner of a schema", "language", "a long statement", "publication"],
)
def test_a_role_that_may_not_restore_says_nothing_against_the_dump(
    a_tidy_server: Cluster, source_of: SourceOf, tmp_path: Path, statements: tuple[str, ...], words: str
):
    other, into = unique("other"), unique("copy")
    server = a_weak_role(a_tidy_server, into)
    source = source_of(a_tidy_server, f"CREATE ROLE {other}", *(one.format(other=other) for one in statements))
    archive = Archive(dump_of(source, tmp_path / "d.dump", "-Fc"), directory_format=False)

    with pytest.raises(EnvironmentFault, match=f"{server.user} may not do what the dump needs") as fault:
        restore_archive(server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert words.format(other=other) in fault.value.why
    assert "a long function" not in str(fault.value)
    assert "superuser" in fault.value.remedy


def test_a_right_that_the_dump_itself_lacks_makes_it_fail_for_whoever_may_do_anything(
    a_tidy_server: Cluster, source_of: SourceOf, tmp_path: Path
):
    owner, into = unique("owner"), unique("copy")
    source = source_of(
        a_tidy_server,
        f"CREATE ROLE {owner}",
        "CREATE TABLE rates AS SELECT 2 AS rate",
        f"GRANT SELECT ON rates TO {owner}",  # which a restore gives back last
        "CREATE FUNCTION rated(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN RETURN $1 * (SELECT max(rate) FROM public.rates); END'",
        "CREATE TABLE t AS SELECT 1 AS n",
        f"ALTER TABLE t OWNER TO {owner}",
        "CREATE INDEX by_rate ON t (public.rated(n))",
    )
    archive = Archive(dump_of(source, tmp_path / "d.dump", "-Fc"), directory_format=False)
    make_database(a_tidy_server, into)

    with pytest.raises(CheckFailed, match="rejected the dump") as failure:
        restore_archive(source.server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert "permission denied for table rates" in failure.value.why


@pytest.fixture
def a_directory_for_all() -> Iterator[Path]:
    """Return a directory that the server's user can reach."""
    path = Path(tempfile.mkdtemp(prefix="ba-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_a_file_that_the_server_may_not_read_says_nothing_against_the_dump(
    a_tidy_server: Cluster, source_of: SourceOf, a_directory_for_all: Path, tmp_path: Path
):
    library, into = a_directory_for_all / "own.so", unique("copy")
    shutil.copy(next(a_tidy_server.binaries.directory.parent.rglob("dict_snowball.so")), library)
    library.chmod(0o755)
    source = source_of(
        a_tidy_server,
        f"CREATE FUNCTION f(internal) RETURNS internal LANGUAGE c AS '{library}', 'dsnowball_init'",
    )
    archive = Archive(dump_of(source, tmp_path / "d.dump", "-Fc"), directory_format=False)
    make_database(a_tidy_server, into)
    library.chmod(0)

    with pytest.raises(EnvironmentFault, match="could not do its work") as fault:
        restore_archive(source.server, CLIENTS, archive, into, tmp_path, jobs=1, timeout=60)

    assert "Permission denied" in fault.value.why
