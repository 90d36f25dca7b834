"""How are sets kept in S3, or in a service that speaks like it?"""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from botocore.exceptions import ClientError

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.files import CHUNK_BYTES
from backup_assets.sets.place import StoredObject
from backup_assets.sets.retention_class import RetentionClass
from backup_assets.stores.contract import (
    TRIAL_KEY_START,
    ConflictingObject,
    MissingObject,
    TransferDamaged,
    is_key,
    require_key,
)
from backup_assets.stores.s3_documents import SmallObjects
from backup_assets.stores.s3_errors import AccessDenied, NotAsRequired, explained, is_denied, is_missing
from backup_assets.stores.s3_location import S3Location, client_of
from backup_assets.stores.s3_reading import ObjectReader
from backup_assets.stores.s3_source import composite_checksum, composite_etag, parts_of
from backup_assets.stores.s3_upload import Overtaken, Upload, Uploaded, checksum_of, wrong_encryption
from backup_assets.stores.throttle import Throttle

#: What a header may hold as it is; ``%`` is not among it, so that the encoding can be undone.
_SAFE = " !#$&'()*+,/:;=?@[]"


@dataclass(frozen=True)
class _Found:
    """What is known of an object: ``head`` when this role may ask for it, else what the listing says."""

    size: int
    stored_at: datetime
    etag: str
    head: dict[str, Any] | None = None


