"""How does an object get from one bucket into another without passing through this host?"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from backup_assets.errors import BackupError
from backup_assets.files import CHUNK_BYTES
from backup_assets.sets.place import StoredObject
from backup_assets.stores.contract import ConflictingObject, MissingObject, TransferDamaged
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_errors import AccessDenied, NotAsRequired, code_of, exists_already, explained, is_missing
from backup_assets.stores.s3_location import S3Location, client_of
from backup_assets.stores.s3_looking import whole_sha256
from backup_assets.stores.s3_upload import wrong_encryption

#: The largest object that CopyObject takes: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
LARGEST_COPY_BYTES = 5 << 30
#: How a service says that it does not copy from there by itself; the bytes can still pass through this host.
_NO_COPIES = {"NotImplemented", "InvalidRequest", "MethodNotAllowed"}


def copy_object(
    source: S3Store,
    target: S3Store,
    key: str,
    *,
    sha256: str,
    size: int,
    reader: S3Store | None = None,
    largest_copy_bytes: int = LARGEST_COPY_BYTES,
) -> StoredObject:
    """Copy ``key`` within S3 and return what the target holds; nothing that exists there is replaced.

    The target's credentials must be allowed to read the source; ``reader`` is the target again where another role
    reads it. Up to ``largest_copy_bytes`` one request does it, above that parts are copied, several at a time. The copy
    is encrypted with the target's own key, and proven from the target as :func:`require_same` says. The same content
    already there is a no-op. Raises MissingObject, ConflictingObject, TransferDamaged (the copy is then removed) and
    EnvironmentFault: AccessDenied before anything is copied when the copy could not be looked at afterwards.
    """
    location, reader = target.location, reader or target
    client = client_of(location)
    address = {"Bucket": location.bucket, "Key": location.object_key(key)}
    existing = looked_at(reader, key)
    if existing is not None:
        return require_same(reader, key, existing, sha256=sha256, size=size)
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
            existing = looked_at(reader, key)
            if existing is None:
                raise
            return require_same(reader, key, existing, sha256=sha256, size=size)
    version = {"VersionId": answer["VersionId"]} if answer.get("VersionId") else {}
    try:
        return _proven(source, reader, key, sha256=sha256, size=size)
    except (TransferDamaged, NotAsRequired):
        with explained(f"remove the unproven copy of {key}", location, key):
            client.delete_object(**address, **version)
        raise


def refuses_copies(error: BackupError) -> bool:
    """Tell whether an error says that these credentials or this service do not copy from one bucket to the other."""
    cause = error.__cause__
    return isinstance(error, AccessDenied) or (isinstance(cause, ClientError) and code_of(cause) in _NO_COPIES)


def looked_at(store: S3Store, key: str) -> dict[str, Any] | None:
    """Return what a HEAD request says of an object, its checksums included, or None when it is missing.

    Raises AccessDenied when these credentials may not read objects.
    """
    location = store.location
    with explained(f"look at {key}", location, key):
        try:
            return client_of(location).head_object(
                Bucket=location.bucket, Key=location.object_key(key), ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if not is_missing(error):
                raise
    # Of a bucket that is missing a HEAD request says no more than that: the listing behind `stat` asks again.
    return None if store.stat(key) is None else looked_at(store, key)


def require_same(
    store: S3Store,
    key: str,
    head: dict[str, Any],
    *,
    sha256: str,
    size: int,
    origin: dict[str, Any] | None = None,
) -> StoredObject:
    """Return the stored object when it has this content and the required encryption.

    ``head`` is what :func:`looked_at` said. The content is known by the SHA-256 that the service computed of a whole
    object. Of one in parts the service knows only those of the parts: it is then compared with ``origin``, what the
    source's service says of its object, provided that this was stored as the content of ``sha256``; where that does
    not tell either, the object is read to its end. Raises ConflictingObject for other content, NotAsRequired.
    """
    found = _difference(store, key, head, sha256=sha256, size=size, origin=origin)
    if found:
        raise ConflictingObject(
            f"{key} exists in {store.describe()} with other content",
            why=f"it has {found}; to be copied were {size} bytes with SHA-256 {sha256}",
            remedy="nothing was changed; verify both copies, and delete the damaged one before it is copied again",
        )
    if store.location.encrypted_as_required(head) is not True:
        raise wrong_encryption(key, store.location, head)
    return StoredObject(key, size, head["LastModified"].astimezone(UTC), sha256)


def _difference(
    store: S3Store, key: str, head: dict[str, Any], *, sha256: str, size: int, origin: dict[str, Any] | None
) -> str:
    if head["ContentLength"] != size:
        return f"{head['ContentLength']} bytes"
    stored = whole_sha256(head)
    if stored is None and origin is not None and _are_twins(head, origin, sha256):
        return ""
    stored = stored or _read_sha256(store, key)
    return "" if stored == sha256 else f"SHA-256 {stored}"


def _are_twins(head: dict[str, Any], origin: dict[str, Any], sha256: str) -> bool:
    checksum = head.get("ChecksumSHA256")
    stored_as = origin.get("Metadata", {}).get("sha256")
    return checksum is not None and checksum == origin.get("ChecksumSHA256") and stored_as == sha256


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

    def copied(number: int) -> dict[str, Any]:
        begin = (number - 1) * part_bytes
        answer = client.upload_part_copy(
            **address,
            UploadId=upload_id,
            PartNumber=number,
            CopySource=origin,
            CopySourceRange=f"bytes={begin}-{min(begin + part_bytes, size) - 1}",
        )["CopyPartResult"]
        checksum = {"ChecksumSHA256": answer["ChecksumSHA256"]} if answer.get("ChecksumSHA256") else {}
        return {"PartNumber": number, "ETag": answer["ETag"], **checksum}

    try:
        with ThreadPoolExecutor(location.parallel_parts) as pool:
            done = list(pool.map(copied, range(1, -(-size // part_bytes) + 1)))
        return client.complete_multipart_upload(
            **address, UploadId=upload_id, MultipartUpload={"Parts": done}, IfNoneMatch="*"
        )
    except (ClientError, BackupError):
        client.abort_multipart_upload(**address, UploadId=upload_id)
        raise


def _proven(source: S3Store, reader: S3Store, key: str, *, sha256: str, size: int) -> StoredObject:
    location = reader.location
    head = looked_at(reader, key)
    if head is None:
        raise TransferDamaged(
            f"{key} was copied to {location.url} and is not there",
            remedy="find out what removes new objects from that bucket, then try again",
        )
    if location.encrypted_as_required(head) is not True:
        raise wrong_encryption(key, location, head)
    lock = location.object_lock
    if lock and head.get("ObjectLockMode") != lock.mode:
        raise NotAsRequired(
            f"{key} was copied to {location.url} without the required lock",
            remedy="switch Object Lock on for that bucket",
        )
    origin = looked_at(source, key) if whole_sha256(head) is None else None
    found = _difference(reader, key, head, sha256=sha256, size=size, origin=origin)
    if found:
        raise TransferDamaged(
            f"the copy of {key} in {location.url} is not what was to be copied",
            why=f"it has {found}; to be copied were {size} bytes with SHA-256 {sha256}",
            remedy="verify the source; the copy is removed",
        )
    return StoredObject(key, size, head["LastModified"].astimezone(UTC), sha256)


def _read_sha256(store: S3Store, key: str) -> str:
    digest = hashlib.sha256()
    with store.open(key) as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
