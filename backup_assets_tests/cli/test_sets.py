from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from backup_assets.local import local_store, place_of
from backup_assets.sets.servers import server_of
from backup_assets.settings_loading import load_settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.cli.test_main import SCRIPT
from backup_assets_tests.sources import Source, capture, dump_path, listed


def manifest_path(source: Source, set_id: str) -> Path:
    settings = source.settings()
    return local_store(settings).path_of(place_of(settings.databases[0], settings).manifest_key(set_id))


def test_an_empty_store_is_no_error_and_says_what_to_do(command: Command, a_configured_database: Source) -> None:
    ended = command("list")
    assert (ended.status, ended.out) == (0, "")
    assert "`backup-assets backup`" in ended.err


def test_sets_are_listed_newest_first(command: Command, a_configured_database: Source) -> None:
    captured = [capture(a_configured_database.settings(), label=label).manifest for label in ("first", "second")]
    ended = command("list")
    assert ended.status == 0
    assert [(line[0], line[4], line[6], line[9]) for line in ended.lines] == [
        (captured[1].id, "complete", "1050", "second"),
        (captured[0].id, "complete", "1050", "first"),
    ]


def test_a_damaged_manifest_is_listed_as_such_and_makes_the_status_1(
    command: Command, a_configured_database: Source
) -> None:
    captured = [capture(a_configured_database.settings()).manifest for _ in range(2)]
    path = manifest_path(a_configured_database, captured[0].id)
    path.write_text(path.read_text().replace('"rows": 1000', '"rows": 1001'))
    ended = command("list")
    assert ended.status == 1
    assert {line[0]: line[4] for line in ended.lines} == {captured[0].id: "damaged", captured[1].id: "complete"}
    assert "is damaged" in ended.err


def test_a_set_whose_dump_is_gone_is_listed_as_incomplete(command: Command, a_configured_database: Source) -> None:
    settings = a_configured_database.settings()
    dump_path(settings, capture(settings)).unlink()
    assert command("list").lines[0][4] == "incomplete"
    assert command("show", listed(settings)[0].id).status == 1


def test_a_terminal_gets_a_table_with_whole_ids_however_narrow_it_is(a_configured_database: Source) -> None:
    captured = capture(a_configured_database.settings())
    ours, theirs = pty.openpty()
    with subprocess.Popen([SCRIPT, "list"], stdout=theirs, env={**os.environ, "COLUMNS": "70"}) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # how Linux says that the other side has closed
            pass
        assert process.wait(timeout=300) == 0
    os.close(ours)
    assert captured.manifest.id in shown.decode()
    assert "verified" not in shown.decode()  # no set is, so that the column is left out
    assert "taken" in shown.decode()


def test_show_tells_files_tables_records_and_json_has_the_manifest(
    command: Command, a_configured_database: Source
) -> None:
    captured = capture(a_configured_database.settings())
    command("verify", "--level", "stored")
    ended = command("show", captured.manifest.id[:26])
    assert ended.status == 0
    assert ended.value("state") == "complete"
    assert ended.value("public.invoices") == "1000"
    assert ended.value("system") == str(server_of(captured.manifest))
    assert [line for line in ended.lines if line[0] == "verification"]
    for artifact in captured.manifest.artifacts:
        assert artifact.sha256 in ended.out
    shown = json.loads(command("show", "latest", "--json").out)
    assert shown["manifest"]["id"] == captured.manifest.id


def test_an_unknown_set_is_refused_with_the_closest_ids(command: Command, a_configured_database: Source) -> None:
    captured = capture(a_configured_database.settings())
    ended = command("show", captured.manifest.id[:-1] + "x")
    assert ended.status == 2
    assert captured.manifest.id in ended.err


def client_environment(source: Source) -> dict[str, str]:
    server = source.server_settings()
    return {
        "PATH": f"{source.cluster.binaries.directory}:{os.environ['PATH']}",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGPASSWORD": source.cluster.password,
        "LC_ALL": "C.UTF-8",
    }


