from __future__ import annotations

import json

import pytest

from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sources import Source, capture, dump_path, listed


@pytest.mark.parametrize("level", ["stored", "readable", "restored"])
def test_a_good_set_passes_and_the_answer_is_kept(command: Command, a_configured_database: Source, level: str) -> None:
    captured = capture(a_configured_database.settings())
    ended = command("verify", "--level", level)
    assert ended.status == 0, ended.err
    assert ended.lines[0][:3] == [captured.manifest.id, "ok", level]
    (one,) = listed(a_configured_database.settings())
    assert [(record.level, record.passed) for record in one.verifications] == [(level, True)]


def test_one_altered_byte_fails_the_cheapest_level_and_goes_on_record(
    command: Command, a_configured_database: Source
) -> None:
    settings = a_configured_database.settings()
    path = dump_path(settings, capture(settings))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    ended = command("verify", "--level", "stored")
    assert ended.status == 1
    assert ended.lines[0][1] == "fail"
    assert "another SHA-256" in ended.err
    assert [record.passed for record in listed(settings)[0].verifications] == [False]


def test_all_sets_are_verified_and_one_that_is_incomplete_fails(
    command: Command, a_configured_database: Source
) -> None:
    settings = a_configured_database.settings()
    captured = [capture(settings), capture(settings)]
    dump_path(settings, captured[0]).unlink()
    ended = command("verify", "--all", "--level", "stored", "--json")
    assert ended.status == 1
    outcomes = {one["set_id"]: one["passed"] for one in json.loads(ended.out)["sets"]}
    assert outcomes == {captured[0].manifest.id: False, captured[1].manifest.id: True}


def test_content_is_left_out_when_it_is_not_wanted(command: Command, a_configured_database: Source) -> None:
    capture(a_configured_database.settings())
    ended = command("verify", "--no-content")
    assert (ended.status, ended.lines[0][3]) == (0, "not compared")


def test_verifying_nothing_is_no_success(command: Command, a_configured_database: Source) -> None:
    assert command("verify").status == 2
    assert command("verify", "--all").status == 1
