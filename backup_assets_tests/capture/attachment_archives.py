"""Archives and indexes that a capture would never write."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from backup_assets.capture.attachments_index import IndexEntry, IndexHeader, IndexWriter
from backup_assets.capture.attachments_tar import Kind, Member, end_of_archive, header, padding
from backup_assets.compressed import CompressedFile
from backup_assets_tests.capture.attachment_trees import Sets

Entries = Sequence[tuple[bytes, Kind, bytes]]  # path, kind, content of a file or target of a link


def put(sets: Sets, members: Entries, indexed: Entries | None = None) -> None:
    """Write a full archive of `members` with an index of `indexed` (of the same, when left out)."""
    index = IndexWriter(sets.full_index, IndexHeader("F", "F", 0))
    for path, kind, content in members if indexed is None else indexed:
        sha256 = "-" if kind == "d" else hashlib.sha256(content).hexdigest()
        index.add(IndexEntry("here", kind, len(content), 0, 0, 1, 0o600, sha256, path))
    index.close()
    archive = CompressedFile(sets.full, all_cores=False)
    written = 0
    for path, kind, content in members:
        size = len(content) if kind == "f" else 0
        member = Member(path, kind, 0o600, 0, 0, size, 0, content if kind == "l" else b"")
        block = header(member) + (content + padding(size) if kind == "f" else b"")
        written += len(block)
        archive.write(block)
    archive.write(end_of_archive(written))
    archive.close()
