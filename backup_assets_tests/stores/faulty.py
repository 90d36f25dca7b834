"""A store that misbehaves where it is told to: a tool for tests of everything that uses stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from backup_assets.errors import TransientFault
from backup_assets.stores.contract import Store, StoredObject
from backup_assets_tests.sets.examples import sha256 as sha256_of

Operation = Literal["put", "open", "stat", "list", "delete"]
Kind = Literal["fail", "fail_after", "truncate", "flip", "stop"]


class Stopped(BaseException):
    """The process dies here: nothing that catches Exception may survive it."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, at the ``nth`` call (from 0; None: at every one) of ``operation`` on a key with ``part`` in it.

    ``fail`` raises instead of doing it, ``fail_after`` does it and raises then, ``stop`` ends the process before it.
    ``truncate`` and ``flip`` store or read half of the content, or one bit changed, and claim success; a listing that
    is truncated ends early.
    """

    operation: Operation
    kind: Kind
    nth: int | None = 0
    part: str = ""


@dataclass
class FaultyStore:
    """A store with one fault around a good one; ``calls`` counts what was asked of it."""

    inner: Store
    fault: Fault
    calls: list[tuple[Operation, str]] = field(default_factory=list)
    _met: int = 0

    @property
    def name(self) -> str:
        return self.inner.name

    def put(self, key: str, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        kind = self._kind("put", key)
        if kind in {"truncate", "flip"}:
            content = self._damaged(source if isinstance(source, bytes) else source.read_bytes(), kind)
            stored = self.inner.put(key, content, sha256=sha256_of(content), size=len(content))
            return replace(stored, size=size, sha256=sha256)
        stored = self.inner.put(key, source, sha256=sha256, size=size)
        self._fail_after("put", key, kind)
        return stored

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        kind = self._kind("open", key)
        with self.inner.open(key) as handle:
            if kind in {"truncate", "flip"}:
                yield BytesIO(self._damaged(handle.read(), kind))
                return
            yield handle
        self._fail_after("open", key, kind)

    def stat(self, key: str) -> StoredObject | None:
        self._kind("stat", key)
        return self.inner.stat(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        kind = self._kind("list", prefix)
        listed = [*self.inner.list(prefix)]
        yield from listed[: len(listed) // 2] if kind in {"truncate", "fail_after"} else listed
        self._fail_after("list", prefix, kind)

    def delete(self, key: str) -> None:
        kind = self._kind("delete", key)
        self.inner.delete(key)
        self._fail_after("delete", key, kind)

    def describe(self) -> str:
        return f"{self.inner.describe()}, faulty"

    def check(self) -> None:
        self.inner.check()

    def free_bytes(self) -> int | None:
        return self.inner.free_bytes()

    def _kind(self, operation: Operation, key: str) -> Kind | None:
        self.calls.append((operation, key))
        if operation != self.fault.operation or self.fault.part not in key:
            return None
        met, self._met = self._met, self._met + 1
        if self.fault.nth not in {None, met}:
            return None
        if self.fault.kind == "stop":
            raise Stopped(f"{operation} {key}")
        if self.fault.kind == "fail":
            raise TransientFault(f"the store failed at {operation} {key}", remedy="try again")
        return self.fault.kind

    def _fail_after(self, operation: Operation, key: str, kind: Kind | None) -> None:
        if kind == "fail_after":
            raise TransientFault(f"the store failed after {operation} {key}", remedy="try again")

    def _damaged(self, content: bytes, kind: Kind) -> bytes:
        if kind == "truncate":
            return content[: len(content) // 2]
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
