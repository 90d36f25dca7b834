"""How does an object get from one bucket into another without passing through this host?"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from backup_assets.errors import BackupError
from backup_assets.files import CHUNK_BYTES
from backup_assets.sets.place import StoredObject
from backup_assets.stores.contract import ConflictingObject, MissingObject, TransferDamaged
from backup_assets.stores.read_back import read_back
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_errors import NotAsRequired, exists_already, explained, is_missing
from backup_assets.stores.s3_location import S3Location, client_of
from backup_assets.stores.s3_upload import wrong_encryption

#: The largest object that CopyObject takes: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
LARGEST_COPY_BYTES = 5 << 30


def copy_object(
    source: S3Store, target: S3Store, key: str, *, sha256: str, size: int, largest_copy_bytes: int = LARGEST_COPY_BYTES
) -> StoredObject:
    """Copy ``key`` within S3 and return what the target holds; nothing that exists there is replaced.

    The target's credentials must be allowed to read the source. Up to ``largest_copy_bytes`` one request does it, above
    that the parts are copied one by one. The copy is encrypted with the target's own key, and proven from the target:
    by the SHA-256 that the server computed of a whole object, else by reading the copy back. The same content already
    there is a no-op. Raises MissingObject, ConflictingObject, TransferDamaged (the copy is then removed) and
    EnvironmentFault.
    """
    location = target.location
    client = client_of(location)
    address = {"Bucket": location.bucket, "Key": location.object_key(key)}
    existing = target.stat(key)
    if existing is not None:
        return _same(target, key, existing, sha256=sha256, size=size)
    origin = {"Bucket": source.location.bucket, "Key": source.location.object_key(key)}
    parameters = location.object_parameters(sha256, dict(target.metadata), datetime.now(UTC))
    with explained(f"copy {key} from {source.location.url}", location, key):
        try:
            if size <= largest_copy_bytes:
                parameters["TaggingDirective"] = "REPLACE"
                answer = client.copy_object(
                    **address,
                    **parameters,
                    CopySource=origin,
                    MetadataDirective="REPLACE",
                    ChecksumAlgorithm="SHA256",
                    IfNoneMatch="*",
                )
            else:
                answer = _copy_parts(client, location, address, origin, parameters, size)
        except ClientError as error:
            if is_missing(error):
                raise MissingObject(
                    f"there is no {key} in {source.location.url}", remedy="look in another store"
                ) from error
            if not exists_already(error):
                raise
            existing = target.stat(key)
            if existing is None:
                raise
            return _same(target, key, existing, sha256=sha256, size=size)
    version = {"VersionId": answer["VersionId"]} if answer.get("VersionId") else {}
    try:
        return _proven(client, target, key, sha256=sha256, size=size)
    except (TransferDamaged, NotAsRequired):
        with explained(f"remove the unproven copy of {key}", location, key):
            client.delete_object(**address, **version)
        raise


def _copy_parts(
    client: Any,
    location: S3Location,
    address: dict[str, str],
    origin: dict[str, str],
    parameters: dict[str, Any],
    size: int,
) -> dict[str, Any]:
    upload_id = client.create_multipart_upload(**address, **parameters, ChecksumAlgorithm="SHA256")["UploadId"]
    part_bytes = location.planned_part_bytes(size)
    try:
        done: list[dict[str, Any]] = []
        for number, begin in enumerate(range(0, size, part_bytes), start=1):
            end = min(begin + part_bytes, size) - 1
            answer = client.upload_part_copy(
                **address,
                UploadId=upload_id,
                PartNumber=number,
                CopySource=origin,
                CopySourceRange=f"bytes={begin}-{end}",
            )["CopyPartResult"]
            checksum = {"ChecksumSHA256": answer["ChecksumSHA256"]} if answer.get("ChecksumSHA256") else {}
            done.append({"PartNumber": number, "ETag": answer["ETag"], **checksum})
        return client.complete_multipart_upload(
            **address, UploadId=upload_id, MultipartUpload={"Parts": done}, IfNoneMatch="*"
        )
    except (ClientError, BackupError):
        client.abort_multipart_upload(**address, UploadId=upload_id)
        raise


def _same(target: S3Store, key: str, existing: StoredObject, *, sha256: str, size: int) -> StoredObject:
    found = f"{existing.size} bytes"
    if existing.size == size:
        stored = existing.sha256 or _read_sha256(target, key)
        if stored == sha256:
            return StoredObject(key, size, existing.stored_at, sha256)
        found = f"SHA-256 {stored}"
    raise ConflictingObject(
        f"{key} exists in {target.describe()} with other content",
        why=f"it has {found}; to be copied were {size} bytes with SHA-256 {sha256}",
        remedy="nothing was changed; verify both copies, and delete the damaged one before it is copied again",
    )


def _proven(client: Any, target: S3Store, key: str, *, sha256: str, size: int) -> StoredObject:
    location = target.location
    with explained(f"look at the copy of {key}", location, key):
        head = client.head_object(Bucket=location.bucket, Key=location.object_key(key), ChecksumMode="ENABLED")
    if location.encrypted_as_required(head) is not True:
        raise wrong_encryption(key, location, head)
    lock = location.object_lock
    if lock and head.get("ObjectLockMode") != lock.mode:
        raise NotAsRequired(
            f"{key} was copied to {location.url} without the required lock",
            remedy="switch Object Lock on for that bucket",
        )
    checksum = head.get("ChecksumSHA256")
    whole = checksum and "-" not in checksum and head.get("ChecksumType") != "COMPOSITE"
    if not whole:
        read_back(target, key, sha256=sha256, size=size)
    elif head["ContentLength"] != size or base64.b64decode(checksum).hex() != sha256:
        raise TransferDamaged(
            f"the copy of {key} in {location.url} is not what was to be copied",
            why=f"{head['ContentLength']} bytes with SHA-256 {base64.b64decode(checksum).hex()}",
            remedy="verify the source; the copy is removed",
        )
    return StoredObject(key, size, head["LastModified"].astimezone(UTC), sha256)


def _read_sha256(store: S3Store, key: str) -> str:
    digest = hashlib.sha256()
    with store.open(key) as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