@dataclass(frozen=True)
class S3Store:
    """A store in a bucket, see `contract.Store` for what every method promises.

    It works for a role that may only write (s3:PutObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts,
    s3:ListBucket): what it stored before is then recognised by the listing. A role that may also read
    (s3:GetObject) has every object proven a second time from what the bucket holds, one that may list uploads
    (s3:ListBucketMultipartUploads) goes on with an interrupted one. ``metadata`` goes onto every object that is put.
    """

    location: S3Location
    name: str
    metadata: tuple[tuple[str, str], ...] = ()
    _throttles: dict[str, Throttle] = field(default_factory=dict, repr=False, compare=False)

    def with_metadata(self, metadata: Mapping[str, str]) -> S3Store:
        """Return this store, putting ``metadata`` (``env``, ``generated_at``, …) onto every new object.

        Names are made of small letters, digits and ``_``; what is not ASCII in a value is percent-encoded.
        """
        encoded = tuple((name.replace("_", "-"), quote(value, safe=_SAFE)) for name, value in metadata.items())
        return replace(self, metadata=encoded)

    def with_retention(self, retention: RetentionClass) -> S3Store:
        """Return this store, putting the tag and the lock of a class of sets, where configured, onto new objects.

        An object that is there already stays as it is.
        """
        if not (self.location.retention_tags or self.location.object_lock):
            return self
        return replace(self, location=replace(self.location, retention=retention))

    # -- the contract ----------------------------------------------------------------------------------------------

    def put(self, key: str, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        """Store ``source`` under ``key``; the server checks each part's SHA-256 as it stores it.

        After a TransientFault the parts that arrived stay for the next attempt, invisible to readers.
        """
        require_key(key)
        found, readable = self._look(key)
        if found is not None:
            return self._same(key, found, source, sha256=sha256, size=size)
        upload = Upload(self._client, self.location, self._throttle, key, dict(self.metadata), sha256, size)
        try:
            uploaded = upload.send(source, in_parts=not readable and self.location.kms_key_id is not None)
        except Overtaken as overtaken:
            found, _ = self._look(key)
            if found is None:
                raise TransientFault(
                    f"could not store {key} in {self.location.url}: another writer was at work on it",
                    why=str(overtaken.error),
                    remedy="try again",
                ) from overtaken
            if overtaken.etag is not None and found.etag == overtaken.etag and found.size == size:
                return StoredObject(key, size, found.stored_at, sha256)
            return self._same(key, found, source, sha256=sha256, size=size)
        return self._proven(key, uploaded, sha256=sha256, size=size)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the object's content as a stream that survives broken connections; raises MissingObject."""
        require_key(key)
        with io.BufferedReader(ObjectReader(self._client, self.location, key), CHUNK_BYTES) as handle:
            yield handle

    def read_small(self, listed: StoredObject) -> bytes:
        """Return the content of a small object at small cost; raises as reading from :meth:`open` does."""
        content = self._documents.read(require_key(listed.key), listed.size)
        if content is None:
            with self.open(listed.key) as handle:
                content = handle.read()
        return content

    def stat(self, key: str) -> StoredObject | None:
        """Return size and time of an object, or None; its SHA-256 where it was stored in one part."""
        found, _ = self._look(require_key(key))
        if found is None:
            return None
        return StoredObject(key, found.size, found.stored_at, whole_sha256(found.head or {}))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every complete object below ``prefix``, sorted by key."""
        require_key(prefix, prefix=True)
        found: dict[str, StoredObject] = {}
        if prefix and (exact := self._listed(prefix)) is not None:
            found[prefix] = StoredObject(prefix, exact.size, exact.stored_at)
        below = self.location.object_key(f"{prefix}/" if prefix else "")
        start = len(self.location.object_key(""))
        with explained(f"list {prefix or 'everything'}", self.location, prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.location.bucket, Prefix=below)
            last: dict[str, Any] = {}
            for last in pages:
                for entry in last.get("Contents", ()):
                    key = entry["Key"][start:]
                    if is_key(key):
                        found[key] = StoredObject(key, entry["Size"], entry["LastModified"].astimezone(UTC))
        if last.get("IsTruncated"):
            raise EnvironmentFault(
                f"could not list {prefix or 'everything'} in {self.location.url}: the list has no end",
                why=f"after {len(found)} objects the server says that there are more, and not how to ask for them",
                remedy="ask whoever runs that server, or the gateway before it, for ListObjectsV2 with continuation "
                "tokens; until then nothing can be relied on that is not in this list",
            )
        return iter(sorted(found.values(), key=lambda stored: stored.key))

    def delete(self, key: str) -> None:
        """Remove an object; one that is missing is fine.

        In a bucket with versioning this writes a delete marker: the content stays until a lifecycle rule removes
        old versions, and under Object Lock at least as long as it is locked.
        """
        require_key(key)
        with explained(f"delete {key}", self.location, key):
            self._client.delete_object(**self._address(key))

    def tags_of(self, key: str) -> dict[str, str]:
        """Return the tags of an object; raises MissingObject, and AccessDenied unless this role may read them."""
        with explained(f"read the tags of {key}", self.location, require_key(key)):
            try:
                answer = self._client.get_object_tagging(**self._address(key))
            except ClientError as error:
                if is_missing(error):
                    raise MissingObject(
                        f"there is no {key} in {self.location.url}", remedy="copy the set there again"
                    ) from error
                raise
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Give an object these tags and no others; its content stays as it is. Raises AccessDenied."""
        listed = [{"Key": name, "Value": value} for name, value in tags.items()]
        with explained(f"change the tags of {key}", self.location, require_key(key)):
            self._client.put_object_tagging(**self._address(key), Tagging={"TagSet": listed})

    def describe(self) -> str:
        """Return where the store is."""
        return self.location.describe()

    def check(self) -> None:
        """List one object, then begin an upload and give it up: that takes the same permissions as storing does."""
        key = f"{TRIAL_KEY_START}{uuid.uuid4().hex[:8]}"
        wanted = replace(self.location, retention="daily")  # with the tag that every set gets: it takes a permission
        address = self._address(key)
        with explained("list objects for trial", self.location):
            self._client.list_objects_v2(Bucket=self.location.bucket, Prefix=address["Key"], MaxKeys=1)
        with explained("begin an upload for trial", self.location):
            answer = self._client.create_multipart_upload(
                **address,
                **wanted.object_parameters("0" * 64, {}, datetime.now(UTC)),
                ChecksumAlgorithm="SHA256",
            )
        with explained("give up an upload for trial", self.location):
            self._client.abort_multipart_upload(**address, UploadId=answer["UploadId"])
        if self.location.encrypted_as_required(answer) is False:
            raise wrong_encryption("nothing", self.location, answer)

    def free_bytes(self) -> int | None:
        """Return None: a bucket has no limit that could be asked for."""
        return None

    # -- looking -----------------------------------------------------------------------------------------------------

    def _look(self, key: str) -> tuple[_Found | None, bool]:
        """Return what is known of an object (None: it is missing), and whether this role may read objects."""
        try:
            head = self._head(key)
        except AccessDenied:
            return self._listed(key), False
        if head is None:
            return None, True
        stored_at = head["LastModified"].astimezone(UTC)
        return _Found(head["ContentLength"], stored_at, head["ETag"].strip('"'), head), True

    def _head(self, key: str, version_id: str | None = None) -> dict[str, Any] | None:
        version = {"VersionId": version_id} if version_id else {}
        with explained(f"look at {key}", self.location, key):
            try:
                return self._client.head_object(**self._address(key), ChecksumMode="ENABLED", **version)
            except ClientError as error:
                if is_missing(error):
                    self._require_bucket(key)
                    return None
                raise

    def _require_bucket(self, key: str) -> None:
        """Ask again what a HEAD request's 404 does not tell: whether the object or the whole bucket is missing."""
        try:
            self._client.list_objects_v2(Bucket=self.location.bucket, Prefix=self._address(key)["Key"], MaxKeys=1)
        except ClientError as error:
            if not is_denied(error):
                raise

    def _listed(self, key: str) -> _Found | None:
        full = self._address(key)["Key"]
        with explained(f"list {key}", self.location, key):
            # The key itself comes first of all that begin with it.
            page = self._client.list_objects_v2(Bucket=self.location.bucket, Prefix=full, MaxKeys=1)
        for entry in page.get("Contents", ()):
            if entry["Key"] == full:
                return _Found(entry["Size"], entry["LastModified"].astimezone(UTC), entry["ETag"].strip('"'))
        return None

    # -- comparing ---------------------------------------------------------------------------------------------------

    def _same(self, key: str, found: _Found, source: Path | bytes, *, sha256: str, size: int) -> StoredObject:
        """Return the existing object when its content is proven to be the given one; raises ConflictingObject."""
        evidence = f"it has {found.size} bytes"
        same: bool | None = False
        if found.size == size:
            same, evidence = self._compared(key, found, source, sha256=sha256, size=size)
        if same:
            if found.head is not None and self.location.encrypted_as_required(found.head) is not True:
                raise wrong_encryption(key, self.location, found.head)
            return StoredObject(key, size, found.stored_at, sha256)
        if same is None:
            raise ConflictingObject(
                f"{key} exists in {self.describe()} and cannot be compared with what is to be stored",
                why=evidence,
                remedy="allow s3:GetObject to this role, or switch the SHA-256 tag on and allow s3:GetObjectTagging "
                "and s3:PutObjectTagging; or verify the stored object with a role that may read",
            )
        raise ConflictingObject(
            f"{key} exists in {self.describe()} with other content",
            why=f"{evidence}; to be stored were {size} bytes with SHA-256 {sha256}",
            remedy="nothing was changed; verify the stored set, and if it is damaged delete it before storing it again",
        )

    def _compared(
        self, key: str, found: _Found, source: Path | bytes, *, sha256: str, size: int
    ) -> tuple[bool | None, str]:
        """Tell whether the stored content is the given one (None: unknown), and by what evidence."""
        whole = whole_sha256(found.head or {})
        if whole is not None:
            return whole == sha256, f"it has SHA-256 {whole}"
        checksum = (found.head or {}).get("ChecksumSHA256")
        part_bytes = self._part_bytes_of(found, size)
        if checksum is not None and part_bytes:
            expected, _ = self._figures(key, source, part_bytes, sha256=sha256, size=size)
            return checksum == expected, f"its parts have the SHA-256 {checksum}"
        if found.head is not None:
            stored = self._read_sha256(key)
            return stored == sha256, f"it has SHA-256 {stored}"
        if not self.location.kms_key_id and part_bytes:
            _, etag = self._figures(key, source, part_bytes, sha256=sha256, size=size)
            return found.etag == etag, f"it has the entity tag {found.etag}"
        if self.location.sha256_tag:
            tagged = self._tagged_sha256(key)
            return tagged == sha256, f"it is tagged with SHA-256 {tagged}"
        return None, "this role may not read, and with SSE-KMS the listing does not tell the content"

    def _part_bytes_of(self, found: _Found, size: int) -> int | None:
        """Return the part size that an object was stored with; None when our plan does not explain its tag."""
        parts = found.etag.rpartition("-")[2] if "-" in found.etag else "1"
        planned = self.location.planned_part_bytes(size)
        recorded = (found.head or {}).get("Metadata", {}).get("part-bytes", "")
        for candidate in (int(recorded) if recorded.isdecimal() else planned, planned, max(size, 1)):
            if candidate and str(max(1, -(-size // candidate))) == parts:
                return candidate
        return None

    def _figures(self, key: str, source: Path | bytes, part_bytes: int, *, sha256: str, size: int) -> tuple[str, str]:
        """Return checksum and entity tag that S3 computes of ``source``; raises TransferDamaged as `put` does."""
        sha256s: list[bytes] = []
        md5s: list[bytes] = []
        with parts_of(source, part_bytes, self._throttle) as parts:
            for part in parts.read(size, md5=True):
                sha256s.append(part.sha256)
                md5s.append(part.md5 or b"")
            parts.require_announced(key, sha256=sha256, size=size)
        return composite_checksum(sha256s), composite_etag(md5s) if len(md5s) > 1 else md5s[0].hex()

    def _read_sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        with self.open(key) as handle:
            while chunk := handle.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def _tagged_sha256(self, key: str) -> str | None:
        return self.tags_of(key).get("sha256")

    # -- proving -----------------------------------------------------------------------------------------------------

    def _proven(self, key: str, uploaded: Uploaded, *, sha256: str, size: int) -> StoredObject:
        """Return what was stored once the server's own figures agree; otherwise remove it and raise."""
        try:
            try:
                head = self._head(key, uploaded.version_id)
            except AccessDenied:
                return self._proven_by_answers(key, uploaded, sha256=sha256, size=size)
            return self._proven_by_head(key, uploaded, head, sha256=sha256, size=size)
        except (TransferDamaged, NotAsRequired):
            self._take_back(key, uploaded.version_id)
            raise

    def _proven_by_answers(self, key: str, uploaded: Uploaded, *, sha256: str, size: int) -> StoredObject:
        if uploaded.checksum is None:
            raise EnvironmentFault(
                f"{key} is not known to be whole in {self.location.url}",
                why="the server named no SHA-256 of what it stored, and this role may not read it back",
                remedy="allow s3:GetObject to this role, or use a server that supports SHA-256 checksums",
            )
        self._require_checksum(key, uploaded.checksum, uploaded.expected_checksum)
        if uploaded.encrypted is not True:
            raise wrong_encryption(key, self.location, {})
        listed = self._listed(key)
        if listed is None or listed.size != size:
            raise TransferDamaged(
                f"{key} was damaged on its way to {self.location.url}",
                why=f"{listed.size if listed else 'no'} bytes are listed instead of {size}",
                remedy="another attempt is safe",
            )
        return StoredObject(key, size, listed.stored_at, sha256)

    def _proven_by_head(
        self, key: str, uploaded: Uploaded, head: dict[str, Any] | None, *, sha256: str, size: int
    ) -> StoredObject:
        if head is None:
            raise EnvironmentFault(
                f"{key} was stored in {self.location.url} and is not there",
                remedy="find out what removes new objects from that bucket, then try again",
            )
        if head["ContentLength"] != size:
            raise TransferDamaged(
                f"{key} was damaged on its way to {self.location.url}",
                why=f"it has {head['ContentLength']} bytes there instead of {size}",
                remedy="nothing was stored, and another attempt is safe",
            )
        checksum = head.get("ChecksumSHA256") or uploaded.checksum
        if checksum is not None:
            self._require_checksum(key, checksum, uploaded.expected_checksum)
        else:
            self._require_checksum(key, checksum_of(self._read_sha256(key)), checksum_of(sha256))
        if self.location.encrypted_as_required(head) is not True:
            raise wrong_encryption(key, self.location, head)
        lock = self.location.object_lock
        if lock and head.get("ObjectLockMode") != lock.mode:
            raise NotAsRequired(
                f"{key} is stored in {self.location.url} without the required lock",
                why=f"required is {lock.mode}, the server shows {head.get('ObjectLockMode') or 'none'}",
                remedy="switch Object Lock on for that bucket (only a new bucket can have it everywhere)",
            )
        return StoredObject(key, size, head["LastModified"].astimezone(UTC), sha256)

    def _require_checksum(self, key: str, found: str, expected: str) -> None:
        if found != expected:
            raise TransferDamaged(
                f"{key} was damaged on its way to {self.location.url}",
                why=f"the server stored SHA-256 {found} instead of {expected}",
                remedy="nothing was stored, and another attempt is safe",
            )

    def _take_back(self, key: str, version_id: str | None) -> None:
        """Remove what must not stay; when this role may not, the error says so before its cause is told."""
        version = {"VersionId": version_id} if version_id else {}
        with explained(f"remove {key}, which was stored but not proven,", self.location, key):
            self._client.delete_object(**self._address(key), **version)

    # -- inside ------------------------------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> Any:
        return client_of(self.location)

    @cached_property
    def _documents(self) -> SmallObjects:
        with explained("look for credentials", self.location):
            return SmallObjects(self.location)

    @property
    def _throttle(self) -> Throttle:
        limit = self.location.bandwidth_limit_bytes_per_second
        return self._throttles.setdefault("uploads", Throttle(limit))

    def _address(self, key: str) -> dict[str, str]:
        return {"Bucket": self.location.bucket, "Key": self.location.object_key(key)}


def whole_sha256(head: dict[str, Any]) -> str | None:
    """Return the SHA-256 of the whole object (hexadecimal) that the server computed, None for one of parts."""
    checksum = head.get("ChecksumSHA256")
    if checksum is None or "-" in checksum or head.get("ChecksumType") == "COMPOSITE":
        return None
    return base64.b64decode(checksum).hex()
