from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.errors import EnvironmentFault
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets_tests.sources import Source, listed, no_log


def test_a_set_of_which_a_file_was_removed_meanwhile_is_not_committed(a_database: Source, tmp_path: Path):
    (tmp_path / "attachments").mkdir()
    (tmp_path / "attachments" / "1.pdf").write_bytes(b"%PDF")
    settings = a_database.settings(attachments=AttachmentsSettings(directory=tmp_path / "attachments"))
    removed: list[Path] = []

    def remove_the_dump(stage: str, done_bytes: int, expected_bytes: int | None) -> None:
        for path in settings.backup_dir.rglob("db/*.dump") if stage == "attachments" else ():
            path.unlink()
            removed.append(path)

    asked = CaptureRequest(slot=f"{datetime.now(UTC):%Y-%m-%d}", run_id=str(uuid.uuid4()))
    with pytest.raises(EnvironmentFault, match="is not committed") as fault:
        Capture(settings.databases[0], settings, asked, progress=remove_the_dump, log=no_log).run()

    assert [path.name in fault.value.why for path in removed] == [True]
    assert listed(settings) == []
