"""What a backup.yaml says, and on which line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backup_assets.errors import SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_env import common_settings, encryption_tree, store_tree, watch_tree
from backup_assets.settings_misspelled import refuse_misspelled
from backup_assets.settings_tree import Loc, Problem, dotted, settings_from_tree
from backup_assets.settings_variables import (
    COMMON_FIELDS,
    database_variables,
    encryption_variables,
    field_of,
    store_variables,
    values_set,
    watch_variables,
)

#: Larger than any list of databases; keeps a wrong path (a dump) from being read into memory.
LARGEST_FILE_BYTES = 1 << 20
#: Aliases can make a small file unfold without end.
MOST_VALUES = 100_000
#: Fields of stores and encryption that are paths of this machine.
_PATHS = ("directory", "ssh_key", "known_hosts", "gpg_homedir", "gpg_passphrase_file", "age_identity_file")
REMEDY = "correct it; docs/settings.md describes every field"


# libyaml reads several times as fast, where PyYAML was built with it.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """YAML 1.2 scalars: `12:30` is text and not 750, `no` is text and not false, a date is text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - read by PyYAML


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)  # fmt: skip


@dataclass
class _Document:
    """Plain values made from YAML nodes, with the line of each."""

    lines: dict[Loc, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    values: int = 0

    def value(self, node: yaml.Node, loc: Loc) -> object:
        self.values += 1
        if self.values > MOST_VALUES or len(loc) > 32:
            raise SettingsError(
                "the settings unfold without end",
                why=f"line {node.start_mark.line + 1}: an alias repeats too much, or itself",
                remedy="write the values out",
            )
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(entry, (*loc, index)) for index, entry in enumerate(node.value)]
        return self.scalar(node, loc)

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.lines[(*loc, "?")] = line
                self.problems.append(Problem((*loc, "?"), "a field's name is a single word"))
                continue
            key = str(key_node.value)
            place = (*loc, key)
            if key in result:
                # An own place, so that the line is that of the repetition.
                again = (*loc, f"{key} ")
                self.lines[again] = line
                self.problems.append(Problem(again, f"written twice; first on line {self.lines[place]}"))
                continue
            self.lines[place] = line
            result[key] = self.value(value_node, place)
        return result

    def scalar(self, node: yaml.Node, loc: Loc) -> object:
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) < 20:
                return int(text)
            case "float" if len(text) < 40:
                return float(text)
            case _:
                self.problems.append(Problem(loc, "a YAML tag or number that is not understood here"))
                return None


def read_settings_file(path: Path, environment: Mapping[str, str], directory: Path) -> Settings:
    """Return the settings that the YAML file ``path`` makes; ``directory`` shortens its name in messages.

    Secrets come from ``environment`` or the files that are named. ``APP_ENV``, ``BACKUP_DIR`` and ``PG_BIN_DIR`` apply
    where the file is silent. Raises SettingsError naming every mistake with its line, and when other variables would
    configure a database beside the file.
    """
    shown = str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
    document, root = _Document(), _parse(path, shown)
    tree = document.value(root, ()) if root is not None else {}
    problems = list(document.problems)
    settings, secret_variables = None, frozenset[str]()
    from_variables: dict[str, str] = {}
    if not isinstance(tree, dict):
        problems.append(Problem((), "expected fields such as `databases:`"))
    else:
        common = common_settings(environment, directory)
        for name, variable in COMMON_FIELDS.items():
            value = getattr(common, name)
            if value is not None and name in tree and tree[name] != value:
                problems.append(
                    Problem((name,), f"the environment variable {variable} sets this too; unset it or remove the field")
                )
            elif value is not None and name not in tree:
                tree[name] = str(value)
                from_variables[name] = variable
        problems += _add_parts(tree, environment, directory, from_variables)
        outcome = settings_from_tree(tree, path.parent.absolute(), environment)
        settings, secret_variables = outcome.settings, outcome.secret_variables
        problems += outcome.problems
    _refuse_ambiguity(environment, secret_variables, shown)
    if problems:
        raise _mistakes(problems, document.lines, shown, from_variables)
    if settings is None:
        raise AssertionError("no settings and no problem")
    return settings


