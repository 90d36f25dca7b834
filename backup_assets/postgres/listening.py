"""Where does a local cluster listen: in which directory is its socket, and on which port?"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.unprivileged import give_to, may_reach
from backup_assets.process import Identity

SOCKET_PREFIX = "backup-assets-socket-"
#: Longest directory of a socket: 104 bytes on macOS (108 on Linux), less `/.s.PGSQL.65535` and the closing zero.
SOCKET_DIRECTORY_BYTES = 104 - len("/.s.PGSQL.65535") - 1
SOCKET_ONLY_PORT = 5432
#: Where a free TCP port is looked for: easily remembered, and below the range used for outgoing connections.
TCP_PORTS = range(15432, 15532)


def make_socket_directory(base: Path, identity: Identity | None) -> Path:
    """Make the socket's directory, 0700 and the server's: in ``base``, or elsewhere where that path is too long."""
    directory = base / "socket"
    if len(os.fsencode(directory)) <= SOCKET_DIRECTORY_BYTES:
        directory.mkdir(mode=0o700, exist_ok=True)
    else:
        directory = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=_short_parent(identity)))
    give_to(directory, identity)
    return directory


def _short_parent(identity: Identity | None) -> Path:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    usable = runtime.is_dir() and os.access(runtime, os.W_OK) and may_reach(runtime, identity)
    if usable and len(os.fsencode(runtime)) + len(f"/{SOCKET_PREFIX}12345678") <= SOCKET_DIRECTORY_BYTES:
        return runtime
    return Path("/tmp")  # noqa: S108 - the directory inside is made by mkdtemp


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: lingering ones do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return the first free port of ``TCP_PORTS``. Raises EnvironmentFault when all are taken."""
    for port in TCP_PORTS:
        if is_free(port):
            return port
    raise EnvironmentFault(
        f"no TCP port between {TCP_PORTS.start} and {TCP_PORTS.stop - 1} is free on 127.0.0.1",
        remedy="stop what listens there",
    )
