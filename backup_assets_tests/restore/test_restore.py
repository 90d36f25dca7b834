from __future__ import annotations

import os
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused
from backup_assets.local import local_store
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.names import quote_literal
from backup_assets.postgres.server import Server
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.restore.database import Selection
from backup_assets.restore.leftovers import sole_restore
from backup_assets.restore.restore import Restore, RestoreRequest
from backup_assets.sets.records import RestoreRecord
from backup_assets_tests.conftest import ClusterOf, SourceOf
from backup_assets_tests.restore.restoring import (
    TABLES,
    Erp,
    can_log_in,
    databases_of,
    files_of,
    reseal,
    restore,
    rows_of,
    server_state,
    unique,
)
from backup_assets_tests.sources import Source, catalog_of, connect, make_database

ROWS = {"accounting.entries": 100, "public.customers": 20, "public.invoices": 100}
ORIGINAL = {f"{n}.pdf": f"invoice {n}" for n in range(1, 4)}


def content(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def work_goes_on(erp: Erp) -> None:
    """Change everything after a capture, for the worse."""
    erp.source.execute("DELETE FROM accounting.entries", "CREATE TABLE newcomers (id int)")
    (erp.attachments / "1.pdf").write_text("scribbled over")
    (erp.attachments / "4.pdf").write_text("invoice 4")


def records(erp: Erp, set_id: str) -> list[RestoreRecord]:
    found = catalog_of(erp.settings).find(set_id)
    assert found is not None
    return [record for record in found.records if isinstance(record, RestoreRecord)]


# -- the guard ---------------------------------------------------------------------------------------------------------


def test_restore_without_confirmation_changes_nothing_and_says_what_it_would_replace(an_erp: Erp):
    captured = an_erp.captured()
    work_goes_on(an_erp)
    before = an_erp.state()

    with pytest.raises(Refused) as refused:
        an_erp.restore(confirmed=False)

    assert an_erp.state() == before
    assert refused.value.exit_code == 2
    assert f"would replace: database {an_erp.name}" in str(refused.value)
    assert f"would replace: attachments {an_erp.attachments}" in str(refused.value)
    assert "RESTORE_CONFIRM=1" in refused.value.remedy
    assert records(an_erp, captured.manifest.id) == []


def test_plan_of_a_new_database_replaces_nothing(an_erp: Erp):
    an_erp.captured()

    with pytest.raises(Refused, match="nothing was changed") as refused:
        an_erp.restore(confirmed=False, into=unique("copy"))

    assert "would replace nothing" in refused.value.why


@pytest.mark.parametrize("into", ["", "  ", "template1", "template0", "x" * 64, "請" * 22, "a\0b"])
def test_names_that_would_mean_another_database_are_refused(an_erp: Erp, into: str):
    an_erp.captured()
    before = an_erp.state()

    with pytest.raises(Refused):
        an_erp.restore(into=into)

    assert an_erp.state() == before


def test_two_restores_into_one_database_exclude_each_other(an_erp: Erp):
    an_erp.captured()
    before = an_erp.state()

    with sole_restore(an_erp.source.server, an_erp.name), pytest.raises(Refused, match="another restore"):
        an_erp.restore()

    assert an_erp.state() == before
    assert an_erp.restore().record.passed


# -- replacing the live database ---------------------------------------------------------------------------------------


def test_a_confirmed_restore_replaces_rows_and_files_and_keeps_the_old_ones(an_erp: Erp):
    captured = an_erp.captured()
    work_goes_on(an_erp)

    outcome = an_erp.restore()

    assert an_erp.rows() == ROWS
    assert content(an_erp.attachments) == ORIGINAL
    kept = outcome.record.kept_old_database
    assert kept is not None
    assert rows_of(an_erp.cluster, kept) == {**ROWS, "accounting.entries": 0, "public.newcomers": 0}
    (kept_directory,) = (path for path in an_erp.attachments.parent.iterdir() if path != an_erp.attachments)
    assert content(kept_directory) == {**ORIGINAL, "1.pdf": "scribbled over", "4.pdf": "invoice 4"}
    assert outcome.kept == (f"database {kept}", f"attachments {kept_directory}")
    assert (outcome.rows, outcome.tables) == (sum(ROWS.values()), 3)
    assert captured.manifest.id == outcome.record.set_id


def test_a_restore_is_recorded_beside_its_set_with_the_times_of_its_stages(an_erp: Erp):
    captured = an_erp.captured()

    outcome = an_erp.restore()

    (record,) = records(an_erp, captured.manifest.id)
    assert record == outcome.record
    assert (record.passed, record.database) == (True, an_erp.name)
    assert {"fetch", "read", "roles", "database", "compare", "attachments", "swap"} <= record.stages.keys()
    assert all(seconds >= 0 for seconds in record.stages.values())
    assert not record.partial
    assert an_erp.restore(into=f"{an_erp.name}_beside").record.partial


def test_drop_old_leaves_only_the_restored_ones(an_erp: Erp):
    an_erp.captured()
    work_goes_on(an_erp)
    before = databases_of(an_erp.cluster)

    outcome = an_erp.restore(drop_old=True)

    assert databases_of(an_erp.cluster) == before
    assert an_erp.rows() == ROWS
    assert list(an_erp.attachments.parent.iterdir()) == [an_erp.attachments]
    assert outcome.kept == ()
    assert outcome.record.kept_old_database is None


def test_drop_old_keeps_what_came_there_after_the_plan_was_shown(an_erp: Erp):
    an_erp.captured()
    into, there, said = unique("copy"), an_erp.attachments.parent / "copies", list[str]()

    def meanwhile(line: str) -> None:
        said.append(line)
        if line.startswith("attachments: "):  # all of it is restored beside; what is left is to swap
            make_database(an_erp.cluster, into, "CREATE TABLE precious (id int)", "INSERT INTO precious VALUES (42)")
            there.mkdir()
            (there / "precious.pdf").touch()

    chosen = catalog_of(an_erp.settings).resolve()
    request = RestoreRequest(into=into, attachments_to=there, drop_old=True, confirmed=True)
    store = local_store(an_erp.settings)
    outcome = Restore(an_erp.settings.databases[0], an_erp.settings, store, chosen, request, log=meanwhile).run()

    assert "will replace nothing" in said[0]
    assert rows_of(an_erp.cluster, into) == ROWS
    assert content(there) == ORIGINAL
    kept = outcome.record.kept_old_database
    assert kept is not None
    assert rows_of(an_erp.cluster, kept) == {"public.precious": 1}
    database, attachments = outcome.kept
    assert database == f"database {kept}"
    assert (Path(attachments.removeprefix("attachments ")) / "precious.pdf").exists()
    assert [item for item in outcome.kept if any(line.startswith(f"{item} is kept") for line in said)] == [
        *outcome.kept
    ]


def test_drop_old_keeps_another_database_that_took_the_name_of_the_one_that_was_shown(an_erp: Erp):
    an_erp.captured()
    into = unique("copy")
    make_database(an_erp.cluster, into, "CREATE TABLE shown ()")

    def renamed(line: str) -> None:
        if line.startswith("compare: "):
            with connect(an_erp.cluster, "postgres") as connection:
                connection.execute(f"ALTER DATABASE {into} RENAME TO {into}_2")  # type: ignore[arg-type]
            make_database(an_erp.cluster, into, "CREATE TABLE precious ()")

    chosen = catalog_of(an_erp.settings).resolve()
    request = RestoreRequest(into=into, drop_old=True, confirmed=True)
    store = local_store(an_erp.settings)
    outcome = Restore(an_erp.settings.databases[0], an_erp.settings, store, chosen, request, log=renamed).run()

    assert outcome.record.kept_old_database is not None
    assert rows_of(an_erp.cluster, outcome.record.kept_old_database) == {"public.precious": 0}
    assert rows_of(an_erp.cluster, f"{into}_2") == {"public.shown": 0}


def test_sessions_are_ended_also_of_clients_that_connect_again_at_once(an_erp: Erp):
    an_erp.captured()
    an_erp.source.execute("DELETE FROM accounting.entries")

    log = an_erp.cluster.data_directory / "server.log"
    before = log.stat().st_size

    with a_busy_application(an_erp.source, clients=3) as application:
        an_erp.restore()
        application.wait_for_rows(100)

    assert an_erp.rows() == ROWS
    # A rename that meets somebody gives up after five seconds, and the server says why: the first one has met nobody.
    said = log.read_bytes()[before:]
    assert b"terminating connection due to administrator command" in said
    assert b"is being accessed by other users" not in said


def test_an_attachments_directory_keeps_its_permissions(an_erp: Erp):
    an_erp.captured()
    an_erp.attachments.chmod(0o2775)
    if os.geteuid() == 0:
        os.chown(an_erp.attachments, 12345, 23456)
    before = an_erp.attachments.stat()

    an_erp.restore()

    after = an_erp.attachments.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_attachments_behind_a_link_are_replaced_where_they_are(an_erp: Erp, tmp_path: Path):
    real = tmp_path / "other disk" / "files"
    real.parent.mkdir()
    an_erp.attachments.rename(real)
    an_erp.attachments.symlink_to(real)
    an_erp.captured()
    (real / "1.pdf").write_text("scribbled over")

    an_erp.restore(drop_old=True)

    assert an_erp.attachments.is_symlink()
    assert content(real) == ORIGINAL
    assert list(real.parent.iterdir()) == [real]


def test_when_the_files_cannot_be_replaced_the_database_is_as_it_was(an_erp: Erp):
    captured = an_erp.captured()
    work_goes_on(an_erp)
    with a_mount_point(an_erp.attachments):
        (an_erp.attachments / "5.pdf").write_text("on its own disk")
        before = an_erp.state()

        with pytest.raises(EnvironmentFault, match="could not be replaced; it is as it was"):
            an_erp.restore()

        assert an_erp.state() == before
    (record,) = records(an_erp, captured.manifest.id)
    assert not record.passed
    assert record.kept_old_database is None


def test_when_the_files_cannot_be_replaced_nothing_that_was_written_meanwhile_is_lost(an_erp: Erp):
    an_erp.source.execute("CREATE TABLE bookings (id int GENERATED ALWAYS AS IDENTITY)")
    an_erp.captured()
    booked, begun, stop = list[int](), threading.Event(), threading.Event()

    def book() -> None:
        while not stop.is_set():
            with suppress(psycopg.Error), an_erp.source.connect() as connection:
                while not stop.is_set():
                    inserted = connection.execute("INSERT INTO bookings DEFAULT VALUES RETURNING id").fetchall()
                    booked.append(inserted[0][0])
                    begun.set()

    threads = [threading.Thread(target=book, daemon=True) for _ in range(3)]
    with a_mount_point(an_erp.attachments):
        for thread in threads:
            thread.start()
        try:
            assert begun.wait(120)
            with pytest.raises(EnvironmentFault, match="could not be replaced; it is as it was"):
                an_erp.restore()
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    assert an_erp.source.value("SELECT count(*) FROM bookings") >= len(booked)


def test_when_the_files_cannot_be_placed_a_lost_database_stays_lost(an_erp: Erp):
    an_erp.captured()
    with connect(an_erp.cluster, "postgres") as connection:
        connection.execute(f"DROP DATABASE {an_erp.name}")  # type: ignore[arg-type]
    with a_mount_point(an_erp.attachments):
        before = server_state(an_erp.cluster)

        with pytest.raises(EnvironmentFault, match="could not be replaced"):
            an_erp.restore()

        assert server_state(an_erp.cluster) == before


def test_a_lost_database_and_lost_files_come_back(an_erp: Erp):
    an_erp.captured()
    with connect(an_erp.cluster, "postgres") as connection:
        connection.execute(f"DROP DATABASE {an_erp.name}")  # type: ignore[arg-type]
    for path in an_erp.attachments.iterdir():
        path.unlink()
    an_erp.attachments.rmdir()

    outcome = an_erp.restore()

    assert an_erp.rows() == ROWS
    assert content(an_erp.attachments) == ORIGINAL
    assert an_erp.attachments.stat().st_mode & 0o777 == 0o700
    assert outcome.kept == ()


def test_a_copy_that_differs_from_its_manifest_replaces_nothing(an_erp: Erp):
    captured = an_erp.captured()
    work_goes_on(an_erp)

    def one_row_more(tree: dict) -> None:
        tree["fingerprints"]["tables"][0]["rows"] += 1

    reseal(an_erp.settings, captured.manifest, one_row_more)
    before = an_erp.state()

    with pytest.raises(CheckFailed, match="nothing was replaced") as failure:
        an_erp.restore()

    assert an_erp.state() == before
    assert "rows of accounting.entries: 101 expected, 100 found" in failure.value.why
    (record,) = records(an_erp, captured.manifest.id)
    assert not record.passed


def test_what_killed_restores_have_left_is_removed_unless_somebody_is_in_it(an_erp: Erp):
    an_erp.captured()
    left, used = f"{an_erp.name}__restoring_20260101t000000z", f"{an_erp.name}__restoring_20260102t000000z"
    kept, alike = f"{an_erp.name}__before_20260101t000000z", f"{an_erp.name}__restoring_by_hand"
    for name in (left, used, kept, alike):
        make_database(an_erp.cluster, name)
    old = an_erp.attachments.with_name("attachments__restoring_20260101t000000z")
    young = an_erp.attachments.with_name(
        f"attachments__restoring_{datetime.now(UTC) - timedelta(hours=1):%Y%m%dt%H%M%Sz}"
    )
    old.mkdir()
    young.mkdir()

    with connect(an_erp.cluster, used):
        an_erp.restore()

    there = databases_of(an_erp.cluster)
    assert left not in there
    assert {used, kept, alike} <= there
    assert not old.exists()
    assert young.exists()


def test_postgres_itself_can_be_the_live_database(tmp_path: Path):
    (binaries,) = (found for found in find_server_binaries() if found.major == 17)
    with throw_away_cluster(None, binaries) as cluster:
        live = Source(cluster, "postgres", tmp_path / "backups")
        live.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 7) n")
        settings = live.settings()
        live.captured(settings)
        live.execute("DELETE FROM t")

        outcome = restore(settings)

        assert live.value("SELECT count(*) FROM t") == 7
        assert outcome.record.kept_old_database is not None
        assert rows_of(cluster, outcome.record.kept_old_database) == {"public.t": 0}


