"""Is what lies under a key the content that is to be stored there?"""

from __future__ import annotations

from pathlib import Path

from backup_assets.sets.place import StoredObject
from backup_assets.stores.contract import ConflictingObject
from backup_assets.stores.s3_location import S3Location
from backup_assets.stores.s3_looking import Found, Objects, whole_sha256
from backup_assets.stores.s3_source import composite_checksum, composite_etag, parts_of
from backup_assets.stores.s3_upload import wrong_encryption
from backup_assets.stores.throttle import Throttle


def require_same_content(
    objects: Objects, throttle: Throttle, key: str, found: Found, source: Path | bytes, *, sha256: str, size: int
) -> StoredObject:
    """Return the existing object when its content is proven to be the given one; raises ConflictingObject."""
    evidence = f"it has {found.size} bytes"
    same: bool | None = False
    if found.size == size:
        same, evidence = _compared(objects, throttle, key, found, source, sha256=sha256, size=size)
    if same:
        if found.head is not None and objects.location.encrypted_as_required(found.head) is not True:
            raise wrong_encryption(key, objects.location, found.head)
        return StoredObject(key, size, found.stored_at, sha256)
    if same is None:
        raise ConflictingObject(
            f"{key} exists in {objects.location.describe()} and cannot be compared with what is to be stored",
            why=evidence,
            remedy="allow s3:GetObject to this role, or switch the SHA-256 tag on and allow s3:GetObjectTagging "
            "and s3:PutObjectTagging; or verify the stored object with a role that may read",
        )
    raise ConflictingObject(
        f"{key} exists in {objects.location.describe()} with other content",
        why=f"{evidence}; to be stored were {size} bytes with SHA-256 {sha256}",
        remedy="nothing was changed; verify the stored set, and if it is damaged delete it before storing it again",
    )


def _compared(
    objects: Objects, throttle: Throttle, key: str, found: Found, source: Path | bytes, *, sha256: str, size: int
) -> tuple[bool | None, str]:
    """Tell whether the stored content is the given one (None: unknown), and by what evidence."""
    whole = whole_sha256(found.head or {})
    if whole is not None:
        return whole == sha256, f"it has SHA-256 {whole}"
    checksum = (found.head or {}).get("ChecksumSHA256")
    part_bytes = _part_bytes_of(objects.location, found, size)
    if checksum is not None and part_bytes:
        expected, _ = _figures(throttle, key, source, part_bytes, sha256=sha256, size=size)
        return checksum == expected, f"its parts have the SHA-256 {checksum}"
    if found.head is not None:
        stored = objects.read_sha256(key)
        return stored == sha256, f"it has SHA-256 {stored}"
    if not objects.location.kms_key_id and part_bytes:
        _, etag = _figures(throttle, key, source, part_bytes, sha256=sha256, size=size)
        return found.etag == etag, f"it has the entity tag {found.etag}"
    if objects.location.sha256_tag:
        tagged = objects.tags_of(key).get("sha256")
        return tagged == sha256, f"it is tagged with SHA-256 {tagged}"
    return None, "this role may not read, and with SSE-KMS the listing does not tell the content"


def _part_bytes_of(location: S3Location, found: Found, size: int) -> int | None:
    """Return the part size that an object was stored with; None when our plan does not explain its tag."""
    parts = found.etag.rpartition("-")[2] if "-" in found.etag else "1"
    planned = location.planned_part_bytes(size)
    recorded = (found.head or {}).get("Metadata", {}).get("part-bytes", "")
    for candidate in (int(recorded) if recorded.isdecimal() else planned, planned, max(size, 1)):
        if candidate and str(max(1, -(-size // candidate))) == parts:
            return candidate
    return None


def _figures(
    throttle: Throttle, key: str, source: Path | bytes, part_bytes: int, *, sha256: str, size: int
) -> tuple[str, str]:
    """Return checksum and entity tag that S3 computes of ``source``; raises TransferDamaged as `put` does."""
    sha256s: list[bytes] = []
    md5s: list[bytes] = []
    with parts_of(source, part_bytes, throttle) as parts:
        for part in parts.read(size, md5=True):
            sha256s.append(part.sha256)
            md5s.append(part.md5 or b"")
        parts.require_announced(key, sha256=sha256, size=size)
    return composite_checksum(sha256s), composite_etag(md5s) if len(md5s) > 1 else md5s[0].hex()
