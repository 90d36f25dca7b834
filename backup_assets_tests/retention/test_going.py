from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.named_stores import LOCAL, store_named
from backup_assets.retention.going import GOING
from backup_assets.retention.gone import GoneNote, put_note, read_gone
from backup_assets.retention.pruning import Pruned, prune, survey
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets_tests.offsite.copying import folder_store, settings_with
from backup_assets_tests.sets.examples import ERP4, put_record, put_set
from backup_assets_tests.sets.histories import NOW, nightly
from backup_assets_tests.stores.faulty import Stopped

FEW = RetentionSettings(daily=3, weekly=1, monthly=1)
DAY = timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A local store and a folder with a verified set of each of six nights; the retention keeps three."""
    (tmp_path / "usb").mkdir()
    made = settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))
    made = made.model_copy(update={"databases": (made.databases[0].model_copy(update={"retention": FEW}),)})
    for name in (LOCAL, "usb"):
        store = store_named(made, name, writing=True)
        for one in nightly(6):
            put_set(store, one.manifest)
            for record in one.records:
                put_record(store, record)
    return made


def pruned(settings: Settings, name: str = "usb", now: datetime = NOW) -> Pruned:
    database = settings.databases[0]
    return prune(database, settings, name, apply=True, surveyed=survey(database, settings, now=now))


def killed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prune the folder in a process that is killed when the first manifest has gone."""
    unlink = os.unlink

    def unlinking(path: Any, **options: Any) -> None:
        unlink(path, **options)
        if "usb" in Path(path).parts and str(path).endswith(".manifest.json"):
            raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(os, "unlink", unlinking)
        pruned(settings)


def files_in(settings: Settings, folder: str) -> list[Path]:
    return sorted((settings.backup_dir / ERP4.key(folder)).glob("*"))


def noted(settings: Settings) -> list[tuple[str, list[str]]]:
    found = read_gone(settings.databases[0], settings, since=NOW - DAY)
    assert not found.damaged
    return [(note.store, [one.id for one in note.sets]) for note in found.notes]


def test_what_is_through_is_no_longer_noted_as_going(settings: Settings) -> None:
    assert len(pruned(settings).deleted) == 3

    assert files_in(settings, GOING) == []


def test_what_a_killed_run_deleted_is_written_down_by_one_of_another_day(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = nightly(6)[-1].id
    killed(settings, monkeypatch)
    assert (len(files_in(settings, GOING)), noted(settings)) == (1, [])

    pruned(settings, now=NOW + DAY)

    assert files_in(settings, GOING) == []
    assert ("usb", [oldest]) in noted(settings)
    assert sum(oldest in ids for _, ids in noted(settings)) == 1


def test_the_note_of_a_run_that_may_be_under_way_stays_and_so_does_that_of_another_store(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(settings, monkeypatch)
    (note,) = files_in(settings, GOING)

    pruned(settings, now=NOW + timedelta(hours=1))
    assert note in files_in(settings, GOING)
    pruned(settings, LOCAL, now=NOW + DAY)
    assert note in files_in(settings, GOING)


def test_a_note_from_the_time_of_a_clock_that_was_years_ahead_is_settled_too(settings: Settings) -> None:
    ahead = GoneNote(store="usb", deleted_at=NOW + 3000 * DAY, sets=(), tool_version="0.1.0")
    put_note(settings.databases[0], settings, ahead, GOING)

    pruned(settings)

    assert files_in(settings, GOING) == []


def test_a_damaged_note_keeps_nothing_from_going_and_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(settings, monkeypatch)
    (note,) = files_in(settings, GOING)
    note.write_bytes(b"damaged")

    done = pruned(settings)

    assert len(done.deleted) == 2
    assert note.name in str(done.error)
    assert "remove it" in str(done.error)


def test_where_it_cannot_be_written_the_deletion_makes_room_all_the_same(settings: Settings) -> None:
    (settings.backup_dir / ERP4.root / GOING).write_text("a file where the directory belongs")

    done = pruned(settings)

    assert len(done.deleted) == 3
    assert [store for store, _ in noted(settings)] == ["usb"]


def test_what_could_not_be_written_down_afterwards_is_still_noted_as_going(settings: Settings) -> None:
    (settings.backup_dir / ERP4.root / "gone").write_text("a file where the directory belongs")

    assert not pruned(settings).is_well

    assert len(files_in(settings, GOING)) == 1
