from __future__ import annotations

import logging
import os
import signal
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from backup_assets.capture import dump
from backup_assets.capture.quick_checks import QuickCheckFailed
from backup_assets.errors import BackupError, EnvironmentFault, Refused, SettingsError, TransientFault
from backup_assets.local import local_store
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.session import LockedOut
from backup_assets.settings import Settings
from backup_assets.settings_capture import AttachmentsSettings, DumpSettings, FileColumn
from backup_assets.settings_restore import VerificationSettings
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import Source, capture, connect, dump_path, listed, proven


def wait_for(condition: Callable[[], Any], seconds: float = 240.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
    return found


def children_named(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # A long name may be cut within a letter.
                parent = int((entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()[1])
                program = (entry / "comm").read_text(errors="replace").strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == os.getpid() and program == name:
                found.append(int(entry.name))
    return found


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@contextmanager
def a_locked_table(source: Source, table: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold a lock that pg_dump has to wait for, so that a capture stands still in the middle."""
    with source.connect(autocommit=False) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield connection
        connection.rollback()


def wait_for_the_dump(source: Source) -> None:
    """Wait until pg_dump stands at the lock; a child of that name may be one that is only asked for its version."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation' "
        "AND query LIKE 'LOCK TABLE public.%'"
    )
    wait_for(lambda: source.value(waiting))


class InThread:
    """A capture in a second thread; :meth:`outcome` waits for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._work())
        except BackupError as error:
            self._outcome.append(error)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def outcome(self) -> Any:
        self._thread.join(240)
        assert self._outcome, "the capture neither ended nor failed as it should"
        return self._outcome[0]


# -- what a set is -----------------------------------------------------------------------------------------------------


def test_a_set_is_there_with_everything_that_its_manifest_says(a_database: Source):
    settings = a_database.settings(schema_version_query="SELECT max(id) FROM customers;")
    before = datetime.now(UTC)

    captured = a_database.captured(settings, label="before release 4.2")

    manifest = captured.manifest
    assert [one.manifest for one in listed(settings)] == [manifest]
    assert {artifact.role for artifact in manifest.artifacts} == {"dump", "globals"}
    assert (manifest.label, manifest.schema_version, manifest.tier) == ("before release 4.2", "50", "ordinary")
    assert before <= manifest.snapshot.taken_at <= manifest.generated_at
    assert {t.name: t.rows for t in manifest.fingerprints.tables} == {"customers": 50, "invoices": 1000}
    assert manifest.server.major == 17
    assert manifest.server.roles == ("postgres",)
    assert [(check.name, check.passed) for check in captured.checks] == [("readable", True), ("roles_present", True)]
    assert {"preflight", "dump", "fingerprints", "readable", "globals"} <= set(manifest.durations)


def test_everything_is_private_and_nothing_unfinished_remains(a_database: Source):
    settings = a_database.settings()

    a_database.captured(settings)

    for path in settings.backup_dir.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(settings.backup_dir.stat().st_mode) == 0o700
    assert [name for name in files_below(settings.backup_dir) if "partial" in name or name.startswith(".work")] == []


def test_several_sets_in_one_slot_are_all_there(a_database: Source):
    settings = a_database.settings()

    ids = {a_database.captured(settings).manifest.id for _ in range(3)}

    assert len(ids) == 3
    assert {one.id for one in listed(settings)} == ids


def test_content_is_hashed_as_the_run_asks(a_database: Source):
    settings = a_database.settings(important_tables=("invoices",))

    for wanted, hashed in (("never", set()), ("important", {"invoices"}), ("always", {"customers", "invoices"})):
        captured = a_database.captured(settings, content_hashes=wanted)
        tables = captured.manifest.fingerprints.tables
        assert {table.name for table in tables if table.content_hash is not None} == hashed
        assert proven(settings, captured).record.content is (wanted == "always")


# -- the snapshot ------------------------------------------------------------------------------------------------------


@contextmanager
def a_busy_writer(source: Source) -> Iterator[list[int]]:
    """Change every table of the shop as fast as one connection can; the list counts the transactions."""
    stop = threading.Event()
    count = [0]

    def write() -> None:
        with source.connect(autocommit=True) as connection:
            while not stop.is_set():
                n = count[0]
                connection.execute(
                    "WITH gone AS (DELETE FROM invoices WHERE id = (SELECT min(id) FROM invoices)) "
                    "INSERT INTO invoices SELECT max(id) + 1, %s, random() FROM invoices",
                    (n % 50 + 1,),
                )
                connection.execute("UPDATE customers SET name = name || 'x' WHERE id = %s", (n % 50 + 1,))
                connection.execute("INSERT INTO journal (at) VALUES (clock_timestamp())")
                if n % 50 == 0:
                    connection.execute("SELECT lo_from_bytea(0, %s)", (str(n).encode(),))
                count[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(lambda: count[0] > 20)
        yield count
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("jobs", [None, 2])
def test_a_busy_database_is_captured_in_one_moment(a_database: Source, jobs: int | None, tmp_path: Path):
    a_database.execute("CREATE TABLE journal (id serial PRIMARY KEY, at timestamptz)")
    integrity = tmp_path / "integrity.sql"
    integrity.write_text("-- name: sums\nSELECT sum(total), count(*), max(id) FROM invoices;")
    settings = a_database.settings(integrity_sql=integrity, dump=DumpSettings(jobs=jobs))

    with a_busy_writer(a_database) as transactions:
        for _ in range(2):
            before = transactions[0]
            captured = a_database.captured(settings)
            assert transactions[0] > before
            record = proven(settings, captured).record
            assert record.passed, record.problems


def test_a_hanging_lock_does_not_hide_what_was_true_at_the_snapshot(a_database: Source):
    settings = a_database.settings()
    with a_locked_table(a_database, "customers"):
        running = InThread(lambda: a_database.captured(settings))
        wait_for_the_dump(a_database)
        with a_database.connect() as other:
            other.execute("DELETE FROM invoices WHERE id = 1")

    captured = running.outcome()

    assert {t.name: t.rows for t in captured.manifest.fingerprints.tables}["invoices"] == 1000
    assert proven(settings, captured).record.passed


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_second_capture_of_the_same_database_is_refused(a_database: Source):
    settings = a_database.settings()
    with a_locked_table(a_database, "customers"):
        first = InThread(lambda: a_database.captured(settings))
        wait_for_the_dump(a_database)

        with pytest.raises(Refused, match="another run is at work"):
            a_database.captured(settings)

    captured = first.outcome()
    assert [one.id for one in listed(settings)] == [captured.manifest.id]


@pytest.mark.parametrize("major", [17, 18])
def test_a_killed_pg_dump_leaves_no_set_and_its_remains_are_swept_later(
    cluster_of: Callable[[int], Cluster], source_of: SourceOf, major: int
):
    source = source_of(cluster_of(major), "CREATE TABLE t AS SELECT 1 AS id")
    settings = source.settings()
    with a_locked_table(source, "t"):
        running = InThread(lambda: source.captured(settings))
        wait_for_the_dump(source)
        (pid,) = children_named("pg_dump")
        os.kill(pid, signal.SIGKILL)
        error = running.outcome()

    assert isinstance(error, EnvironmentFault)
    assert "pg_dump" in error.what
    assert listed(settings) == []
    assert [name for name in files_below(settings.backup_dir) if "/db/" in name] == []
    assert listed(settings) == []
    assert source.captured(settings).manifest.id == listed(settings)[0].id


def test_what_a_killed_run_left_is_swept_a_day_later_and_not_before(a_database: Source):
    settings = a_database.settings()
    kept = a_database.captured(settings)
    left = dump_path(settings, kept).with_name("2026-01-01-20260101T000000Z-00000000.dump.00000000.partial")
    left.write_bytes(b"half of a dump")

    a_database.captured(settings)
    assert left.exists()

    yesterday = time.time() - timedelta(days=1, minutes=5).total_seconds()
    os.utime(left, (yesterday, yesterday))
    a_database.captured(settings)
    assert not left.exists()
    assert proven(settings, kept).record.passed


def test_what_another_database_has_not_committed_yet_is_not_swept(a_database: Source):
    settings = a_database.settings()
    kept = dump_path(settings, a_database.captured(settings))
    other = settings.backup_dir / "other" / "prod" / "db"
    other.mkdir(parents=True)
    at_work = [other / f"{kept.name}.00000000.partial", kept.with_name(f"{kept.name}.00000000.partial")]
    for path in at_work:
        path.write_bytes(b"half of a dump")
        os.utime(path, (0, 0))

    a_database.captured(settings)

    assert [path.exists() for path in at_work] == [True, False]


def test_a_connection_that_is_lost_in_the_middle_is_a_clear_fault(a_database: Source):
    settings = a_database.settings()
    with a_locked_table(a_database, "customers") as locker:
        running = InThread(lambda: a_database.captured(settings))
        wait_for_the_dump(a_database)
        ended = locker.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND pid <> "
            "pg_backend_pid()",
            (a_database.name,),
        ).fetchone()
        assert ended is not None
        assert ended[0] > 0
        error = running.outcome()

    assert isinstance(error, EnvironmentFault)
    assert listed(settings) == []


def a_lying_directory(tmp_path: Path, major: int, program: str, script: str) -> Path:
    """Make a directory of clients in which one program runs the real one and then does harm to its output."""
    real = choose_clients(find_clients(), major).directory
    directory = tmp_path / f"lying-{uuid.uuid4().hex[:6]}"
    directory.mkdir()
    for name in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        (directory / name).write_text(f'#!/bin/bash\nexec "{real}/{name}" "$@"\n')
    (directory / program).write_text(f"#!/bin/bash\nREAL={real}/{program}\n{script}\n")
    for name in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        (directory / name).chmod(0o755)
    return directory


TRUNCATING = """
"$REAL" "$@" || exit
for argument in "$@"; do case "$argument" in --file=*) file="${argument#--file=}";; esac; done
[ -n "$file" ] && [ -f "$file" ] && truncate -s -2000 "$file"
exit 0
"""


def test_a_dump_that_is_cut_off_fails_the_check_and_is_no_set(a_database: Source, tmp_path: Path):
    settings = a_database.settings(client_bin_dir=a_lying_directory(tmp_path, 17, "pg_dump", TRUNCATING))

    with pytest.raises(QuickCheckFailed, match="cannot be read to its end") as caught:
        a_database.captured(settings)

    assert [(outcome.name, outcome.passed) for outcome in caught.value.outcomes] == [("readable", False)]
    assert listed(settings) == []


def test_a_pg_dump_that_writes_nothing_and_exits_0_is_no_set(a_database: Source, tmp_path: Path):
    script = 'case "$*" in *--version*|*/nonexistent*) exec "$REAL" "$@";; esac; exit 0'
    settings = a_database.settings(client_bin_dir=a_lying_directory(tmp_path, 17, "pg_dump", script))

    with pytest.raises(BackupError):
        a_database.captured(settings)

    assert listed(settings) == []


def test_globals_without_an_end_are_no_set(a_database: Source, tmp_path: Path):
    script = '"$REAL" "$@" | head -n 12'
    settings = a_database.settings(client_bin_dir=a_lying_directory(tmp_path, 17, "pg_dumpall", script))

    with pytest.raises(QuickCheckFailed, match="are cut off") as caught:
        a_database.captured(settings)

    assert [(o.name, o.passed) for o in caught.value.outcomes] == [("readable", True), ("roles_present", False)]
    assert listed(settings) == []


def test_globals_that_lack_a_role_are_no_set(a_database: Source, tmp_path: Path):
    role = f"owner_{uuid.uuid4().hex[:8]}"
    a_database.execute(f"CREATE ROLE {role}", f"ALTER TABLE invoices OWNER TO {role}")
    script = f'"$REAL" "$@" | grep -v {role}'
    settings = a_database.settings(client_bin_dir=a_lying_directory(tmp_path, 17, "pg_dumpall", script))
    try:
        with pytest.raises(QuickCheckFailed, match="the globals lack roles") as caught:
            a_database.captured(settings)
    finally:
        a_database.execute("ALTER TABLE invoices OWNER TO postgres", f"DROP ROLE {role}")

    assert role in caught.value.why
    assert listed(settings) == []


def test_a_dump_that_takes_too_long_is_ended(a_database: Source):
    settings = a_database.settings(dump=DumpSettings(timeout_hours=0.5 / 3600))
    with (
        a_locked_table(a_database, "customers"),
        pytest.raises(EnvironmentFault, match="pg_dump ran longer than") as caught,
    ):
        a_database.captured(settings)

    assert "timeout" in caught.value.remedy or "time limit" in caught.value.remedy
    assert children_named("pg_dump") == []
    assert listed(settings) == []


# -- settings that are wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "said", "setting"),
    [
        ({"password": SecretStr("wr0ng-token-77")}, EnvironmentFault, "password authentication failed", "DB_PASSWORD"),
        ({"user": "nobody_here"}, EnvironmentFault, "authentication failed", "DB_USER"),
        ({"host": "/nonexistent/socket"}, TransientFault, "No such file or directory", "DB_HOST"),
        ({"host": "127.0.0.1", "port": 1}, TransientFault, "Connection refused", "DB_PORT"),
        ({"host": "no-such-host.invalid"}, TransientFault, "no-such-host.invalid", "DB_HOST"),
    ],
)
def test_a_server_that_cannot_be_reached_names_the_setting(
    a_database: Source, change: dict[str, Any], kind: type[BackupError], said: str, setting: str
):
    settings = a_database.settings(server=a_database.server_settings(**change))

    with pytest.raises(kind) as caught:
        a_database.captured(settings)

    assert said in caught.value.why
    assert setting in caught.value.remedy
    assert type(caught.value) is kind
    assert a_database.cluster.password not in str(caught.value)
    assert "wr0ng-token-77" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_database_that_does_not_exist_names_the_setting(a_database: Source):
    settings = a_database.settings(database="erp5")

    with pytest.raises(EnvironmentFault, match="database erp5") as caught:
        a_database.captured(settings)

    assert "DB_NAME" in caught.value.remedy


@pytest.mark.parametrize("waiting", ["the schema version", "names of files"])
def test_no_statement_of_a_capture_waits_longer_for_a_lock_than_pg_dump(
    a_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: str
):
    monkeypatch.setattr(dump, "LOCK_WAIT", "300ms")
    (tmp_path / "attachments").mkdir()
    column = FileColumn(table="public.customers", column="name")
    settings = {
        "the schema version": a_database.settings(schema_version_query="SELECT max(id) FROM customers"),
        "names of files": a_database.settings(
            attachments=AttachmentsSettings(directory=tmp_path / "attachments", files=(column,))
        ),
    }[waiting]

    with a_locked_table(a_database, "customers"):
        outcome = InThread(lambda: a_database.captured(settings)).outcome()

    assert isinstance(outcome, LockedOut)
    assert "FROM" in outcome.why
    assert listed(settings) == []


def test_attachments_that_are_not_there_are_told_before_the_server_is_asked(a_database: Source, tmp_path: Path):
    nowhere = a_database.server_settings(host="127.0.0.1", port=1)
    settings = a_database.settings(server=nowhere, attachments=AttachmentsSettings(directory=tmp_path / "unmounted"))

    with pytest.raises(EnvironmentFault, match="unmounted cannot be opened") as caught:
        a_database.captured(settings)

    assert "ASSET_DIR" in caught.value.remedy
    assert listed(settings) == []


def test_a_schema_version_query_that_fails_names_its_setting(a_database: Source):
    settings = a_database.settings(schema_version_query="SELECT version FROM migrations")

    with pytest.raises(EnvironmentFault, match="the schema-version query failed") as caught:
        a_database.captured(settings)

    assert 'relation "migrations" does not exist' in caught.value.why
    assert "SCHEMA_VERSION_QUERY" in caught.value.remedy
    assert listed(settings) == []


# -- important tables --------------------------------------------------------------------------------------------------


def test_important_tables_are_a_set_of_their_own_without_the_rows_of_others(a_database: Source, tmp_path: Path):
    a_database.execute(
        "CREATE TABLE ledger (id int, year int) PARTITION BY LIST (year)",
        "CREATE TABLE ledger_2025 PARTITION OF ledger FOR VALUES IN (2025)",
        "CREATE TABLE ledger_2026 PARTITION OF ledger FOR VALUES IN (2026)",
        "INSERT INTO ledger SELECT n, 2025 + n % 2 FROM generate_series(1, 60) n",
        "COMMENT ON CONSTRAINT invoices_customer_fkey ON invoices IS 'to a table that is left out'",
        "SELECT lo_from_bytea(0, 'left out')",
    )
    settings = a_database.settings(important_tables=("invoices", "public.ledger"))

    captured = a_database.captured(settings, kind="important_tables")

    manifest = captured.manifest
    rows = {table.name: table.rows for table in manifest.fingerprints.tables}
    assert rows == {"invoices": 1000, "ledger_2025": 30, "ledger_2026": 30}
    assert manifest.only_tables == ("invoices", "public.ledger")
    record = proven(settings, captured).record
    assert record.passed, record.problems
    full = a_database.captured(settings)
    assert dump_path(settings, captured).stat().st_size < dump_path(settings, full).stat().st_size


def test_a_table_with_an_odd_name_may_be_important(a_cluster: Cluster, source_of: SourceOf):
    name = 'odd "na.me\nx %'
    quoted = '"' + name.replace('"', '""') + '"'
    source = source_of(a_cluster, f"CREATE TABLE {quoted} (id int)", f"INSERT INTO {quoted} VALUES (1), (2)")
    settings = source.settings(important_tables=(f"public.{name}",))

    captured = source.captured(settings, kind="important_tables")

    assert {table.name: table.rows for table in captured.manifest.fingerprints.tables} == {name: 2}
    record = proven(settings, captured).record
    assert record.passed, record.problems


def test_an_important_table_that_does_not_exist_is_no_set(a_database: Source):
    settings = a_database.settings(important_tables=("invioces",))

    with pytest.raises(SettingsError, match="does not exist"):
        a_database.captured(settings, kind="important_tables")

    assert listed(settings) == []


# -- integrity queries -------------------------------------------------------------------------------------------------


def test_integrity_queries_see_the_search_path_and_keep_null_apart_from_text(
    a_cluster: Cluster, source_of: SourceOf, tmp_path: Path
):
    source = source_of(
        a_cluster,
        "CREATE SCHEMA erp",
        "CREATE TABLE erp.amounts AS SELECT n::numeric / 3 AS amount FROM generate_series(1, 10) n",
    )
    source.execute(f"ALTER DATABASE {source.name} SET search_path = erp, public")
    path = tmp_path / "integrity.sql"
    path.write_text(
        "-- name: total\nSELECT sum(amount), avg(amount) AS mean FROM amounts;\n"
        "-- name: nothing\nSELECT NULL, 'NULL', '', E'\\\\N', E'tab\\there';\n"
        "-- name: no rows\nSELECT * FROM amounts WHERE amount < 0"
    )
    settings = source.settings(integrity_sql=path)

    captured = source.captured(settings)

    total, nothing, none = captured.manifest.fingerprints.integrity
    assert total.columns == ("sum", "mean")
    assert nothing.rows == ((None, "NULL", "", "\\N", "tab\there"),)
    assert none.rows == ()
    assert captured.manifest.fingerprints.search_path == "erp, public"
    path.unlink()
    record = proven(settings, captured).record
    assert record.passed, record.problems


# -- roles -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def a_role(a_database: Source) -> Iterator[str]:
    name = f"dumper_{uuid.uuid4().hex[:8]}"
    a_database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'dumper' IN ROLE pg_read_all_data")
    yield name
    a_database.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def as_role(source: Source, role: str) -> Settings:
    return source.settings(server=source.server_settings(user=role, password=SecretStr("dumper")))


def test_a_role_that_cannot_see_every_row_is_refused(a_database: Source, a_role: str):
    a_database.execute("ALTER TABLE invoices ENABLE ROW LEVEL SECURITY")

    with pytest.raises(Refused, match="cannot read every row") as caught:
        a_database.captured(as_role(a_database, a_role))

    assert "invoices" in caught.value.why
    assert "BYPASSRLS" in caught.value.remedy


def test_a_role_that_may_read_everything_needs_not_be_superuser(a_database: Source, a_role: str):
    a_database.execute("ALTER TABLE invoices ENABLE ROW LEVEL SECURITY", f"ALTER ROLE {a_role} BYPASSRLS")
    settings = as_role(a_database, a_role)

    captured = a_database.captured(settings)

    assert {check.name: check.passed for check in captured.checks}["roles_present"]
    assert any("without password hashes" in warning for warning in captured.manifest.warnings)
    script = next(settings.backup_dir.rglob("globals/*.sql")).read_text()
    assert "PASSWORD" not in script
    assert f"CREATE ROLE {a_role}" in script
    record = proven(settings, captured).record
    assert record.passed, record.problems


def test_a_role_that_may_not_read_a_table_makes_no_set(a_database: Source, a_role: str):
    a_database.execute(f"REVOKE pg_read_all_data FROM {a_role}")

    with pytest.raises(EnvironmentFault) as caught:
        a_database.captured(as_role(a_database, a_role))

    assert "permission denied for table" in caught.value.why
    assert listed(a_database.settings()) == []


# -- machine -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_that_is_wrong_is_refused(a_database: Source, minutes: int):
    settings = a_database.settings()

    with pytest.raises(Refused, match=r"clock and the server's differ by 3[56]"):
        capture(settings, now=lambda: datetime.now(UTC) + timedelta(minutes=minutes))

    assert listed(settings) == []


def test_a_clock_that_is_a_little_wrong_is_fine(a_database: Source):
    settings = a_database.settings()

    capture(settings, now=lambda: datetime.now(UTC) + timedelta(minutes=4))

    assert len(listed(settings)) == 1


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_the_password_is_seen_nowhere(a_database: Source, caplog: pytest.LogCaptureFixture):
    token = f"t0ken{uuid.uuid4().hex}"
    role = f"dumper_{uuid.uuid4().hex[:8]}"
    a_database.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{token}'")
    settings = a_database.settings(server=a_database.server_settings(user=role, password=SecretStr(token)))
    seen: set[str] = set()
    lines: list[str] = []
    programs: set[str] = set()
    caplog.set_level(logging.DEBUG)
    try:
        with a_locked_table(a_database, "customers"):
            running = InThread(lambda: a_database.captured(settings, log=lines.append))
            wait_for_the_dump(a_database)
            sample(seen, programs)
        while running.alive:
            sample(seen, programs)
        captured = running.outcome()
        proof = proven(settings, captured)
    finally:
        a_database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")

    assert any("pg_dump" in argv and "--snapshot" in argv for argv in seen)
    assert any("--lock-wait-timeout=10min" in argv for argv in seen)
    for text in (*seen, *lines, caplog.text, str(settings), repr(captured), repr(proof), captured.manifest.to_json()):
        assert token not in str(text)
    for path in settings.backup_dir.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path


def sample(seen: set[str], programs: set[str]) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                programs.add((entry / "comm").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue


# -- what a proof is worth ---------------------------------------------------------------------------------------------


def test_a_proof_on_the_source_itself_is_refused(a_database: Source):
    settings = a_database.settings(verification=VerificationSettings(scratch=a_database.server_settings()))
    captured = a_database.captured(settings)

    with pytest.raises(Refused, match=r"the scratch server is the source itself"):
        proven(settings, captured)


def test_a_damaged_dump_is_proven_bad(a_database: Source):
    settings = a_database.settings()
    captured = a_database.captured(settings)
    path = dump_path(settings, captured)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    record = proven(settings, captured).record

    assert not record.passed
    assert "SHA-256" in record.problems[0].found
    assert proof_of(listed(settings)[0]) is None


def test_a_set_is_immutable(a_database: Source):
    settings = a_database.settings()
    captured = a_database.captured(settings)
    key = f"erp4/local/meta/{captured.manifest.id}.manifest.json"
    body = captured.manifest.model_copy(update={"label": "another"}).to_json()

    with pytest.raises(BackupError, match="exists"):
        local_store(settings).put(key, body, sha256="0" * 64, size=len(body))


def test_two_databases_of_one_server_are_captured_side_by_side(a_cluster: Cluster, source_of: SourceOf):
    one, two = (source_of(a_cluster, "CREATE TABLE t AS SELECT 1 AS id") for _ in range(2))
    with a_locked_table(one, "t"):
        first = InThread(lambda: one.captured(one.settings(prefix="one")))
        wait_for_the_dump(one)
        assert two.captured(two.settings(prefix="two")).manifest.source_database == two.name
        assert first.alive
    assert first.outcome().manifest.source_database == one.name
    with connect(a_cluster, "postgres") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
