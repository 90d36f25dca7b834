"""How do the environment settings and secrets of a database come into its set without ever lying in plain?"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from backup_assets.capture.secret_archive import MOST_BYTES, Secret, pack, require_room, too_large
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.sets.manifest import SecretsFacts
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_capture import SecretsSettings


@dataclass(frozen=True)
class SealedSecrets:
    """An encrypted archive that has no final name yet: size in bytes, SHA-256 of the encrypted file."""

    path: Path
    suffix: str
    cipher: Literal["gpg", "age"]
    size_bytes: int
    sha256: str
    size_plain: int
    facts: SecretsFacts
    seconds: float


def seal_secrets(
    database: DatabaseSettings, wanted: SecretsSettings, settings: Settings, directory: Path, *, now: datetime
) -> SealedSecrets:
    """Read everything that is configured and encrypt it as one archive into ``directory``, 0600.

    The values are in memory, in one that programs share and that has no name, and in the cipher's pipe; no file of
    any disk holds them. Raises Refused without encryption or when there is too much of it; EnvironmentFault, or one of
    its kinds, naming the file, secret or parameter that cannot be read; what the cipher raises.
    """
    begun = time.monotonic()
    if not settings.encryption.encrypts:
        raise Refused(
            f"the secrets of {database.name} are not captured: nothing is encrypted here",
            why="they would lie in every store in plain",
            remedy="set `encryption.recipients` (GPG_RECIPIENT or AGE_RECIPIENT), or remove `secrets`",
        )
    cipher = configured_cipher(settings.encryption)
    cipher.check()  # before anything is read
    archive = pack(tuple(_read(wanted)), database=database.name, env=settings.env, now=now)
    target = directory / f"secrets.tar{cipher.suffix}.partial"
    with unnamed(archive.content, directory) as source:
        made = cipher.encrypt(source, target)
    return SealedSecrets(
        path=target,
        suffix=cipher.suffix,
        cipher=settings.encryption.cipher,
        size_bytes=made.size_cipher,
        sha256=made.sha256_cipher,
        size_plain=made.size_plain,
        facts=SecretsFacts(entries=archive.entries, recipients=made.recipients),
        seconds=round(time.monotonic() - begun, 3),
    )


def _read(wanted: SecretsSettings) -> list[Secret]:
    found: list[Secret] = []
    for path in wanted.files:
        found.append(_read_file(path, MOST_BYTES - sum(len(secret.value) for secret in found)))
    if wanted.secrets_manager or wanted.ssm_parameters:
        # boto3 costs a third of a second: only who reads from AWS pays it.
        from backup_assets.capture.secret_sources import Account, read_parameters, read_secrets_manager

        account = Account(wanted.region, wanted.profile, wanted.endpoint_url)
        found += read_secrets_manager(account, wanted.secrets_manager) if wanted.secrets_manager else ()
        found += read_parameters(account, wanted.ssm_parameters) if wanted.ssm_parameters else ()
    require_room(found)
    return found


def _read_file(path: Path, room: int) -> Secret:
    try:
        name = path.name.encode().decode()
        # Before it is opened: opening a pipe waits for its other end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise EnvironmentFault(f"the secrets' file {path} is no regular file", remedy="correct SECRET_FILES")
        with path.open("rb") as handle:
            value = handle.read(room + 1)
    except OSError as error:
        raise EnvironmentFault(
            f"the secrets' file {path} cannot be read",
            why=error.strerror or type(error).__name__,
            remedy="correct `secrets.files` (SECRET_FILES), or let the user that makes backups read it",
        ) from error
    except UnicodeEncodeError as error:
        raise EnvironmentFault(f"the name of the secrets' file {path!r} is not UTF-8", remedy="rename it") from error
    if len(value) > room:
        raise too_large(f"{path} does not fit in beside what was read before")
    return Secret("file", name, value)


@contextmanager
def unnamed(content: bytes, directory: Path) -> Iterator[Path]:
    """Yield a path by which ``content`` can be read in this process, in memory where the system has such files.

    Where it has none, it is a private file below ``directory`` until the block ends.
    """
    try:
        descriptor = os.memfd_create("secrets") if hasattr(os, "memfd_create") else None
    except OSError:  # forbidden by a sandbox, or an old kernel
        descriptor = None
    path = Path(f"/proc/self/fd/{descriptor}")
    if descriptor is None or not path.exists():
        if descriptor is not None:
            os.close(descriptor)
        with tempfile.TemporaryDirectory(prefix="secrets-", dir=directory) as private:
            path = Path(private) / "secrets.tar"
            path.touch(mode=0o600)
            path.write_bytes(content)
            yield path
        return
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        yield path
