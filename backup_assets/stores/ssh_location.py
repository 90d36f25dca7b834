"""Where is the other host's directory, and with which arguments is it reached?"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.files import make_private_directory

#: ssh keeps a connection open so long after its last use, in seconds, for the next small operation.
PERSIST_SECONDS = 60
#: A Unix socket's path has at most 107 bytes, of which ssh takes 17 while it makes one.
_LONGEST_SOCKET_BYTES = 107 - 17


@dataclass(frozen=True)
class SshLocation:
    """A directory on another host, and how its SSH server is reached; what is None is left to ssh's configuration.

    ``known_hosts`` given is the only file whose keys count. ``connect_seconds`` bounds the making of a connection,
    and one that is silent for three times ``alive_seconds`` is given up.
    """

    host: str
    remote_dir: str
    port: int = 22
    user: str | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    bandwidth_limit_bytes_per_second: int | None = None
    connect_seconds: int = 20
    alive_seconds: int = 15

    @property
    def root(self) -> str:
        """The directory there, without a slash at its end."""
        return self.remote_dir.rstrip("/") or "/"

    @property
    def target(self) -> str:
        """User and host as ssh and rsync write them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" if self.user else host

    @property
    def known_name(self) -> str:
        """The host as known_hosts names it."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    def describe(self) -> str:
        """Return where it is, for the operator."""
        port = "" if self.port == 22 else f", port {self.port}"
        return f"{self.target}:{self.root}{port}"

    def address(self, key: str) -> str:
        """Return an object's address as rsync takes it."""
        return f"{self.target}:{self.root}/{key}"

    def ssh(self) -> list[str]:
        """Return ssh's argument list up to the host, which comes next; makes the directory of its sockets.

        The host key is always checked and nothing is ever asked or forwarded. Raises EnvironmentFault when no
        private directory for the sockets can be had.
        """
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "EscapeChar": "none",
            "Compression": "no",  # what is sent is compressed already
            "LogLevel": "ERROR",
            "ConnectTimeout": str(self.connect_seconds),
            "ConnectionAttempts": "1",
            "ServerAliveInterval": str(self.alive_seconds),
            "ServerAliveCountMax": "3",
            "ControlMaster": "auto",
            "ControlPersist": str(PERSIST_SECONDS),
            "ControlPath": _option(self._socket()),
        }
        if self.known_hosts is not None:
            options["UserKnownHostsFile"] = _option(str(self.known_hosts))
            options["GlobalKnownHostsFile"] = "/dev/null"
        if self.ssh_key is not None:
            options["IdentityFile"] = _option(str(self.ssh_key))
            options["IdentitiesOnly"] = "yes"
        arguments = ["ssh", *(f"-o{name}={value}" for name, value in options.items()), "-p", str(self.port)]
        return [*arguments, "-l", self.user] if self.user else arguments

    def fetch_command(self, key: str, target: str) -> str:
        """Return a shell command that fetches an object by rsync alone."""
        ssh = ["ssh", "-p", str(self.port)]
        ssh += ["-i", str(self.ssh_key)] if self.ssh_key else []
        ssh += ["-o", f"UserKnownHostsFile={_option(str(self.known_hosts))}"] if self.known_hosts else []
        command = ["rsync", "--secluded-args", "--partial", "-e", remote_shell(ssh), self.address(key), target]
        return shlex.join(command)

    def _socket(self) -> str:
        # A connection is shared only by those who would have made the same: another key or known_hosts file, or
        # other content of either, is another connection.
        parts = [repr(self), *(_state(path) for path in (self.ssh_key, self.known_hosts))]
        name = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return str(private_directory() / name)


def private_directory() -> Path:
    """Return this user's directory for sockets and locks, 0700; raises EnvironmentFault when it is not ours alone."""
    name = f"backup-assets-ssh-{os.getuid()}"
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent / name)) + 1 + 16 > _LONGEST_SOCKET_BYTES:
        parent = Path("/tmp")  # noqa: S108 - checked below
    directory = parent / name
    try:
        make_private_directory(directory)
        facts = directory.lstat()
    except OSError as error:
        raise EnvironmentFault(
            f"the directory {directory} for ssh's connections cannot be made",
            why=str(error),
            remedy="make that place writable, or set TMPDIR to another one",
        ) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise EnvironmentFault(
            f"{directory} is not a private directory of this user, so that no connection is kept there",
            why=f"its owner is {facts.st_uid} and its mode {stat.S_IMODE(facts.st_mode):o}",
            remedy="find out who made it, remove it, or set TMPDIR to another place",
        )
    return directory


def remote_shell(arguments: list[str]) -> str:
    """Return an argument list as rsync's option ``-e`` takes it: words in quotes, a quote within them doubled."""
    quoted = ["'" + word.replace("'", "''") + "'" if set(word) & set(" '\"") else word for word in arguments]
    return " ".join(quoted)


def _option(path: str) -> str:
    """Return a path as the value of an option of ssh, which splits at spaces and expands ``%``."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _state(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        facts = path.stat()
    except OSError:  # ssh itself will say what is wrong with it
        return "missing"
    return f"{facts.st_ino}.{facts.st_mtime_ns}.{facts.st_size}"
