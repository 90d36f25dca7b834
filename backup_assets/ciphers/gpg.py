"""How are files encrypted with GnuPG, and decrypted so that only whole plaintext ever gets a name?"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from backup_assets.ciphers.contract import (
    Decrypted,
    Encrypted,
    WrongRecipients,
    already_there,
    require_content,
    require_free_name,
    require_partial,
)
from backup_assets.ciphers.gpg_keys import (
    RECIPIENT_SETTING,
    EncryptionKey,
    PublicKey,
    find_keys,
    recipient_keys,
    require_usable,
)
from backup_assets.ciphers.gpg_status import Status, damaged, decryption_failed, encryption_failed, parse_status
from backup_assets.ciphers.openpgp import OpenPgpMessage, read_message
from backup_assets.ciphers.streaming import Passed, created, pass_through, require_program
from backup_assets.errors import SettingsError
from backup_assets.files import commit_partial, partial_path
from backup_assets.process import ProgramFailed
from backup_assets.stores.disk_faults import explained

PROGRAM_SETTING = "GPG_PROGRAM"
HOME_SETTING = "GPG_HOMEDIR"
PASSPHRASE_SETTING = "GPG_PASSPHRASE_FILE"  # noqa: S105 - the name of a setting
#: A damaged file may make gpg report more than any message does.
_MOST_STATUS_BYTES = 1 << 20


@dataclass(frozen=True)
class GpgCipher:
    """Encrypts with Debian's `gpg` to one or more public keys, see `contract.Cipher` for what every method promises.

    ``recipients`` are full fingerprints, spaces allowed; decrypting needs none. ``homedir`` is the keyring's directory,
    left out gpg's own default. gpg.conf is not read: nothing there can add a recipient or change the format. The
    content is not compressed again, signed or given a name. ``passphrase_file`` opens the private key where nobody
    can type; without it the agent asks by its pinentry.
    """

    recipients: tuple[str, ...] = ()
    homedir: Path | None = None
    program: str = "gpg"
    passphrase_file: Path | None = None
    suffix: str = field(default=".gpg", init=False)

    def check(self) -> None:
        """Raise SettingsError for a recipient that cannot be encrypted to, EnvironmentFault without gpg."""
        require_usable(self._recipient_keys(), time.time())

    def expiring_before(self, moment: float) -> tuple[PublicKey, ...]:
        """Return the recipients whose key expires before ``moment`` (seconds since the epoch)."""
        keys = self._recipient_keys()
        return tuple(key for key in keys if key.expires is not None and key.expires.timestamp() < moment)

    def private_keys_here(self) -> tuple[PublicKey, ...]:
        """Return the recipients whose private key lies in this keyring: on a host that only makes backups, none.

        A key on a smart card counts too: its stub cannot be told from a key without asking the agent.
        """
        directory = self._home() / "private-keys-v1.d"
        return tuple(
            key
            for key in self._recipient_keys()
            if any((directory / f"{part.keygrip}.key").exists() for part in key.encryption_keys)
        )

    def encrypt(self, source: Path, target: Path, *, sha256_plain: str | None = None) -> Encrypted:
        """Encrypt ``source`` into the new file ``target``, and examine what was written."""
        begun = time.monotonic()
        require_partial(target)
        keys = self._recipient_keys()
        parts = require_usable(keys, time.time())
        # With `!` gpg takes exactly this part of the key, or fails.
        to = [argument for part in parts for argument in ("--recipient", f"{part.fingerprint}!")]
        with created(target) as output:
            passed, status = self._run(
                ["--trust-model", "always", "--no-encrypt-to", "--compress-algo", "none", *to, "--encrypt"],
                source,
                output,
            )
            if isinstance(passed, ProgramFailed):
                raise encryption_failed(passed) from passed
            if status.count("END_ENCRYPTION") != 1:
                raise damaged(target, "gpg did not report the end of the encryption")
            require_content(passed.sha256_in, sha256_plain, str(source))
            message = read_message(target)
            _require_recipients(target, message, [(key, (part,)) for key, part in zip(keys, parts, strict=True)])
            _require_room(target, message, passed.size_in)
        return Encrypted(
            passed.sha256_in,
            passed.size_in,
            passed.sha256_out,
            passed.size_out,
            tuple(key.fingerprint for key in keys),
            time.monotonic() - begun,
        )

    def decrypt(
        self, source: Path, target: Path, *, sha256_plain: str | None = None, sha256_cipher: str | None = None
    ) -> Decrypted:
        """Decrypt ``source`` into the new file ``target``."""
        begun = time.monotonic()
        require_free_name(target)
        self._require_ready()
        passphrase = self._passphrase()
        read_message(source)  # before the agent is asked for anything
        partial = partial_path(target)
        with created(partial) as output:
            passed, status = self._run([*passphrase, "--decrypt"], source, output)
            if isinstance(passed, ProgramFailed):
                raise decryption_failed(
                    source, passed, status, home=self._describe_home(), name_of=self._name_of
                ) from passed
            if not status.confirms_one_whole_message:
                raise damaged(source, "gpg did not confirm the integrity of the whole message")
            require_content(passed.sha256_in, sha256_cipher, str(source))
            require_content(passed.sha256_out, sha256_plain, f"the content of {source}")
            with explained(f"write {target.name}", target.parent):
                try:
                    commit_partial(partial, target)
                except FileExistsError as error:
                    raise already_there(target) from error
        return Decrypted(passed.sha256_out, passed.size_out, passed.sha256_in, passed.size_in, time.monotonic() - begun)

    def verify_message(self, path: Path, *, size_plain: int | None = None) -> None:
        """Examine the packets of ``path`` and the keys that they name; only the public keys are needed.

        A file that was made before a recipient got a new subkey, or whose key has expired since, is still right.
        With ``size_plain`` a message too short to hold the content is damaged; that is true of messages that
        :meth:`encrypt` made, because it does not compress. For what cannot be seen see `openpgp.read_message`; nor can
        it be seen that the session keys for two recipients are the same.
        """
        keys = self._recipient_keys()
        message = read_message(path)
        _require_recipients(path, message, [(key, key.encryption_keys) for key in keys])
        if size_plain is not None:
            _require_room(path, message, size_plain)

    def _recipient_keys(self) -> tuple[PublicKey, ...]:
        self._require_ready()
        return recipient_keys(self._gpg(), self.recipients, self._describe_home())

    def _require_ready(self) -> None:
        require_program(self.program, package="gnupg", setting=PROGRAM_SETTING)
        if self.homedir is not None and not self.homedir.is_dir():
            raise SettingsError(
                f"{HOME_SETTING} is {self.homedir}, which is no directory",
                remedy=f"make it (mode 0700) and import the public keys there, or correct {HOME_SETTING}",
            )

    def _gpg(self) -> list[str]:
        home = ["--homedir", str(self.homedir)] if self.homedir is not None else []
        return [self.program, "--no-options", "--batch", "--no-tty", "--no-auto-key-locate", *home]

    def _home(self) -> Path:
        return self.homedir or Path(os.environ.get("GNUPGHOME") or Path.home() / ".gnupg")

    def _describe_home(self) -> str:
        return f"the keyring {self._home()}"

    def _passphrase(self) -> list[str]:
        if self.passphrase_file is None:
            return []
        if not self.passphrase_file.is_file():
            raise SettingsError(
                f"{PASSPHRASE_SETTING} is {self.passphrase_file}, which is no file",
                remedy=f"write the passphrase to it (mode 0600), or correct {PASSPHRASE_SETTING}",
            )
        return ["--pinentry-mode", "loopback", "--passphrase-file", str(self.passphrase_file)]

    def _name_of(self, key_id: str) -> str:
        if not key_id.strip("0"):
            return "a hidden key"
        known = find_keys(self._gpg(), f"0x{key_id}")
        return f"{known[0]} by its part {key_id}" if known else f"the key with the id {key_id}, which is unknown here"

    def _run(self, arguments: Sequence[str], source: Path, output: FileIO) -> tuple[Passed | ProgramFailed, Status]:
        # A descriptor of its own: nothing that gpg repeats from the file in its messages can pass for a status line.
        with tempfile.TemporaryFile() as report:
            argv = [*self._gpg(), "--status-fd", str(report.fileno()), *arguments]
            outcome: Passed | ProgramFailed
            try:
                outcome = pass_through(argv, source, output, pass_fds=(report.fileno(),))
            except ProgramFailed as failure:
                outcome = failure
            report.seek(0)
            return outcome, parse_status(report.read(_MOST_STATUS_BYTES).decode("utf-8", "replace"))


def _require_recipients(
    path: Path, message: OpenPgpMessage, wanted: Sequence[tuple[PublicKey, Sequence[EncryptionKey]]]
) -> None:
    """Raise WrongRecipients unless each key has exactly one packet, by one of its parts, and no other has any."""
    found = [(packet.key_id, packet.algorithm) for packet in message.keys]
    allowed = [(key, {(part.key_id, part.algorithm) for part in parts}) for key, parts in wanted]
    others = [key_id for key_id, algorithm in found if not any((key_id, algorithm) in ids for _, ids in allowed)]
    missing = [str(key) for key, ids in allowed if not ids.intersection(found)]
    if others or missing or len(found) != len(wanted):
        raise WrongRecipients(
            f"{path} is not encrypted to exactly the wanted keys",
            why="; ".join(
                [
                    *(f"not to {key}" for key in missing),
                    *(f"also to the key id {key_id}" for key_id in others),
                    *(["more than once to the same key"] if not others and not missing else []),
                ]
            ),
            remedy=f"correct {RECIPIENT_SETTING} if the keys were changed, else encrypt the backup again",
        )


def _require_room(path: Path, message: OpenPgpMessage, size_plain: int) -> None:
    if message.content_room < size_plain:
        raise damaged(path, f"at most {message.content_room} bytes can be in it, not {size_plain}")
