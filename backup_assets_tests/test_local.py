from __future__ import annotations

import os
import time
from pathlib import Path

from backup_assets.local import WORK_DIRECTORY, work_directory
from backup_assets.settings_loading import load_settings


def test_the_directory_of_a_run_that_has_just_ended_disturbs_nobody(tmp_path: Path) -> None:
    settings = load_settings({"BACKUP_DIR": str(tmp_path), "DB_NAME": "erp4"}, tmp_path)
    (tmp_path / WORK_DIRECTORY).mkdir(mode=0o700)
    # Listed, and gone when it is looked at.
    (tmp_path / WORK_DIRECTORY / "erp-gone").symlink_to(tmp_path / "nowhere")

    with work_directory(settings, "erp") as own:
        assert own.is_dir()
    assert not own.exists()


def test_a_run_of_days_keeps_its_directory_and_one_that_was_killed_does_not(tmp_path: Path) -> None:
    settings = load_settings({"BACKUP_DIR": str(tmp_path), "DB_NAME": "erp4"}, tmp_path)
    two_days_ago = time.time() - 48 * 3600
    with work_directory(settings, "long") as at_work:
        killed = at_work.with_name("erp-killed")
        killed.mkdir()
        for directory in (at_work, killed):
            os.utime(directory, (two_days_ago, two_days_ago))

        with work_directory(settings, "erp"):
            assert at_work.is_dir()
            assert not killed.exists()
