"""How are sets kept in S3, or in a service that speaks like it?"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.sets.place import StoredObject
from backup_assets.sets.retention_class import RetentionClass
from backup_assets.stores.contract import TRIAL_KEY_START, is_key, require_key
from backup_assets.stores.s3_comparing import require_same_content
from backup_assets.stores.s3_documents import SmallObjects
from backup_assets.stores.s3_errors import explained
from backup_assets.stores.s3_location import S3Location
from backup_assets.stores.s3_looking import Objects, whole_sha256
from backup_assets.stores.s3_proving import proven
from backup_assets.stores.s3_upload import Overtaken, Upload, wrong_encryption
from backup_assets.stores.throttle import Throttle

#: What a header may hold as it is; ``%`` is not among it, so that the encoding can be undone.
_SAFE = " !#$&'()*+,/:;=?@[]"


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
        found, readable = self._objects.look(key)
        if found is not None:
            return require_same_content(self._objects, self._throttle, key, found, source, sha256=sha256, size=size)
        upload = Upload(self._client, self.location, self._throttle, key, dict(self.metadata), sha256, size)
        try:
            uploaded = upload.send(source, in_parts=not readable and self.location.kms_key_id is not None)
        except Overtaken as overtaken:
            found, _ = self._objects.look(key)
            if found is None:
                raise TransientFault(
                    f"could not store {key} in {self.location.url}: another writer was at work on it",
                    why=str(overtaken.error),
                    remedy="try again",
                ) from overtaken
            if overtaken.etag is not None and found.etag == overtaken.etag and found.size == size:
                return StoredObject(key, size, found.stored_at, sha256)
            return require_same_content(self._objects, self._throttle, key, found, source, sha256=sha256, size=size)
        return proven(self._objects, key, uploaded, sha256=sha256, size=size)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the object's content as a stream that survives broken connections; raises MissingObject."""
        require_key(key)
        with self._objects.open(key) as handle:
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
        found, _ = self._objects.look(require_key(key))
        if found is None:
            return None
        return StoredObject(key, found.size, found.stored_at, whole_sha256(found.head or {}))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every complete object below ``prefix``, sorted by key."""
        require_key(prefix, prefix=True)
        found: dict[str, StoredObject] = {}
        if prefix and (exact := self._objects.listed(prefix)) is not None:
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
            self._client.delete_object(**self._objects.address(key))

    def tags_of(self, key: str) -> dict[str, str]:
        """Return the tags of an object; raises MissingObject, and AccessDenied unless this role may read them."""
        return self._objects.tags_of(key)

    def put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Give an object these tags and no others; its content stays as it is. Raises AccessDenied."""
        listed = [{"Key": name, "Value": value} for name, value in tags.items()]
        with explained(f"change the tags of {key}", self.location, require_key(key)):
            self._client.put_object_tagging(**self._objects.address(key), Tagging={"TagSet": listed})

    def describe(self) -> str:
        """Return where the store is."""
        return self.location.describe()

    def check(self) -> None:
        """List one object, then begin an upload and give it up: that takes the same permissions as storing does."""
        key = f"{TRIAL_KEY_START}{uuid.uuid4().hex[:8]}"
        wanted = replace(self.location, retention="daily")  # with the tag that every set gets: it takes a permission
        address = self._objects.address(key)
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

    # -- inside ------------------------------------------------------------------------------------------------------

    @cached_property
    def _objects(self) -> Objects:
        return Objects(self.location)

    @property
    def _client(self) -> Any:
        return self._objects.client

    @cached_property
    def _documents(self) -> SmallObjects:
        with explained("look for credentials", self.location):
            return SmallObjects(self.location)

    @property
    def _throttle(self) -> Throttle:
        limit = self.location.bandwidth_limit_bytes_per_second
        return self._throttles.setdefault("uploads", Throttle(limit))
