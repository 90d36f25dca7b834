"""Keys: made from names and taken apart again."""

from __future__ import annotations

import pytest

from backup_assets.sets.place import Place, is_manifest, record_kind_of, set_id_of, split_key
from backup_assets_tests.sets.examples import ERP4, NOW

ID = "2026-11-22-20261121T170003Z-1a2b3c4d"


def test_keys_are_made_as_the_design_says() -> None:
    assert ERP4.key(f"db/{ID}.dump") == f"erp4/prod/db/{ID}.dump"
    assert ERP4.manifest_key(ID) == f"erp4/prod/meta/{ID}.manifest.json"
    assert ERP4.record_key(ID, "hold", NOW, "0a1b2c3d") == f"erp4/prod/meta/{ID}.hold.20261122T120000Z-0a1b2c3d.json"
    assert Place("", "prod").key("db/x") == "prod/db/x"
    assert Place("backups/erp4", "prod").key("db/x") == "backups/erp4/prod/db/x"


def test_a_name_is_read_from_a_key_of_the_same_place_only() -> None:
    assert ERP4.name(ERP4.key("db/x")) == "db/x"
    with pytest.raises(ValueError, match="does not lie in erp4/prod"):
        ERP4.name("erp4/production/db/x")


def test_a_key_splits_into_its_place_and_its_name() -> None:
    assert split_key("backups/erp4/prod/db/x") == ("backups/erp4/prod", "db/x")
    assert split_key("erp4/prod/other/x") is None
    assert split_key("db/x") is None


def test_manifests_and_records_are_told_by_their_names() -> None:
    record = ERP4.name(ERP4.record_key(ID, "verification", NOW, "0a1b2c3d"))

    assert is_manifest(f"meta/{ID}.manifest.json")
    assert not is_manifest(record)
    assert not is_manifest(f"db/{ID}.manifest.json")
    assert record_kind_of(record) == "verification"
    assert record_kind_of(f"meta/{ID}.manifest.json") is None
    assert record_kind_of("meta/notes.hold.20261122T120000Z-0a1b2c3d.json") is None
    assert set_id_of(record) == ID
