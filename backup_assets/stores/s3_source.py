"""How is a source cut into parts that are hashed, sent at a limited rate, and sent again after a fault?"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from backup_assets.files import CHUNK_BYTES
from backup_assets.stores.contract import TransferDamaged
from backup_assets.stores.disk_faults import explained
from backup_assets.stores.throttle import Throttle

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PartBody(io.RawIOBase):
    """One part as a stream that can be rewound: of bytes, or of a range of an open file, which is never held whole.

    Only reads while ``sending`` count against the throttle: to sign a request its body is read as well.
    """

    def __init__(self, content: bytes | memoryview | int, offset: int, size: int, throttle: Throttle) -> None:
        """``content`` is the whole source: bytes, or the descriptor of a regular file."""
        super().__init__()
        self._content = content
        self._offset = offset
        self._size = size
        self._throttle = throttle
        self._position = 0
        self.sending = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position within the part."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move within the part."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most ``size`` bytes of the part, all of the rest without one."""
        rest = self._size - self._position
        count = rest if size is None or size < 0 else min(size, rest)
        if count <= 0:
            return b""
        if self.sending:
            self._throttle.wait_for(count)
        at = self._offset + self._position
        if isinstance(self._content, int):
            found = os.pread(self._content, count, at)
        else:
            found = bytes(self._content[at : at + count])
        self._position += len(found)
        return found

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` as far as the part goes."""
        view = memoryview(buffer).cast("B")
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)


@dataclass(frozen=True)
class Part:
    """A part that was read once: ``size`` in bytes, its digests (the MD5 where it was asked for), the body to send."""

    number: int
    size: int
    sha256: bytes
    md5: bytes | None
    body: PartBody

    @property
    def checksum(self) -> str:
        """The SHA-256 as S3 writes it."""
        return base64.b64encode(self.sha256).decode()


class Parts:
    """The parts of one source of an announced size and SHA-256, read once in order; ``digest`` grows with them."""

    def __init__(self, source: Path | bytes, handle: BinaryIO | None, part_bytes: int, throttle: Throttle) -> None:
        """``handle`` is the opened source when it is a path."""
        self._source = source
        self._handle = handle
        self._part_bytes = part_bytes
        self._throttle = throttle
        regular = handle is not None and stat.S_ISREG(os.fstat(handle.fileno()).st_mode)
        #: Whether a part can be read again without having been kept.
        self.rereadable = handle is None or regular
        self.count = 0
        self.digest = hashlib.sha256()

    def read(self, size: int, *, md5: bool = False) -> Iterator[Part]:
        """Yield the parts of an announced size (one empty part for none); the source may give less or more.

        The MD5 of each is computed on request only: it takes as long as both SHA-256 together.

        Raises EnvironmentFault when the source cannot be read. It stops after the first part that shows that the
        source has another size; :meth:`require_announced` then says so.
        """
        number = 0
        while number == 0 or self.count < size:
            number += 1
            wanted = min(self._part_bytes, size - self.count)
            part = self._next(number, wanted, whole=wanted == size, md5=md5)
            if part.size < wanted:
                return
            yield part
        self.count += len(self._take(self.count, 1))

    def digests(self, number: int, size: int) -> tuple[str, str]:
        """Return the SHA-256 as S3 writes it, and the MD5, of one part of a source that can be read again."""
        body = self._body((number - 1) * self._part_bytes, size)
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with self._explained():
            while chunk := body.read(CHUNK_BYTES):
                sha256.update(chunk)
                md5.update(chunk)
        return base64.b64encode(sha256.digest()).decode(), md5.hexdigest()

    def require_announced(self, key: str, *, sha256: str, size: int) -> None:
        """Raise TransferDamaged unless the source, read to its end, was what the sender announced."""
        found = self.digest.hexdigest()
        if self.count == size and found == sha256:
            return
        more = "more than " if self.count > size else ""
        raise TransferDamaged(
            f"{key} was not stored: its source is not what was announced",
            why=f"it gave {more}{min(self.count, size)} bytes instead of {size}"
            if self.count != size
            else f"it gave SHA-256 {found} instead of {sha256}",
            remedy="the source was changed or damaged meanwhile: verify it, then store it again",
        )

    def _next(self, number: int, wanted: int, *, whole: bool, md5: bool) -> Part:
        begin = self.count
        # Of a source in one part both are the same.
        sha256 = self.digest if whole else hashlib.sha256()
        tag = hashlib.md5(usedforsecurity=False) if md5 else None
        kept: list[bytes] = []
        size = 0
        while size < wanted:
            chunk = self._take(begin + size, min(CHUNK_BYTES, wanted - size))
            if not chunk:
                break
            size += len(chunk)
            sha256.update(chunk)
            if not whole:
                self.digest.update(chunk)
            if tag is not None:
                tag.update(chunk)
            if not self.rereadable:
                kept.append(chunk)
        self.count += size
        body = self._body(begin, size) if self.rereadable else PartBody(b"".join(kept), 0, size, self._throttle)
        return Part(number, size, sha256.digest(), None if tag is None else tag.digest(), body)

    def _take(self, offset: int, count: int) -> bytes:
        with self._explained():
            if self._handle is None:
                return bytes(memoryview(self._bytes)[offset : offset + count])
            if self.rereadable:
                return os.pread(self._handle.fileno(), count, offset)
            return self._handle.read(count)

    def _body(self, offset: int, size: int) -> PartBody:
        content = self._bytes if self._handle is None else self._handle.fileno()
        return PartBody(content, offset, size, self._throttle)

    @property
    def _bytes(self) -> bytes:
        if not isinstance(self._source, bytes):
            raise TypeError("the source is a file")
        return self._source

    @contextmanager
    def _explained(self) -> Iterator[None]:
        if isinstance(self._source, bytes):
            yield
            return
        with explained(f"read {self._source.name}", self._source.parent):
            yield


@contextmanager
def parts_of(source: Path | bytes, part_bytes: int, throttle: Throttle) -> Iterator[Parts]:
    """Yield the parts of ``source``; raises EnvironmentFault when it cannot be opened."""
    if isinstance(source, bytes):
        yield Parts(source, None, part_bytes, throttle)
        return
    with explained(f"read {source.name}", source.parent):
        handle = source.open("rb", buffering=0)
    with handle:
        # A raw file may give less than was asked for, which reads as the end of a part: pipes need the buffer.
        buffered = io.BufferedReader(handle, CHUNK_BYTES)
        yield Parts(source, buffered, part_bytes, throttle)


def composite_checksum(sha256s: Sequence[bytes]) -> str:
    """Return the checksum that S3 computes of an object that was stored in parts of those SHA-256."""
    return f"{base64.b64encode(hashlib.sha256(b''.join(sha256s)).digest()).decode()}-{len(sha256s)}"


def composite_etag(md5s: Sequence[bytes]) -> str:
    """Return the entity tag that S3 gives to an object that was stored in parts of those MD5."""
    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"
