"""What does every store promise?

The comments here are the contract; `backup_assets_tests/stores/conformance.py` holds every store to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from backup_assets.errors import AccessDenied, CheckFailed, Refused
from backup_assets.files import PARTIAL_SUFFIX
from backup_assets.sets.place import Place, StoredObject

__all__ = [
    "AccessDenied",
    "ConflictingObject",
    "InvalidKey",
    "MissingObject",
    "Place",
    "Store",
    "StoredObject",
    "TransferDamaged",
    "is_key",
    "require_key",
]

#: S3 allows 1,024 bytes; file systems 255 in one part, of which a partial's suffix takes 17.
LONGEST_KEY_BYTES = 1024
LONGEST_PART_BYTES = 238
#: How keys begin with which a store finds out whether it may write; nothing stays there.
TRIAL_KEY_START = ".check-"
#: What almost every key looks like, and what can be told quickly: a store lists tens of thousands.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


class MissingObject(CheckFailed):
    """The store holds no object of that key."""


class ConflictingObject(Refused):
    """The store holds another object under that key; nothing is ever overwritten."""


class TransferDamaged(CheckFailed):
    """What was read from the source, or read back from the store, is not what the sender announced."""


class InvalidKey(Refused):
    """A key that no store accepts."""


class Store(Protocol):
    """A place for immutable objects.

    Keys are POSIX paths ``<prefix>/<env>/{db,globals,assets,secrets,meta}/<name>``; :func:`require_key` says which.
    Nobody stores both a key and another one below it (``x`` and ``x/y``): a folder could not hold them.
    Every method raises InvalidKey for another one. All may be called from several threads and processes at once.

    Errors: EnvironmentFault when the store cannot do its work, TransientFault when another attempt may help. A store
    makes no second attempt by itself beyond what its client library does: that is for the caller to decide, who may
    repeat any call, because every call can be repeated. No error holds a secret.
    """

    @property
    def name(self) -> str:
        """The configured name, for records and messages."""
        ...

    def put(self, key: str, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        """Store the content of ``source`` under ``key`` and return what is stored.

        ``sha256`` (hexadecimal) and ``size`` (bytes) are the sender's. The source is read in bounded memory, at least
        once; what the store holds is compared with ``sha256`` before the call returns. The object appears at once
        and whole: until then no reader sees it, and when the call raises or the process dies nothing appears.

        The same content again is a no-op, whose proof is the stored content, not its name. Other content under an
        existing key raises ConflictingObject and leaves the existing object as it is; so does the loser of two
        simultaneous calls. Raises TransferDamaged when the source is not what was announced or when what was stored
        is not what was sent, and leaves nothing behind.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Yield the object's content as a stream; raises MissingObject.

        What is yielded is not verified: whoever relies on it compares the hash at the end.
        """
        ...

    def stat(self, key: str) -> StoredObject | None:
        """Return what is known of an object without reading it, or None when there is none."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every complete object below ``prefix``, sorted by key in order of code points.

        ``prefix`` is a path of whole parts: ``erp4`` is not a prefix of ``erp40/…``. The empty one means everything.
        An object that was stored before the call is yielded, one stored or deleted meanwhile may or may not be.
        Nothing there is an empty list; a store that cannot tell raises EnvironmentFault, it never yields less.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object durably; one that is missing is fine."""
        ...

    def describe(self) -> str:
        """Return where the store is, for the operator: no secret."""
        ...

    def check(self) -> None:
        """Find out, at small cost, that the store answers and can be written; raises EnvironmentFault."""
        ...

    def free_bytes(self) -> int | None:
        """Return the bytes that can still be stored, or None where there is no such limit."""
        ...


def require_key(key: str, *, prefix: bool = False) -> str:
    """Return ``key`` when it is a valid one; raises InvalidKey. With ``prefix`` the empty key is valid too.

    Refused are absolute keys, empty parts, parts that begin with a dot (``..`` among them), control characters,
    backslashes, names of partials, parts over 238 and keys over 1,024 bytes.
    """
    if prefix and not key:
        return key
    if len(key) <= LONGEST_PART_BYTES and _PLAIN.fullmatch(key) and PARTIAL_SUFFIX not in key:
        return key
    try:
        too_long = len(key.encode()) > LONGEST_KEY_BYTES
        too_long |= any(len(part.encode()) > LONGEST_PART_BYTES for part in key.split("/"))
    except UnicodeEncodeError:
        raise InvalidKey(f"the key {key!r} is not valid Unicode") from None
    why = ""
    if too_long:
        why = f"it is longer than {LONGEST_KEY_BYTES} bytes, or a part of it than {LONGEST_PART_BYTES}"
    elif any(not part for part in key.split("/")):
        why = "it is absolute or has an empty part"
    elif any(part.startswith(".") for part in key.split("/")):
        why = "a part of it begins with a dot"
    elif _FORBIDDEN.search(key):
        why = "it contains a control character or a backslash"
    elif any(part.endswith(PARTIAL_SUFFIX) for part in key.split("/")):
        why = f"names that end with {PARTIAL_SUFFIX} are for what is not complete"
    if why:
        raise InvalidKey(f"{key!r} is not a valid key", why=why, remedy="keys read <prefix>/<env>/<folder>/<name>")
    return key


def is_key(key: str) -> bool:
    """Tell whether ``key`` is a valid one: what a store also holds under other names is no object of ours."""
    try:
        require_key(key)
    except InvalidKey:
        return False
    return True
