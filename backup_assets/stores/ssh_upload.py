"""How does content come to the other host: whole, proven there, and not twice?

Small content and streams go through one ssh, which stores them in a single round trip. A larger file is sent by rsync
onto a partial that outlives a broken connection, so that the next attempt sends the rest only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.errors import TransientFault
from backup_assets.files import sha256_of
from backup_assets.process import started
from backup_assets.stores import ssh_scripts
from backup_assets.stores.chunks import chunks_of
from backup_assets.stores.contract import ConflictingObject, StoredObject, TransferDamaged
from backup_assets.stores.disk_faults import explained
from backup_assets.stores.ssh_errors import explained_there
from backup_assets.stores.ssh_location import SshLocation, private_directory, remote_shell
from backup_assets.stores.ssh_session import OPERATION_SECONDS, run_there
from backup_assets.stores.throttle import Throttle

#: From this size on a file goes by rsync: below it a second and third round trip cost more than sending it again.
RSYNC_FROM_BYTES = 1 << 20
#: rsync gives up a transfer that is silent for so long, in seconds.
SILENT_SECONDS = 120
#: Slower than this, in bytes a second, a transfer or the hashing of it is ended.
_SLOWEST_TRANSFER = 50_000
_SLOWEST_HASHING = 5_000_000
_LOCKS = 256


class Upload:
    """The storing of one object; ``sha256`` and ``size`` (bytes) are the sender's."""

    def __init__(self, location: SshLocation, key: str, source: Path | bytes, *, sha256: str, size: int) -> None:
        self._location = location
        self._key = key
        self._source = source
        self._sha256 = sha256
        self._size = size
        self._doing = f"store {key}"
        limit = location.bandwidth_limit_bytes_per_second
        self._transfer_seconds = OPERATION_SECONDS + size / min(_SLOWEST_TRANSFER, (limit or _SLOWEST_TRANSFER) / 2)
        self._hashing_seconds = OPERATION_SECONDS + size / _SLOWEST_HASHING

    def run(self) -> StoredObject:
        """Store the object; raises what `contract.Store.put` says."""
        if isinstance(self._source, Path) and self._size >= RSYNC_FROM_BYTES:
            with explained(f"read {self._source.name}", self._source.parent):
                facts = self._source.stat()
            if stat.S_ISREG(facts.st_mode):
                if facts.st_size != self._size:
                    raise self._not_announced(f"it has {facts.st_size} bytes instead of {self._size}")
                with _partial_of(self._location, self._key, self._sha256) as partial:
                    return self._by_rsync(self._source, partial)
        return self._by_stream()

    # -- through ssh -------------------------------------------------------------------------------------------------

    def _by_stream(self) -> StoredObject:
        answer = run_there(
            self._location,
            ssh_scripts.STORE,
            *self._arguments(uuid.uuid4().hex),
            doing=self._doing,
            source=self._proven_chunks(),
            timeout=self._transfer_seconds + self._hashing_seconds,
        )
        return self._outcome(answer.words) or self._damaged(answer.words)

    def _proven_chunks(self) -> Iterator[bytes]:
        """Yield the source, its last piece only when the whole is what was announced."""
        throttle = Throttle(self._location.bandwidth_limit_bytes_per_second)
        digest = hashlib.sha256()
        count = 0
        held = b""
        for chunk in chunks_of(self._source):
            throttle.wait_for(len(held))
            yield held
            held = chunk
            digest.update(chunk)
            count += len(chunk)
            if count > self._size:
                raise self._not_announced(f"it gave more than {self._size} bytes")
        if count != self._size:
            raise self._not_announced(f"it gave {count} bytes instead of {self._size}")
        if digest.hexdigest() != self._sha256:
            raise self._not_announced(f"it gave SHA-256 {digest.hexdigest()} instead of {self._sha256}")
        throttle.wait_for(len(held))
        yield held

    # -- by rsync ----------------------------------------------------------------------------------------------------

    def _by_rsync(self, source: Path, partial: str) -> StoredObject:
        answer: list[str] = []
        for _ in range(2):
            answer = self._run(ssh_scripts.PREPARE, partial)
            found = self._outcome(answer)
            if found is not None:
                return found
            already = int(answer[1])
            if already < self._size:
                self._send(source, partial)
            answer = self._run(ssh_scripts.COMMIT, partial)
            found = self._outcome(answer)
            if found is not None:
                return found
            if not already:
                break
            # What an earlier attempt left was damaged, or of a source that was: it is gone now, once more from 0.
        with explained(f"read {source.name}", source.parent):
            found_here = sha256_of(source)
        if found_here != self._sha256:
            raise self._not_announced(f"it has SHA-256 {found_here} instead of {self._sha256}")
        return self._damaged(answer)

    def _send(self, source: Path, partial: str) -> None:
        there = f"{self._location.root}/{ssh_scripts.INCOMING}/{partial}.partial"
        limit = self._location.bandwidth_limit_bytes_per_second
        # --append goes on where the partial ends; that its beginning is right is proven by the hash of the whole.
        options = ["--append", "--copy-links", "--secluded-args", f"--timeout={SILENT_SECONDS}"]
        options += [f"--bwlimit={max(1, limit // 1024)}K"] if limit else []
        options += ["--rsync-path=env LC_ALL=C rsync", "-e", remote_shell(self._location.ssh())]
        host = f"[{self._location.host}]" if ":" in self._location.host else self._location.host
        argv = ["rsync", *options, "--", str(source.absolute()), f"{host}:{there}"]
        with explained_there(self._doing, self._location), started(argv, timeout=self._transfer_seconds):
            pass

    def _run(self, script: str, partial: str) -> list[str]:
        return run_there(
            self._location, script, *self._arguments(partial), doing=self._doing, timeout=self._hashing_seconds
        ).words

    # -- what the scripts answer -------------------------------------------------------------------------------------

    def _arguments(self, partial: str) -> tuple[str, str, str, str]:
        return self._key, str(self._size), self._sha256, partial

    def _outcome(self, words: list[str]) -> StoredObject | None:
        """Return the object that is there now, None when there is none; raises ConflictingObject."""
        match words:
            case ["stored" | "exists", found, size, seconds, *_] if found == self._sha256 and int(size) == self._size:
                return StoredObject(self._key, self._size, datetime.fromtimestamp(int(seconds), UTC), self._sha256)
            case ["exists", found, size, *_]:
                raise self._conflict(f"it has {size} bytes" + ("" if found == "-" else f" with SHA-256 {found}"))
            case ["other", *_]:
                raise self._conflict("it is no regular file")
            case ["busy"]:
                raise TransientFault(
                    f"could not {self._doing} in {self._location.describe()}: another writer is storing the same name",
                    remedy="try again later",
                )
            case ["partial" | "damaged", _]:
                return None
        raise TransientFault(
            f"could not {self._doing} in {self._location.describe()}: it ended without an answer",
            why=f"it answered {' '.join(words)!r}",
            remedy="try again later",
        )

    def _conflict(self, found: str) -> ConflictingObject:
        return ConflictingObject(
            f"{self._key} exists in {self._location.describe()} with other content",
            why=f"{found}; to be stored were {self._size} bytes with SHA-256 {self._sha256}",
            remedy="nothing was changed; verify the stored set, and if it is damaged delete it before storing it again",
        )

    def _not_announced(self, why: str) -> TransferDamaged:
        return TransferDamaged(
            f"{self._key} was not stored: its source is not what was announced",
            why=why,
            remedy="the source was changed or damaged meanwhile: verify it, then store it again",
        )

    def _damaged(self, words: list[str]) -> StoredObject:
        raise TransferDamaged(
            f"{self._key} was damaged on its way to {self._location.describe()}",
            why=f"SHA-256 {words[1]} was read back there instead of {self._sha256}",
            remedy="check that host's disk; nothing was stored, and another attempt is safe",
        )


@contextmanager
def _partial_of(location: SshLocation, key: str, sha256: str) -> Iterator[str]:
    """Yield the name of a partial that nobody else writes to: that of the last attempt, unless it is in use.

    It is the same for this machine and user, this key and this content. Others on this machine are kept off it by a
    lock that ends with the process.
    """
    machine = Path("/etc/machine-id")
    here = machine.read_text() if machine.exists() else ""
    parts = (here, socket.gethostname(), str(os.getuid()), location.describe(), key, sha256)
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    # Locks are few files that stay: two transfers that meet at one only lose the chance to be resumed.
    lock = private_directory() / f"{int(name, 16) % _LOCKS:03}.lock"
    with explained("lock a transfer", lock.parent):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            name = uuid.uuid4().hex
        yield name
    finally:
        os.close(descriptor)
