from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from backup_assets.settings_docs import DOCS, backup_schema, schema_text, settings_page
from backup_assets.settings_file import _Loader, read_settings_file
from backup_assets.settings_variables import VARIABLES

REMEDY = "run `python -m backup_assets.settings_docs`"


def test_the_published_page_is_that_of_the_models() -> None:
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == settings_page(), REMEDY


def test_the_published_schema_is_that_of_the_models() -> None:
    assert (DOCS / "backup.schema.json").read_text(encoding="utf-8") == schema_text(), REMEDY


def test_the_page_names_every_variable() -> None:
    assert set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", settings_page(), re.MULTILINE)) == {v.name for v in VARIABLES}


def example() -> str:
    return (DOCS / "backup.example.yaml").read_text(encoding="utf-8")


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").write_text(example())
    (tmp_path / "attachments").mkdir()
    (tmp_path / "integrity").mkdir()
    (tmp_path / "integrity" / "erp4.sql").touch()
    settings = read_settings_file(tmp_path / "backup.yaml", {"ERP4_PASSWORD": "x"}, tmp_path)
    assert [database.name for database in settings.databases] == ["erp4", "wiki"]


def test_the_schema_accepts_the_example() -> None:
    schema = backup_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.load(example(), Loader=_Loader), schema)  # noqa: S506 - ours is a safe loader


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "databases: {}",
        "databases: {erp4: {server: {password: hunter2}}}",
        "databases: {erp4: {server: {embedded: true}}}",
        "databases: {erp4: {name: erp4}}",
        "databases: {Erp-4: {}}",
        "{is_demo: true, databases: {erp4: {}}}",
        "databases: {erp4: {attachments: {}}}",
        "{databases: {erp4: {}}, stores: {usb: {directory: /mnt/usb}}}",
        "{databases: {erp4: {}}, stores: {local: {kind: folder, directory: /mnt/usb}}}",
        "{databases: {erp4: {}}, stores: {Usb: {kind: folder, directory: /mnt/usb}}}",
        "{databases: {erp4: {}}, stores: {usb: {name: usb, kind: folder, directory: /mnt/usb}}}",
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(text: str, tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.load(text, Loader=_Loader), backup_schema())  # noqa: S506 - ours is a safe loader