@pytest.mark.parametrize("name", ['it\'s a "quoted" name', "a=b", "Ünï", "請" * 21, "-x", "postgres://h/d"])
def test_any_name_that_postgresql_allows_is_restored(a_tidy_server: Cluster, source_of: SourceOf, name: str):
    live = source_of(a_tidy_server, "CREATE TABLE t AS SELECT n FROM generate_series(1, 7) n", name=name)
    settings = live.settings()
    live.captured(settings)
    live.execute("DELETE FROM t")

    outcome = restore(settings)

    assert live.value("SELECT count(*) FROM t") == 7
    assert outcome.record.kept_old_database in databases_of(a_tidy_server)


# -- roles -------------------------------------------------------------------------------------------------------------


def test_roles_that_exist_keep_their_passwords(an_erp: Erp):
    role = unique("clerk")
    an_erp.source.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'old secret'", f"GRANT SELECT ON customers TO {role}")
    an_erp.captured()
    an_erp.source.execute(f"ALTER ROLE {role} PASSWORD 'new secret'")
    assert not can_log_in(an_erp.cluster, role, "old secret")

    an_erp.restore()

    assert can_log_in(an_erp.cluster, role, "new secret", an_erp.name)
    assert not can_log_in(an_erp.cluster, role, "old secret")


