"""What does a failure of ssh or rsync, or of a command on the other host, mean to the operator?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from backup_assets.errors import BackupError, EnvironmentFault, TransientFault
from backup_assets.process import ProgramFailed, ProgramOverdue
from backup_assets.stores import ssh_scripts
from backup_assets.stores.disk_faults import meaning_in
from backup_assets.stores.ssh_location import SshLocation

#: With which ssh, and rsync over it, end when the connection was not made or broke.
_SSH_FAILED = 255
_BROKEN = (10, 12, 30, 35, _SSH_FAILED)
_PROGRAM_NOT_FOUND = (126, 127)


class _Meaning(NamedTuple):
    pattern: str
    what: str
    remedy: str
    kind: type[BackupError] = EnvironmentFault


_LATER = "try again later: what was sent is used again"
_MEANINGS = (
    _Meaning(
        r"HOST IDENTIFICATION HAS CHANGED|host key .* has changed",
        "{host} shows another host key than the one that is known, so nothing was sent",
        "find out why: it was set up anew, or another machine answers in its place. Only when the new key is proven "
        "on that host (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), remove the old one: "
        "ssh-keygen -R '{known}'{in_file}, and add the new one: {scan}",
    ),
    _Meaning(
        r"REVOKED HOST KEY|marked as revoked",
        "the host key of {host} is revoked",
        "ask whoever runs that host",
    ),
    _Meaning(
        r"host key is known for|Host key verification failed",
        "{host} is not a known host, so nothing was sent",
        "add its key: {scan}, and compare it with what that host itself says: "
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    ),
    _Meaning(
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "ssh does not use the private key, because others may read it",
        "chmod 600 that file (REMOTE_SSH_KEY, `ssh_key`)",
    ),
    _Meaning(
        r"Permission denied \(|Too many authentication failures|No supported authentication methods",
        "{host} does not accept the key",
        "add the public key to ~/.ssh/authorized_keys of that user there, and check REMOTE_USER (`user`) and "
        "REMOTE_SSH_KEY (`ssh_key`); a key with a passphrase works only through an agent",
    ),
    _Meaning(
        r"Temporary failure in name resolution",
        "the name {host} could not be resolved",
        "check this machine's network and name service",
        TransientFault,
    ),
    _Meaning(r"Could not resolve hostname", "there is no host {host}", "correct REMOTE_HOST (`host`)"),
    _Meaning(
        r"is your shell clean",
        "the shell of that user on {host} prints text of its own, which rsync cannot tell from its answers",
        "make its profile (~/.bashrc, /etc/profile.d) silent where the shell is not interactive",
    ),
    _Meaning(
        r"Connection refused|timed out|No route to host|Network is unreachable|not responding|Connection reset|"
        r"closed by remote host|Connection closed|Connection to .* closed|Broken pipe|kex_exchange_identification|"
        r"connection unexpectedly closed|timeout in data|lost connection|mux_client",
        "the connection to {host}, port {port}, could not be made or broke",
        "check that it runs an SSH server on that port (REMOTE_PORT, `port`) and that the network lets it through; "
        + _LATER,
        TransientFault,
    ),
)  # fmt: skip


class RemoteFault(EnvironmentFault):
    """A command on the other host failed."""


@contextmanager
def explained_there(doing: str, location: SshLocation) -> Iterator[None]:
    """Turn a program's failure in the block into an error that names the place and what to do.

    ``doing`` completes the sentence "could not …", for example "store db/ID.dump". Raises TransientFault for a
    connection that was not made or broke, EnvironmentFault for everything else.
    """
    try:
        yield
    except ProgramOverdue as error:
        raise TransientFault(
            f"could not {doing} in {location.describe()}: it took too long",
            why=error.what,
            remedy=_LATER,
        ) from error
    except ProgramFailed as error:
        raise _meaning_of(error, doing, location) from error


def _meaning_of(error: ProgramFailed, doing: str, location: SshLocation) -> BackupError:
    could_not = f"could not {doing} in {location.describe()}"
    known = _of_status(error, could_not, location)
    if known is not None:
        return known
    disk, remedy = meaning_in(error.stderr) if not _names_a_login(error.stderr) else ("", "")
    if disk:
        return EnvironmentFault(f"{could_not}: {disk}", why=_shown(error), remedy=remedy)
    file = shlex.quote(str(location.known_hosts)) if location.known_hosts else "~/.ssh/known_hosts"
    words = {
        "host": location.host,
        "port": location.port,
        "known": location.known_name,
        "in_file": f" -f {file}" if location.known_hosts else "",
        "scan": f"ssh-keyscan -p {location.port} {location.host} >> {file}",
    }
    for meaning in _MEANINGS:
        if re.search(meaning.pattern, error.stderr):
            what = f"{could_not}: {meaning.what.format(**words)}"
            return meaning.kind(what, why=_shown(error), remedy=meaning.remedy.format(**words))
    if error.returncode in _BROKEN:
        return TransientFault(f"{could_not}: the connection broke", why=_shown(error), remedy=_LATER)
    return RemoteFault(could_not, why=_shown(error), remedy="look at that directory and its disk on that host")


def _of_status(error: ProgramFailed, could_not: str, location: SshLocation) -> BackupError | None:
    root, why = location.root, _shown(error)
    if error.returncode == ssh_scripts.NO_DIRECTORY:
        return EnvironmentFault(
            f"{could_not}: there is no directory {root} on {location.host}, or that user may not see it",
            why=why,
            remedy="create it there, owned by that user, mode 0700; or correct REMOTE_DIR (`remote_dir`)",
        )
    if error.returncode in {ssh_scripts.MAY_NOT_ENTER, ssh_scripts.NOT_A_DIRECTORY}:
        found = "may not be entered by that user" if error.returncode == ssh_scripts.MAY_NOT_ENTER else "is a file"
        return EnvironmentFault(
            f"{could_not}: {root} on {location.host} {found}",
            why=why,
            remedy="let that user own the directory, or correct REMOTE_DIR (`remote_dir`)",
        )
    missing = error.returncode == ssh_scripts.NO_PROGRAM or error.returncode in _PROGRAM_NOT_FOUND
    if missing and "rsync: error while loading" not in why:
        return EnvironmentFault(
            f"{could_not}: a program is missing on {location.host}",
            why=why,
            remedy="install it there, on the PATH of a shell that is not interactive; needed are rsync, sha256sum, "
            "stat, find and sync",
        )
    return None


def _names_a_login(stderr: str) -> bool:
    return "Permission denied (" in stderr


def _shown(error: ProgramFailed) -> str:
    """Return the program's message without the frame of ``@`` that ssh draws."""
    lines = [line for line in error.stderr.splitlines() if line.strip("@ \r")]
    return "\n".join(lines[-12:]) or error.what
