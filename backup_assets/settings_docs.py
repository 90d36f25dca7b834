"""How the settings are published: docs/settings.md and docs/backup.schema.json, made from the models."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_model import Name
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_tree import NAMED, file_fields, inner_type, is_model
from backup_assets.settings_variables import VARIABLES

DOCS = Path(__file__).parent.parent / "docs"
_SECRET_SCHEMA = {
    "description": "Where the secret is: the secret itself is never written in the file.",
    "oneOf": [
        {
            "type": "object",
            "properties": {"env": {"type": "string", "description": "Environment variable that holds it."}},
            "required": ["env"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"file": {"type": "string", "description": "File that holds it, on one line."}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ],
}

_INTRODUCTION = """\
# Settings

<!-- Made by `python -m backup_assets.settings_docs`; change the models or the table of variables, not this page. -->

One place configures everything, looked for in this order:

1. the YAML file that `BACKUP_CONFIG` names, else `backup.yaml` in the current directory;
2. environment variables for one database, when `DB_NAME`, `DB_HOST` or `DB_CONTAINER` is set;
3. the embedded demo.

A file and variables that both configure a database are refused, as is a variable that looks like a misspelling of one
below (where another program needs it, set the one below too, to nothing if need be), and `ALERT_URLS` or
`HEARTBEAT_URL` where no database is configured, unless `BACKUP_DEMO_HOME` asks for the demo.
Variables of everything (`APP_ENV`, `BACKUP_DIR`, `PG_BIN_DIR`, and those of stores, encryption and the watch)
complete a file that is silent about them. An empty variable counts as unset. Every mistake is reported at once, in a
file with its line.

## backup.yaml

Relative paths count from the file's directory, and `~` is the home directory. A secret is never written in the file:
`password: {env: VARIABLE}` or `password: {file: PATH}` says where it is. `at: 12:30`, `no` and dates need no quotes.
An example is in [backup.example.yaml](backup.example.yaml), the JSON Schema for editors in
[backup.schema.json](backup.schema.json).
"""
_VARIABLES_INTRODUCTION = """
## Environment variables

For one database, whose name here is made from `BACKUP_PREFIX`, else from `DB_NAME`, and for the stores `s3`, `s3_copy`,
`folder` and `remote`. Relative paths count from the current directory.

| Variable | Sets | Meaning |
|---|---|---|
"""


def backup_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of backup.yaml."""
    schema = Settings.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    for name, model in {**_models(Settings), "": Settings}.items():
        part = definitions[name] if name else schema
        fields = file_fields(model)
        part["properties"] = {key: value for key, value in part["properties"].items() if key in fields}
        for key, info in fields.items():
            if inner_type(info.annotation) is SecretStr:
                part["properties"][key] = _SECRET_SCHEMA
            elif get_args(inner_type(info.annotation))[:1] == (SecretStr,):
                part["properties"][key]["items"] = _SECRET_SCHEMA
            elif isinstance(info.default, BaseModel):
                part["properties"][key].pop("default", None)  # it would name fields that a file cannot set
        required = [key for key in part.get("required", ()) if key in fields]
        part.pop("required", None)
        if model is DatabaseSettings:
            required.remove("database")  # left out it is the name
        if required:
            part["required"] = required
    pattern = next(info.pattern for info in get_args(Name)[1].metadata if hasattr(info, "pattern"))
    schema["properties"]["databases"] = {
        "type": "object",
        "description": "The databases, by name.",
        "propertyNames": {"pattern": pattern},
        "additionalProperties": {"$ref": "#/$defs/DatabaseSettings"},
        "minProperties": 1,
    }
    schema["properties"]["stores"] = {
        "type": "object",
        "description": Settings.model_fields["stores"].description,
        "propertyNames": {"pattern": pattern, "not": {"const": "local"}},
        "additionalProperties": {"$ref": f"#/$defs/{StoreSettings.__name__}"},
    }
    schema |= {"title": "backup.yaml", "description": "What backup_assets backs up."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as it is published in docs/backup.schema.json."""
    return json.dumps(backup_schema(), indent=1, ensure_ascii=False) + "\n"


def settings_page() -> str:
    """Return docs/settings.md: every field and every environment variable."""
    lines = _INTRODUCTION.splitlines()
    lines += _section("Top level", Settings)
    for path, model in _sections(Settings, ""):
        lines += _section(f"`{path}`", model)
    lines += _VARIABLES_INTRODUCTION.splitlines()
    for variable in VARIABLES:
        field = f"`{variable.field.replace('*', 'NAME')}`" if variable.field else ""
        lines.append(f"| `{variable.name}` | {field} | {_cell(variable.description)} |")
    return "\n".join(lines) + "\n"


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for _, inner in _sections(model, ""):
        found.setdefault(inner.__name__, inner)
    return found


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in file_fields(model).items():
        kind, place = inner_type(info.annotation), f"{path}{name}"
        if get_origin(kind) is tuple:
            kind = inner_type(get_args(kind)[0])
            place += ".NAME" if kind in NAMED else "[]"
        if is_model(kind):
            yield place, kind  # type: ignore[misc]
            yield from _sections(kind, f"{place}.")  # type: ignore[arg-type]


def _section(title: str, model: type[BaseModel]) -> list[str]:
    lines = ["", f"### {title}", "", _cell((model.__doc__ or "").split("\n")[0]), ""]
    lines += ["| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, info in file_fields(model).items():
        default = "the name" if (model, name) == (DatabaseSettings, "database") else _default(info)
        lines.append(f"| `{name}` | {_type(info.annotation)} | {default} | {_cell(info.description or '')} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default is None or info.default in ((), "") or isinstance(info.default, BaseModel):
        return ""
    return f"`{info.default}`"


def _type(annotation: object) -> str:
    kind = annotation
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_type(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        inner = inner_type(get_args(kind)[0])
        return "mapping by name" if inner in NAMED else f"list of {_type(inner)}"
    if is_model(kind):
        return "mapping"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        Path: "path",
        SecretStr: "where a secret is",
        bool: "bool",
    }
    return names.get(kind, getattr(kind, "__name__", "text"))  # type: ignore[arg-type]


def main() -> None:
    """Write both files."""
    DOCS.mkdir(exist_ok=True)
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")
    (DOCS / "backup.schema.json").write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
