"""What does every cipher promise?

Two keep the promise: `gpg.GpgCipher` and `age.AgeCipher`. Both encrypt to public keys, so that the host that makes
backups holds nothing that could read them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backup_assets.errors import CheckFailed, EnvironmentFault, Refused
from backup_assets.files import PARTIAL_SUFFIX
from backup_assets.process import ProgramFailed


class DamagedMessage(CheckFailed):
    """An encrypted file is truncated, altered, longer than its message, or no encrypted file at all."""


class WrongRecipients(CheckFailed):
    """An encrypted file can be read by others than wanted, or not by all who should."""


class OtherContent(CheckFailed):
    """What passed through the cipher is not the content that the caller announced."""


class MissingPrivateKey(EnvironmentFault):
    """None of the private keys that could decrypt a file is here."""


class LockedPrivateKey(EnvironmentFault):
    """The private key is here, but its passphrase was not given or its agent refused."""


@dataclass(frozen=True)
class Encrypted:
    """What was encrypted, and into what: SHA-256 in lower-case hexadecimal, sizes in bytes.

    ``recipients`` are the public keys by which the file can be read: full fingerprints (gpg) or `age1…` (age).
    """

    sha256_plain: str
    size_plain: int
    sha256_cipher: str
    size_cipher: int
    recipients: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Decrypted:
    """What was decrypted, and from what: SHA-256 in lower-case hexadecimal, sizes in bytes."""

    sha256_plain: str
    size_plain: int
    sha256_cipher: str
    size_cipher: int
    seconds: float


class Cipher(Protocol):
    """Encrypts files to the public keys of its recipients, and decrypts them where a private key is.

    Files of any size take the same small memory. No error holds a secret. A program that is missing or was ended is
    an EnvironmentFault.
    """

    @property
    def suffix(self) -> str:
        """What the name of an encrypted file ends with, for example `.gpg`."""
        ...

    def check(self) -> None:
        """Raise unless a file could be encrypted now: SettingsError for a recipient, EnvironmentFault for a program."""
        ...

    def encrypt(self, source: Path, target: Path, *, sha256_plain: str | None = None) -> Encrypted:
        """Encrypt ``source`` into the new file ``target``, 0600, and return the hashes of what passed through.

        ``target`` ends in `.partial`; it is not forced to disk and has no final name yet: `files.commit_partial` does
        both. Its structure and recipients were examined as by :meth:`verify_message`. Any error leaves no ``target``.
        Raises SettingsError when a recipient cannot be used, before anything is read; Refused when ``target`` exists
        or ``source`` is no regular file; OtherContent when ``sha256_plain`` is given and ``source`` held something
        else; DamagedMessage when the program did not write what it should.
        """
        ...

    def decrypt(
        self, source: Path, target: Path, *, sha256_plain: str | None = None, sha256_cipher: str | None = None
    ) -> Decrypted:
        """Decrypt ``source`` into the new file ``target``, 0600 and durable.

        ``target`` gets its name only after the end was reached, the program confirmed the integrity of the whole
        message, and the hashes, where given, were equal. Raises MissingPrivateKey, LockedPrivateKey, DamagedMessage,
        OtherContent, and Refused when ``target`` exists; then there is no ``target``, nor a part of it.

        The integrity that a cipher confirms says that nothing changed since encryption, not who encrypted: everybody
        who has the public key could have. Only ``sha256_plain`` from a trusted manifest says that it is the backup.
        """
        ...

    def verify_message(self, path: Path, *, size_plain: int | None = None) -> None:
        """Examine, without any private key, whether ``path`` is one whole message to exactly the recipients.

        ``size_plain`` is the size in bytes of what was encrypted, where it is known. Raises DamagedMessage or
        WrongRecipients. Each cipher says what cannot be seen without the key; the stored SHA-256 sees everything.
        """
        ...


def require_partial(target: Path) -> None:
    """Raise ValueError unless ``target`` has the name of a file that is not complete yet: a mistake of the caller."""
    if not target.name.endswith(PARTIAL_SUFFIX):
        raise ValueError(f"{target} does not end in {PARTIAL_SUFFIX}")


def require_free_name(target: Path) -> None:
    """Raise Refused when ``target`` exists: nothing is ever overwritten."""
    if os.path.lexists(target):
        raise already_there(target)


def already_there(target: Path) -> Refused:
    """Return the error for a target that exists."""
    return Refused(
        f"{target} exists already", why="nothing is overwritten", remedy="move it away, or choose another name"
    )


def require_content(found: str, wanted: str | None, description: str) -> None:
    """Raise OtherContent unless ``found`` is the SHA-256 that was ``wanted``; None means that none is known."""
    if wanted is not None and found != wanted:
        raise OtherContent(
            f"{description} is not what was recorded",
            why=f"its SHA-256 is {found} instead of {wanted}",
            remedy="fetch it again from another store, or use another backup set",
        )


def ended_by_signal(program: str, failure: ProgramFailed) -> EnvironmentFault:
    """Return the error for a program that was killed: ``returncode`` is negative."""
    return EnvironmentFault(
        f"{program} was ended by signal {-failure.returncode} before it was done",
        why=failure.stderr or "it printed nothing",
        remedy="look into the kernel's log (was memory exhausted?), then run it again; no incomplete file was left",
    )
