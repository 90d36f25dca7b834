from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from backup_assets.doctor import examine
from backup_assets.settings_loading import load_settings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.cli.conftest import Command, variables_of
from backup_assets_tests.sources import Source, capture, dump_path


def states(command: Command) -> tuple[int, dict[str, str]]:
    ended = command("doctor", "--json")
    return ended.status, {finding["name"]: finding["state"] for finding in json.loads(ended.out)}


def test_where_everything_is_there_nothing_fails(
    command: Command, a_configured_database: Source, attachments: Path
) -> None:
    status, found = states(command)
    assert status == 0
    expected = {"settings", "server", "role", "clock", "clients", "store", "free disk", "attachments", "scratch server"}
    expected.add("dagster")
    assert {name for name, state in found.items() if state == "ok"} == expected
    assert found["sets"] == "warn"  # none is there yet


def test_a_server_that_does_not_answer_fails_and_the_rest_is_still_examined(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_HOST", "/nonexistent")
    status, found = states(command)
    assert status == 3
    assert (found["server"], found["store"], found["scratch server"]) == ("fail", "ok", "ok")


def test_a_role_that_cannot_see_every_row_fails_with_the_remedy(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"{a_configured_database.name}_reader"
    a_configured_database.execute(
        "ALTER TABLE invoices ENABLE ROW LEVEL SECURITY",
        f"CREATE ROLE {role} LOGIN PASSWORD 'p' IN ROLE pg_read_all_data",
    )
    monkeypatch.setenv("DB_USER", role)
    monkeypatch.setenv("DB_PASSWORD", "p")
    ended = command("doctor")
    a_configured_database.execute(f"DROP ROLE {role}")
    assert ended.status == 3
    (line,) = [line for line in ended.lines if line[0] == "role and clock"]
    assert line[1] == "fail"
    assert "BYPASSRLS" in line[3]


def test_what_vanishes_after_the_settings_were_read_fails_with_a_remedy(
    a_configured_database: Source, attachments: Path
) -> None:
    settings = load_settings()
    attachments.rename(attachments.with_name("moved"))
    settings.backup_dir.write_text("in the way")
    failed = {found.name: found for found in examine(settings.databases[0], settings) if found.state == "fail"}
    assert set(failed) == {"attachments", "store", "free disk", "sets"}
    assert "ASSET_DIR" in failed["attachments"].remedy


def test_settings_that_are_wrong_are_refused(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTEGRITY_SQL", "/nonexistent")
    ended = command("doctor")
    assert ended.status == 2
    assert "/nonexistent" in ended.err


def test_attachments_and_files_of_secrets_that_are_missing_are_told(
    command: Command, a_configured_database: Source, monkeypatch: pytest.MonkeyPatch, keyrings: Keyrings, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSET_DIR", "/nonexistent")
    monkeypatch.setenv("PDF_PROVIDER", "local")
    monkeypatch.setenv("SECRET_FILES", str(tmp_path / "gone.env"))
    monkeypatch.setenv("GPG_RECIPIENT", keyrings.lena)
    monkeypatch.setenv("GPG_HOMEDIR", str(keyrings.host))
    ended = command("doctor")
    assert ended.status == 3
    failed = {line[0]: " ".join(line) for line in ended.lines if line[1:2] == ["fail"]}
    assert "/nonexistent" in failed["attachments"]
    assert "gone.env" in failed["secrets"]


def test_an_incomplete_set_fails_and_an_unproven_one_warns(command: Command, a_configured_database: Source) -> None:
    captured = capture(load_settings())
    assert states(command)[1]["sets"] == "warn"
    command("verify")
    assert states(command)[1]["sets"] == "ok"
    dump_path(load_settings(), captured).unlink()
    assert states(command)[1]["sets"] == "fail"


def test_a_directory_of_clients_without_a_server_does_not_stop_the_proof(
    command: Command, a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    for program in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        (clients / program).symlink_to(a_configured_database.cluster.binaries.directory / program)
    monkeypatch.setenv("PG_BIN_DIR", str(clients))
    assert states(command)[1]["scratch server"] == "ok"


def test_a_dagster_home_without_instance_settings_warns(
    command: Command, a_configured_database: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "bare"))

    assert states(command)[1]["dagster"] == "warn"


def test_every_database_is_examined_unless_one_is_named(
    command: Command, a_database: Source, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = variables_of(a_database)
    monkeypatch.setenv("ERP4_PASSWORD", variables["DB_PASSWORD"])
    server = {
        "host": variables["DB_HOST"],
        "port": int(variables["DB_PORT"]),
        "user": variables["DB_USER"],
        "password": {"env": "ERP4_PASSWORD"},
    }
    databases = {
        "erp4": {"database": a_database.name, "server": server},
        "gone": {"database": "no_such_database", "server": server},
    }
    (an_empty_directory / "backup.yaml").write_text(yaml.safe_dump({"databases": databases}))

    ended = command("doctor")
    assert ended.status == 3
    assert "gone: server" in ended.err
    assert "erp4: " not in ended.err
    named = command("--database", "erp4", "doctor")
    assert named.status == 0, named.err + named.out
    assert {one["database"] for one in json.loads(command("doctor", "--json").out)} == {"erp4", "gone"}
