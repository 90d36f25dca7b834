"""What does a document of the infrastructure look like, and what of it are hidden values?"""

from __future__ import annotations

from typing import Any, Final

from backup_assets.aws.infrastructure.normalise import HIDDEN_PREFIX

FORMAT: Final = "backup_assets/infrastructure"


def without_values(tree: Any) -> Any:
    """Return settings in which every hidden value reads the same."""
    if isinstance(tree, dict):
        return {key: without_values(value) for key, value in tree.items()}
    return "(a value)" if _is_value(tree) else tree


def has_values(tree: Any) -> bool:
    """Return whether settings have a hidden value."""
    if isinstance(tree, dict):
        return any(has_values(value) for value in tree.values())
    return _is_value(tree)


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, str) and leaf.startswith(HIDDEN_PREFIX)
