"""How does an object get into S3, whole or not at all, and proven by the server's own SHA-256?"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from botocore.exceptions import ClientError

from backup_assets.errors import BackupError, EnvironmentFault, TransientFault
from backup_assets.stores.contract import TransferDamaged
from backup_assets.stores.s3_errors import (
    AccessDenied,
    NotAsRequired,
    code_of,
    exists_already,
    explained,
    is_damaged,
)
from backup_assets.stores.s3_location import S3Location
from backup_assets.stores.s3_source import Part, Parts, composite_checksum, composite_etag, parts_of
from backup_assets.stores.throttle import Throttle

#: How many unfinished uploads of one key are looked at: there is one after a crash, a few after a few crashes.
LOOKED_AT = 5
_OVERTAKEN = {"NoSuchUpload", "InvalidPart", "ConditionalRequestConflict"}


class Overtaken(Exception):
    """Another writer holds the key now, or this one does through a request whose answer was lost.

    ``etag`` is that which our object would have, where it is known.
    """

    def __init__(self, error: ClientError, etag: str | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.etag = etag


@dataclass(frozen=True)
class Uploaded:
    """What the server said of an object that it took.

    ``checksum`` is its SHA-256 as S3 writes it (with ``-N`` for N parts), None when it said none; ``encrypted``
    whether it showed the required encryption, None when it showed nothing.
    """

    etag: str
    version_id: str | None
    checksum: str | None
    expected_checksum: str
    encrypted: bool | None


@dataclass(frozen=True)
class Upload:
    """One object on its way to one location."""

    client: Any
    location: S3Location
    throttle: Throttle
    key: str
    metadata: dict[str, str]
    sha256: str
    size: int

    @property
    def _address(self) -> dict[str, str]:
        return {"Bucket": self.location.bucket, "Key": self.location.object_key(self.key)}

    def send(self, source: Path | bytes, *, in_parts: bool) -> Uploaded:
        """Send ``source`` and return what the server says that it stored; nothing that exists is replaced.

        Objects up to one part go in one request, unless ``in_parts``: the entity tag of parts can be foretold under
        any encryption. Raises Overtaken when the key exists, TransferDamaged, EnvironmentFault and TransientFault;
        after the last one the parts are kept for another attempt, otherwise nothing is left.
        """
        part_bytes = self.location.planned_part_bytes(self.size)
        with parts_of(source, part_bytes, self.throttle) as parts:
            if self.size > part_bytes or (in_parts and self.size):
                return self._multipart(parts, part_bytes)
            return self._single(parts)

    # -- in one request ----------------------------------------------------------------------------------------------

    def _single(self, parts: Parts) -> Uploaded:
        found = list(parts.read(self.size))
        parts.require_announced(self.key, sha256=self.sha256, size=self.size)
        with explained(f"store {self.key}", self.location, self.key):
            try:
                answer = self.client.put_object(
                    **self._address,
                    **self._parameters(),
                    Body=found[0].body,
                    ContentLength=self.size,
                    ChecksumSHA256=found[0].checksum,
                    # With a lock S3 demands the name of the algorithm, not only the checksum (or Content-MD5).
                    **({"ChecksumAlgorithm": "SHA256"} if self.location.object_lock else {}),
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if exists_already(error) or code_of(error) in _OVERTAKEN:
                    raise Overtaken(error, None) from error
                if is_damaged(error):
                    self._damaged(str(error))
                raise
        return self._uploaded(answer, found[0].checksum, self.location.encrypted_as_required(answer))

    # -- in parts ----------------------------------------------------------------------------------------------------

    def _multipart(self, parts: Parts, part_bytes: int) -> Uploaded:
        upload_id, stored, encrypted = self._resumed(parts, part_bytes)
        if upload_id is None:
            upload_id, encrypted = self._begun()
        try:
            return self._sent(parts, upload_id, stored, encrypted)
        except TransientFault:
            raise  # its parts are kept: the next attempt goes on with them
        except (BackupError, Overtaken):
            self.abort(upload_id)
            raise

    def _begun(self) -> tuple[str, bool | None]:
        with explained(f"begin to store {self.key}", self.location, self.key):
            answer = self.client.create_multipart_upload(
                **self._address, **self._parameters(), ChecksumAlgorithm="SHA256"
            )
        encrypted = self.location.encrypted_as_required(answer)
        if encrypted is False:
            self.abort(answer["UploadId"])
            raise wrong_encryption(self.key, self.location, answer)
        return answer["UploadId"], encrypted

    def _sent(
        self, parts: Parts, upload_id: str, stored: dict[int, dict[str, Any]], encrypted: bool | None
    ) -> Uploaded:
        done: list[tuple[Part, dict[str, Any]]] = []
        waiting: deque[tuple[Part, Future[dict[str, Any]]]] = deque()
        with ThreadPoolExecutor(self.location.parallel_parts) as pool:
            try:
                for part in parts.read(self.size):
                    if part.number in stored:
                        done.append((part, stored[part.number]))
                        continue
                    waiting.append((part, pool.submit(self._send_part, part, upload_id)))
                    # One more than are sent at a time: it is hashed meanwhile, and sent as soon as one is done.
                    while len(waiting) > self.location.parallel_parts:
                        oldest, future = waiting.popleft()
                        done.append((oldest, future.result()))
                done.extend((part, future.result()) for part, future in waiting)
            except BaseException:
                for _, future in waiting:
                    future.cancel()
                raise
        parts.require_announced(self.key, sha256=self.sha256, size=self.size)
        shown = [self.location.encrypted_as_required(answer) for _, answer in done]
        if encrypted is None and True in shown:
            encrypted = True  # the upload has one encryption for all parts, and only those sent just now show it
        return self._complete(upload_id, sorted(done, key=lambda one: one[0].number), encrypted)

    def _send_part(self, part: Part, upload_id: str) -> dict[str, Any]:
        with explained(f"store part {part.number} of {self.key}", self.location, self.key):
            try:
                answer = self.client.upload_part(
                    **self._address,
                    UploadId=upload_id,
                    PartNumber=part.number,
                    Body=part.body,
                    ContentLength=part.size,
                    ChecksumSHA256=part.checksum,
                )
            except ClientError as error:
                if code_of(error) in _OVERTAKEN:
                    raise Overtaken(error, None) from error
                if is_damaged(error):
                    self._damaged(str(error))
                raise
        if answer.get("ChecksumSHA256", part.checksum) != part.checksum:
            self._damaged(f"part {part.number} has another SHA-256 there")
        if self.location.encrypted_as_required(answer) is False:
            raise wrong_encryption(self.key, self.location, answer)
        return answer

    def _complete(self, upload_id: str, done: list[tuple[Part, dict[str, Any]]], encrypted: bool | None) -> Uploaded:
        expected = composite_checksum([part.sha256 for part, _ in done])
        etag = _foretold_etag(answer["ETag"] for _, answer in done)
        named = [
            {"PartNumber": part.number, "ETag": answer["ETag"], "ChecksumSHA256": part.checksum}
            for part, answer in done
        ]
        with explained(f"complete {self.key}", self.location, self.key):
            try:
                answer = self.client.complete_multipart_upload(
                    **self._address,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": named},
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if exists_already(error) or code_of(error) in _OVERTAKEN:
                    raise Overtaken(error, etag) from error
                if is_damaged(error):
                    self._damaged(str(error))
                raise
        shown = self.location.encrypted_as_required(answer)
        return self._uploaded(answer, expected, encrypted if shown is None else shown)

    # -- going on after an interruption ------------------------------------------------------------------------------

    def _resumed(self, parts: Parts, part_bytes: int) -> tuple[str | None, dict[int, dict[str, Any]], bool | None]:
        """Return an unfinished upload whose every part is one of ours, if there is one that this role may see."""
        if not parts.rereadable:
            return None, {}, None
        try:
            for upload_id in self._unfinished():
                stored = self._stored_parts(upload_id)
                if stored and all(self._is_ours(part, parts, part_bytes) for part in stored.values()):
                    if len(stored) * part_bytes >= self.size:
                        del stored[max(stored)]  # sent once more, because its answer shows how the upload is encrypted
                    return upload_id, stored, None
        except AccessDenied:  # a role that may not list uploads begins anew; the bucket's lifecycle removes the rest
            pass
        return None, {}, None

    def _unfinished(self) -> list[str]:
        key = self._address["Key"]
        found: list[dict[str, Any]] = []
        with explained(f"look for an unfinished upload of {self.key}", self.location, self.key):
            for page in self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.location.bucket, Prefix=key
            ):
                found += [one for one in page.get("Uploads", ()) if one["Key"] == key]
        found.sort(key=lambda one: one["Initiated"], reverse=True)
        return [one["UploadId"] for one in found[:LOOKED_AT]]

    def _stored_parts(self, upload_id: str) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        with explained(f"look at the stored parts of {self.key}", self.location, self.key):
            try:
                for page in self.client.get_paginator("list_parts").paginate(**self._address, UploadId=upload_id):
                    found |= {part["PartNumber"]: part for part in page.get("Parts", ())}
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":  # finished or removed since it was listed
                    raise
                return {}
        return found

    def _is_ours(self, stored: dict[str, Any], parts: Parts, part_bytes: int) -> bool:
        number = stored["PartNumber"]
        size = min(part_bytes, self.size - (number - 1) * part_bytes)
        if size <= 0 or stored["Size"] != size:
            return False
        sha256, md5 = parts.digests(number, size)
        checksum = stored.get("ChecksumSHA256")
        # Servers that do not list checksums list MD5 tags; the SHA-256 is named again when the upload is completed.
        return checksum == sha256 if checksum else stored["ETag"].strip('"') == md5

    def abort(self, upload_id: str) -> None:
        """Remove an unfinished upload and its parts, as far as this role may."""
        try:
            with explained(f"give up storing {self.key}", self.location, self.key):
                self.client.abort_multipart_upload(**self._address, UploadId=upload_id)
        except EnvironmentFault:
            return  # what led here is the error to tell; the bucket's lifecycle removes the parts

    # -- inside ------------------------------------------------------------------------------------------------------

    def _parameters(self) -> dict[str, Any]:
        # The part size lets whoever changes the setting later still compute this object's composite checksum.
        metadata = {**self.metadata, "part-bytes": str(self.location.planned_part_bytes(self.size))}
        return self.location.object_parameters(self.sha256, metadata, datetime.now(UTC))

    def _uploaded(self, answer: dict[str, Any], expected: str, encrypted: bool | None) -> Uploaded:
        return Uploaded(
            answer.get("ETag", "").strip('"'),
            answer.get("VersionId"),
            answer.get("ChecksumSHA256"),
            expected,
            encrypted,
        )

    def _damaged(self, why: str) -> NoReturn:
        raise TransferDamaged(
            f"{self.key} was damaged on its way to {self.location.url}",
            why=why,
            remedy="nothing was stored, and another attempt is safe; if it happens again, look at the network",
        )


def wrong_encryption(key: str, location: S3Location, answer: dict[str, Any]) -> NotAsRequired:
    """Return the error for an object that the server did not encrypt as it was told."""
    wanted = f"SSE-KMS with the key {location.kms_key_id}" if location.kms_key_id else "SSE-S3 (AES256)"
    found = answer.get("ServerSideEncryption") or "no encryption"
    return NotAsRequired(
        f"{key} is not accepted in {location.url}: it is not encrypted as required",
        why=f"required is {wanted}; the server shows {found} {answer.get('SSEKMSKeyId') or ''}".rstrip(),
        remedy="check SSE_KMS_KEY_ID or SSE_S3, and that the server offers this encryption",
    )


def _foretold_etag(etags: Iterable[str]) -> str | None:
    """Return the entity tag of an object from those of its parts; None when these are not what S3 gives."""
    plain = [etag.strip('"') for etag in etags]
    try:
        return composite_etag([bytes.fromhex(etag) for etag in plain])
    except ValueError:
        return None


def checksum_of(sha256: str) -> str:
    """Return a hexadecimal SHA-256 as S3 writes it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
