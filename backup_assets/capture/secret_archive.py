"""What does the archive of a set's secrets look like inside, before it is encrypted and after it is decrypted?

A plain tar: `index.json` with the key of the keyed hashes and one entry for each value, then the values, one file each,
below `files/`, `secrets_manager/` and `ssm_parameters/`. So `gpg -d … | tar x` alone brings everything back.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote

from pydantic import AwareDatetime, Field, ValidationError

from backup_assets.errors import CheckFailed, Refused
from backup_assets.sets.manifest import Part, SecretEntry, SecretsFacts

#: All values of a set together, in bytes: they are held in memory, and settings and keys are small.
MOST_BYTES = 16_000_000
#: The values with the headers of the tar and the index, in bytes: what a whole archive can have.
MOST_ARCHIVE_BYTES = 2 * MOST_BYTES
INDEX = "index.json"
FOLDERS: dict[str, str] = {
    "file": "files",
    "secrets_manager": "secrets_manager",
    "ssm_parameter": "ssm_parameters",
}
_KEY_BYTES = 32
#: File systems allow 255 bytes for a name, ARNs may have more.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Secret:
    """One value that was read; it is never shown, not even by ``repr``."""

    kind: Literal["file", "secrets_manager", "ssm_parameter"]
    name: str
    value: bytes = field(repr=False)
    version_id: str | None = None


@dataclass(frozen=True)
class Archive:
    """A plain archive in memory, and what the manifest may say of it."""

    content: bytes = field(repr=False)
    entries: tuple[SecretEntry, ...] = ()


class _Line(SecretEntry):
    path: str = Field(description="In this archive.")


class _Index(Part):
    format: Literal["backup_assets/secrets"] = "backup_assets/secrets"
    version: Literal[1] = 1
    database: str
    env: str
    generated_at: AwareDatetime
    key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the keyed hashes, hexadecimal.", repr=False)
    entries: tuple[_Line, ...]


def safe_name(name: str) -> str:
    """Return a file name for the name or ARN of a secret: no two names give the same one, and none leaves its folder.

    Everything but letters, digits and ``_.-=@+`` becomes ``%`` with two digits; a very long name ends with a hash.
    """
    safe = quote(name, safe="=@+")
    if not safe.strip("."):
        safe = safe.replace(".", "%2E")
    if len(safe) > _LONGEST_NAME:
        safe = f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return safe


def path_of(secret: Secret | SecretEntry) -> str:
    """Return where a value lies in the archive, and below the directory that it is extracted to."""
    name = secret.name if secret.kind == "file" else safe_name(secret.name)
    return f"{FOLDERS[secret.kind]}/{name}"


def pack(secrets: Sequence[Secret], *, database: str, env: str, now: datetime) -> Archive:
    """Return the archive of the values, hashed with a new random key that lies only inside it.

    Raises Refused when the values are larger than MOST_BYTES together.
    """
    require_room(secrets)
    key = os.urandom(_KEY_BYTES)
    entries = tuple(
        SecretEntry(
            kind=secret.kind,
            name=secret.name,
            size_bytes=len(secret.value),
            keyed_hash=keyed_hash(key, secret.value),
            version_id=secret.version_id,
        )
        for secret in secrets
    )
    index = _Index(
        database=database,
        env=env,
        generated_at=now,
        key=key.hex(),
        entries=tuple(_Line(**entry.model_dump(), path=path_of(entry)) for entry in entries),
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, INDEX, index.model_dump_json(indent=1).encode() + b"\n", now)
        for folder in dict.fromkeys(FOLDERS[secret.kind] for secret in secrets):
            directory = tarfile.TarInfo(folder)
            directory.type, directory.mode, directory.mtime = tarfile.DIRTYPE, 0o700, int(now.timestamp())
            tar.addfile(directory)
        for secret in secrets:
            _add(tar, path_of(secret), secret.value, now)
    return Archive(buffer.getvalue(), entries)


def require_room(secrets: Sequence[Secret]) -> None:
    """Raise Refused, naming the largest, when the values are larger than MOST_BYTES together."""
    total = sum(len(secret.value) for secret in secrets)
    if total > MOST_BYTES:
        largest = max(secrets, key=lambda secret: len(secret.value))
        raise too_large(f"{total} bytes in all, {len(largest.value)} of them in {largest.name}")


def too_large(why: str) -> Refused:
    """Return the error for more than MOST_BYTES."""
    return Refused(
        f"the secrets are larger than the {MOST_BYTES // 1_000_000} MB that are captured with a set",
        why=why,
        remedy="leave large files out of `secrets` (SECRET_FILES): it is for settings, tokens and keys",
    )


def _add(tar: tarfile.TarFile, path: str, content: bytes, now: datetime) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.mtime = len(content), 0o600, int(now.timestamp())
    tar.addfile(member, io.BytesIO(content))


def keyed_hash(key: bytes, value: bytes) -> str:
    """Return the HMAC-SHA256 of a value: without the key, nobody can try out what the value may be."""
    return hmac.new(key, value, hashlib.sha256).hexdigest()


def unpack(content: bytes, facts: SecretsFacts | None, where: str) -> tuple[Secret, ...]:
    """Return the values of a decrypted archive, every one proven by its keyed hash.

    ``facts`` are those of the set's manifest, None where only its envelope is known. Raises CheckFailed when the
    archive is no such archive, a value is missing, more or other than recorded, or a path would leave its directory.
    """
    members = _members(content, where)
    try:
        index = _Index.model_validate_json(members.pop(INDEX, b""))
    except ValidationError:
        # Without its cause, which repeats what it found.
        raise _damaged(where, f"its {INDEX} is missing or is not as it should be") from None
    lines = {line.path: line for line in index.entries}
    if members.keys() != lines.keys() or len(lines) != len(index.entries):
        raise _damaged(where, f"its files are not those of its {INDEX}")
    key = bytes.fromhex(index.key)
    found: list[Secret] = []
    for path, line in lines.items():
        if path != path_of(line) or not _stays_below(path):
            raise _damaged(where, "the path of an entry is not the one of its name")
        if keyed_hash(key, members[path]) != line.keyed_hash:
            raise _damaged(where, f"{line.name} is not what was recorded of it")
        found.append(Secret(line.kind, line.name, members[path], line.version_id))
    own = tuple(SecretEntry(**line.model_dump(exclude={"path"})) for line in index.entries)
    if facts is not None and own != facts.entries:
        raise _damaged(where, "its entries are not those of the set's manifest")
    return tuple(found)


def _members(content: bytes, where: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                handle = tar.extractfile(member) if member.isreg() else None
                if handle is None or member.name in members:
                    raise _damaged(where, "it holds something that is no file, or a file twice")
                members[member.name] = handle.read()
    except tarfile.TarError as error:
        raise _damaged(where, "it cannot be read as a tar to its end") from error
    return members


def _stays_below(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) == 2 and ".." not in parts and "\0" not in path


def _damaged(where: str, why: str) -> CheckFailed:
    return CheckFailed(
        f"the secrets in {where} are damaged",
        why=why,
        remedy="use another set, or the same one from another store",
    )
