"""How is a property computed once, without holding up those of other instances meanwhile?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import TypeVar

Value = TypeVar("Value")


class unlocked_property(cached_property[Value]):  # noqa: N801 - used like the one that it stands for
    """`cached_property` without the lock that Python 3.11 holds for all instances together while one is computed.

    With it a store that hangs would stop the catalogs of all others.
    """

    def __init__(self, func: Callable[..., Value]) -> None:
        super().__init__(func)
        self.lock = nullcontext()
