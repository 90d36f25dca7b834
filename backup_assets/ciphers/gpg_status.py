"""What do gpg's status lines say: is a message proven whole, and if it failed, whose fault is it?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backup_assets.ciphers.contract import DamagedMessage, LockedPrivateKey, MissingPrivateKey, ended_by_signal
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.process import ProgramFailed

_STATUS = "[GNUPG:] "
#: Low half of the number after `ERROR pkdecrypt_failed`: the session key does not decrypt because it was altered
#: (GPG_ERR_CHECKSUM, GPG_ERR_WRONG_SECKEY, GPG_ERR_INV_PACKET, GPG_ERR_BAD_MPI; and GPG_ERR_CIPHER_ALGO, where what
#: RSA makes of an altered number happens to begin as a session key does). Others are the agent's.
_ALTERED_SESSION_KEY = (10, 18, 14, 30, 12)
_REFUSAL = re.compile(r"public key decryption failed: (.*)")


@dataclass(frozen=True)
class Status:
    """What gpg reported beside its messages: keyword and arguments, line by line (doc/DETAILS of GnuPG)."""

    lines: tuple[tuple[str, ...], ...]

    def count(self, keyword: str) -> int:
        """Return how many lines have that keyword."""
        return len(self.arguments(keyword))

    def arguments(self, keyword: str) -> list[tuple[str, ...]]:
        """Return what follows that keyword, for each of its lines."""
        return [line[1:] for line in self.lines if line[0] == keyword]

    @property
    def confirms_one_whole_message(self) -> bool:
        """Whether exactly one plaintext was decrypted, and its integrity confirmed."""
        once = all(self.count(keyword) == 1 for keyword in ("PLAINTEXT", "DECRYPTION_OKAY", "GOODMDC"))
        return once and not any(self.count(keyword) for keyword in ("BADMDC", "DECRYPTION_FAILED", "ERROR"))


def parse_status(text: str) -> Status:
    """Return the status of what gpg wrote to its `--status-fd`."""
    lines = (line.removeprefix(_STATUS).split() for line in text.splitlines() if line.startswith(_STATUS))
    return Status(tuple(tuple(line) for line in lines if line))


def encryption_failed(failure: ProgramFailed) -> BackupError:
    """Return what a failed encryption means."""
    if failure.returncode < 0:
        return ended_by_signal("gpg", failure)
    return EnvironmentFault(
        "gpg could not encrypt",
        why=failure.why,
        remedy="correct what it says; no incomplete file was left",
    )


def decryption_failed(
    source: Path, failure: ProgramFailed, status: Status, *, home: str, name_of: Callable[[str], str]
) -> BackupError:
    """Return what a failed decryption means; ``name_of`` says which key a key id belongs to, where that is known."""
    if failure.returncode < 0:
        return ended_by_signal("gpg", failure)
    refusals = [arguments[1] for arguments in status.arguments("ERROR") if arguments[0] == "pkdecrypt_failed"]
    missing = [arguments[0] for arguments in status.arguments("NO_SECKEY")]
    began = status.count("PLAINTEXT") or status.count("BADMDC")
    if not began and any(int(code) & 0xFFFF not in _ALTERED_SESSION_KEY for code in refusals):
        reasons = dict.fromkeys(_REFUSAL.findall(failure.stderr))
        return LockedPrivateKey(
            f"the private key for {source} is in {home}, but its agent did not let gpg use it",
            why="; ".join(reasons) or failure.why,
            remedy=(
                "give its passphrase: in a terminal after `export GPG_TTY=$(tty)`, or by a file that "
                "GPG_PASSPHRASE_FILE names; plug in its smart card if it is on one"
            ),
        )
    if not began and not refusals and missing:
        return MissingPrivateKey(
            f"{source} cannot be decrypted here: the private key is not in {home}",
            why=f"it is encrypted to {' and to '.join(map(name_of, missing))}",
            remedy="import one of these private keys (`gpg --import FILE`), or let GPG_HOMEDIR name its keyring",
        )
    if began or refusals or status.count("DECRYPTION_FAILED") or status.count("NODATA") or status.count("UNEXPECTED"):
        return damaged(source, "gpg decrypted it and found that it was truncated or altered", failure.why)
    return failure


def damaged(source: Path, *why: str) -> DamagedMessage:
    """Return the error for a file that does not decrypt to one whole plaintext."""
    return DamagedMessage(
        f"{source} is damaged",
        why=": ".join(why),
        remedy="fetch it again from another store, or use another backup set",
    )
