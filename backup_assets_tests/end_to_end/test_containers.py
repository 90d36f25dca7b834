from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import BackupError, EnvironmentFault, TransientFault
from backup_assets.local import local_store
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, open_session
from backup_assets.restore.database import Selection
from backup_assets.restore.restore import Restore, Restored, RestoreRequest
from backup_assets.settings import Settings
from backup_assets.settings_capture import DumpSettings
from backup_assets.settings_restore import VerificationSettings
from backup_assets.settings_server import ContainerSettings
from backup_assets_tests.end_to_end.containers import (
    ENGINE,
    Box,
    a_box,
    a_box_without_postgres,
    inspected,
    stop,
)
from backup_assets_tests.sources import Source, capture, catalog_of, dump_path, listed, proven

HERE = Path(__file__).parent
FORMATS = {15: "pg_custom.zst", 17: "pg_custom"}
INVOICES = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2));
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) n;
INSERT INTO invoices SELECT n, n % 50 + 1, n * 1.5 FROM generate_series(1, 1000) n;
"""
DUMP_WAITS = "wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
ROLES = """
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'torture_owner') THEN
  CREATE ROLE torture_owner LOGIN PASSWORD 'a password'; CREATE ROLE "torture Reader"; END IF; END $$;
"""


@pytest.fixture(scope="module")
def box_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Box]]:
    """Return the container with a major version, one for all tests."""
    started: dict[int, Box] = {}
    with ExitStack() as stack:

        def of(major: int) -> Box:
            if major not in started:
                started[major] = stack.enter_context(a_box(tmp_path_factory.mktemp("boxes"), major))
            return started[major]

        yield of


@pytest.fixture(params=FORMATS, ids=lambda major: f"pg{major}")
def every_box(request: pytest.FixtureRequest, box_of: Callable[[int], Box]) -> Box:
    return box_of(request.param)


@pytest.fixture
def box(box_of: Callable[[int], Box]) -> Box:
    return box_of(17)


def quiet(line: str) -> None:
    """Take a line of a log and say nothing."""


def restored(settings: Settings, set_id: str, **request: Any) -> Restored:
    chosen = catalog_of(settings).resolve(set_id)
    asked = RestoreRequest(confirmed=True, **request)
    return Restore(settings.databases[0], settings, local_store(settings), chosen, asked, log=quiet).run()


def waited_for(condition: Callable[[], bool], seconds: float = 180) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ours(box: Box, more: str = "true") -> int:
    return int(box.sql(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backup_assets' AND {more};"))


@contextmanager
def locked(box: Box, database: str, table: str) -> Iterator[None]:
    """Hold a lock that pg_dump has to wait for."""
    argv = [ENGINE, "exec", "-i", "-e", "PGPASSWORD", box.name, "psql", "-qAtU", "postgres", database]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PGPASSWORD": box.password}
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(f"BEGIN; LOCK {table}; SELECT 'locked';\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "locked\n"
        yield
        holder.stdin.close()


def test_everything_in_a_container_comes_back_equal(every_box: Box, tmp_path: Path):
    every_box.sql(ROLES)
    name = every_box.new_database((HERE / "torture.sql").read_text())
    settings = every_box.settings(tmp_path, name, schema_version_query="SELECT max(id) FROM kinds;")

    captured = capture(settings)
    record = proven(settings, captured).record

    manifest = captured.manifest
    dump, major = manifest.artifact("dump"), manifest.server.major
    assert record.passed, record.problems
    assert record.content
    assert dump is not None
    assert dump.format == FORMATS[major]
    assert all(table.content_hash is not None for table in manifest.fingerprints.tables)
    assert manifest.fingerprints.large_objects.count == 4
    assert manifest.schema_version == "110"
    assert manifest.client.version.split(".")[0] == str(major)
    assert every_box.name in manifest.client.directory
    globals_file = next((tmp_path / "erp4/local/globals").glob("*.sql"))
    assert "CREATE ROLE torture_owner;" in globals_file.read_text()
    assert "PASSWORD 'SCRAM-SHA-256$" in globals_file.read_text()


def test_a_restore_replaces_the_live_database_and_keeps_the_old_one(every_box: Box, tmp_path: Path):
    name = every_box.new_database(INVOICES)
    settings = every_box.settings(tmp_path, name)
    captured = capture(settings)
    every_box.sql("DELETE FROM invoices WHERE id > 10; CREATE TABLE later ()", name)

    done = restored(settings, captured.manifest.id)

    assert every_box.sql("SELECT count(*), sum(total) FROM invoices", name) == "1000|750750.00"
    assert every_box.sql("SELECT to_regclass('later') IS NULL", name) == "t"
    (kept,) = done.kept
    old = str(done.record.kept_old_database)
    assert old in kept
    assert every_box.sql("SELECT count(*) FROM invoices", old) == "10"
    assert done.record.target == f"container {every_box.name} ({ENGINE})"


def test_a_damaged_dump_replaces_nothing_in_a_container(box: Box, tmp_path: Path):
    name = box.new_database(INVOICES)
    settings = box.settings(tmp_path, name)
    captured = capture(settings)
    path = dump_path(settings, captured)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)

    with pytest.raises(BackupError):
        restored(settings, captured.manifest.id)

    assert box.sql(f"SELECT datname FROM pg_database WHERE datname LIKE '{name}%'") == name


def test_a_dump_from_elsewhere_is_restored_into_a_container(box: Box, a_database: Source, tmp_path: Path):
    captured = a_database.captured()

    done = restored(a_database.settings(), captured.manifest.id, server=Server.from_settings(box.server_settings()))

    assert done.rows == 1050
    assert box.sql("SELECT count(*) FROM invoices", a_database.name) == "1000"


def test_only_a_whole_database_is_restored_into_a_container(box: Box, tmp_path: Path):
    settings = box.settings(tmp_path, box.new_database(INVOICES))
    captured = capture(settings)
    wanted = Selection(frozenset({("public", "customers")}))

    with pytest.raises(EnvironmentFault, match="only a whole custom-format dump") as caught:
        restored(settings, captured.manifest.id, into="customers_only", selection=wanted)

    assert "--to-host" in caught.value.remedy
    assert box.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'customers_only%'") == "0"


def test_a_dump_that_the_programs_inside_cannot_read_is_refused_before_anything_is_made(
    box_of: Callable[[int], Box], tmp_path: Path
):
    newer, older = box_of(17), box_of(15)
    settings = newer.settings(tmp_path, newer.new_database(INVOICES))
    captured = capture(settings)

    with pytest.raises(EnvironmentFault, match="cannot read the dump"):
        restored(settings, captured.manifest.id, into="newer", server=Server.from_settings(older.server_settings()))

    assert older.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'newer%'") == "0"


def test_figures_are_those_of_the_dump_while_the_table_changes(box: Box, tmp_path: Path):
    name = box.new_database(INVOICES)
    settings = box.settings(tmp_path, name)
    endless = """
        DO $$ BEGIN FOR n IN 1001..1000000 LOOP
          INSERT INTO invoices VALUES (n, 1, n); UPDATE customers SET name = n::text WHERE id = n % 50 + 1; COMMIT;
          PERFORM pg_sleep(0.001);
        END LOOP; END $$
    """
    writer = threading.Thread(
        target=box.exec,
        args=("psql", "--quiet", "--username=postgres", f"--dbname={name}", f"--command={endless}"),
        kwargs={"check": False},
    )
    writer.start()
    try:
        assert waited_for(lambda: int(box.sql("SELECT count(*) FROM invoices", name)) > 1000)
        captured = capture(settings)
        assert proven(settings, captured).record.passed
        after = int(box.sql("SELECT count(*) FROM invoices", name))
    finally:
        box.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE '%LOOP%'"
        )
        writer.join()

    (invoices,) = (t for t in captured.manifest.fingerprints.tables if t.name == "invoices")
    assert 1000 < invoices.rows < after


def test_a_container_may_be_the_server_of_trial_restores(box_of: Callable[[int], Box], tmp_path: Path):
    source, scratch = box_of(15), box_of(17)
    wanted = VerificationSettings(scratch=scratch.server_settings())
    settings = source.settings(tmp_path, source.new_database(INVOICES), verification=wanted)

    record = proven(settings, capture(settings)).record

    assert record.passed, record.problems
    assert record.server_major == 17
    assert scratch.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'backup_assets_scratch%'") == "0"


def test_important_tables_are_captured_alone(box: Box, tmp_path: Path):
    settings = box.settings(tmp_path, box.new_database(INVOICES), important_tables=("invoices",))

    captured = capture(settings, kind="important_tables")

    assert [table.name for table in captured.manifest.fingerprints.tables] == ["invoices"]
    record = proven(settings, captured).record
    assert record.passed, record.problems


def test_a_parallel_dump_is_not_possible_and_the_set_says_so(box: Box, tmp_path: Path):
    settings = box.settings(tmp_path, box.new_database(INVOICES), dump=DumpSettings(jobs=2))

    captured = capture(settings)

    dump = captured.manifest.artifact("dump")
    assert any("inside a container" in warning for warning in captured.manifest.warnings)
    assert dump is not None
    assert dump.format == "pg_custom"


def test_a_password_is_in_no_process_list_and_not_in_what_the_engine_tells(box: Box, tmp_path: Path):
    settings = box.settings(tmp_path, box.new_database(INVOICES))
    seen: set[bytes] = set()
    told: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):  # it ended meanwhile
                    seen.add((process / "cmdline").read_bytes())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with locked(box, settings.databases[0].database, "customers"):
            capturing = threading.Thread(target=capture, args=(settings,))
            capturing.start()
            assert waited_for(lambda: ours(box, DUMP_WAITS) == 1)
            told.append(inspected(box))
        capturing.join()
    finally:
        done.set()
        watcher.join()

    everything = b"\n".join(seen)
    assert b"pg_dump" in everything
    assert b"PGPASSWORD" in everything
    assert len(listed(settings)) == 1
    assert box.password.encode() not in everything
    assert box.name in told[0]
    assert box.password not in told[0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and box.password.encode() in path.read_bytes()]


def fault_of(settings: Settings, kind: type[EnvironmentFault] = EnvironmentFault) -> EnvironmentFault:
    """Capture in vain and return the error, which came soon and left nothing."""
    begun = time.monotonic()
    with pytest.raises(kind) as caught:
        capture(settings)
    assert time.monotonic() - begun < 180
    assert listed(settings) == []
    return caught.value


def test_a_container_that_does_not_exist_is_one_clear_fault(box: Box, tmp_path: Path):
    server = box.server_settings(container=ContainerSettings(name="nothing-here", engine=ENGINE))

    fault = fault_of(box.settings(tmp_path, "erp", server=server))

    assert fault.what == f"there is no container nothing-here for {ENGINE}"
    assert "DB_CONTAINER (server.container.name in backup.yaml)" in fault.remedy


def test_an_engine_that_is_not_installed_is_one_clear_fault(box: Box, tmp_path: Path):
    server = box.server_settings(container=ContainerSettings(name=box.name, engine="no-such-engine"))

    fault = fault_of(box.settings(tmp_path, "erp", server=server))

    assert fault.what == "the container engine no-such-engine cannot be started"
    assert "DB_CONTAINER_ENGINE (server.container.engine in backup.yaml)" in fault.remedy


def test_a_container_without_postgres_and_one_that_is_stopped_are_clear_faults(tmp_path: Path):
    with a_box_without_postgres(tmp_path) as box:
        settings = box.settings(tmp_path, "erp")
        without = fault_of(settings)
        stop(box)
        stopped = fault_of(settings, TransientFault)

    assert without.what == f"psql cannot be run in container {box.name} ({ENGINE})"
    assert "DB_CONTAINER (" in without.remedy
    assert stopped.what == f"the container {box.name} is not running"
    assert f"{ENGINE} start {box.name}" in stopped.remedy
    assert "DB_CONTAINER (" in stopped.remedy


@pytest.mark.parametrize(
    ("changes", "database", "setting"),
    [
        ({"password": "wrong"}, "postgres", "DB_PASSWORD"),
        ({}, "nowhere", "DB_NAME"),
        ({"port": 5499}, "erp", "DB_PORT"),
    ],
    ids=["password", "database", "port"],
)
def test_a_wrong_setting_inside_a_container_is_named(
    box: Box, tmp_path: Path, changes: dict[str, Any], database: str, setting: str
):
    fault = fault_of(box.settings(tmp_path, database, server=box.server_settings(**changes)))

    assert f"cannot connect to database {database} at container {box.name}" in fault.what
    assert setting in fault.remedy
    assert "wrong" not in str(fault)


def test_a_container_that_is_killed_under_a_dump_leaves_no_set(tmp_path: Path):
    faults: list[BackupError] = []
    with a_box(tmp_path, 15) as box:
        settings = box.settings(tmp_path / "backups", box.new_database(INVOICES))

        def capturing() -> None:
            try:
                capture(settings)
            except BackupError as error:
                faults.append(error)

        thread = threading.Thread(target=capturing)
        with locked(box, settings.databases[0].database, "customers"):
            thread.start()
            assert waited_for(lambda: ours(box, DUMP_WAITS) == 1)
            stop(box)
            thread.join(180)

    assert not thread.is_alive()
    assert [type(fault) for fault in faults] == [TransientFault], faults
    assert listed(settings) == []


def test_nothing_runs_on_in_the_container_when_we_are_killed(box: Box, tmp_path: Path):
    name = box.new_database(INVOICES)
    script = (
        "import sys; from pathlib import Path; from backup_assets.settings_loading import load_settings;"
        "from backup_assets_tests.sources import capture; capture(load_settings(directory=Path(sys.argv[1])))"
    )
    variables = {
        "BACKUP_DIR": str(tmp_path / "backups"),
        "DB_NAME": name,
        "DB_CONTAINER": box.name,
        "DB_CONTAINER_ENGINE": ENGINE,
        "DB_PASSWORD": box.password,
    }
    with locked(box, name, "customers"):
        with subprocess.Popen([sys.executable, "-c", script, tmp_path], env={**os.environ, **variables}) as process:
            assert waited_for(lambda: ours(box, DUMP_WAITS) == 1)
            process.kill()
        # Before the lock is given back: nothing that waits for it can end by itself.
        assert waited_for(lambda: "pg_dump" not in programs_in(box)), programs_in(box)
        assert waited_for(lambda: ours(box, "query LIKE 'LOCK TABLE%'") == 0)
    assert waited_for(lambda: ours(box) == 0)


def programs_in(box: Box) -> set[str]:
    # One that ends between the listing and the reading is no longer there, and no reason to fail.
    return set(box.exec("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null || :").split())


def test_an_interrupted_capture_stops_the_statement_in_the_container(box: Box, tmp_path: Path):
    with (
        pytest.raises(EnvironmentFault),
        open_session(Server.from_settings(box.server_settings()), "postgres") as session,
    ):
        thread = threading.Thread(target=swallowed, args=(session,))
        thread.start()
        assert waited_for(lambda: ours(box, "query LIKE '%pg_sleep(300)%'") == 1)
        session.interrupt()
        thread.join(180)
        assert not thread.is_alive()
        session.execute("SELECT 1")

    assert waited_for(lambda: ours(box) == 0)


def swallowed(session: Session) -> None:
    with suppress(EnvironmentFault, BrokenPipeError):
        list(session.rows("SELECT pg_sleep(300)"))
