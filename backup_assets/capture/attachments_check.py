"""Do attachment archives hold exactly what their index says?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from backup_assets.capture.attachments_index import IndexEntry, Where, escape, order_key, read_index
from backup_assets.capture.attachments_tar import ArchiveReader, Member
from backup_assets.compressed import CompressedReader
from backup_assets.errors import CheckFailed

MOST_PROBLEMS = 100


@dataclass(frozen=True)
class ArchiveCheck:
    """What a check found; ``problems`` are sentences, at most 100 and one that counts the rest.

    ``entries`` is the number of index entries that were compared.
    """

    ok: bool
    problems: tuple[str, ...]
    entries: int


class Destination(Protocol):
    """Where members go while they are compared."""

    def put(self, member: Member, content: Iterator[bytes]) -> None:
        """Take one member; a later one of the same name replaces it."""
        ...


class Nowhere:
    """The destination of a check: everything is read, nothing written."""

    def put(self, member: Member, content: Iterator[bytes]) -> None:  # noqa: ARG002 - nothing is written
        """Read the content to its end."""
        for _ in content:
            pass


@dataclass
class Problems:
    """A list of sentences that cannot grow without limit."""

    sentences: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, sentence: str) -> None:
        """Count ``sentence``, and keep it unless there are too many."""
        self.count += 1
        if self.count <= MOST_PROBLEMS:
            self.sentences.append(sentence)

    def listed(self) -> tuple[str, ...]:
        """Return the sentences, and how many more there are."""
        if self.count > MOST_PROBLEMS:
            return (*self.sentences, f"... and {self.count - MOST_PROBLEMS} more")
        return tuple(self.sentences)


def check_archive(index_path: Path, archive_path: Path, full_archive_path: Path | None = None) -> ArchiveCheck:
    """Read the archive of a set to its end and compare each member with the set's index, writing nothing.

    With ``full_archive_path`` also the entries that the index marks ``full``; left out, only those that are in this
    archive. Damage is a problem in the result, never an error; raises EnvironmentFault when a file cannot be read.
    """
    problems = Problems()
    entries = 0
    sources: list[tuple[Where, Path]] = [("here", archive_path)]
    if full_archive_path is not None:
        sources.insert(0, ("full", full_archive_path))
    for where, path in sources:
        try:
            entries += compare(index_path, where, path, Nowhere(), problems, None)
        except CheckFailed as error:
            problems.add(f"{error.what}: {error.why}")
    return ArchiveCheck(problems.count == 0, problems.listed(), entries)


def compare(
    index_path: Path,
    where: Where,
    archive_path: Path,
    destination: Destination,
    problems: Problems,
    on_content: Callable[[int], None] | None,
) -> int:
    """Pass the members that the index marks ``where`` to ``destination`` and note what differs; return how many.

    Both files are read once, side by side, as both are in the order of the walk. Members that the index does not
    name are a problem only in the set's own archive: a full archive holds what later sets no longer have.
    ``on_content`` gets the size in bytes of each piece of content. Raises CheckFailed when either file is damaged.
    """
    _, every = read_index(index_path)
    wanted = (entry for entry in every if entry.archive == where)
    entry = next(wanted, None)
    compared = 0
    pending: list[str] | None = None  # what is wrong with the last member taken: a later one of its name replaces it
    last: Member | None = None
    current: IndexEntry | None = None

    def settle() -> None:
        for sentence in pending or ():
            problems.add(sentence)

    with CompressedReader(archive_path) as source:
        archive = ArchiveReader(source)
        for member in archive:
            if last is None or member.name != last.name:
                settle()
                pending = None
                while entry is not None and order_key(entry.path) < order_key(member.name):
                    problems.add(f"{escape(entry.path)} is missing in {archive_path.name}")
                    compared += 1
                    entry = next(wanted, None)
                current = None
                if entry is not None and entry.path == member.name:
                    current, entry = entry, next(wanted, None)
                    compared += 1
                elif where == "here":
                    problems.add(f"{escape(member.name)} is in {archive_path.name} but not in the index")
            _require_order(last, member, archive_path)
            last = member
            if current is not None:
                pending = _take(current, member, archive, destination, on_content)
    settle()
    while entry is not None:
        problems.add(f"{escape(entry.path)} is missing in {archive_path.name}")
        compared += 1
        entry = next(wanted, None)
    return compared


def _require_order(last: Member | None, member: Member, archive_path: Path) -> None:
    if last is None or order_key(last.name) < order_key(member.name):
        return
    if last.name == member.name and last.kind == member.kind == "f":  # taken again because it changed
        return
    raise CheckFailed(
        f"the attachment archive {archive_path} is damaged",
        why=f"{escape(member.name)} is out of order after {escape(last.name)}",
        remedy="fetch it again from another store, or use another backup set",
    )


def _take(
    entry: IndexEntry,
    member: Member,
    archive: ArchiveReader,
    destination: Destination,
    on_content: Callable[[int], None] | None,
) -> list[str]:
    digest = hashlib.sha256(member.link)
    size = len(member.link)

    def hashed() -> Iterator[bytes]:
        nonlocal size
        for piece in archive.content():
            digest.update(piece)
            size += len(piece)
            yield piece
            if on_content is not None:
                on_content(len(piece))

    destination.put(member, hashed())
    name = escape(entry.path)
    if member.kind != entry.kind:
        return [f"{name} is of type {member.kind} in the archive and {entry.kind} in the index"]
    if size != entry.size:
        return [f"{name} has {size} bytes in the archive and {entry.size} in the index"]
    if entry.kind != "d" and digest.hexdigest() != entry.sha256:
        return [f"{name} does not have the content that the index describes (sha256)"]
    if member.mode != entry.mode:
        return [f"{name} has mode {member.mode:o} in the archive and {entry.mode:o} in the index"]
    return []
