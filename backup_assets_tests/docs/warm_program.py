"""`backup-assets` for many commands of a page: each in a process of its own, forked from one that has loaded it.

Run with the path of a socket, it serves until its standard input ends. :func:`client` is the program that a shell
runs in its place: it hands over its arguments, directory, environment and files, and ends as the command ends.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY = b"ready\n"
_CLIENT = """\
#!{python} -ISs
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
fds = array.array("i", [0, 1, 2])
server.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
server.sendall(asked)
answer = server.recv(1)
sys.exit(answer[0] if answer else 99)
"""


@contextmanager
def warm_program(directory: Path) -> Iterator[Path]:
    """Load the program once and yield the path of a `backup-assets` that starts at once."""
    path = directory / "warm"
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "DAGSTER_HOME": ""},
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == READY
        client = directory / "backup-assets"
        client.write_text(_CLIENT.format(python=sys.executable, path=str(path)))
        client.chmod(0o700)
        yield client
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(timeout=60)


def serve(path: str) -> None:
    """Answer on the socket ``path`` until the parent is gone."""
    _load()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    _end_with_the_parent()
    os.write(1, READY)
    while True:
        asking, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(asking)
        asking.close()
        while os.waitpid(-1, os.WNOHANG)[0]:  # those that have answered; the one that watches the parent never ends
            pass


def _load() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import backup_assets.cli.backup
        import backup_assets.cli.doctor
        import backup_assets.cli.drill
        import backup_assets.cli.restore
        import backup_assets.cli.retention
        import backup_assets.cli.secrets
        import backup_assets.cli.sets
        import backup_assets.cli.status
        import backup_assets.cli.verify
        import backup_assets.cli.watch
        import backup_assets.definitions  # noqa: F401


def _end_with_the_parent() -> None:
    """End when the standard input ends; by a process and not a thread, since this one forks."""
    server = os.getpid()
    if os.fork() == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.read(0, 1)
        os.kill(server, signal.SIGTERM)
        os._exit(0)


def _answer(asking: socket.socket) -> None:
    status = 98
    try:
        fds = array.array("i")
        size, ancillary, _, _ = asking.recvmsg(4, socket.CMSG_LEN(3 * fds.itemsize))
        fds.frombytes(ancillary[0][2])
        asked = b""
        while len(asked) < int.from_bytes(size, "big"):
            asked += asking.recv(1 << 20)
        argv, directory, environment = json.loads(asked)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        from backup_assets.cli.main import main

        status = main(argv)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        with contextlib.suppress(OSError):
            asking.sendall(bytes([status]))
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
