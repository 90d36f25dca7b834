"""What of an answer of AWS is a setting, and in which one form is it written down?"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: How a value of an environment variable is written that is not written down: with the key, equal values are alike.
HIDDEN_PREFIX = "hmac-sha256:"
#: In every service: they change without anybody changing a setting.
_VOLATILE = frozenset({"ResponseMetadata", "NextToken", "Marker", "CreatorRequestId"})


@dataclass(frozen=True)
class Hidden:
    """A value that may be a secret; it is never shown, not even by ``repr``."""

    value: str = field(repr=False)


def normalised(answer: Any, without: Collection[str] = ()) -> Any:
    """Return an answer as a tree of mappings, lists and scalars that is the same whenever the settings are.

    Moments, empty values and the keys ``without``, at any depth, are left out. Lists, whose order AWS does not
    promise, are sorted; a list of tags becomes a mapping.
    """
    if isinstance(answer, Mapping):
        found = {
            str(key): normalised(value, without)
            for key, value in answer.items()
            if key not in _VOLATILE and key not in without and not isinstance(value, datetime)
        }
        return {key: found[key] for key in sorted(found) if not _is_empty(found[key])}
    if isinstance(answer, list | tuple):
        if answer and all(isinstance(one, Mapping) and one.keys() == {"Key", "Value"} for one in answer):
            return dict(sorted((str(tag["Key"]), tag["Value"]) for tag in answer))
        return _sorted(normalised(one, without) for one in answer if not isinstance(one, datetime))
    return answer


def hidden(answer: Mapping[str, str]) -> dict[str, Hidden]:
    """Return a mapping whose values may be secrets, by name."""
    return {name: Hidden(answer[name]) for name in sorted(answer)}


def rendered(tree: Any, show: Callable[[str], str]) -> Any:
    """Return a tree whose hidden values are as ``show`` says."""
    if isinstance(tree, Hidden):
        return show(tree.value)
    if isinstance(tree, Mapping):
        return {key: rendered(value, show) for key, value in tree.items()}
    return [rendered(one, show) for one in tree] if isinstance(tree, list) else tree


def keyed(key: bytes) -> Callable[[str], str]:
    """Return how a hidden value is written where it is not written down: its HMAC-SHA256."""
    return lambda value: HIDDEN_PREFIX + digest(key, value)


def digest(key: bytes, text: str) -> str:
    """Return the HMAC-SHA256 of a text, hexadecimal."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that are stored: UTF-8, indented, keys sorted, so that equal settings are equal bytes."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def canonical(value: Any) -> str:
    """Return a value in one line, the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list | str) and not value)


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted((value for value in values if not _is_empty(value)), key=canonical)
