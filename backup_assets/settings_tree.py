"""Whether a tree of plain values, as a file or the variables gave it, makes valid settings: every mistake at once."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_model import OursAlone
from backup_assets.settings_rules import contradictions
from backup_assets.settings_stores import StoreSettings

Loc = tuple[str | int, ...]
#: Models that a file gives as mappings by name: the field that holds them, and what they are called in messages.
NAMED: dict[object, tuple[str, str]] = {
    DatabaseSettings: ("databases", "databases"),
    StoreSettings: ("stores", "stores"),
}
#: Longest secret that is read from a file, in bytes.
SECRET_FILE_BYTES = 64 * 1024
#: What the patterns of the models mean, for people.
PATTERN_MEANING = {
    r"^[a-z][a-z0-9_]{0,62}$": "lower-case letters, digits and `_`, beginning with a letter, at most 63",
    r"^([01]\d|2[0-3]):[0-5]\d$": "a time of day such as 02:00",
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9_-]*$": "letters, digits, `_` and `-`, beginning with a letter or digit",
    r"^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$": "letters, digits and single hyphens, beginning with a letter",
    r"^[a-z]{2}(-[a-z]+)+-\d+$": "a region such as ap-northeast-1",
    r"^\d{12}$": "the twelve digits of an account",
    r"^[A-Za-z0-9_-]{2,50}$": "2 to 50 letters, digits, `_` and `-`",
    r"^[a-z][a-z0-9-]{0,30}$": "lower-case letters, digits and `-`, beginning with a letter, at most 31",
}


@dataclass(frozen=True)
class Problem:
    """One mistake: where in the tree (databases by name), and what is wrong, without any secret."""

    loc: Loc
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of a tree: ``settings`` unless there are ``problems``; ``secret_variables`` were referred to."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    secret_variables: frozenset[str]


def settings_from_tree(tree: Mapping[Any, object], base: Path, environment: Mapping[str, str]) -> Outcome:
    """Validate ``tree`` and return its settings, or every mistake that was found in it.

    ``databases`` and ``stores`` are mappings by name. Relative paths count from ``base``; a secret is
    ``{"env": VARIABLE}`` or ``{"file": path}`` and is read here.
    """
    walk = _Walk(base, environment)
    prepared = walk.model(Settings, tree, ())
    names = {place: [entry["name"] for entry in prepared.get(place, [])] for place, _ in NAMED.values()}
    settings = None
    try:
        settings = Settings.model_validate(prepared)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            loc = _by_name(details["loc"], names)
            # Databases that are wrong inside are counted as missing.
            miscounted = details["type"] == "too_short" and loc == ("databases",) and names["databases"]
            if not miscounted and not any(loc[: len(bad)] == bad for bad in walk.bad):
                walk.problem(loc, _explain(details))
    for loc, text in contradictions(prepared):
        if loc not in walk.bad:
            walk.problem(loc, text)
    return Outcome(None if walk.problems else settings, tuple(walk.problems), frozenset(walk.secret_variables))


def file_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of ``model`` that a file may set."""
    return {
        name: info
        for name, info in model.model_fields.items()
        if not any(isinstance(mark, OursAlone) for mark in info.metadata) and not (model in NAMED and name == "name")
    }


def inner_type(annotation: object) -> object:
    """Return ``annotation`` without ``Annotated`` and ``| None``."""
    if get_origin(annotation) is Annotated:
        return inner_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        others = [part for part in get_args(annotation) if part is not type(None)]
        if len(others) == 1:
            return inner_type(others[0])
    return annotation


def is_model(annotation: object) -> bool:
    """Return whether ``annotation`` is one of our models."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def suggestion(found: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` when ``found`` looks like one of ``known``, else the empty text."""
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(found.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]}?" if close else ""


def dotted(loc: Loc) -> str:
    """Return ``loc`` as people write it."""
    return ".".join(str(part) for part in loc)


