"""Is this file one whole age message, and to how many keys? Answered without any private key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backup_assets.ciphers.contract import DamagedMessage
from backup_assets.stores.disk_faults import explained

# The format is that of https://age-encryption.org/v1.
_VERSION = b"age-encryption.org/v1\n"
_STANZA = re.compile(rb"-> ([!-~]+(?: [!-~]+)*)\n")
_BODY = re.compile(rb"[A-Za-z0-9+/]{0,64}\n")
_MAC = re.compile(rb"--- [A-Za-z0-9+/]{43}\n")
_LONGEST_LINE = 4096
_MOST_LINES = 1000
_FULL_BODY_LINE = 65
_NONCE_BYTES = 16
_TAG_BYTES = 16
_CHUNK_BYTES = 64 << 10
_RECIPIENT = re.compile(r"age1[023456789acdefghjklmnpqrstuvwxyz]{58}")
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@dataclass(frozen=True)
class AgeMessage:
    """The outside of a message: the kind of each recipient, for example X25519, and the content's size in bytes."""

    recipients: tuple[str, ...]
    size_plain: int


def read_message(path: Path) -> AgeMessage:
    """Read the header of ``path`` and reckon with its size; raises DamagedMessage unless it can be a whole message.

    Every length above the smallest is that of some whole message, but for those that end within a tag: the content's
    size is what to compare. Raises EnvironmentFault when the file cannot be read.
    """
    with explained(f"read {path.name}", path.parent), path.open("rb") as handle:
        recipients = _read_header(path, handle)
        rest = os.fstat(handle.fileno()).st_size - handle.tell() - _NONCE_BYTES
    chunks = -(-rest // (_CHUNK_BYTES + _TAG_BYTES))
    last = rest - (chunks - 1) * (_CHUNK_BYTES + _TAG_BYTES)
    # Only the content of an empty file ends in an empty chunk.
    if rest < _TAG_BYTES or last < _TAG_BYTES or (last == _TAG_BYTES and chunks > 1):
        raise _damaged(path, "it ends too early: it was truncated")
    return AgeMessage(recipients, rest - chunks * _TAG_BYTES)


def _read_header(path: Path, handle: BinaryIO) -> tuple[str, ...]:
    if handle.readline(_LONGEST_LINE) != _VERSION:
        raise _damaged(path, "it does not begin as an age file does")
    kinds: list[str] = []
    in_body = False
    for _ in range(_MOST_LINES):
        line = handle.readline(_LONGEST_LINE)
        if in_body and _BODY.fullmatch(line):
            in_body = len(line) == _FULL_BODY_LINE  # a shorter line, be it empty, is the last one
        elif not in_body and (stanza := _STANZA.fullmatch(line)):
            kinds.append(stanza[1].split()[0].decode("ascii"))
            in_body = True
        elif not in_body and kinds and _MAC.fullmatch(line):
            return tuple(kinds)
        else:
            break
    raise _damaged(path, "its header is truncated or altered")


def _damaged(path: Path, why: str) -> DamagedMessage:
    return DamagedMessage(
        f"{path} is no whole age file", why=why, remedy="fetch it again from another store, or use another backup set"
    )


def is_recipient(text: str) -> bool:
    """Return whether ``text`` is an X25519 recipient `age1…`, its checksum included (Bech32, BIP 173)."""
    if not _RECIPIENT.fullmatch(text):
        return False
    prefix = [ord(letter) >> 5 for letter in "age"] + [0] + [ord(letter) & 31 for letter in "age"]
    check = 1
    for value in [*prefix, *(_ALPHABET.index(letter) for letter in text[4:])]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check == 1
