from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.retention.gone import GONE, GoneNotes, read_gone
from backup_assets.retention.pruning import Pruned, prune, survey
from backup_assets.sets.place import META
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets_tests.offsite.copying import folder_store, settings_with
from backup_assets_tests.sets.examples import ERP4, put_record, put_set
from backup_assets_tests.sets.histories import NOW, nightly

FEW = RetentionSettings(daily=3, weekly=1, monthly=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    made = settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))
    return made.model_copy(update={"databases": (made.databases[0].model_copy(update={"retention": FEW}),)})


def filled(settings: Settings, name: str = "local") -> list[str]:
    sets = nightly(6)
    store = store_named(settings, name, writing=True)
    for one in sets:
        put_set(store, one.manifest)
        for record in one.records:
            put_record(store, record)
    return [one.id for one in sets]


def pruned(settings: Settings, name: str = "local") -> Pruned:
    database = settings.databases[0]
    return prune(database, settings, name, apply=True, surveyed=survey(database, settings, now=NOW))


def notes_of(settings: Settings, *, days: int = 31) -> GoneNotes:
    return read_gone(settings.databases[0], settings, since=NOW - timedelta(days=days))


def test_what_was_deleted_is_written_down_with_its_proof_and_the_reason(settings: Settings):
    ids = filled(settings)
    pruned(settings)

    (note,) = notes_of(settings).notes

    assert (note.store, note.deleted_at) == ("local", NOW)
    assert [one.id for one in note.sets] == ids[3:]
    first = note.sets[0]
    assert first.complete
    assert first.verified is not None
    assert first.verified.level == "restored"
    assert first.size_bytes > 0
    assert first.reasons == ("outlived",)


def test_what_another_store_loses_is_written_down_in_the_local_one(settings: Settings):
    filled(settings, "local")
    filled(settings, "usb")
    pruned(settings, "usb")

    assert [note.store for note in notes_of(settings).notes] == ["usb"]
    assert len(list(local_store(settings).list(ERP4.key(META)))) == 12


def test_a_run_that_deletes_nothing_writes_nothing(settings: Settings):
    filled(settings)
    pruned(settings)
    pruned(settings)

    assert len(list(local_store(settings).list(ERP4.key(GONE)))) == 1


def test_a_damaged_note_is_told_and_hides_no_other(settings: Settings):
    filled(settings, "local")
    filled(settings, "usb")
    pruned(settings)
    pruned(settings, "usb")
    (broken, _) = sorted((settings.backup_dir / ERP4.key(GONE)).iterdir())
    broken.write_bytes(broken.read_bytes().replace(b"restored", b"restorex", 1))

    found = notes_of(settings)

    assert [Path(key).name for key in found.damaged] == [broken.name]
    assert len(found.notes) == 1


def test_only_notes_from_a_time_on_are_read(settings: Settings):
    filled(settings)
    pruned(settings)

    assert read_gone(settings.databases[0], settings, since=NOW + timedelta(seconds=1)).notes == ()


def test_a_note_that_cannot_be_written_is_told_and_the_sets_are_gone(settings: Settings):
    ids = filled(settings)
    (settings.backup_dir / ERP4.root / GONE).write_text("a file where the directory belongs")

    done = pruned(settings)

    assert done.error is not None
    assert {one.set_id for one in done.deleted} == set(ids[3:])
    assert not done.is_well
