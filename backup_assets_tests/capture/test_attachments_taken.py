from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.errors import EnvironmentFault
from backup_assets.sets.manifest import Hold
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.sources import Source, capture, listed, no_log


def test_a_set_that_is_held_needs_no_other_where_a_bucket_removes_sets_by_class(a_database: Source, tmp_path: Path):
    (tmp_path / "attachments").mkdir()
    (tmp_path / "attachments" / "1.pdf").write_text("an invoice")
    plain = a_database.settings(attachments=AttachmentsSettings(directory=tmp_path / "attachments"))
    bucket = StoreSettings(name="s3", kind="s3", bucket="backups", sse_s3="AES256", retention_tags=True)
    removing = plain.model_copy(update={"stores": (bucket,)})
    hold = Hold(reason="release 4.2")

    modes = []
    for settings, asked in ((plain, None), (plain, hold), (removing, None), (removing, hold)):
        attachments = a_database.captured(settings, hold=asked).manifest.attachments
        assert attachments is not None
        modes.append(attachments.mode)

    assert modes == ["full", "differential", "differential", "full"]


def test_attachments_that_change_at_every_read_are_a_warning_of_the_set(a_database: Source, tmp_path: Path):
    (tmp_path / "attachments").mkdir()
    ledger = tmp_path / "attachments" / "ledger.xlsx"
    ledger.write_bytes(bytes(9 << 20))
    (tmp_path / "attachments" / "1.pdf").write_text("an invoice")
    settings = a_database.settings(attachments=AttachmentsSettings(directory=tmp_path / "attachments"))

    def save(stage: str, done_bytes: int, expected_bytes: int | None) -> None:
        if stage == "attachments":
            with ledger.open("ab") as handle:
                handle.write(b"more")

    request = CaptureRequest(slot=f"{datetime.now(UTC):%Y-%m-%d}", run_id=str(uuid.uuid4()))
    torn = Capture(settings.databases[0], settings, request, progress=save, log=no_log).run().manifest
    calm = capture(settings).manifest

    (warning,) = torn.warnings
    assert "may be stored half old, half new: ledger.xlsx;" in warning
    assert calm.warnings == ()


def test_a_directory_that_is_suddenly_empty_is_no_set_as_a_share_may_not_be_mounted(a_database: Source, tmp_path: Path):
    directory = tmp_path / "attachments"
    directory.mkdir()
    (directory / "1.pdf").write_text("an invoice")
    settings = a_database.settings(attachments=AttachmentsSettings(directory=directory))
    whole = a_database.captured(settings)
    (directory / "1.pdf").unlink()

    with pytest.raises(EnvironmentFault, match="is empty, the last set had 1 files"):
        a_database.captured(settings)

    assert [one.id for one in listed(settings)] == [whole.manifest.id]

    (directory / "no longer used.txt").touch()
    assert a_database.captured(settings).manifest.id == listed(settings)[0].id
