from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.aws.rds.restored_regions import DIRECTORY, note_region, noted_regions
from backup_assets.errors import EnvironmentFault
from backup_assets.settings import DatabaseSettings, Settings


def settings_in(backup_dir: Path) -> Settings:
    return Settings(backup_dir=backup_dir, databases=(DatabaseSettings(name="erp4", database="erp4"),))


def test_a_region_is_remembered_once_and_for_good(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert noted_regions(settings) == ()
    for region in ("ap-northeast-3", "ap-northeast-1", "ap-northeast-3"):
        note_region(settings, region)
    assert noted_regions(settings) == ("ap-northeast-1", "ap-northeast-3")
    assert (tmp_path / DIRECTORY).stat().st_mode & 0o777 == 0o700


def test_other_files_there_are_no_regions(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    note_region(settings, "ap-northeast-1")
    (tmp_path / DIRECTORY / "ap-northeast-3.1a2b3c4d.partial").touch()
    assert noted_regions(settings) == ("ap-northeast-1",)


def test_nothing_is_restored_where_that_cannot_be_written_down(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).touch()
    with pytest.raises(EnvironmentFault, match="could not note the region ap-northeast-1"):
        note_region(settings_in(tmp_path), "ap-northeast-1")
