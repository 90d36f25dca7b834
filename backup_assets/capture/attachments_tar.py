"""What a member of an attachment archive looks like: headers in GNU tar's format, written and strictly read back.

GNU's format and not PAX: its names are plain bytes whatever the locale of the program that extracts them, and
most members need one 512-byte header only. The tarfile module would do the same at several times the cost for each
file, and takes a damaged header in the middle of an archive for its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

from backup_assets.compressed import CompressedReader
from backup_assets.errors import CheckFailed
from backup_assets.files import CHUNK_BYTES

Kind = Literal["f", "d", "l"]

BLOCK = 512
RECORD = 20 * BLOCK
_NAME_FIELD = 100
#: Longest name or link target that is believed; Linux allows 4,096 bytes in a path.
_LONGEST_NAME = 1 << 16
_FLAGS: dict[Kind, bytes] = {"f": b"0", "d": b"5", "l": b"2"}
_KINDS: dict[bytes, Kind] = {flag: kind for kind, flag in _FLAGS.items()}
_BLANK_SUM = b" " * 8
_MAGIC_AND_REST = b"ustar  \0".ljust(BLOCK - 257, b"\0")
_ZERO = bytes(BLOCK)


class Member(NamedTuple):
    """One member: ``name`` begins with ``./`` and has no trailing slash; ``mtime`` is in whole seconds."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes = b""


def padding(size: int) -> bytes:
    """Return the zero bytes that fill the last block of a content of ``size`` bytes."""
    return bytes(-size % BLOCK)


def end_of_archive(written: int) -> bytes:
    """Return what ends an archive of ``written`` bytes: two zero blocks, filled up to a whole record."""
    return bytes(2 * BLOCK + (-(written + 2 * BLOCK)) % RECORD)


def header(member: Member) -> bytes:
    """Return the header blocks of ``member``; its content and :func:`padding` follow them."""
    name = member.name + b"/" if member.kind == "d" else member.name
    before = b""
    if len(member.link) > _NAME_FIELD:
        before = _long(b"K", member.link)
    if len(name) > _NAME_FIELD:
        before += _long(b"L", name)
    return before + _block(member, name, _FLAGS[member.kind])


def _long(flag: bytes, name: bytes) -> bytes:
    content = name + b"\0"
    member = Member(b"././@LongLink", "f", 0, 0, 0, len(content), 0)
    return _block(member, member.name, flag) + content + padding(len(content))


def _block(member: Member, name: bytes, flag: bytes) -> bytes:
    before = name[:_NAME_FIELD].ljust(_NAME_FIELD, b"\0") + b"".join(
        (
            b"%07o\0" % member.mode,
            _number(member.uid, 8),
            _number(member.gid, 8),
            _number(member.size, 12),
            _number(member.mtime, 12),
        )
    )
    after = flag + member.link[:_NAME_FIELD].ljust(_NAME_FIELD, b"\0") + _MAGIC_AND_REST
    return before + b"%06o\0 " % (sum(before) + sum(_BLANK_SUM) + sum(after)) + after


def _number(value: int, width: int) -> bytes:
    """Octal where it fits, else GNU's base 256 (sizes from 8 GiB, times before 1970, very large user ids)."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    content = bytearray(value.to_bytes(width, "big", signed=True))
    content[0] |= 0x80
    return bytes(content)


def _parsed(field: bytes) -> int:
    if field[0] & 0x80:
        sign_kept = bytes([field[0] if field[0] == 0xFF else field[0] & 0x7F])
        return int.from_bytes(sign_kept + field[1:], "big", signed=True)
    return int(field.rstrip(b"\0 ") or b"0", 8)


class ArchiveReader:
    """Reads an archive once from start to end: iterate over the members, take each one's content while it is current.

    Raises CheckFailed for anything that this project never writes: a damaged header, another kind of member, a name
    that is absolute or leads out of the archive, an archive without an end.
    """

    def __init__(self, source: CompressedReader) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        name = link = None
        while (block := self._exactly(BLOCK)) != _ZERO:
            flag = block[156:157]
            try:
                mode, uid, gid = (_parsed(block[start : start + 8]) for start in (100, 108, 116))
                size, mtime, checksum = _parsed(block[124:136]), _parsed(block[136:148]), _parsed(block[148:156])
            except ValueError as error:
                raise self._damaged("a header does not hold numbers") from error
            if checksum != sum(block) - sum(block[148:156]) + sum(_BLANK_SUM) or block[257:265] != _MAGIC_AND_REST[:8]:
                raise self._damaged("a header does not have its checksum")
            if flag in (b"L", b"K"):
                if not 0 < size <= _LONGEST_NAME:
                    raise self._damaged(f"a name of {size} bytes")
                text = self._exactly(size + len(padding(size)))[: size - 1]
                name, link = (text, link) if flag == b"L" else (name, text)
                continue
            kind = _KINDS.get(flag)
            if kind is None or size < 0 or (size and kind != "f"):
                raise self._damaged(f"a member of an unexpected kind {flag!r}")
            full_name = name if name is not None else block[:_NAME_FIELD].rstrip(b"\0")
            full_link = link if link is not None else block[157:257].rstrip(b"\0")
            name = link = None
            full_name = full_name.removesuffix(b"/") if kind == "d" else full_name
            self._refuse_escape(full_name)
            self._left, self._padding = size, len(padding(size))
            yield Member(full_name, kind, mode & 0o7777, uid, gid, size, mtime, full_link)
            for _ in self.content():
                pass
        while rest := self._source.read(CHUNK_BYTES):
            if rest.strip(b"\0"):
                raise self._damaged("there is more after its end")

    def content(self) -> Iterator[bytes]:
        """Yield what is left of the current member's content, in pieces of at most 1 MiB."""
        while self._left:
            piece = self._source.read(self._left)
            if not piece:
                raise self._damaged("it ends inside a member")
            self._left -= len(piece)
            yield piece
        if self._padding:
            skip, self._padding = self._padding, 0
            self._exactly(skip)

    def _exactly(self, size: int) -> bytes:
        content = self._source.read(size)
        if len(content) != size:
            raise self._damaged("it ends before its end mark")
        return content

    def _refuse_escape(self, name: bytes) -> None:
        parts = name.split(b"/")
        if parts[0] != b"." or len(parts) < 2 or any(part in (b"", b".", b"..") for part in parts[1:]):
            raise self._damaged(f"the member name {name!r} is not a plain path below ./")

    def _damaged(self, why: str) -> CheckFailed:
        return CheckFailed(
            f"the attachment archive {self._source.path} is damaged",
            why=why,
            remedy="fetch it again from another store, or use another backup set",
        )


def kind_of(text: str) -> Kind:
    """Return the kind written as ``text``; raises ValueError when it is none."""
    if text not in _FLAGS:
        raise ValueError(f"unknown kind {text!r}")
    return cast("Kind", text)
