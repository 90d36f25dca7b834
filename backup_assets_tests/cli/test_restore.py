from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.local import local_store, place_of
from backup_assets.postgres.server_binaries import choose_server_binaries, find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.settings_loading import load_settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sources import Source, capture, connect, dump_path, listed


def state_of(source: Source) -> list[object]:
    """Return everything about a server that a restore could change."""
    with connect(source.cluster, "postgres") as connection:
        databases = connection.execute("SELECT oid, datname, datdba FROM pg_database ORDER BY oid").fetchall()
        roles = connection.execute("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1").fetchall()
    rows = [
        source.value(f"SELECT string_agg({table}::text, ' ' ORDER BY id) FROM {table}")
        for table in ("customers", "invoices")
    ]
    return [databases, roles, *rows]


@pytest.fixture
def confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_CONFIRM", "1")


@pytest.mark.parametrize("value", [None, "", "0", "yes"])
def test_restore_without_confirmation_changes_nothing(
    command: Command,
    a_configured_database: Source,
    attachments: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
) -> None:
    if value is not None:
        monkeypatch.setenv("RESTORE_CONFIRM", value)
    captured = capture(load_settings())
    a_configured_database.execute("DELETE FROM invoices WHERE id > 10")
    (attachments / "later.pdf").write_bytes(b"later")
    before = (state_of(a_configured_database), sorted(attachments.parent.rglob("*")))
    ended = command("restore", "latest")
    assert (ended.status, ended.out) == (2, "")
    assert f"would replace: database {a_configured_database.name}" in ended.err
    assert f"would replace: attachments {attachments}" in ended.err
    assert captured.manifest.id in ended.err
    assert (state_of(a_configured_database), sorted(attachments.parent.rglob("*"))) == before


def test_a_confirmed_restore_replaces_both_and_keeps_what_was_there(
    command: Command, a_configured_database: Source, attachments: Path, confirmed: None
) -> None:
    capture(load_settings())
    a_configured_database.execute("DELETE FROM invoices WHERE id > 10")
    (attachments / "logo.png").unlink()
    ended = command("restore", "--json")
    assert ended.status == 0, ended.err
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
    assert (attachments / "logo.png").stat().st_size == 2000
    result = json.loads(ended.out)
    assert (result["rows"], result["compared"], len(result["kept"])) == (1050, True, 2)
    with connect(a_configured_database.cluster, result["kept_old_database"]) as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (10,)


def test_a_restore_into_another_name_leaves_the_live_one(
    command: Command, a_configured_database: Source, confirmed: None
) -> None:
    capture(load_settings())
    a_configured_database.execute("DELETE FROM invoices WHERE id > 10")
    copy = f"{a_configured_database.name}_copy"
    ended = command("restore", "--into", copy, "--table", "public.invoices")
    assert ended.status == 0, ended.err
    assert ended.value("compared").startswith("1000 rows in 1 tables")
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 10
    with connect(a_configured_database.cluster, copy) as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (1000,)
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (0,)


def test_at_chooses_the_set_of_that_time(command: Command, a_configured_database: Source) -> None:
    hours = [datetime.now(UTC) - timedelta(minutes=minutes) for minutes in (2, 0)]
    settings = load_settings()
    early, late = (capture(settings, now=lambda hour=hour: hour) for hour in hours)
    middle = early.manifest.snapshot.taken_at
    assert early.manifest.id in command("restore", "--at", middle.isoformat()).err
    assert late.manifest.id in command("restore").err
    assert command("restore", "--at", "2020-01-01T00:00Z").status == 2
    assert "has no zone" in command("restore", "--at", "2026-11-22T02:00").err


def test_a_restore_goes_to_another_server_with_its_password_from_a_variable(
    command: Command, a_configured_database: Source, confirmed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture(load_settings())
    with throw_away_cluster(None, choose_server_binaries(find_server_binaries(), 17), superuser="other") as cluster:
        monkeypatch.setenv("OTHER_PASSWORD", cluster.password)
        ended = command(
            "restore", "--to-host", str(cluster.socket_directory), "--to-port", str(cluster.port),
            "--to-user", "other", "--to-password-env", "OTHER_PASSWORD",
        )  # fmt: skip
        assert ended.status == 0, ended.err
        assert cluster.password not in ended.out + ended.err
        with connect(cluster, a_configured_database.name) as connection:
            assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (1000,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to-port", "5433"), "--to-port without --to-host"),
        (("--to-host", "h", "--to-password-env", "NOT_SET_AT_ALL"), "NOT_SET_AT_ALL is not set"),
        (("--jobs", "0"), "--jobs must be at least 1"),
        (("--without-attachments", "--attachments-to", "x"), "exclude each other"),
        (("2026", "--at", "2026-11-22T02:00Z"), "exclude each other"),
        (("--globals-file", "x.sql"), "without a dump"),
        (("--file", "no such file"), "there is no file no such file"),
        (("2026", "--file", "x"), "exclude each other"),
    ],
)
def test_contradictions_are_refused(
    command: Command, a_configured_database: Source, confirmed: None, arguments: tuple[str, ...], words: str
) -> None:
    ended = command("restore", *arguments)
    assert (ended.status, len(ended.err.splitlines())) in ((2, 2), (2, 3))
    assert words in ended.err


