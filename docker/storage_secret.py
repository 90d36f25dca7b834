"""Which password protects Dagster's storage? A random one, made once, in a directory that only the services share.

Takes the directory and the address of the storage, HOST PORT DATABASE USER. Writes `password` for the server, which
runs as another user, and `pgpass` for its clients. What is there already stays, so that it can be run at every start.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path


def write(path: Path, content: str, mode: int) -> None:
    """Write a file that is there whole or not at all; one that is there already stays."""
    if path.exists():
        return
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


def main(directory: Path, address: list[str]) -> None:
    """Write what is missing: first the password, from which the other file follows."""
    os.umask(0)
    write(directory / "password", secrets.token_hex(24), 0o444)
    password = (directory / "password").read_text()
    write(directory / "pgpass", ":".join([*address, password]) + "\n", 0o600)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit("usage: storage_secret.py DIRECTORY HOST PORT DATABASE USER")
    main(Path(sys.argv[1]), sys.argv[2:])
