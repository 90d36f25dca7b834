"""Is this file one whole OpenPGP message, and to which keys? Answered without any private key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backup_assets.ciphers.contract import DamagedMessage
from backup_assets.files import CHUNK_BYTES
from backup_assets.stores.disk_faults import explained

# Packet types and algorithms: RFC 4880, sections 4.3 and 9.1; type 20 as GnuPG 2.3 and newer write it.
_SESSION_KEY_TO_A_KEY = 1
_SESSION_KEY_TO_A_PASSPHRASE = 3
_WITHOUT_INTEGRITY = 9
_WITH_INTEGRITY = 18
_AUTHENTICATED = 20
_RSA = (1, 2)
_ELGAMAL = 16
_ECDH = 18
#: The largest in use, RSA with 16,384 bits, takes 2 KiB. More than that many keys is no backup of a small team.
_LARGEST_KEY_PACKET = 16 << 10
_MOST_KEY_PACKETS = 100
#: Version, random prefix with its repetition, literal packet's header without a name, hash (RFC 4880, 5.7, 5.9, 5.13).
_LEAST_AROUND_CONTENT = 1 + 18 + 8 + 22
#: Version, algorithms, chunk size, nonce of 15, literal packet's header, two tags.
_LEAST_AROUND_AUTHENTICATED = 4 + 15 + 8 + 2 * 16
#: The shortest point in use, one byte and the 32 of Curve25519; it never begins with a zero that could be left out.
_LEAST_POINT = 1 + 32


@dataclass(frozen=True)
class KeyPacket:
    """One key that the message is encrypted to: 16 hexadecimal digits (zeros: hidden), and its algorithm's number."""

    key_id: str
    algorithm: int


@dataclass(frozen=True)
class OpenPgpMessage:
    """The outside of an encrypted message; its content, not compressed, has at most ``content_room`` bytes."""

    keys: tuple[KeyPacket, ...]
    content_room: int


def read_message(path: Path) -> OpenPgpMessage:
    """Walk the packets of ``path`` from its first to its last byte, in bounded memory, and return what they say.

    Raises DamagedMessage unless the file is: packets with a session key, each to one public key, then one encrypted
    packet with integrity protection that ends where the file ends. So a file that was truncated anywhere, appended to
    or concatenated is noticed, and a flipped bit where it hits a packet's header, a key id, or the inner lengths of a
    session key. What cannot be seen without a private key: bits flipped inside the session keys or the content (about
    all of the file), and whether the content is the right one. Raises EnvironmentFault when it cannot be read.
    """
    with explained(f"read {path.name}", path.parent), path.open("rb", buffering=CHUNK_BYTES) as handle:
        return _Walk(path, handle).message()