@dataclass
class _Walk:
    """Goes through a tree beside the models: unknown names, shapes, secrets and paths."""

    base: Path
    environment: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    bad: set[Loc] = field(default_factory=set)
    secret_variables: set[str] = field(default_factory=set)

    def problem(self, loc: Loc, text: str) -> None:
        self.problems.append(Problem(loc, text))
        self.bad.add(loc)

    def model(self, model: type[BaseModel], value: object, loc: Loc) -> dict[str, Any]:
        known = file_fields(model)
        if not isinstance(value, Mapping):
            self.problem(loc, f"expected a mapping of fields ({', '.join(known)}), found {_shape(value)}")
            return {}
        prepared: dict[str, Any] = {}
        for key, entry in value.items():
            if key in known:
                prepared[key] = self.value(known[key].annotation, entry, (*loc, key))
            elif model in NAMED and key == "name":
                self.problem((*loc, key), f"not a field here: the name is the key below `{NAMED[model][0]}`")
            elif key in model.model_fields:
                self.problem((*loc, key), "only the demo sets this; remove it")
            elif key == "<<":
                self.problem((*loc, key), "merge keys are not supported; name the part, as in `schedule: *nightly`")
            else:
                self.problem((*loc, str(key)), f"unknown field{suggestion(str(key), known)}")
        for key, info in known.items():
            if key not in value and isinstance(info.default, Path):
                prepared[key] = str(self.base / info.default)
        return prepared

    def value(self, annotation: object, value: object, loc: Loc) -> Any:
        kind = inner_type(annotation)
        if value is None and kind is not SecretStr:
            if type(None) not in get_args(annotation):
                self.problem(loc, "found nothing; give it a value, or remove the field")
            return [] if get_origin(kind) is tuple else None
        if get_origin(kind) is tuple:
            return self.items(get_args(kind)[0], value, loc)
        if is_model(kind):
            return self.model(kind, value, loc)  # type: ignore[arg-type]
        if kind is SecretStr:
            return self.secret(value, loc)
        if isinstance(value, Mapping | list):
            self.problem(loc, f"expected one value, found {_shape(value)}")
            return None
        if isinstance(value, bool) and kind is not bool:
            self.problem(loc, f"found {str(value).lower()}, which is no {_kind_name(kind)}; text belongs in quotes")
            return None
        if kind is Path and isinstance(value, str):
            return self.path(value, loc)
        return value

    def items(self, annotation: object, value: object, loc: Loc) -> list[Any]:
        kind = inner_type(annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind in NAMED:
            if not isinstance(value, Mapping):
                self.problem(loc, f"expected a mapping from names to {NAMED[kind][1]}, found {_shape(value)}")
                return []
            return [self.named(kind, str(name), entry, (*loc, str(name))) for name, entry in value.items()]
        if not isinstance(value, list):
            self.problem(loc, f"expected a list, found {_shape(value)}")
            return []
        return [self.value(annotation, entry, (*loc, index)) for index, entry in enumerate(value)]

    def named(self, model: type[BaseModel], name: str, entry: object, loc: Loc) -> dict[str, Any]:
        # The name on the server is the configured one unless something else is said.
        given = {"database": name} if model is DatabaseSettings else {}
        return {**given, **self.model(model, entry, loc), "name": name}

    def path(self, text: str, loc: Loc) -> str | None:
        if not text.strip() or "\0" in text:
            self.problem(loc, "found an empty path")
            return None
        if loc[-1] == "sslrootcert" and text == "system":  # libpq's word for the operating system's certificates
            return text
        return str(self.base / Path(text).expanduser())

    def secret(self, value: object, loc: Loc) -> str | None:
        if not isinstance(value, Mapping) or len(value) != 1 or set(value) - {"env", "file"}:
            self.problem(
                loc, "a secret is never written here; write {env: VARIABLE} or {file: PATH} to say where it is"
            )
            return None
        (kind, source) = next(iter(value.items()))
        if not isinstance(source, str) or not source:
            self.problem((*loc, kind), f"expected the name of a {'variable' if kind == 'env' else 'file'}")
            self.bad.add(loc)
            return None
        if kind == "file":
            return self.secret_file(source, loc)
        self.secret_variables.add(source)
        text = self.environment.get(source, "")
        if not text:
            # A password written where the name belongs is not repeated.
            named = f" {source}" if source.isascii() and source.isidentifier() and source.isupper() else ""
            self.problem(loc, f"the environment variable{named} that it names is not set or is empty")
            return None
        return text

    def secret_file(self, source: str, loc: Loc) -> str | None:
        path = self.base / Path(source).expanduser()
        try:
            with path.open("rb") as handle:
                content = handle.read(SECRET_FILE_BYTES + 1)
            text = content.decode().removesuffix("\n").removesuffix("\r")
        except OSError as error:
            self.problem(loc, f"the secret's file {path} cannot be read: {error.strerror}")
            return None
        except UnicodeDecodeError:
            self.problem(loc, f"the secret's file {path} is not UTF-8 text")
            return None
        if not text or "\n" in text or "\0" in text or len(content) > SECRET_FILE_BYTES:
            self.problem(loc, f"the secret's file {path} must hold the secret on one line and nothing else")
            return None
        return text


def _by_name(loc: Iterable[str | int], names: Mapping[str, list[str]]) -> Loc:
    parts = tuple(loc)
    if len(parts) > 1 and parts[0] in names and isinstance(parts[1], int):
        parts = (parts[0], names[str(parts[0])][parts[1]], *parts[2:])
        if parts[2:] == ("name",):
            parts = parts[:2]
    return parts


def _shape(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else "a single value"


def _kind_name(kind: object) -> str:
    if get_origin(kind) is Literal:
        return "value of this field"
    return {int: "whole number", float: "number", Path: "path"}.get(kind, "text")  # type: ignore[call-overload]


def shown(value: object) -> str:
    """Return ``value`` as a message may show it: short, and never something that can carry a password."""
    text = repr(value)
    if "://" in text:
        return "a URL"
    if re.search(r"AGE-SECRET-KEY-|PRIVATE KEY BLOCK", text, re.IGNORECASE):
        return "a private key"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _explain(details: ErrorDetails) -> str:
    kind, found, context = details["type"], shown(details["input"]), details.get("ctx", {})
    if kind == "missing":
        return "missing; it has no default"
    if kind == "unknown_zone":
        return details["msg"]
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"found {found}; expected one of {', '.join(choices)}{suggestion(str(details['input']), choices)}"
    if kind == "string_pattern_mismatch":
        meaning = PATTERN_MEANING.get(context["pattern"], f"text like {context['pattern']}")
        return f"found {found}; expected {meaning}"
    if kind == "string_type":
        return f"found {found}; expected text" + ("" if details["input"] is None else ": put it in quotes")
    if kind == "too_short":
        return "expected at least one"
    if kind in ("int_parsing", "int_type", "float_parsing", "float_type"):
        return f"found {found}; expected a {'whole ' if kind.startswith('int') else ''}number"
    if kind.startswith("date"):
        return f"found {found}; expected a day such as 2026-11-22"
    message = details["msg"]
    return f"found {found}: {message[0].lower()}{message[1:]}"
