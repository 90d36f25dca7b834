"""A real SSH server for tests, on a loopback port with keys of its own, and a link to it that can be cut."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from backup_assets.stores.ssh_location import SshLocation

START_SECONDS = 120
ENDED_SECONDS = 60
#: So many ports are tried where others on this machine take them between the look at one and its use.
PORTS_TRIED = 5
_SEARCHED = ("/usr/sbin", "/usr/local/sbin")
_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM {pam}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
LogLevel INFO
SetEnv HOME={home} BASH_ENV={home}/.bashrc PATH={path}
"""


@dataclass(frozen=True)
class SshServer:
    """A running server whose sessions have ``home`` as their home, and search ``programs`` first."""

    directory: Path
    port: int
    user: str
    pid: int

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def programs(self) -> Path:
        return self.directory / "programs"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def location(self, directory: Path, **changes: Any) -> SshLocation:
        """Return a location in ``directory``, which is made; a port of a link is known as well."""
        directory.mkdir(exist_ok=True)
        location = SshLocation(
            host="127.0.0.1",
            remote_dir=str(directory),
            port=self.port,
            user=self.user,
            ssh_key=self.directory / "key",
            known_hosts=self.known_hosts,
        )
        return replace(location, **changes)

    def end_sessions(self) -> None:
        """Kill every session, as a power loss there would, and wait until none is left; the server itself goes on."""
        killed = descendants(self.pid)
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + ENDED_SECONDS
        while any(map(lives, killed)) and time.monotonic() < until:
            time.sleep(0.01)


def lives(pid: int) -> bool:
    """Tell whether a process is there, and not only its exit status."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


@contextmanager
def ssh_server() -> Iterator[SshServer]:
    """Start a server and end it with all its sessions; skips without the program, fails without it in CI."""
    program = shutil.which("sshd", path=os.pathsep.join((os.environ.get("PATH", ""), *_SEARCHED)))
    missing = [name for name, found in (("sshd", program), ("rsync", shutil.which("rsync"))) if not found]
    if program is None or missing:
        text = f"{', '.join(missing)} is not installed: apt-get install openssh-server rsync"
        pytest.fail(text) if "CI" in os.environ else pytest.skip(text)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="ba-sshd-"))
    try:
        directory.chmod(0o755)
        (directory / "home").mkdir()
        (directory / "programs").mkdir()
        host_key, key = make_key(directory / "host_key"), make_key(directory / "key")
        (directory / "authorized_keys").write_text(f"restrict {key}\n")
        (directory / "known_hosts").write_text(f"127.0.0.1,[127.0.0.1]:* {host_key}\n")
        path = f"{directory}/programs:/usr/local/bin:/usr/bin:/bin"
        # Without PAM nobody whose password is locked gets in, and only root can use PAM.
        pam = "yes" if os.getuid() == 0 and Path("/etc/pam.d/sshd").exists() else "no"
        home = directory / "home"
        process, port = _started(program, directory, home=home, path=path, pam=pam)
        user = pwd.getpwuid(os.getuid()).pw_name
        server = SshServer(directory, port, user, process.pid)
        try:
            yield server
        finally:
            server.end_sessions()
            process.kill()
            process.wait(timeout=20)
    finally:
        shutil.rmtree(directory)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _started(program: str, directory: Path, **configured: object) -> tuple[subprocess.Popen[bytes], int]:
    config, log = directory / "sshd_config", directory / "log"
    for _ in range(PORTS_TRIED):
        port = free_port()
        config.write_text(_CONFIG.format(directory=directory, port=port, **configured))
        with log.open("wb") as handle:
            argv = [program, "-D", "-e", "-f", str(config)]
            process = subprocess.Popen(argv, stderr=handle, stdin=subprocess.DEVNULL)
        if _answers(port, process):
            return process, port
        process.kill()
        process.wait(timeout=20)
        if "Address already in use" not in log.read_text():
            break
    pytest.fail(f"the SSH server did not start:\n{log.read_text()[-3000:]}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
                if one.recv(4) == b"SSH-":
                    return process.poll() is None
        except OSError:
            time.sleep(0.05)
    return False


@contextmanager
def as_another_user(server: SshServer) -> Iterator[tuple[SshLocation, Path]]:
    """Yield a location, and its directory, of a user that is not root: the one that PostgreSQL's packages make."""
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("there is no user postgres")
    if os.getuid() != 0:
        pytest.skip("only root's SSH server lets another user in")
    directory = Path(tempfile.mkdtemp(prefix="ba-there-"))
    try:
        os.chown(directory, user.pw_uid, user.pw_gid)
        yield server.location(directory, user="postgres"), directory
    finally:
        shutil.rmtree(directory)


class Link:
    """A way to the server that counts what is sent through it, and can be cut or stalled after so many bytes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.sent = 0
        self.limit: int | None = None
        self.at_limit: Callable[[], None] = self.cut
        self._stalled = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection at once."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Let nothing through any more, in either direction, without ending anything."""
        self._stalled.set()

    def close(self) -> None:
        # A thread that waits in accept() is not woken by close().
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._stalled.set()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:  # the server is down: whoever asked is told at once, and the next one may find it up
                    near.close()
                    continue
                self._open += [near, far]
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError), near, far:
            while not self._stalled.is_set():
                for one in select.select([near, far], [], [], 1)[0]:
                    data = one.recv(65536)
                    if not data or self._stalled.is_set():
                        break
                    (far if one is near else near).sendall(data)
                    if one is near:
                        self.sent += len(data)
                        if self.limit is not None and self.sent > self.limit:
                            self.limit = None
                            self.at_limit()
                else:
                    continue
                break
            while self._stalled.is_set() and near.fileno() != -1 and self._listening.fileno() != -1:
                time.sleep(0.1)


@contextmanager
def link_to(server: SshServer) -> Iterator[Link]:
    """Open a link to the server, for a location with its ``port``."""
    link = Link(server.port)
    try:
        yield link
    finally:
        link.close()