class _Walk:
    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self._path = path
        self._handle = handle
        self._size = os.fstat(handle.fileno()).st_size

    def message(self) -> OpenPgpMessage:
        if self._size == 0:
            raise self._damaged("it is empty")
        keys: list[KeyPacket] = []
        while True:
            tag, length, partial = self._header()
            if tag == _SESSION_KEY_TO_A_KEY and not partial:
                keys.append(self._key_packet(length))
                if len(keys) > _MOST_KEY_PACKETS:
                    raise self._damaged(f"it names more than {_MOST_KEY_PACKETS} keys")
            elif tag in (_WITH_INTEGRITY, _AUTHENTICATED):
                room = self._content(tag, length, partial)
                break
            else:
                raise self._damaged(_UNWANTED.get(tag, f"a packet of type {tag} is not part of an encrypted message"))
        if not keys:
            raise self._damaged("it names no key that could decrypt it")
        surplus = self._size - self._handle.tell()
        if surplus:
            raise self._damaged(f"{surplus} bytes follow the end of the message")
        return OpenPgpMessage(tuple(keys), room)

    def _header(self) -> tuple[int, int, bool]:
        """Return type, length and whether further lengths follow (the length is then that of the first part)."""
        first = self._byte()
        if not first & 0x80:
            raise self._damaged(
                "it is ASCII-armored, which backups never are: `gpg --dearmor` makes it binary"
                if first == ord("-") and self._handle.tell() == 1
                else f"byte {self._handle.tell() - 1} is not the start of a packet"
            )
        if first & 0x40:
            length, partial = self._new_length()
            return first & 0x3F, length, partial
        kind = first & 0x03
        if kind == 3:  # "until the end of the file": its truncation could not be seen
            raise self._damaged("a packet says nothing about its length")
        return (first >> 2) & 0x0F, int.from_bytes(self._take(1 << kind), "big"), False

    def _new_length(self) -> tuple[int, bool]:
        # RFC 4880, section 4.2.2.
        first = self._byte()
        if first < 192:
            return first, False
        if first < 224:
            return ((first - 192) << 8) + self._byte() + 192, False
        if first < 255:
            return 1 << (first & 0x1F), True
        return int.from_bytes(self._take(4), "big"), False

    def _key_packet(self, length: int) -> KeyPacket:
        if length > _LARGEST_KEY_PACKET:
            raise self._damaged("the packet of a session key is too long")
        body = self._take(length)
        if length < 12 or body[0] != 3:
            raise self._damaged("the packet of a session key is of an unknown version")
        packet = KeyPacket(body[1:9].hex().upper(), body[9])
        if not _fits(packet.algorithm, body[10:]):
            raise self._damaged(f"the session key for {packet.key_id} is altered")
        return packet

    def _content(self, tag: int, length: int, partial: bool) -> int:
        total = length
        version = self._byte() if length else 0
        if version != 1:
            raise self._damaged("the encrypted packet is of an unknown version")
        self._skip(length - 1)
        while partial:
            length, partial = self._new_length()
            self._skip(length)
            total += length
        around = _LEAST_AROUND_CONTENT if tag == _WITH_INTEGRITY else _LEAST_AROUND_AUTHENTICATED
        if total < around:
            raise self._damaged("the encrypted packet is too short to hold anything")
        return total - around

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        content = self._handle.read(count)
        if len(content) < count:
            raise self._truncated()
        return content

    def _skip(self, count: int) -> None:
        if self._handle.tell() + count > self._size:
            raise self._truncated()
        self._handle.seek(count, os.SEEK_CUR)

    def _truncated(self) -> DamagedMessage:
        return self._damaged(f"it ends too early, after {self._size} bytes: it was truncated or altered")

    def _damaged(self, why: str) -> DamagedMessage:
        return DamagedMessage(
            f"{self._path} is no whole encrypted message",
            why=why,
            remedy="fetch it again from another store, or use another backup set",
        )


_UNWANTED = {
    _SESSION_KEY_TO_A_PASSPHRASE: "it can also be decrypted with a passphrase",
    _WITHOUT_INTEGRITY: "it is encrypted without protection of its integrity",
}


def _fits(algorithm: int, rest: bytes) -> bool:
    """Return whether the numbers of a session key fill their packet exactly; unknown algorithms are not judged."""
    if algorithm in _RSA:
        return _after_number(rest) == b""
    if algorithm == _ELGAMAL:
        return _after_number(_after_number(rest)) == b""
    if algorithm == _ECDH:
        wrapped = _after_number(rest)
        # An agent that is given less than a point may end, and then nothing says that it was the message.
        return bool(wrapped) and len(wrapped) == 1 + wrapped[0] and len(rest) - len(wrapped) >= 2 + _LEAST_POINT
    return True


def _after_number(content: bytes | None) -> bytes | None:
    """Return what follows the number at the start (RFC 4880, section 3.2), or None when it is not all there."""
    if content is None or len(content) < 2:
        return None
    end = 2 + (int.from_bytes(content[:2], "big") + 7) // 8
    return content[end:] if len(content) >= end else None
