"""Which settings do the environment variables make?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup_assets.errors import SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_rules_env import contradicting_variables
from backup_assets.settings_tree import Loc, Problem, dotted, settings_from_tree
from backup_assets.settings_variables import VARIABLES, values_set

#: The stores that variables can describe, with what their names already say.
STORES: dict[str, dict[str, object]] = {
    "s3": {"kind": "s3"},
    "s3_copy": {"kind": "s3", "copied_from": "s3", "region": "ap-northeast-3"},
    "folder": {"kind": "folder"},
    "remote": {"kind": "ssh"},
}
_CIPHERS = {"GPG_RECIPIENT": "gpg", "AGE_RECIPIENT": "age"}
_REMEDY = "correct the variables; docs/settings.md describes each"


@dataclass(frozen=True)
class CommonSettings:
    """What variables say about everything; None where they say nothing. Paths are absolute."""

    env: str | None
    backup_dir: Path | None
    client_bin_dir: Path | None


def common_settings(environment: Mapping[str, str], directory: Path) -> CommonSettings:
    """Return what variables say about everything; relative paths count from ``directory``."""
    given = values_set(environment)
    paths = {
        name: directory / Path(given[name]).expanduser() if name in given else None
        for name in ("BACKUP_DIR", "PG_BIN_DIR")
    }
    return CommonSettings(given.get("APP_ENV"), paths["BACKUP_DIR"], paths["PG_BIN_DIR"])


def store_tree(environment: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return what variables say about stores, in the shape of the field `stores` of backup.yaml."""
    given = values_set(environment)
    tree: dict[str, dict[str, object]] = {}
    for variable in VARIABLES:
        if variable.of_store is not None and variable.name in given:
            store = tree.setdefault(variable.of_store, dict(STORES[variable.of_store]))
            store[variable.field.rpartition(".")[2]] = variable.convert(given[variable.name])
    return tree


def encryption_tree(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what variables say about encryption, in the shape of the field `encryption` of backup.yaml."""
    given = values_set(environment)
    tree: dict[str, object] = {}
    for variable in VARIABLES:
        if variable.of_encryption and variable.name in given:
            field, value = variable.field.rpartition(".")[2], variable.convert(given[variable.name])
            tree |= {field: value} | ({"cipher": _CIPHERS[variable.name]} if variable.name in _CIPHERS else {})
    return tree


def watch_tree(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what variables say about the watch, in the shape of the field `watch` of backup.yaml."""
    given = values_set(environment)
    tree: dict[str, object] = {}
    for variable in VARIABLES:
        if variable.of_watch and variable.name in given:
            secret = {"env": variable.name}
            field = variable.field.rpartition(".")[2]
            value = [secret] if field == "channels" else secret
            tree[field] = value if variable.secret else variable.convert(given[variable.name])
    return tree


def stores_and_encryption(environment: Mapping[str, str], directory: Path) -> Settings:
    """Return what variables say of both and of the watch, in settings without a use else.

    Raises SettingsError naming what is wrong.
    """
    given = values_set(environment)
    if wrong := contradicting_variables(given | {"DB_NAME": "demo"}):
        raise _mistakes([f"{name}: {text}" for name, text in wrong])
    tree = {
        "databases": {"demo": {}},
        "stores": store_tree(environment),
        "encryption": encryption_tree(environment),
        "watch": watch_tree(environment),
    }
    tree |= {"backup_dir": given["BACKUP_DIR"]} if "BACKUP_DIR" in given else {}
    outcome = settings_from_tree(tree, directory, environment)
    if outcome.problems:
        raise _mistakes([f"{_where(problem, 'demo')}: {problem.text}" for problem in outcome.problems])
    if outcome.settings is None:
        raise AssertionError("no settings and no problem")
    return outcome.settings


def settings_from_variables(environment: Mapping[str, str], directory: Path) -> Settings:
    """Return the settings of the one database that variables describe; relative paths count from ``directory``.

    Raises SettingsError naming every variable that is missing or wrong.
    """
    given = values_set(environment)
    combinations = contradicting_variables(given)
    refused = {name for name, _ in combinations}
    problems = [f"{name}: {text}" for name, text in combinations]
    name = _derived_name(given)
    if name is None and "DB_NAME" in given:
        problems.append("BACKUP_PREFIX: missing; no name with latin letters can be made from DB_NAME")
    name = name or "database"
    stores = store_tree(environment)
    tree: dict[str, Any] = {"stores": stores} if stores else {}
    if encryption := encryption_tree(environment):
        tree["encryption"] = encryption
    if watch := watch_tree(environment):
        tree["watch"] = watch
    for variable in VARIABLES:
        # What does not go together is left out here: its consequences are no mistakes of their own.
        elsewhere = variable.of_store or variable.of_encryption or variable.of_watch
        if variable.field and not elsewhere and variable.name in given and variable.name not in refused:
            value = {"env": variable.name} if variable.secret else variable.convert(given[variable.name])
            _put(tree, variable.field.replace("*", name).split("."), value)
    outcome = settings_from_tree(tree, directory, environment)
    for problem in outcome.problems:
        where = _where(problem, name)
        if where not in refused:
            problems.append(f"{where}: {problem.text}")
    if problems:
        raise _mistakes(problems)
    if outcome.settings is None:
        raise AssertionError("no settings and no problem")
    return outcome.settings


def _mistakes(problems: list[str]) -> SettingsError:
    heading = [f"{len(problems)} mistakes in the environment:"] if len(problems) > 1 else []
    return SettingsError("\n".join([*heading, *problems]), remedy=_REMEDY)


def _derived_name(given: Mapping[str, str]) -> str | None:
    source = given.get("BACKUP_PREFIX") or given.get("DB_NAME", "")
    name = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_")
    if name[:1].isdigit():
        name = f"db_{name}"
    return name[:63] or None


def _put(tree: dict[str, Any], path: list[str], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _where(problem: Problem, name: str) -> str:
    """Return the variable that sets the field of the problem, or the field where there is none."""
    loc: Loc = tuple("*" if index == 1 and part == name else part for index, part in enumerate(problem.loc))
    if loc[:2] == ("encryption", "recipients"):
        return "GPG_RECIPIENT or AGE_RECIPIENT"
    for length in range(len(loc), 0, -1):
        for variable in VARIABLES:
            if variable.field == dotted(loc[:length]):
                return variable.name
    return dotted(problem.loc)
