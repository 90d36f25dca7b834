"""Which public keys are in the keyring, and can a backup be encrypted to them?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backup_assets.errors import SettingsError
from backup_assets.process import ProgramFailed, run
from backup_assets.recipients import EXPOSED, is_private_key, repeatable

RECIPIENT_SETTING = "GPG_RECIPIENT"
LIST_SECONDS = 60
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
#: Field 2 of `gpg --with-colons` (doc/DETAILS of GnuPG): why a key must not be used.
_UNUSABLE = {"r": "revoked", "e": "expired", "d": "disabled", "i": "invalid", "n": "not valid"}
#: In field 12, whatever field 2 says.
_DISABLED = "D"


@dataclass(frozen=True)
class EncryptionKey:
    """A key, or a part of one, that can be encrypted to: 40 and 16 hexadecimal digits, and why it is unusable.

    ``algorithm`` is OpenPGP's number, ``created`` in seconds since the epoch.
    """

    fingerprint: str
    key_id: str
    algorithm: int
    created: int
    problem: str = ""
    keygrip: str = ""


@dataclass(frozen=True)
class PublicKey:
    """A public key of the keyring; ``problem`` is empty, or a word such as "expired" with its date."""

    fingerprint: str
    user_ids: tuple[str, ...]
    problem: str
    expires: datetime | None
    encryption_keys: tuple[EncryptionKey, ...]

    def encryption_key(self, now: float) -> EncryptionKey | None:
        """Return its newest part that can be encrypted to at ``now`` (seconds since the epoch), as gpg does."""
        usable = [key for key in self.encryption_keys if not key.problem and key.created <= now]
        return max(usable, key=lambda key: key.created, default=None)

    def __str__(self) -> str:
        return f"{self.fingerprint} ({', '.join(self.user_ids) or 'without a user id'})"


def parse_keys(listing: str) -> tuple[PublicKey, ...]:
    """Return the keys of what `gpg --with-colons --with-keygrip --list-keys` printed."""
    keys: list[PublicKey] = []
    part: EncryptionKey | None = None  # the key or subkey that the lines being read describe, when it can encrypt
    for fields in (line.split(":") for line in listing.splitlines()):
        kind = fields[0]
        if kind in ("pub", "sub"):
            part = None
            if kind == "pub":
                expires = datetime.fromtimestamp(int(fields[6]), UTC) if fields[6] else None
                problem = "disabled" if _DISABLED in fields[11] else _problem(fields)
                keys.append(PublicKey("", (), problem, expires, ()))
            if "e" in fields[11]:
                part = EncryptionKey("", fields[4], int(fields[3]), int(fields[5] or 0), _problem(fields))
        elif kind == "fpr" and keys:
            if not keys[-1].fingerprint:
                keys[-1] = replace(keys[-1], fingerprint=fields[9])
            if part is not None:
                part = replace(part, fingerprint=fields[9])
                keys[-1] = replace(keys[-1], encryption_keys=(*keys[-1].encryption_keys, part))
        elif kind == "grp" and keys and part is not None:
            part = replace(part, keygrip=fields[9])
            keys[-1] = replace(keys[-1], encryption_keys=(*keys[-1].encryption_keys[:-1], part))
        elif kind == "uid" and keys:
            keys[-1] = replace(keys[-1], user_ids=(*keys[-1].user_ids, _unescaped(fields[9])))
    return tuple(keys)


def _problem(fields: Sequence[str]) -> str:
    word = _UNUSABLE.get(fields[1], "")
    if word == "expired" and fields[6]:
        return f"{word} on {datetime.fromtimestamp(int(fields[6]), UTC):%Y-%m-%d}"
    return word


def _unescaped(text: str) -> str:
    # Other escapes are control characters, which had better stay as they are.
    return text.replace(r"\x3a", ":").replace(r"\x5c", "\\")


def find_keys(gpg: Sequence[str], name: str) -> tuple[PublicKey, ...]:
    """Return the public keys that ``name`` (fingerprint, key id, e-mail) names.

    ``gpg`` is the program with its options. Raises EnvironmentFault when gpg cannot read its keyring.
    """
    argv = [*gpg, "--trust-model", "always", "--with-colons", "--with-keygrip", "--list-keys", "--", name]
    try:
        return parse_keys(run(argv, timeout=LIST_SECONDS).stdout)
    except ProgramFailed as failure:
        if "No public key" in failure.stderr:
            return ()
        raise


def normalised(recipient: str) -> str:
    """Return a fingerprint without spaces and `0x`, in capitals; other texts likewise, they match nothing."""
    return "".join(recipient.split()).upper().removeprefix("0X")


def recipient_keys(gpg: Sequence[str], recipients: Iterable[str], home: str) -> tuple[PublicKey, ...]:
    """Return the public keys of ``recipients``, which are full fingerprints, in their order and each once.

    They need not be usable any more. Raises SettingsError for anything else than the fingerprint of a key in the
    keyring, naming those that may be meant; ``home`` says in messages which keyring it is.
    """
    fingerprints: dict[str, PublicKey] = {}
    for recipient in recipients:
        fingerprint = normalised(recipient)
        if is_private_key(recipient):  # before gpg gets it as an argument, which others can read
            raise SettingsError(f"{RECIPIENT_SETTING} holds a private key", remedy=EXPOSED)
        found = find_keys(gpg, fingerprint if _FINGERPRINT.fullmatch(fingerprint) else recipient) if fingerprint else ()
        exact = [key for key in found if key.fingerprint == fingerprint]
        if not exact:
            raise _not_a_key(recipient, fingerprint, found, home)
        fingerprints[fingerprint] = exact[0]
    if not fingerprints:
        raise SettingsError(
            f"{RECIPIENT_SETTING} names no key to encrypt to",
            remedy=f"set {RECIPIENT_SETTING} to the full fingerprint (`gpg --list-keys` shows it) of one or more keys",
        )
    return tuple(fingerprints.values())


def _not_a_key(recipient: str, fingerprint: str, found: Sequence[PublicKey], home: str) -> SettingsError:
    if not _FINGERPRINT.fullmatch(fingerprint):
        return SettingsError(
            f"{RECIPIENT_SETTING} is {repeatable(recipient)}, which is no full fingerprint",
            why="names and short ids can be made by anybody; only the 40 hexadecimal digits name one key",
            remedy=(
                f"set it to the one that is yours: {'; '.join(map(str, found))}"
                if found
                else f"set it to the fingerprint that `gpg --list-keys` shows; nothing in {home} matches now"
            ),
        )
    if found:
        return SettingsError(
            f"{RECIPIENT_SETTING} names {fingerprint}, which is only a part (subkey) of a key",
            remedy=f"set it to the fingerprint of the whole key: {'; '.join(map(str, found))}",
        )
    return SettingsError(
        f"{RECIPIENT_SETTING} names {fingerprint}, which is not in {home}",
        remedy="import the public key there (`gpg --import FILE`), or correct the fingerprint",
    )


def require_usable(keys: Sequence[PublicKey], now: float) -> tuple[EncryptionKey, ...]:
    """Return the part of each key that is encrypted to at ``now`` (seconds since the epoch).

    Raises SettingsError for a key that must not be used.
    """
    chosen: list[EncryptionKey] = []
    for key in keys:
        part = key.encryption_key(now)
        problem = key.problem
        if not problem and part is None:
            problem = "; ".join(
                f"subkey {each.key_id} is {each.problem or 'made in the future'}" for each in key.encryption_keys
            )
            problem = problem or "without a part (subkey) that can be encrypted to"
        if part is None or problem:
            raise SettingsError(
                f"{RECIPIENT_SETTING} names {key}, to which nothing can be encrypted",
                why=f"the key is {problem}" if not problem.startswith("subkey") else problem,
                remedy=_remedy(problem, key.fingerprint),
            )
        chosen.append(part)
    return tuple(chosen)


def _remedy(problem: str, fingerprint: str) -> str:
    if "expired" in problem:
        return (
            f"where its private key is, run `gpg --quick-set-expire {fingerprint} 2y` and the same with '*' at the end "
            "for its subkeys, export it with `gpg --export`, and import it here again"
        )
    if "without a part" in problem:
        return (
            f"where its private key is, run `gpg --quick-add-key {fingerprint} cv25519 encr`, export it with "
            "`gpg --export`, and import it here again"
        )
    if "future" in problem:
        return "set the clock of this host right"
    if "disabled" in problem:
        return "enable it (`gpg --edit-key`, then `enable`), or name another key"
    return f"make a new key, import its public part here and set {RECIPIENT_SETTING} to its fingerprint"
