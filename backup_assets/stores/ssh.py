"""How are sets kept on another host, with ssh and rsync alone?"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from backup_assets.errors import EnvironmentFault
from backup_assets.stores import ssh_scripts
from backup_assets.stores.contract import MissingObject, StoredObject, is_key, require_key
from backup_assets.stores.ssh_location import SshLocation
from backup_assets.stores.ssh_session import reading_there, run_there
from backup_assets.stores.ssh_upload import Upload

_DF = re.compile(rb"\s\d+\s+\d+\s+(?P<free>-?\d+)\s+\d+%\s")
_ENTRY = re.compile(r"(?P<size>\d+) (?P<seconds>\d+) \./(?P<key>.+)", re.DOTALL)


@dataclass(frozen=True)
class SshStore:
    """A store in a directory on another host, see `contract.Store` for what every method promises.

    Files are 0600 in directories of 0700, owned by the user that logs in. Keys are paths below the directory, which
    must exist; names that begin with a dot, symbolic links and special files are not objects. What is not complete
    waits in ``.incoming``; what is older than a day there is removed by the next put.
    """

    location: SshLocation
    name: str

    def put(self, key: str, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        """Store ``source`` under ``key``; hashed on the other host before it gets its name."""
        require_key(key)
        return Upload(self.location, key, source, sha256=sha256, size=size).run()

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the object's content as a stream; raises MissingObject."""
        require_key(key)
        with reading_there(self.location, ssh_scripts.READ, key, doing=f"read {key}") as (words, stream):
            if not words:
                raise MissingObject(
                    f"there is no {key} in {self.describe()}",
                    remedy="look with `backup-assets list`, or in another store",
                )
            yield stream

    def stat(self, key: str) -> StoredObject | None:
        """Return size and time of an object, or None when there is none."""
        require_key(key)
        words = run_there(self.location, ssh_scripts.STAT, key, doing=f"look at {key}").words
        return _stored(key, words[0], words[1]) if words else None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every complete object below ``prefix``, sorted by key."""
        require_key(prefix, prefix=True)
        doing = "list the stored files"
        lines = run_there(self.location, ssh_scripts.LIST, prefix, doing=doing).content.split(b"\n")
        if lines[-2:] != [b"end", b""]:
            raise EnvironmentFault(
                f"could not {doing} in {self.describe()}: the list has no end",
                remedy="try again; check that host's find and stat",
            )
        found: list[StoredObject] = []
        for line in lines[:-2]:
            entry = _ENTRY.fullmatch(line.decode("utf-8", "surrogateescape"))
            if entry is None:
                raise EnvironmentFault(
                    f"could not {doing} in {self.describe()}: an entry cannot be read",
                    why=repr(line),
                    remedy="needed there is a `stat` that knows `-c`, of GNU or busybox",
                )
            if is_key(entry["key"]):
                found.append(_stored(entry["key"], entry["size"], entry["seconds"]))
        return iter(sorted(found, key=lambda stored: stored.key))

    def delete(self, key: str) -> None:
        """Remove an object durably; one that is missing is fine."""
        require_key(key)
        run_there(self.location, ssh_scripts.DELETE, key, doing=f"delete {key}")

    def describe(self) -> str:
        """Return where the store is."""
        return self.location.describe()

    def check(self) -> None:
        """Write, read back and remove a small file, and see that every program is there."""
        nonce = uuid.uuid4().hex
        answer = run_there(self.location, ssh_scripts.CHECK, nonce, doing="write a file for trial")
        if answer.words != [nonce]:
            raise EnvironmentFault(
                f"what was written into {self.describe()} could not be read back",
                why=f"{' '.join(answer.words)!r} instead of {nonce!r}",
                remedy="check that disk before anything is stored there",
            )
        if answer.noise.strip():
            raise EnvironmentFault(
                f"the shell of that user on {self.location.host} prints text of its own, which rsync cannot tell "
                "from its answers",
                why=repr(answer.noise[-200:].decode("utf-8", "replace").strip()),
                remedy="make its profile (~/.bashrc, /etc/profile.d) silent where the shell is not interactive",
            )

    def free_bytes(self) -> int | None:
        """Return the bytes that this user can still write on the directory's disk."""
        content = run_there(self.location, ssh_scripts.FREE, "", doing="ask for free space").content
        found = _DF.search(content)
        if found is None:
            raise EnvironmentFault(
                f"could not ask for free space in {self.describe()}",
                why=f"`df -Pk` answered {content[-200:].decode('utf-8', 'replace')!r}",
                remedy="check that host's df",
            )
        return max(0, int(found["free"]) * 1024)


def _stored(key: str, size: str, seconds: str) -> StoredObject:
    return StoredObject(key, int(size), datetime.fromtimestamp(int(seconds), UTC))
