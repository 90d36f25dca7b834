"""How are sets kept in a folder: the local one, an external disk, a synced directory?"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from backup_assets.errors import EnvironmentFault
from backup_assets.files import (
    PARTIAL_SUFFIX,
    commit_partial,
    fsync_directory,
    make_private_directory,
    partial_path,
    sha256_of,
)
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.leftovers import leftovers
from backup_assets.sets.place import Place, StoredObject, set_id_of, split_key
from backup_assets.stores.chunks import chunks_of
from backup_assets.stores.contract import ConflictingObject, MissingObject, TransferDamaged, require_key
from backup_assets.stores.disk_faults import explained
from backup_assets.stores.folder_lock import folder_lock
from backup_assets.stores.folder_walk import stored_file, walk

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: A pipe must not make us wait for its writer, and a link is no object.
_FOR_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Swept:
    """A leftover that was removed (or would be): ``size`` in bytes, ``reason`` for the operator."""

    key: str
    size: int
    reason: str


@dataclass(frozen=True)
class FolderStore:
    """A store in a directory, see `contract.Store` for what every method promises.

    Files are 0600 in directories of 0700. Keys are paths below ``root``; names that begin with a dot, partials,
    symbolic links and special files are not objects. With ``create_root`` off a missing root is a fault instead of a
    new directory: for a disk that may not be mounted. With ``must_be_mount`` a root that is no mount point is one too:
    what is written there would fill the disk below it.
    """

    root: Path
    name: str
    create_root: bool = True
    must_be_mount: bool = False

    # -- the contract ----------------------------------------------------------------------------------------------

    def put(self, key: str, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        """Store ``source`` under ``key``; read back from the disk before it gets its name."""
        path = self.path_of(key)
        existing = self._same(key, sha256=sha256, size=size)
        if existing is not None:
            return existing
        partial = self.partial_for(key)
        try:
            self._copy(key, source, partial, sha256=sha256, size=size)
            with explained(f"read {key} back", self.root):
                stored = _sha256_on_disk(partial)
            if stored != sha256:
                raise TransferDamaged(
                    f"{key} was damaged on its way to {self.describe()}",
                    why=f"SHA-256 {stored} was read back instead of {sha256}",
                    remedy="check that disk; nothing was stored, and another attempt is safe",
                )
            return self._commit(key, partial, path, sha256=sha256, size=size)
        finally:
            with explained(f"remove the partial of {key}", self.root):
                partial.unlink(missing_ok=True)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the object's content as a stream; raises MissingObject."""
        path = self.path_of(key)
        self._require_root()
        with explained(f"open {key}", self.root):
            raw = _opened(path, key, self.root)
        if raw is None:
            raise MissingObject(
                f"there is no {key} in {self.describe()}",
                remedy="look with `backup-assets list`, or in another store",
            )
        with io.BufferedReader(raw) as handle:
            yield handle

    def read_small(self, listed: StoredObject) -> bytes:
        """Return the content of a small object at small cost; raises as reading from :meth:`open` does."""
        content = _content(f"{self.root}/{require_key(listed.key)}", listed.size)
        if content is None:  # the usual way has it all the same, or tells why not
            with self.open(listed.key) as handle:
                content = handle.read()
        return content

    def stat(self, key: str) -> StoredObject | None:
        """Return size and time of an object, or None when there is none."""
        path = self.path_of(key)
        self._require_root()
        with explained(f"look at {key}", self.root):
            try:
                facts = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return stored_file(key, facts)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every complete object below ``prefix``, sorted by key."""
        require_key(prefix, prefix=True)
        self._require_root()
        return iter(sorted(walk(self.root, prefix), key=lambda stored: stored.key))

    def delete(self, key: str) -> None:
        """Remove an object durably; one that is missing is fine."""
        path = self.path_of(key)
        if self.stat(key) is None:
            return
        with explained(f"delete {key}", self.root):
            path.unlink(missing_ok=True)
            fsync_directory(path.parent)

    def describe(self) -> str:
        """Return where the store is."""
        return f"the folder {self.root}"

    def check(self) -> None:
        """Write, read back and remove a small file."""
        self._require_root()
        probe = self.root / f".check-{uuid.uuid4().hex[:8]}{PARTIAL_SUFFIX}"
        with explained("write a file for trial", self.root):
            make_private_directory(self.root)
            try:
                descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as handle:
                    handle.write(probe.name.encode())
                    handle.flush()
                    os.fsync(handle.fileno())
                found = probe.read_bytes()
            finally:
                probe.unlink(missing_ok=True)
        if found != probe.name.encode():
            raise EnvironmentFault(
                f"what was written into {self.root} could not be read back",
                remedy="check that disk before anything is stored there",
            )

    def free_bytes(self) -> int | None:
        """Return the bytes that this user can still write on the root's disk."""
        self._require_root()
        with explained("ask for free space", self.root):
            existing = self.root.absolute()
            while not existing.exists():
                existing = existing.parent
            facts = os.statvfs(existing)
            return facts.f_bavail * facts.f_frsize

    # -- for the capture, which writes in place ----------------------------------------------------------------------

    def path_of(self, key: str) -> Path:
        """Return the path of a key's file, whether it exists or not, for reading in place."""
        return self.root / require_key(key)

    def partial_for(self, key: str) -> Path:
        """Return a fresh name for content that will become ``key``; its directory exists, the file does not."""
        path = self.path_of(key)
        self._require_root()
        with explained(f"make the directory of {key}", self.root):
            make_private_directory(path.parent)
        return partial_path(path)

    def adopt(self, key: str, partial: Path, *, sha256: str, size: int) -> StoredObject:
        """Make a finished partial (from :meth:`partial_for`) the object ``key``, without copying or reading it.

        ``sha256`` is what the writer computed while writing. Same content under that key already: the partial is
        removed. Raises TransferDamaged when the file has another size than ``size`` bytes, ConflictingObject as
        :meth:`put` does; the partial then stays where it is.
        """
        path = self.path_of(key)
        if partial.parent != path.parent:
            raise ValueError(f"{partial} is no partial of {key}")
        with explained(f"store {key}", self.root):
            found = partial.stat().st_size
        if found != size:
            raise TransferDamaged(
                f"{key} was not written completely",
                why=f"the file has {found} bytes instead of {size}",
                remedy="check the disk and take the backup again",
            )
        existing = self._same(key, sha256=sha256, size=size)
        if existing is None:
            return self._commit(key, partial, path, sha256=sha256, size=size)
        with explained(f"remove the partial of {key}", self.root):
            partial.unlink()
        return existing

    def capture_lock(self, name: str, run: str = "") -> AbstractContextManager[None]:
        """Hold the lock ``name`` (a database's) for a block; raises Refused, saying who holds it since when."""
        self._require_root()
        return folder_lock(self.root, name, run)

    # -- sweeping ----------------------------------------------------------------------------------------------------

    def sweep(
        self,
        now: datetime,
        older_than: timedelta = timedelta(days=1),
        *,
        dry_run: bool = False,
        only: Place | None = None,
    ) -> list[Swept]:
        """Remove what no set needs and return it; `sets/leftovers.py` says what that is.

        ``only`` one place is for who holds the lock of that one: in another a capture may have been at work for longer
        than ``older_than``. With ``dry_run`` nothing is removed. Raises EnvironmentFault when a directory cannot be
        listed.
        """
        self._require_root()
        places: dict[str, list[StoredObject]] = {}
        for stored in walk(self.root, "" if only is None else only.root, sweeping=True):
            split = split_key(stored.key)
            if split is not None and (only is None or split[0] == only.root):
                places.setdefault(split[0], []).append(stored)
        swept: list[Swept] = []
        for root, listing in sorted(places.items()):
            prefix, _, env = root.rpartition("/")
            place = Place(prefix, env)
            # Read after the listing: a set that was finished in between protects its files.
            manifests = Catalog(self, place).manifests()
            for leftover in leftovers(listing, manifests, now, older_than):
                set_id = set_id_of(place.name(leftover.key))
                partial = leftover.key.endswith(PARTIAL_SUFFIX)
                if not partial and set_id is not None and self.stat(place.manifest_key(set_id)) is not None:
                    continue
                if not dry_run:
                    self._remove(leftover.key)
                swept.append(Swept(leftover.key, leftover.size, leftover.reason))
        return swept

    def _remove(self, key: str) -> None:
        path = self.root / key
        with explained(f"remove the leftover {key}", self.root):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            fsync_directory(path.parent)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _require_root(self) -> None:
        with explained("look at the root", self.root):
            try:  # one look only: another writer may be making it
                facts = self.root.stat()
            except FileNotFoundError:
                facts = None
            if facts is not None and not stat.S_ISDIR(facts.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.root))
        if facts is not None and self.must_be_mount and not os.path.ismount(self.root):
            raise EnvironmentFault(
                f"nothing is mounted at {self.root}",
                why="the directory is there, but it belongs to the disk below it",
                remedy="mount or connect its disk; nothing was written",
            )
        if facts is None and (self.must_be_mount or not self.create_root):
            raise EnvironmentFault(
                f"the folder {self.root} does not exist",
                remedy="mount or connect its disk, or correct the setting that names it",
            )

    def _same(self, key: str, *, sha256: str, size: int) -> StoredObject | None:
        """Return the object ``key`` if its content is the given one, None without one; raises ConflictingObject."""
        existing = self.stat(key)
        if existing is None:
            return None
        found = f"{existing.size} bytes"
        if existing.size == size:
            with explained(f"read {key}", self.root):
                found_sha256 = sha256_of(self.path_of(key))
            if found_sha256 == sha256:
                return StoredObject(key, size, existing.stored_at, sha256)
            found = f"SHA-256 {found_sha256}"
        raise ConflictingObject(
            f"{key} exists in {self.describe()} with other content",
            why=f"it has {found}; to be stored were {size} bytes with SHA-256 {sha256}",
            remedy="nothing was changed; verify the stored set, and if it is damaged delete it before storing it again",
        )

    def _copy(self, key: str, source: Path | bytes, partial: Path, *, sha256: str, size: int) -> None:
        digest = hashlib.sha256()
        count = 0
        with explained(f"store {key}", self.root):
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                for chunk in chunks_of(source):
                    digest.update(chunk)
                    count += len(chunk)
                    if count > size:
                        break
                    handle.write(chunk)
                handle.flush()
                os.fsync(handle.fileno())
        if count != size or digest.hexdigest() != sha256:
            more = "more than " if count > size else ""
            raise TransferDamaged(
                f"{key} was not stored: its source is not what was announced",
                why=f"it gave {more}{min(count, size)} bytes instead of {size}"
                if count != size
                else f"it gave SHA-256 {digest.hexdigest()} instead of {sha256}",
                remedy="the source was changed or damaged meanwhile: verify it, then store it again",
            )

    def _commit(self, key: str, partial: Path, path: Path, *, sha256: str, size: int) -> StoredObject:
        with explained(f"store {key}", self.root):
            try:
                commit_partial(partial, path)
            except FileExistsError:  # another writer was faster
                existing = self._same(key, sha256=sha256, size=size)
                if existing is None:
                    raise
                partial.unlink(missing_ok=True)
                return existing
            facts = path.lstat()
        return StoredObject(key, size, datetime.fromtimestamp(facts.st_mtime, UTC), sha256)


class _Reading(io.FileIO):
    """An open file whose read errors say which object and folder they are about."""

    def __init__(self, descriptor: int, key: str, root: Path) -> None:
        super().__init__(descriptor, "rb")
        self._key = key
        self._root = root

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        with explained(f"read {self._key}", self._root):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with explained(f"read {self._key}", self._root):
            return super().readall()


def _content(path: str, size: int) -> bytes | None:
    """Return what a regular file of ``size`` bytes holds, read at once; None for everything else."""
    try:
        descriptor = os.open(path, _FOR_READING)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = os.read(descriptor, size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return content if len(content) == size else None


def _opened(path: Path, key: str, root: Path) -> _Reading | None:
    """Return the open file of an object; None where there is none, or what bears its name is no regular file."""
    try:
        descriptor = os.open(path, _FOR_READING)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENXIO or (error.errno == errno.ELOOP and path.is_symlink()):  # a socket; a link
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return _Reading(descriptor, key, root)
    os.close(descriptor)
    return None


def _sha256_on_disk(path: Path) -> str:
    """Hash a file that was just forced to disk, asking the kernel to read it from there and not from its cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return sha256_of(path)
