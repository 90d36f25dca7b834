from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.errors import Refused
from backup_assets.watch.memory import Cursor, Remembered, memory_path, one_at_a_time, recall, remember
from backup_assets_tests.watch.stores_at_work import settings_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    what = Remembered(cursor=Cursor(updated_at=NOW, seen=("1", "2")))

    remember(settings, "erp4", what)

    assert recall(settings, "erp4") == (what, "")
    assert recall(settings, "crm") == (Remembered(), "")
    assert [path.name for path in memory_path(settings, "erp4").parent.iterdir()] == ["prod.erp4.json"]


def test_environments_that_share_a_directory_do_not_share_a_memory(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    assert memory_path(settings, "erp4") != memory_path(settings.model_copy(update={"env": "test"}), "erp4")


def test_what_cannot_be_written_is_kept_by_this_process(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    what = Remembered(cursor=Cursor(updated_at=NOW))
    settings.backup_dir.write_text("a file where the directory belongs")

    with pytest.raises(OSError, match="directory"):
        remember(settings, "erp4", what)

    assert recall(settings, "erp4") == (what, "")
    settings.backup_dir.unlink()
    remember(settings, "erp4", what)
    assert recall(settings, "erp4") == (what, "")


def test_one_look_at_a_time(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    with one_at_a_time(settings), pytest.raises(Refused, match="not ended"), one_at_a_time(settings):
        pytest.fail("two at once")
    with one_at_a_time(settings):
        pass
