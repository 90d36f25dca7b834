"""Was what was just put into a bucket stored whole, and encrypted and locked as required?"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from backup_assets.errors import EnvironmentFault
from backup_assets.sets.place import StoredObject
from backup_assets.stores.contract import TransferDamaged
from backup_assets.stores.s3_errors import AccessDenied, NotAsRequired
from backup_assets.stores.s3_location import S3Location
from backup_assets.stores.s3_looking import Objects
from backup_assets.stores.s3_upload import Uploaded, checksum_of, wrong_encryption


def proven(objects: Objects, key: str, uploaded: Uploaded, *, sha256: str, size: int) -> StoredObject:
    """Return what was stored once the server's own figures agree; otherwise remove it and raise."""
    try:
        try:
            head = objects.head(key, uploaded.version_id)
        except AccessDenied:
            return _proven_by_answers(objects, key, uploaded, sha256=sha256, size=size)
        return _proven_by_head(objects, key, uploaded, head, sha256=sha256, size=size)
    except (TransferDamaged, NotAsRequired):
        objects.take_back(key, uploaded.version_id)
        raise


def _proven_by_answers(objects: Objects, key: str, uploaded: Uploaded, *, sha256: str, size: int) -> StoredObject:
    if uploaded.checksum is None:
        raise EnvironmentFault(
            f"{key} is not known to be whole in {objects.location.url}",
            why="the server named no SHA-256 of what it stored, and this role may not read it back",
            remedy="allow s3:GetObject to this role, or use a server that supports SHA-256 checksums",
        )
    _require_checksum(objects.location, key, uploaded.checksum, uploaded.expected_checksum)
    if uploaded.encrypted is not True:
        raise wrong_encryption(key, objects.location, {})
    listed = objects.listed(key)
    if listed is None or listed.size != size:
        raise TransferDamaged(
            f"{key} was damaged on its way to {objects.location.url}",
            why=f"{listed.size if listed else 'no'} bytes are listed instead of {size}",
            remedy="another attempt is safe",
        )
    return StoredObject(key, size, listed.stored_at, sha256)


def _proven_by_head(
    objects: Objects, key: str, uploaded: Uploaded, head: dict[str, Any] | None, *, sha256: str, size: int
) -> StoredObject:
    if head is None:
        raise EnvironmentFault(
            f"{key} was stored in {objects.location.url} and is not there",
            remedy="find out what removes new objects from that bucket, then try again",
        )
    if head["ContentLength"] != size:
        raise TransferDamaged(
            f"{key} was damaged on its way to {objects.location.url}",
            why=f"it has {head['ContentLength']} bytes there instead of {size}",
            remedy="nothing was stored, and another attempt is safe",
        )
    checksum = head.get("ChecksumSHA256") or uploaded.checksum
    if checksum is not None:
        _require_checksum(objects.location, key, checksum, uploaded.expected_checksum)
    else:
        _require_checksum(objects.location, key, checksum_of(objects.read_sha256(key)), checksum_of(sha256))
    if objects.location.encrypted_as_required(head) is not True:
        raise wrong_encryption(key, objects.location, head)
    lock = objects.location.object_lock
    if lock and head.get("ObjectLockMode") != lock.mode:
        raise NotAsRequired(
            f"{key} is stored in {objects.location.url} without the required lock",
            why=f"required is {lock.mode}, the server shows {head.get('ObjectLockMode') or 'none'}",
            remedy="switch Object Lock on for that bucket (only a new bucket can have it everywhere)",
        )
    return StoredObject(key, size, head["LastModified"].astimezone(UTC), sha256)


def _require_checksum(location: S3Location, key: str, found: str, expected: str) -> None:
    if found != expected:
        raise TransferDamaged(
            f"{key} was damaged on its way to {location.url}",
            why=f"the server stored SHA-256 {found} instead of {expected}",
            remedy="nothing was stored, and another attempt is safe",
        )
