"""What is there under a key of a bucket, as far as this role may know?"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from backup_assets.files import CHUNK_BYTES
from backup_assets.stores.contract import MissingObject, require_key
from backup_assets.stores.s3_errors import AccessDenied, explained, is_denied, is_missing
from backup_assets.stores.s3_location import S3Location, client_of
from backup_assets.stores.s3_reading import ObjectReader


@dataclass(frozen=True)
class Found:
    """What is known of an object: ``head`` when this role may ask for it, else what the listing says."""

    size: int
    stored_at: datetime
    etag: str
    head: dict[str, Any] | None = None


@dataclass(frozen=True)
class Objects:
    """The objects of a bucket, before one role."""

    location: S3Location

    @cached_property
    def client(self) -> Any:
        """The client, made when it is first asked for something: what is wrong with the credentials is explained."""
        return client_of(self.location)

    def look(self, key: str) -> tuple[Found | None, bool]:
        """Return what is known of an object (None: it is missing), and whether this role may read objects."""
        try:
            head = self.head(key)
        except AccessDenied:
            return self.listed(key), False
        if head is None:
            return None, True
        stored_at = head["LastModified"].astimezone(UTC)
        return Found(head["ContentLength"], stored_at, head["ETag"].strip('"'), head), True

    def head(self, key: str, version_id: str | None = None) -> dict[str, Any] | None:
        """Return what the server says of an object, None where it is missing; raises AccessDenied."""
        version = {"VersionId": version_id} if version_id else {}
        with explained(f"look at {key}", self.location, key):
            try:
                return self.client.head_object(**self.address(key), ChecksumMode="ENABLED", **version)
            except ClientError as error:
                if is_missing(error):
                    self._require_bucket(key)
                    return None
                raise

    def _require_bucket(self, key: str) -> None:
        """Ask again what a HEAD request's 404 does not tell: whether the object or the whole bucket is missing."""
        try:
            self.client.list_objects_v2(Bucket=self.location.bucket, Prefix=self.address(key)["Key"], MaxKeys=1)
        except ClientError as error:
            if not is_denied(error):
                raise

    def listed(self, key: str) -> Found | None:
        """Return what the listing says of an object, None where it is missing."""
        full = self.address(key)["Key"]
        with explained(f"list {key}", self.location, key):
            # The key itself comes first of all that begin with it.
            page = self.client.list_objects_v2(Bucket=self.location.bucket, Prefix=full, MaxKeys=1)
        for entry in page.get("Contents", ()):
            if entry["Key"] == full:
                return Found(entry["Size"], entry["LastModified"].astimezone(UTC), entry["ETag"].strip('"'))
        return None

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Yield the object's content as a stream that survives broken connections; raises MissingObject."""
        with io.BufferedReader(ObjectReader(self.client, self.location, key), CHUNK_BYTES) as handle:
            yield handle

    def read_sha256(self, key: str) -> str:
        """Return the SHA-256 of an object, which is read whole for it."""
        digest = hashlib.sha256()
        with self.open(key) as handle:
            while chunk := handle.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def tags_of(self, key: str) -> dict[str, str]:
        """Return the tags of an object; raises MissingObject, and AccessDenied unless this role may read them."""
        with explained(f"read the tags of {key}", self.location, require_key(key)):
            try:
                answer = self.client.get_object_tagging(**self.address(key))
            except ClientError as error:
                if is_missing(error):
                    raise MissingObject(
                        f"there is no {key} in {self.location.url}", remedy="copy the set there again"
                    ) from error
                raise
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def take_back(self, key: str, version_id: str | None) -> None:
        """Remove what must not stay; when this role may not, the error says so before its cause is told."""
        version = {"VersionId": version_id} if version_id else {}
        with explained(f"remove {key}, which was stored but not proven,", self.location, key):
            self.client.delete_object(**self.address(key), **version)

    def address(self, key: str) -> dict[str, str]:
        """Return the parameters that name an object in a request."""
        return {"Bucket": self.location.bucket, "Key": self.location.object_key(key)}


def whole_sha256(head: dict[str, Any]) -> str | None:
    """Return the SHA-256 of the whole object (hexadecimal) that the server computed, None for one of parts."""
    checksum = head.get("ChecksumSHA256")
    if checksum is None or "-" in checksum or head.get("ChecksumType") == "COMPOSITE":
        return None
    return base64.b64decode(checksum).hex()
