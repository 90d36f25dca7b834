"""How are files encrypted with age, and decrypted so that only whole plaintext ever gets a name?

The `age` program and not a library in this process: it was measured as fast as pyrage (500 MB in 1.9 to 2.9 s, both
in about 5 to 11 MB of memory), it can be ended when it hangs, it is the stock tool by which a backup is decrypted
without us, and it writes no decoy stanzas (grease), so that recipients can be counted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backup_assets.ciphers.age_format import AgeMessage, is_recipient, read_message
from backup_assets.ciphers.contract import (
    DamagedMessage,
    Decrypted,
    Encrypted,
    LockedPrivateKey,
    MissingPrivateKey,
    WrongRecipients,
    already_there,
    ended_by_signal,
    require_content,
    require_free_name,
    require_partial,
)
from backup_assets.ciphers.streaming import created, pass_through, require_program
from backup_assets.errors import BackupError, EnvironmentFault, SettingsError
from backup_assets.files import commit_partial, partial_path
from backup_assets.process import ProgramFailed
from backup_assets.recipients import is_private_key
from backup_assets.stores.disk_faults import explained

RECIPIENT_SETTING = "AGE_RECIPIENT"
IDENTITY_SETTING = "AGE_IDENTITY_FILE"
PROGRAM_SETTING = "AGE_PROGRAM"
#: How the messages of age 1.1 to 1.3 begin that are about the content of the file.
_DAMAGE = (
    "failed to decrypt and authenticate",
    "unexpected EOF",
    "trailing data",
    "failed to read header",
    "bad header MAC",
)
_DAMAGE += ("last chunk is empty", "failed to read nonce", "incorrect HMAC")
#: A stanza of the header that is no longer one, of whatever type. Keys are no recipients: those are "identities".
_DAMAGED_STANZA = re.compile(r"(failed to parse|invalid) \S+ recipient")
_LOCKED = ("passphrase", "terminal", "/dev/tty")


@dataclass(frozen=True)
class AgeCipher:
    """Encrypts with the `age` program to one or more X25519 keys, see `contract.Cipher` for what methods promise.

    ``recipients`` are `age1…`; decrypting needs none, but ``identities``: files with private keys. A file that is
    itself encrypted with a passphrase is of no use where nobody can type.
    """

    recipients: tuple[str, ...] = ()
    identities: tuple[Path, ...] = ()
    program: str = "age"
    suffix: str = field(default=".age", init=False)

    def check(self) -> None:
        """Raise SettingsError for a recipient that is none, EnvironmentFault without age."""
        require_program(self.program, package="age", setting=PROGRAM_SETTING)
        self._usable_recipients()

    def encrypt(self, source: Path, target: Path, *, sha256_plain: str | None = None) -> Encrypted:
        """Encrypt ``source`` into the new file ``target``, and examine what was written."""
        begun = time.monotonic()
        require_partial(target)
        require_program(self.program, package="age", setting=PROGRAM_SETTING)
        recipients = self._usable_recipients()
        to = [argument for recipient in recipients for argument in ("--recipient", recipient)]
        with created(target) as output:
            try:
                passed = pass_through([self.program, "--encrypt", *to], source, output)
            except ProgramFailed as failure:
                raise _encryption_failed(failure) from failure
            require_content(passed.sha256_in, sha256_plain, str(source))
            _require_wanted(target, read_message(target), len(recipients), passed.size_in)
        return Encrypted(
            passed.sha256_in,
            passed.size_in,
            passed.sha256_out,
            passed.size_out,
            recipients,
            time.monotonic() - begun,
        )

    def decrypt(
        self, source: Path, target: Path, *, sha256_plain: str | None = None, sha256_cipher: str | None = None
    ) -> Decrypted:
        """Decrypt ``source`` into the new file ``target``; age exits 0 only after the authenticated last chunk."""
        begun = time.monotonic()
        require_free_name(target)
        require_program(self.program, package="age", setting=PROGRAM_SETTING)
        identities = self._readable_identities()
        read_message(source)
        partial = partial_path(target)
        with created(partial) as output:
            argv = [self.program, "--decrypt", *(part for path in identities for part in ("--identity", str(path)))]
            try:
                passed = pass_through(argv, source, output)
            except ProgramFailed as failure:
                raise _decryption_failed(source, identities, failure) from None  # its message may repeat a key
            require_content(passed.sha256_in, sha256_cipher, str(source))
            require_content(passed.sha256_out, sha256_plain, f"the content of {source}")
            with explained(f"write {target.name}", target.parent):
                try:
                    commit_partial(partial, target)
                except FileExistsError as error:
                    raise already_there(target) from error
        return Decrypted(passed.sha256_out, passed.size_out, passed.sha256_in, passed.size_in, time.monotonic() - begun)

    def verify_message(self, path: Path, *, size_plain: int | None = None) -> None:
        """Examine the header and the length of ``path``.

        Seen are: the number of recipients, an altered structure of the header, and with ``size_plain`` every change of
        length. Not seen without a private key: who the recipients are (age hides it), any flipped bit in the content,
        and without ``size_plain`` a truncation that leaves whole chunks of 64 KiB or more than a tag of the last one.
        """
        _require_wanted(path, read_message(path), len(self._usable_recipients()), size_plain)

    def _usable_recipients(self) -> tuple[str, ...]:
        recipients = tuple(dict.fromkeys(recipient.strip() for recipient in self.recipients))
        for recipient in recipients:
            if not is_recipient(recipient):
                # Not shown: whoever confuses the two halves of a key has put the private one here.
                private = is_private_key(recipient)
                raise SettingsError(
                    f"{RECIPIENT_SETTING} holds a private key" if private else f"{RECIPIENT_SETTING} names no age key",
                    why="a recipient is age1 and 58 letters and digits, the last ones a checksum of the others",
                    remedy=(
                        "set it to the public key (`age-keygen -y FILE`); make a new key if others could read this one"
                        if private
                        else "set it to what `age-keygen -y FILE` prints; keys of ssh and of plugins are not supported"
                    ),
                )
        if not recipients:
            raise SettingsError(
                f"{RECIPIENT_SETTING} names no key to encrypt to",
                remedy=f"make a key (`age-keygen -o FILE`) away from this host, and set {RECIPIENT_SETTING} to age1…",
            )
        return recipients

    def _readable_identities(self) -> tuple[Path, ...]:
        for path in self.identities:
            if not path.is_file():
                raise SettingsError(
                    f"{IDENTITY_SETTING} is {path}, which is no file",
                    remedy=f"correct {IDENTITY_SETTING}, or bring the private key here",
                )
        if not self.identities:
            raise MissingPrivateKey(
                f"{IDENTITY_SETTING} names no private key to decrypt with",
                remedy=f"let {IDENTITY_SETTING} name the file that `age-keygen -o FILE` made",
            )
        return self.identities


def _require_wanted(path: Path, message: AgeMessage, recipients: int, size_plain: int | None) -> None:
    others = [kind for kind in message.recipients if kind != "X25519"]
    if others or len(message.recipients) != recipients:
        raise WrongRecipients(
            f"{path} is not encrypted to exactly the wanted keys",
            why=f"it names {len(message.recipients)} ({', '.join(message.recipients)}), not {recipients} of X25519",
            remedy=f"correct {RECIPIENT_SETTING} if the keys were changed, else encrypt the backup again",
        )
    if size_plain is not None and message.size_plain != size_plain:
        raise _damaged(path, f"it holds {message.size_plain} bytes instead of {size_plain}")


def _encryption_failed(failure: ProgramFailed) -> BackupError:
    if failure.returncode < 0:
        return ended_by_signal("age", failure)
    return EnvironmentFault("age could not encrypt", why=failure.why, remedy="correct what it says")


def _decryption_failed(source: Path, identities: Sequence[Path], failure: ProgramFailed) -> BackupError:
    if failure.returncode < 0:
        return ended_by_signal("age", failure)
    files = ", ".join(map(str, identities))
    said = failure.stderr
    if "no identity matched" in said:
        return MissingPrivateKey(
            f"{source} cannot be decrypted with {files}",
            why="none of the private keys there belongs to a recipient; age does not say who the recipients are",
            remedy=f"let {IDENTITY_SETTING} name the private key of AGE_RECIPIENT at the time of the backup",
        )
    if any(part in said for part in _DAMAGE) or _DAMAGED_STANZA.search(said):
        return _damaged(source, "age decrypted it and found that it was truncated or altered")
    if any(part in said for part in _LOCKED):
        return LockedPrivateKey(
            f"{files} is protected by a passphrase, and there is no terminal to ask for it",
            remedy="decrypt the file with the key first (`age --decrypt`), or the backup by hand in a terminal",
        )
    return EnvironmentFault(
        f"age could not decrypt {source}",
        why=_without_keys(said),
        remedy=f"check that {files} is as `age-keygen` made it",
    )


def _without_keys(said: str) -> str:
    said = re.sub(r"(?i)age-secret-key-\w*", "***", said)
    return re.sub(r'(identity type|identity): ".*"', r"\1", said)


def _damaged(path: Path, why: str) -> DamagedMessage:
    return DamagedMessage(
        f"{path} is damaged", why=why, remedy="fetch it again from another store, or use another backup set"
    )
