from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.demo.object_server import stop_demo_object_server
from backup_assets.demo.server import connect, demo_server, stop_demo_server
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.cli.test_main import SCRIPT
from backup_assets_tests.sources import Source


@pytest.fixture
def a_home(monkeypatch: pytest.MonkeyPatch, an_empty_directory: Path) -> Iterator[Path]:
    # Not tmp_path: as root that lies below a closed directory, where a server of another user cannot go.
    home = Path(tempfile.gettempdir()) / f"ba-demo-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("BACKUP_DEMO_HOME", str(home))
    yield home
    stop_demo_server(home)
    stop_demo_object_server(home)
    shutil.rmtree(home, ignore_errors=True)


def lines_of_a_tour() -> list[list[str]]:
    ended = subprocess.run([SCRIPT, "demo"], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout
    assert "Warning" not in ended.stderr
    return [line.split("\t") for line in ended.stdout.splitlines()]


@pytest.mark.slow
def test_the_tour_proves_a_restore_comes_back_from_osaka_and_can_be_run_again(a_home: Path, command: Command) -> None:
    first = lines_of_a_tour()
    assert [line[1] for line in first[:8]] == ["ok"] * 8
    assert "full archive of 200/200" in first[2][3]
    assert "differential archive of 5/205" in first[4][3]
    figures = {line[0]: line[1] for line in first[8:]}
    assert (figures["attachment files equal"], figures["integrity queries equal"]) == ("205", "8")
    assert figures["tables compared"] == figures["content hashes equal"] != "0"
    second = lines_of_a_tour()
    assert [line[1] for line in second[:8]] == ["ok"] * 8
    assert ["attachment files equal", "210"] in [line[:2] for line in second]
    with connect(demo_server(a_home), "postgres") as connection:
        names = {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}
    assert names == {"postgres", "template0", "template1", "erp4", "erp4_restored"}
    newest = command("list").lines[0][0]
    assert figures["whole drill, from osaka"] != newest == second[-1][1]
    for store in ("local", "tokyo", "osaka"):
        listed = command("list", "--store", store).lines
        assert (len(listed), listed[0][0]) == (4, newest)
    ended = command("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(ended.out)}
    assert (ended.status, {name for name, one in found.items() if one["state"] != "ok"}) == (0, {"off-site"})
    assert "osaka is the demo's own server on this machine" in found["off-site"]["found"]
    assert command("stop-demo").out == "the demo's servers are stopped\n"
    assert command("stop-demo").out == "the demo's servers were not running\n"


def test_the_demo_never_mixes_its_sets_with_those_of_a_configured_database(
    command: Command, a_configured_database: Source
) -> None:
    ended = command("demo")
    assert ended.status == 2
    assert "only where no database is configured" in ended.err
    assert not a_configured_database.backup_dir.exists()
    assert os.listdir() == []  # noqa: PTH208