def test_missing_roles_come_back_with_password_settings_and_memberships(an_erp: Erp):
    role, group = unique("clerk"), unique("clerks")
    an_erp.source.execute(
        f"CREATE ROLE {group}",
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret' IN ROLE {group}",
        f"ALTER ROLE {role} SET work_mem = '12MB'",
        f"GRANT SELECT ON customers TO {group}",
        f"ALTER TABLE invoices OWNER TO {role}",
    )
    an_erp.captured()
    with connect(an_erp.cluster, "postgres") as connection:
        for statement in (f"DROP DATABASE {an_erp.name}", f"DROP ROLE {role}", f"DROP ROLE {group}"):
            connection.execute(statement)  # type: ignore[arg-type]

    an_erp.restore()

    assert can_log_in(an_erp.cluster, role, "secret", an_erp.name)
    with connect(an_erp.cluster, an_erp.name, user=role, password="secret") as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("12MB",)
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (20,)


def test_restore_without_roles_makes_none(an_erp: Erp):
    role = unique("clerk")
    an_erp.source.execute(f"CREATE ROLE {role} LOGIN")
    an_erp.captured()
    an_erp.source.execute(f"DROP ROLE {role}")

    an_erp.restore(into=unique("copy"), with_roles=False)

    assert an_erp.source.value(f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'") == 0


@pytest.mark.parametrize("where", ["a setting of a role in the database", "a user mapping"])
def test_a_role_that_is_missing_is_named_and_no_secret_of_the_statement_is_told_or_recorded(an_erp: Erp, where: str):
    role = unique("api")
    mapping = f"CREATE USER MAPPING FOR {role} SERVER far OPTIONS (password 'very-secret')"
    statements = {
        "a setting of a role in the database": (
            f"ALTER ROLE {role} IN DATABASE {an_erp.name} SET app.jwt_secret = 'very-secret'",
        ),
        "a user mapping": (
            "CREATE EXTENSION postgres_fdw",
            "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
            mapping,
        ),
    }
    an_erp.source.execute(f"CREATE ROLE {role}", *statements[where])
    captured = an_erp.captured()
    an_erp.source.execute(
        *(("DROP EXTENSION postgres_fdw CASCADE",) if where == "a user mapping" else ()), f"DROP ROLE {role}"
    )

    with pytest.raises(BackupError) as caught:
        an_erp.restore(into=unique("copy"), with_roles=False)

    assert f'role "{role}" does not exist' in caught.value.why
    assert "CREATE ROLE" in caught.value.remedy
    assert "--without-roles" in caught.value.remedy
    assert "very-secret" not in "".join(traceback.format_exception(caught.value))
    (record,) = records(an_erp, captured.manifest.id)
    assert not record.passed
    assert b"very-secret" not in record.to_json()


# -- somewhere else ----------------------------------------------------------------------------------------------------


def test_a_restore_into_another_name_leaves_the_live_rows_and_files(an_erp: Erp):
    an_erp.captured()
    work_goes_on(an_erp)
    rows, files, into = an_erp.rows(), files_of(an_erp.attachments.parent), unique("copy")

    outcome = an_erp.restore(into=into)

    assert rows_of(an_erp.cluster, into) == ROWS
    assert an_erp.rows() == rows
    assert files_of(an_erp.attachments.parent) == files
    assert outcome.kept == ()


def test_its_own_name_given_explicitly_replaces_files_of_the_same_generation_too(an_erp: Erp):
    an_erp.captured()
    work_goes_on(an_erp)

    an_erp.restore(into=an_erp.name, server=an_erp.source.server)

    assert an_erp.rows() == ROWS
    assert content(an_erp.attachments) == ORIGINAL


def test_attachments_go_where_they_are_told_to(an_erp: Erp, tmp_path: Path):
    an_erp.captured()
    work_goes_on(an_erp)
    there = tmp_path / "elsewhere"

    an_erp.restore(into=unique("copy"), attachments_to=there)

    assert content(there) == ORIGINAL
    assert content(an_erp.attachments) != ORIGINAL


def test_attachments_are_never_restored_over_a_file(an_erp: Erp, tmp_path: Path):
    an_erp.captured()
    there = tmp_path / "a file"
    there.write_text("precious")
    before = an_erp.state()

    with pytest.raises(Refused, match="a file"):
        an_erp.restore(attachments_to=there)

    assert there.read_text() == "precious"
    assert an_erp.state() == before


def test_a_set_restores_onto_another_newer_server_with_its_roles(
    cluster_of: ClusterOf, a_tidy_server: Cluster, source_of: SourceOf
):
    role = unique("owner")
    old = source_of(cluster_of(15), *TABLES)
    old.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'", f"ALTER TABLE customers OWNER TO {role}")
    try:
        settings = old.settings()
        old.captured(settings)

        outcome = restore(settings, server=Server.from_settings(a_tidy_server.server_settings()))

        assert rows_of(a_tidy_server, old.name) == ROWS
        assert can_log_in(a_tidy_server, role, "secret", old.name)
        assert outcome.record.target != old.server.place
    finally:
        old.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP ROLE {role}")


def test_everything_that_belongs_to_a_database_comes_back_with_it(a_tidy_server: Cluster, source_of: SourceOf):
    role, name = unique("owner"), unique("Props")
    with connect(a_tidy_server, "postgres") as connection:
        for statement in (
            f"CREATE ROLE {role}",
            f"CREATE DATABASE \"{name}\" OWNER {role} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C' CONNECTION LIMIT 7",
            f'COMMENT ON DATABASE "{name}" IS \'the one ON DATABASE "x" that counts\'',
            f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC',
            f'GRANT CREATE ON DATABASE "{name}" TO {role} WITH GRANT OPTION',
            f"ALTER DATABASE \"{name}\" SET search_path = 'a b', public",
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
            f"ALTER ROLE {role} IN DATABASE \"{name}\" SET work_mem = '12MB'",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
    live = Source(a_tidy_server, name, source_of(a_tidy_server).backup_dir)
    with live.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("CREATE TABLE public.t AS SELECT 'Größe'::text AS word")
    settings = live.settings()
    live.captured(settings)
    into = unique("copy")

    restore(settings, into=into)

    assert properties_of(a_tidy_server, into) == properties_of(a_tidy_server, name)
    assert Source(a_tidy_server, into, live.backup_dir).value("SELECT word FROM public.t") == "Größe"


# -- a part ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "rows"),
    [
        (Selection(tables=frozenset({("public", "invoices")})), {"public.invoices": 100}),
        (Selection(schemas=frozenset({"accounting"})), {"accounting.entries": 100}),
        (
            Selection(tables=frozenset({("public", "customers")}), schemas=frozenset({"accounting"})),
            {"public.customers": 20, "accounting.entries": 100},
        ),
    ],
)
def test_a_selection_has_all_definitions_and_the_chosen_rows_only(
    an_erp: Erp, selection: Selection, rows: dict[str, int]
):
    an_erp.captured()
    into = unique("part")

    outcome = an_erp.restore(into=into, selection=selection)

    assert rows_of(an_erp.cluster, into) == {**dict.fromkeys(ROWS, 0), **rows}
    assert (outcome.rows, outcome.tables) == (sum(rows.values()), len(rows))
    part = Source(an_erp.cluster, into, an_erp.source.backup_dir)
    kinds = part.value(
        "SELECT array_agg(contype::text) FROM pg_constraint "
        "WHERE contype IN ('p', 'f') AND connamespace::regnamespace::text IN ('public', 'accounting')"
    )
    assert kinds == ["p", "p", "p"]
    assert part.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'invoices_by_total'") == 1
    assert part.value("SELECT to_regclass('open_invoices')") == "open_invoices"


def test_a_selection_of_something_unknown_is_refused(an_erp: Erp):
    an_erp.captured()
    before = an_erp.state()

    with pytest.raises(Refused, match=r"has no rows of public\.nothing, elsewhere"):
        an_erp.restore(
            into=unique("part"),
            selection=Selection(tables=frozenset({("public", "nothing")}), schemas=frozenset({"elsewhere"})),
        )

    assert an_erp.state() == before


def test_a_selection_never_replaces_a_database(an_erp: Erp):
    an_erp.captured()
    before = an_erp.state()

    with pytest.raises(Refused, match="only a part of the rows"):
        an_erp.restore(selection=Selection(tables=frozenset({("public", "invoices")})))

    assert an_erp.state() == before


def test_a_set_of_important_tables_restores_beside_the_live_database_only(an_erp: Erp):
    settings = an_erp.source.settings(important_tables=("invoices", "accounting.entries"))
    weekly = an_erp.source.captured(settings, kind="important_tables").manifest
    before = an_erp.state()
    with pytest.raises(Refused, match="only a part of the rows"):
        restore(settings, weekly.id)
    assert an_erp.state() == before
    into = unique("weekly")

    outcome = restore(settings, weekly.id, into=into)

    assert rows_of(an_erp.cluster, into) == {**ROWS, "public.customers": 0}
    assert outcome.rows == 200


# -- which set ---------------------------------------------------------------------------------------------------------


def test_the_newest_set_that_shows_the_moment_is_restored(an_erp: Erp):
    first = an_erp.captured().manifest
    an_erp.source.execute("DELETE FROM accounting.entries")
    second = an_erp.captured().manifest
    catalog = catalog_of(an_erp.settings)
    just_before = second.snapshot.taken_at - timedelta(microseconds=1)

    assert catalog.resolve("latest").id == second.id
    assert catalog.resolve("latest", before=second.snapshot.taken_at).id == second.id
    assert catalog.resolve("latest", before=just_before).id == first.id
    with pytest.raises(Refused, match="or an earlier moment"):
        catalog.resolve("latest", before=first.snapshot.taken_at - timedelta(microseconds=1))
    an_erp.restore(first.id)
    assert an_erp.rows() == ROWS


def test_a_server_that_lacks_an_extension_is_named_before_anything_is_made(an_erp: Erp):
    captured = an_erp.captured()

    def another_extension(tree: dict) -> None:
        tree["server"]["extensions"]["no_such_thing"] = "1.0"

    reseal(an_erp.settings, captured.manifest, another_extension)
    before = an_erp.state()

    with pytest.raises(EnvironmentFault, match="lacks extensions that the database uses: no_such_thing"):
        an_erp.restore()

    assert an_erp.state() == before


def test_a_server_that_cannot_be_reached_is_a_fault_with_the_settings_to_look_at(an_erp: Erp):
    an_erp.captured()
    nowhere = Server(host=str(an_erp.attachments), port=1, user="nobody")

    with pytest.raises(EnvironmentFault, match="cannot connect") as fault:
        an_erp.restore(server=nowhere)

    assert "DB_HOST" in fault.value.remedy


# -- helpers -----------------------------------------------------------------------------------------------------------


class Application:
    """Clients that use a database all the time and connect again as soon as they are thrown out."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stop = threading.Event()
        self._inside = threading.Semaphore(0)
        self._seen = threading.Condition()
        self._rows = -1

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._source.connect() as connection:
                    self._inside.release()
                    while not self._stop.is_set():
                        (row,) = connection.execute("SELECT count(*) FROM accounting.entries").fetchall()
                        with self._seen:
                            self._rows = row[0]
                            self._seen.notify_all()
            except psycopg.Error:
                continue

    def wait_until_inside(self, clients: int) -> None:
        for _ in range(clients):
            assert self._inside.acquire(timeout=120)

    def wait_for_rows(self, rows: int) -> None:
        with self._seen:
            assert self._seen.wait_for(lambda: self._rows == rows, timeout=120)

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def a_busy_application(source: Source, clients: int) -> Iterator[Application]:
    application = Application(source)
    threads = [threading.Thread(target=application.run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        application.wait_until_inside(clients)
        yield application
    finally:
        application.stop()
        for thread in threads:
            thread.join()


@contextmanager
def a_mount_point(directory: Path) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def properties_of(cluster: Cluster, name: str) -> list[tuple]:
    query = (
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, "
        "datconnlimit, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), "
        "shobj_description(d.oid, 'pg_database'), (SELECT array_agg("
        "coalesce(setrole::regrole::text, '-') || setconfig::text ORDER BY setrole) FROM pg_db_role_setting s "
        f"WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = {quote_literal(name)}"
    )
    with connect(cluster, "postgres") as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]
