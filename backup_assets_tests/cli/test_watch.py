from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from backup_assets.cli.main import main
from backup_assets.settings_loading import load_settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.watch.listening import Webhook, a_webhook
from backup_assets_tests.watch.stores_at_work import HOUR, drilled, proven, taken


@pytest.fixture
def a_hook() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


@pytest.fixture
def configured(an_empty_directory: Path, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with one database in order, and a channel."""
    tree = {"env": "prod", "backup_dir": "local", "databases": {"erp4": {}}}
    (an_empty_directory / "backup.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.setenv("ALERT_URLS", f"json://{a_hook.address}")
    settings, now = load_settings(), datetime.now(UTC)
    manifest = taken(settings, now - HOUR / 10)
    proven(settings, manifest, at=now - HOUR / 20)
    drilled(settings, manifest, at=now - HOUR / 20)
    return an_empty_directory


def test_one_look_finds_nothing_wrong(configured: Path, command: Command, a_hook: Webhook) -> None:
    ended = command("watch", "--once")

    assert (ended.status, ended.out) == (0, "nothing is wrong\n"), ended.err
    assert a_hook.posted == []


def test_one_look_tells_the_channels_what_is_wrong(configured: Path, command: Command, a_hook: Webhook) -> None:
    for manifest in (configured / "local").rglob("*.manifest.json"):
        manifest.unlink()

    ended = command("watch", "--once")
    again = command("watch", "--once", "--json")

    assert (ended.status, again.status) == (0, 0)
    assert ["fail", "erp4:rpo:"] in [line[:2] for line in ended.lines]
    found = json.loads(again.out)
    assert "erp4:rpo:" in [one["key"] for one in found["conditions"]]
    assert {type(one["patience"]) for one in found["conditions"]} == {float}  # seconds
    assert (found["announced"], found["not_judged"]) == ([], [])
    assert len(a_hook.posted) == 1


def test_a_look_to_which_no_store_answers_ends_with_one_and_says_so(
    configured: Path, command: Command, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir, released = os.scandir, threading.Event()

    def hanging(directory: str):
        if os.fspath(directory).startswith(str(configured / "local" / "erp4")):
            released.wait(60)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", hanging)
    monkeypatch.setattr("backup_assets.cli.watch.PATIENCE_SECONDS", 1.0)

    try:
        ended = command("watch", "--once")
    finally:
        released.set()

    assert ended.status == 1
    assert "error: the stores of erp4 have not answered for 0 minutes" in ended.err
    assert "nothing is wrong" not in ended.out
    assert a_hook.titles() == ["[erp4 prod] the stores could not be looked at"]


def test_that_a_store_hangs_is_told_and_then_the_look_is_well(
    configured: Path, command: Command, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    (configured / "usb").mkdir()
    tree = yaml.safe_load((configured / "backup.yaml").read_text())
    tree["stores"] = {"usb": {"kind": "folder", "directory": str(configured / "usb"), "off_site": True}}
    (configured / "backup.yaml").write_text(yaml.safe_dump(tree))
    taken(load_settings(), datetime.now(UTC) - HOUR / 10, stores=("usb",))
    scandir, released = os.scandir, threading.Event()

    def hanging(directory: str):
        if os.fspath(directory).startswith(str(configured / "usb")):
            released.wait(60)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", hanging)
    monkeypatch.setattr("backup_assets.watch.judging.ANSWER_SECONDS", 1.0)

    try:
        ended = command("watch", "--once")
    finally:
        released.set()

    assert (ended.status, ended.err) == (0, "")
    assert ["fail", "erp4:store_unreachable:usb"] in [line[:2] for line in ended.lines]
    assert "the store usb did not answer" in a_hook.text()


def test_without_a_channel_a_look_that_finds_a_problem_ends_with_one(
    configured: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERT_URLS")
    assert command("watch", "--once").status == 0
    for manifest in (configured / "local").rglob("*.manifest.json"):
        manifest.unlink()

    ended = command("watch", "--once")

    assert ended.status == 1
    assert "error: nobody is told" in ended.err


def test_a_look_that_reaches_nobody_ends_with_one(configured: Path, command: Command, a_hook: Webhook) -> None:
    for manifest in (configured / "local").rglob("*.manifest.json"):
        manifest.unlink()
    a_hook.status = 500

    ended = command("watch", "--once")

    assert ended.status == 1
    assert "error: the channel 1-json failed: " in ended.err
    assert a_hook.address not in ended.out + ended.err


def test_the_trial_says_which_channels_answered(
    configured: Path, command: Command, a_hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("alert-test").lines == [["1-json", "ok", ""]]
    assert "this is a test" in a_hook.titles()[0]
    monkeypatch.setenv("ALERT_URLS", f"json://{a_hook.address},json://127.0.0.1:9/a-token")

    ended = command("alert-test")

    assert ended.status == 1
    assert [line[:2] for line in ended.lines] == [["1-json", "ok"], ["2-json", "fail"]]
    assert "a-token" not in ended.out + ended.err


def test_without_a_channel_the_trial_says_how_to_set_one(
    configured: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERT_URLS")

    ended = command("alert-test")

    assert ended.status == 2
    assert "set ALERT_URLS" in ended.err


def test_only_one_look_is_offered(command: Command) -> None:
    assert main(["watch"]) == 2