def restored_by_hand(source: Source, script: str, directory: Path, **environment: str) -> None:
    """Run the commands, as they are written, in place of the database that is there."""
    directory.mkdir(exist_ok=True)
    renamed = f'ALTER DATABASE "{source.name}" RENAME TO "{source.name}_before"'
    psql = ["psql", "--no-psqlrc", "--dbname=postgres", "--command", renamed]
    for argv in (psql, ["sh", "-e", "-c", script]):
        done = subprocess.run(
            argv,
            cwd=directory,
            env={**client_environment(source), **environment},
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr


def test_the_shown_stock_commands_restore_the_set(
    command: Command, a_configured_database: Source, attachments: Path, tmp_path: Path
) -> None:
    capture(load_settings())
    (attachments / "new.pdf").write_bytes(b"%PDF a second generation")
    (attachments / "logo.png").unlink()
    captured = capture(load_settings())
    assert captured.manifest.requires
    before = a_configured_database.value("SELECT sum(total) FROM invoices")
    script = json.loads(command("show", "latest", "--json").out)["stock_commands"]
    restored_by_hand(a_configured_database, script, tmp_path / "by hand")
    assert a_configured_database.value("SELECT sum(total) FROM invoices") == before
    restored = tmp_path / "by hand" / "attachments"
    files = {str(path.relative_to(restored)): path.read_bytes() for path in restored.rglob("*") if path.is_file()}
    assert files == {"invoices/1.pdf": b"%PDF the first", "new.pdf": b"%PDF a second generation"}


def test_a_downloaded_set_restores_by_its_own_readme(
    command: Command, a_configured_database: Source, attachments: Path, tmp_path: Path
) -> None:
    full = capture(load_settings())
    captured = capture(load_settings())
    ended = command("download", "latest", "--to", str(tmp_path / "down load"))
    assert ended.status == 0, ended.err
    directory = tmp_path / "down load" / captured.manifest.id
    assert (directory / f"{full.manifest.id}.tar.zst").is_file()
    assert {oct(path.stat().st_mode & 0o777) for path in directory.iterdir()} == {"0o600"}
    restored_by_hand(a_configured_database, (directory / "README.txt").read_text(), directory)
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
    assert (directory / "attachments" / "invoices" / "1.pdf").read_bytes() == b"%PDF the first"


def test_the_stock_commands_restore_a_set_of_important_tables(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMPORTANT_TABLES", "invoices")
    captured = capture(load_settings(), kind="important_tables")
    script = json.loads(command("show", captured.manifest.id, "--json").out)["stock_commands"]
    restored_by_hand(a_configured_database, script, tmp_path / "by hand")
    assert a_configured_database.value("SELECT count(*) FROM invoices") == 1000
    assert a_configured_database.value("SELECT count(*) FROM customers") == 0


def test_downloading_again_changes_nothing(command: Command, a_configured_database: Source, tmp_path: Path) -> None:
    captured = capture(a_configured_database.settings())
    assert command("download", "latest", "--to", str(tmp_path)).status == 0
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / captured.manifest.id).glob("*.dump")}
    assert command("download", "latest", "--to", str(tmp_path)).status == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_damaged_file_is_not_downloaded(command: Command, a_configured_database: Source, tmp_path: Path) -> None:
    settings = a_configured_database.settings()
    captured = capture(settings)
    path = dump_path(settings, captured)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    ended = command("download", "latest", "--to", str(tmp_path / "to"))
    assert ended.status == 1
    assert "is damaged" in ended.err
    assert not list((tmp_path / "to").rglob("*.dump*"))


def test_a_file_of_the_same_name_is_never_overwritten(
    command: Command, a_configured_database: Source, tmp_path: Path
) -> None:
    captured = capture(a_configured_database.settings())
    mine = tmp_path / captured.manifest.id / f"{captured.manifest.id}.dump"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert command("download", "latest", "--to", str(tmp_path)).status == 2
    assert mine.read_text() == "mine"


def test_leftovers_are_shown_and_removed_only_when_that_is_asked_for(
    command: Command, a_configured_database: Source
) -> None:
    settings = a_configured_database.settings()
    path = dump_path(settings, capture(settings))
    leftover = path.with_name(f"{path.name}.0123abcd.partial")
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    shown = command("sweep")
    assert (shown.status, leftover.exists()) == (0, True)
    assert shown.lines[0][0].endswith(leftover.name)
    removed = command("sweep", "--apply")
    assert (removed.status, leftover.exists(), path.exists()) == (0, False, True)
    assert command("sweep").out == ""
