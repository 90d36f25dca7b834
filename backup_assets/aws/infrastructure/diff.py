"""What is different between two documents of the infrastructure, in words that an operator reads?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backup_assets.aws.infrastructure.normalise import HIDDEN_PREFIX, canonical, digest

#: The section of a document that names what could not be captured, and why.
NOT_CAPTURED = "not_captured"
ANOTHER_VALUE = "(another value)"
#: Parts of a path that are the resource itself, such as `rds/erp4-prod`.
_RESOURCE_PARTS = 2
_MOST_LINES = 200
_LONGEST_VALUE = 300


@dataclass(frozen=True)
class Change:
    """One difference: ``path`` such as `rds/erp4-prod/BackupRetentionPeriod`, values as they are shown."""

    kind: Literal["added", "removed", "changed"]
    path: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        """One line: `rds/erp4-prod/BackupRetentionPeriod: 14 → 1`."""
        if self.kind == "changed":
            return f"{self.path}: {self.old} → {self.new}"
        return f"{self.path}: {self.kind}{': ' if self.old or self.new else ''}{self.old or self.new}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return what is different in the settings ``new``, sorted by path.

    A resource that came or went is one change; so is one that could not be captured this time, or again can be, of
    which nothing else is known.
    """
    before, after = flat(old), flat(new)
    unknown = {*_not_captured(old), *_not_captured(new)}
    known_before = {path: value for path, value in before.items() if not _is_below(path, unknown)}
    known_after = {path: value for path, value in after.items() if not _is_below(path, unknown)}
    return tuple(sorted(_collapsed(known_before, known_after), key=lambda one: (one.path, one.kind, one.old, one.new)))


def leaves(tree: Mapping[str, Any], key: bytes) -> dict[str, str]:
    """Return hashes by which a later document is compared with this one, without a word of it: of path and value."""
    return {digest(key, path): digest(key, canonical(value)) for path, value in flat(tree).items()}


def changes_by_leaves(old: Mapping[str, str], new: Mapping[str, Any], key: bytes) -> tuple[Change, ...]:
    """Return what is different from the document that ``old`` are the :func:`leaves` of; values are not shown."""
    found: list[Change] = []
    known: set[str] = set()
    for path, value in flat(new).items():
        name = digest(key, path)
        known.add(name)
        if name not in old:
            found.append(Change("added", path))
        elif old[name] != digest(key, canonical(value)):
            found.append(Change("changed", path, "(a value)", ANOTHER_VALUE))
    if gone := len(old.keys() - known):
        found.append(Change("removed", f"{gone} settings"))
    return tuple(found)


def markdown(found: Sequence[Change]) -> str:
    """Return the changes as a table."""
    if not found:
        return "Nothing changed."
    rows = [f"| {one.kind} | `{_cell(one.path)}` | {_cell(one.old)} | {_cell(one.new)} |" for one in found]
    more = [f"\n… and {len(rows) - _MOST_LINES} more."] if len(rows) > _MOST_LINES else []
    return "\n".join(["| | setting | before | now |", "|---|---|---|---|", *rows[:_MOST_LINES], *more])


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Return the settings of a tree by their paths; a list is one setting."""
    if not isinstance(tree, Mapping):
        return {path: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{path}/{key}" if path else str(key))
    return found


def _collapsed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old, new = (Counter(_resource(path) for path in one if not _is_reason(path)) for one in (before, after))
    for resource in old.keys() - new.keys():
        yield Change("removed", resource, f"{old[resource]} settings")
    for resource in new.keys() - old.keys():
        yield Change("added", resource, new=f"{new[resource]} settings")
    for path in before.keys() | after.keys():
        if not _is_reason(path) and not (_resource(path) in old and _resource(path) in new):
            continue
        if path not in after:
            yield Change("removed", path, _shown(before[path]))
        elif path not in before:
            yield Change("added", path, new=_shown(after[path]))
        elif before[path] != after[path]:
            yield from _of_value(path, before[path], after[path])


def _of_value(path: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, list) and isinstance(new, list):
        gone, come = Counter(map(canonical, old)), Counter(map(canonical, new))
        for element in (gone - come).elements():
            yield Change("removed", path, _shortened(element))
        for element in (come - gone).elements():
            yield Change("added", path, new=_shortened(element))
    elif _is_hidden(old) and _is_hidden(new):
        yield Change("changed", path, "(a value)", ANOTHER_VALUE)
    else:
        yield Change("changed", path, _shown(old), _shown(new))


def _resource(path: str) -> str:
    return "/".join(path.split("/")[:_RESOURCE_PARTS])


def _is_reason(path: str) -> bool:
    return path.startswith(f"{NOT_CAPTURED}/")


def _not_captured(tree: Mapping[str, Any]) -> frozenset[str]:
    named = tree.get(NOT_CAPTURED)
    return frozenset(named) if isinstance(named, Mapping) else frozenset()


def _is_below(path: str, starts: set[str]) -> bool:
    return any(path == start or path.startswith(f"{start}/") for start in starts)


def _is_hidden(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(HIDDEN_PREFIX)


def _shown(value: Any) -> str:
    if _is_hidden(value):
        return "(a value)"
    return _shortened(value if isinstance(value, str) else canonical(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