def _add_parts(
    tree: dict[str, object], environment: Mapping[str, str], directory: Path, from_variables: dict[str, str]
) -> list[Problem]:
    """Complete a file that is silent about stores, encryption or the watch by variables; return what contradicts it."""
    given = values_set(environment)
    parts: tuple[tuple[str, dict[str, Any], list[str]], ...] = (
        ("stores", store_tree(environment), store_variables(given)),
        ("encryption", encryption_tree(environment), encryption_variables(given)),
        ("watch", watch_tree(environment), watch_variables(given)),
    )
    problems: list[Problem] = []
    for name, part, variables in parts:
        named = ", ".join(variables)
        if part and name in tree:
            text = f"the environment sets {name} too ({named}); unset that or remove the name"
            problems.append(Problem((name,), text))
        elif part:
            _count_from(directory, part)
            tree[name] = part
            from_variables[name] = named
    return problems


def _count_from(directory: Path, part: dict[str, Any]) -> None:
    """Make relative paths that variables gave relative to where the command is typed, not to the file."""
    for name, value in part.items():
        if isinstance(value, dict):
            _count_from(directory, value)
        elif name in _PATHS:
            part[name] = str(directory / Path(str(value)).expanduser())


def _refuse_ambiguity(environment: Mapping[str, str], secret_variables: frozenset[str], shown: str) -> None:
    own = {name: value for name, value in environment.items() if name not in secret_variables}
    refuse_misspelled(own)
    stray = database_variables(values_set(own))
    if stray:
        fields = ", ".join(f"{name} ({field_of(name)})" for name in stray)
        raise SettingsError(
            f"both {shown} and {', '.join(stray)} configure a database",
            why=f"either could be meant; the variables set {fields}",
            remedy=f"unset the variables, or remove {shown}",
        )


def _parse(path: Path, shown: str) -> yaml.Node | None:
    try:
        with path.open("rb") as handle:
            content = handle.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"the settings file {shown} cannot be read",
            why=error.strerror or str(error),
            remedy="correct BACKUP_CONFIG or the file's permissions",
        ) from error
    if len(content) > LARGEST_FILE_BYTES:
        raise SettingsError(
            f"{shown} is larger than {LARGEST_FILE_BYTES} bytes",
            why="no settings file is",
            remedy="correct BACKUP_CONFIG",
        )
    try:
        return yaml.compose(content.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{shown}:{line}: not UTF-8 text", remedy="save the file as UTF-8") from error
    except yaml.reader.ReaderError as error:
        raise SettingsError(
            f"{shown}: holds a character that YAML does not allow (number {error.position + 1})", remedy=REMEDY
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Words in quotes may be part of a password (`password: *x`); names of tokens in <> are not.
        problem = re.sub(r"'[^'<][^']+'", "", error.problem or error.context or "not YAML").replace("  ", " ").strip()
        line = mark.line + 1 if mark else 1
        raise SettingsError(f"{shown}:{line}: not YAML: {problem}", remedy=REMEDY) from None


def _mistakes(
    problems: list[Problem], lines: Mapping[Loc, int], shown: str, from_variables: Mapping[str, str]
) -> SettingsError:
    located: list[tuple[int, str]] = []
    for problem in problems:
        if problem.loc and problem.loc[0] in from_variables:
            located.append((0, f"{from_variables[str(problem.loc[0])]}: {problem.text}"))
            continue
        place = problem.loc
        while place and place not in lines:
            place = place[:-1]
        line = lines.get(place, 1)
        where = f"{dotted(problem.loc).rstrip()}: " if problem.loc else ""
        located.append((line, f"{shown}:{line}: {where}{problem.text}"))
    located.sort(key=lambda entry: entry[0])
    texts = [text for _, text in located]
    if len(texts) == 1:
        return SettingsError(texts[0], remedy=REMEDY)
    return SettingsError(
        "\n".join([f"{len(texts)} mistakes in {shown}:", *texts]), remedy=REMEDY.replace(" it", " them")
    )