def test_a_newer_set_that_is_incomplete_is_passed_over_aloud(command: Command, a_configured_database: Source) -> None:
    settings = load_settings()
    older, newer = capture(settings), capture(settings)
    dump_path(settings, newer).unlink()
    ended = command("restore")
    assert f"warning: the newer set {newer.manifest.id} is incomplete" in ended.err
    assert older.manifest.id in ended.err


def test_a_named_dump_is_compared_with_the_manifest_in_the_local_store(
    command: Command, a_configured_database: Source, confirmed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    dump = dump_path(settings, capture(settings))
    elsewhere = Path(shutil.copy(dump, tmp_path))
    monkeypatch.setenv("BACKUP_FILE", str(elsewhere))
    ended = command("restore", "--into", f"{a_configured_database.name}_named")
    assert ended.status == 0, ended.err
    assert "every file equals the manifest" in ended.err
    assert ended.value("compared") == "1050 rows in 2 tables equal their manifest, content included"


def test_a_named_dump_that_is_not_what_its_manifest_says_is_not_restored(
    command: Command, a_configured_database: Source, confirmed: None, tmp_path: Path
) -> None:
    settings = load_settings()
    elsewhere = Path(shutil.copy(dump_path(settings, capture(settings)), tmp_path))
    elsewhere.write_bytes(elsewhere.read_bytes() + b"\0")
    before = state_of(a_configured_database)
    ended = command("restore", "--file", str(elsewhere))
    assert ended.status == 1
    assert "are not those of the set" in ended.err
    assert state_of(a_configured_database) == before


def test_a_named_dump_without_a_manifest_restores_and_says_that_nothing_was_compared(
    command: Command, a_configured_database: Source, confirmed: None, tmp_path: Path
) -> None:
    settings = load_settings()
    elsewhere = Path(shutil.copy(dump_path(settings, capture(settings)), tmp_path / "of a friend.dump"))
    copy = f"{a_configured_database.name}_friend"
    ended = command("restore", "--file", str(elsewhere), "--into", copy)
    assert ended.status == 0, ended.err
    assert ended.value("compared") == "NOTHING"
    assert "not compared: no manifest was found" in ended.err
    with connect(a_configured_database.cluster, copy) as connection:
        assert connection.execute("SELECT count(*) FROM invoices").fetchone() == (1000,)
    assert [one.records for one in listed(settings)] == [()]


def test_a_named_dump_without_a_manifest_that_is_cut_off_touches_nothing(
    command: Command, a_configured_database: Source, confirmed: None, tmp_path: Path
) -> None:
    settings = load_settings()
    dump = dump_path(settings, capture(settings))
    cut = tmp_path / "cut.dump"
    cut.write_bytes(dump.read_bytes()[:-1000])
    before = state_of(a_configured_database)
    ended = command("restore", "--file", str(cut))
    assert ended.status == 1
    assert "cannot be read to its end" in ended.err
    assert state_of(a_configured_database) == before


def test_named_files_bring_the_attachments_of_their_generation(
    command: Command, a_configured_database: Source, attachments: Path, confirmed: None, tmp_path: Path
) -> None:
    settings = load_settings()
    captured = capture(settings)
    down = tmp_path / "down"
    assert command("download", "latest", "--to", str(down)).status == 0
    shutil.rmtree(settings.backup_dir)  # only what was downloaded is left
    base = down / captured.manifest.id / captured.manifest.id
    ended = command(
        "restore", "--file", f"{base}.dump", "--globals-file", f"{base}.sql", "--assets-file", f"{base}.tar.zst",
        "--into", f"{a_configured_database.name}_all", "--attachments-to", str(tmp_path / "files"),
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert "every file equals the manifest" in ended.err
    assert (tmp_path / "files" / "invoices" / "1.pdf").read_bytes() == b"%PDF the first"


def test_named_files_of_two_generations_are_refused(
    command: Command, a_configured_database: Source, confirmed: None
) -> None:
    settings = load_settings()
    first, second = capture(settings), capture(settings)
    roles = second.manifest.artifact("globals")
    assert roles is not None
    path = local_store(settings).path_of(place_of(settings.databases[0], settings).key(roles.name))
    ended = command("restore", "--file", str(dump_path(settings, first)), "--globals-file", str(path))
    assert ended.status == 2
    assert "not of one generation" in ended.err


def test_a_file_that_is_no_dump_is_refused_with_the_stock_way(
    command: Command, a_configured_database: Source, confirmed: None, tmp_path: Path
) -> None:
    script = tmp_path / "erp4.sql"
    script.write_text("-- PostgreSQL database dump\n" * 100)
    ended = command("restore", "--file", str(script))
    assert ended.status == 2
    assert "psql" in ended.err


def test_a_named_file_that_cannot_be_looked_at_is_told(command: Command, a_configured_database: Source) -> None:
    ended = command("restore", "--file", "x" * 300)
    assert ended.status == 3
    assert "cannot be read" in ended.err
