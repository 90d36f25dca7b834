"""Does a store still hold, byte for byte, what was put into it?"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from backup_assets.files import CHUNK_BYTES
from backup_assets.stores.contract import Store, TransferDamaged


def read_back(store: Store, key: str, *, sha256: str, size: int, into: BinaryIO | None = None) -> None:
    """Read an object to its end and compare it with its SHA-256 and size (bytes).

    What is read is written ``into`` a file where one is given: it is good only when the call returns.

    Raises MissingObject, TransferDamaged when something else comes out, EnvironmentFault when it cannot be read.
    """
    digest = hashlib.sha256()
    count = 0
    with store.open(key) as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
            count += len(chunk)
            if into is not None:
                into.write(chunk)
    if count != size or digest.hexdigest() != sha256:
        raise TransferDamaged(
            f"{key} in {store.describe()} is damaged",
            why=f"{count} bytes with SHA-256 {digest.hexdigest()} instead of {size} bytes with {sha256}",
            remedy="fetch the set again from another store; check the disk or service that holds this one",
        )
