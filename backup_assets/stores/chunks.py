"""In which pieces is a source read, so that memory does not grow with it?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from backup_assets.files import CHUNK_BYTES
from backup_assets.stores.disk_faults import explained


def chunks_of(source: Path | bytes) -> Iterator[bytes]:
    """Yield the content in pieces of at most CHUNK_BYTES; raises EnvironmentFault when a file cannot be read."""
    if isinstance(source, bytes):
        for begin in range(0, len(source), CHUNK_BYTES):
            yield source[begin : begin + CHUNK_BYTES]
        return
    with explained(f"read {source.name}", source.parent), source.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            yield chunk
