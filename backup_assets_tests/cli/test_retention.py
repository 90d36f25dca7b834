"""The retention from the command line: prune, hold, unhold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from backup_assets.named_stores import store_named
from backup_assets.retention.holding import release_holds
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings_loading import load_settings
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.offsite.copying import sets_in
from backup_assets_tests.sets.examples import put_record, put_set
from backup_assets_tests.sets.histories import DAY, HOUR, TOKYO, a_set


@pytest.fixture
def usb(an_empty_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of which three days are kept, in the local store and in a folder."""
    (tmp_path / "usb").mkdir()
    for name, value in {
        "DB_NAME": "erp4",
        "DB_HOST": "/nonexistent",
        "APP_ENV": "prod",
        "BACKUP_DIR": str(tmp_path / "backups"),
        "FOLDER_COPY_DIR": str(tmp_path / "usb"),
        "RETENTION_DAILY": "3",
        "RETENTION_WEEKLY": "0",
        "RETENTION_MONTHLY": "0",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "usb"


def stored(days: int) -> list[BackupSet]:
    """Put a verified set of each of the last days into both stores, and return them, the newest first."""
    sets = [a_set(datetime.now(TOKYO).replace(microsecond=0) - 2 * HOUR - day * DAY) for day in range(days)]
    for name in ("local", "folder"):
        store = store_named(load_settings(), name)
        for one in sets:
            put_set(store, one.manifest)
            put_record(store, one.records[0])
    return sets


def left(name: str = "local") -> int:
    return len(sets_in(load_settings(), name))


def test_prune_shows_every_set_with_its_reasons_and_changes_nothing(command: Command, usb: Path) -> None:
    sets = stored(5)
    ended = command("prune")
    assert ended.status == 0, ended.err
    local = [line for line in ended.lines if line[1] == "local"]
    assert [(line[0], line[2]) for line in local] == [
        (one.id, "keep" if day < 3 else "delete") for day, one in enumerate(sets)
    ]
    assert "the newest set; the last verified set" in local[0][4]
    assert "none of the 3 daily" in local[4][4]
    assert "2 would go" in ended.err
    assert "run it again with --apply" in ended.err
    assert (left(), left("folder")) == (5, 5)


def test_prune_applies_the_plan_to_every_store_or_to_the_one_that_is_named(command: Command, usb: Path) -> None:
    stored(5)
    assert command("prune", "--store", "folder", "--apply").status == 0
    assert (left(), left("folder")) == (5, 3)
    ended = command("prune", "--apply")
    assert (ended.status, left(), left("folder")) == (0, 3, 3)
    assert "local: 3 sets stay" in ended.err
    assert "2 deleted" in ended.err
    assert "folder: 3 sets stay" in ended.err
    assert "none goes" in ended.err


def test_a_large_share_needs_to_be_allowed(command: Command, usb: Path) -> None:
    stored(10)
    refused = command("prune", "--apply")
    assert (refused.status, left()) == (1, 10)
    assert "7 of 10 sets would be deleted, more than 50 %" in refused.err
    assert "--allow-large-share" in refused.err
    assert command("prune", "--apply", "--allow-large-share").status == 0
    assert left() == 3


def test_prune_as_json_has_codes_and_totals(command: Command, usb: Path) -> None:
    stored(5)
    local, _ = json.loads(command("prune", "--json").out)
    assert (local["store"], local["applied"], local["blocked"]) == ("local", False, [])
    assert [one["reasons"][0]["code"] for one in local["sets"]][0::4] == ["newest", "outlived"]
    assert local["freed_bytes"] == 2 * local["sets"][0]["size_bytes"]


def test_a_damaged_manifest_is_told(command: Command, usb: Path, tmp_path: Path) -> None:
    sets = stored(5)
    path = next((tmp_path / "backups").rglob(f"{sets[2].id}.manifest.json"))
    path.write_bytes(b"{}")
    ended = command("prune", "--store", "local", "--apply")
    assert f"the manifest of {sets[2].id} is damaged" in ended.err
    assert "Traceback" not in ended.err
    assert (left(), path.read_bytes()) == (4, b"{}")


def test_a_store_that_is_not_there_is_one_clear_message(command: Command, usb: Path) -> None:
    stored(1)
    usb.rename(usb.with_name("elsewhere"))
    ended = command("prune")
    assert ended.status == 1
    assert f"error: folder: the folder {usb} does not exist" in ended.err
    assert "local: 1 sets stay" in ended.err
    assert command("prune", "--store", "dropbox").status == 2


@pytest.mark.parametrize("name", ["dropbox", "rds-mars"])
def test_a_store_that_there_is_not_is_refused_with_every_name_that_there_is(
    command: Command, an_empty_directory: Path, tmp_path: Path, name: str
) -> None:
    copies = {
        "region": "ap-northeast-3",
        "account_profile": "vault",
        "share_with": ["222222222222"],
        "kms_key_id": "arn:aws:kms:ap-northeast-3:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    }
    database = {"server": {"host": "/nonexistent"}, "rds": {"instance": "erp4-prod", "copies": copies}}
    tree = {
        "databases": {"erp4": database},
        "stores": {"usb": {"kind": "folder", "directory": str(tmp_path / "usb")}},
    }
    (an_empty_directory / "backup.yaml").write_text(yaml.safe_dump(tree))

    ended = command("prune", "--store", name, "--apply")
    assert ended.status == 2
    assert f"there is no store {name}" in ended.err
    assert "local, usb, rds-ap-northeast-1, rds-ap-northeast-3, rds-ap-northeast-3-vault" in ended.err


def test_the_help_tells_how_snapshots_are_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "`rds-REGION`" in command("prune", "--help").out


def test_a_held_set_is_kept_until_it_is_released(command: Command, usb: Path) -> None:
    sets = stored(5)
    held = command("hold", sets[4].id, "--reason", "before release 4.2", "--until", "2999-01-01")
    assert (held.status, [line[1:3] for line in held.lines]) == (
        0,
        [["local", "recorded"], ["folder", "recorded"]],
    ), held.err
    assert command("prune", "--apply").status == 0
    assert (left(), left("folder")) == (4, 4)
    assert command("list").lines[3][8] == "before release 4.2"

    released = command("unhold", sets[4].id, "--reason", "the release is fine", "--json")
    assert (released.status, json.loads(released.out)["hold"]) == (0, None)
    assert command("prune", "--apply").status == 0
    assert (left(), left("folder")) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hold", "2031", "--reason", "audit"), "there is no set '2031'"),
        (("hold", "latest", "--reason", "audit", "--until", "2001-01-01"), "would be over already"),
        (("hold", "latest", "--reason", "audit", "--until", "soon"), "'soon' is no time"),
        (("hold", "latest"), "--reason"),
    ],
)
def test_a_hold_that_cannot_be_is_refused_in_clear_words(
    command: Command, usb: Path, arguments: tuple[str, ...], words: str
) -> None:
    stored(1)
    ended = command(*arguments)
    assert ended.status == 2
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_the_beginning_of_two_ids_holds_and_releases_none_although_one_store_has_but_one(
    command: Command, usb: Path
) -> None:
    taken_at = datetime.now(UTC).replace(hour=0, minute=1, second=0, microsecond=0) - 2 * DAY
    night, before_release = a_set(taken_at), a_set(taken_at + 10 * HOUR)
    for one in (night, before_release):
        put_set(store_named(load_settings(), "local"), one.manifest)
    put_set(store_named(load_settings(), "folder"), night.manifest)
    slot = night.manifest.slot
    assert before_release.manifest.slot == slot

    for words in ("hold", "unhold"):
        ended = command(words, slot, "--reason", "release 4.2")
        assert ended.status == 2
        assert f"{night.id} (local, folder), {before_release.id} (local)" in ended.err
    assert [line[8] for line in command("list").lines] == ["-", "-"]


def test_a_hold_is_in_force_although_a_release_was_dated_ahead(command: Command, usb: Path) -> None:
    (one,) = stored(1)
    settings, ahead = load_settings(), datetime.now(TOKYO) + 400 * DAY
    release_holds(settings.databases[0], settings, one.id, "not needed", now=ahead)

    ended = command("hold", one.id, "--reason", "audit", "--json")

    assert (ended.status, json.loads(ended.out)["hold"]["reason"]) == (0, "audit")
    assert sets_in(settings, "local")[one.id].hold_at(ahead + DAY) is not None
