from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.local import local_store
from backup_assets.restore.recording import store_record
from backup_assets.sets.records import record_key
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.offsite.copying import settings_with
from backup_assets_tests.sets.examples import ERP4, a_manifest, a_verification
from backup_assets_tests.stores.faulty import Fault, FaultyStore

RECORD = a_verification(a_manifest().id, store="usb")
KEY = record_key(ERP4, RECORD)


def test_a_record_lies_beside_the_set_that_it_is_about(tmp_path: Path) -> None:
    settings, usb = settings_with(tmp_path / "local"), FolderStore(tmp_path / "usb", "usb")

    assert store_record(usb, settings, ERP4, RECORD, print) == "usb"

    assert usb.path_of(KEY).read_bytes() == RECORD.to_json()
    assert not (tmp_path / "local").exists()


def test_a_store_that_does_not_take_it_leaves_it_to_the_local_one_and_that_is_said(tmp_path: Path) -> None:
    settings, lines = settings_with(tmp_path / "local"), list[str]()
    read_only = FaultyStore(FolderStore(tmp_path / "usb", "usb"), Fault("put", "fail", nth=None))

    assert store_record(read_only, settings, ERP4, RECORD, lines.append) == "local"

    assert local_store(settings).path_of(KEY).read_bytes() == RECORD.to_json()
    assert lines[0].startswith("the verification is recorded in the local store, because usb did not take it")


def test_a_record_that_no_store_takes_is_an_error(tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "local")
    (tmp_path / "local").write_text("in the way")
    read_only = FaultyStore(FolderStore(tmp_path / "usb", "usb"), Fault("put", "fail", nth=None))

    with pytest.raises(EnvironmentFault):
        store_record(read_only, settings, ERP4, RECORD, print)
    with pytest.raises(TransientFault):
        store_record(FaultyStore(local_store(settings), Fault("put", "fail", nth=None)), settings, ERP4, RECORD, print)
