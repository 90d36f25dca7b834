"""How is an object of S3 read to its end although connections break?"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backup_assets.errors import CheckFailed, TransientFault
from backup_assets.stores.contract import MissingObject
from backup_assets.stores.s3_errors import BROKEN_CONNECTION, exists_already, explained, is_missing
from backup_assets.stores.s3_location import S3Location

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How often in a row a connection may break without one more byte, and the first pause in seconds, then doubled.
BREAKS_IN_A_ROW = 5
FIRST_PAUSE_SECONDS = 0.2


class ReplacedWhileRead(CheckFailed):
    """Another object appeared under the key while it was read: the two are never mixed."""


class ObjectReader(io.RawIOBase):
    """The content of one object, fetched once, and after a broken connection from where it broke.

    Every further request names the entity tag (and version) of the first, so that one object is read or none.
    Raises MissingObject at once, TransientFault when the connection breaks again and again, ReplacedWhileRead.
    """

    def __init__(self, client: Any, location: S3Location, key: str) -> None:
        super().__init__()
        self._client = client
        self._location = location
        self._key = key
        self._position = 0
        self._breaks = 0
        answer = self._request({})
        self._size: int = answer["ContentLength"]
        self._same: dict[str, str] = {"IfMatch": answer["ETag"]}
        if answer.get("VersionId"):
            self._same["VersionId"] = answer["VersionId"]
        self._body: Any = answer["Body"]

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill as much of ``buffer`` as the connection gives at once; 0 only at the object's true end."""
        view = memoryview(buffer).cast("B")
        while self._position < self._size and len(view):
            try:
                found = self._body.read(min(len(view), self._size - self._position))
                why = f"it ended after {self._position} of {self._size} bytes"
            except BROKEN_CONNECTION as error:
                found, why = b"", str(error)
            if found:
                self._position += len(found)
                self._breaks = 0
                view[: len(found)] = found
                return len(found)
            self._connect_again(why)
        return 0

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed and hasattr(self, "_body"):
            self._body.close()
        super().close()

    def _connect_again(self, why: str) -> None:
        self._body.close()
        self._breaks += 1
        if self._breaks > BREAKS_IN_A_ROW:
            raise TransientFault(
                f"could not read {self._key} from the bucket {self._location.bucket}: the connection broke",
                why=f"{why}, {self._breaks} times in a row",
                remedy="check the network, then try again",
            )
        time.sleep(FIRST_PAUSE_SECONDS * 2 ** (self._breaks - 1))
        answer = self._request({**self._same, "Range": f"bytes={self._position}-"})
        if answer["ContentLength"] != self._size - self._position:
            raise self._replaced(f"{answer['ContentLength']} bytes are left instead of {self._size - self._position}")
        self._body = answer["Body"]

    def _request(self, parameters: dict[str, str]) -> dict[str, Any]:
        location = self._location
        with explained(f"read {self._key}", location, self._key):
            try:
                return self._client.get_object(Bucket=location.bucket, Key=location.object_key(self._key), **parameters)
            except ClientError as error:
                if parameters and (exists_already(error) or is_missing(error)):
                    raise self._replaced(str(error)) from error
                if is_missing(error):
                    raise MissingObject(
                        f"there is no {self._key} in {location.url}",
                        remedy="look with `backup-assets list`, or in another store",
                    ) from error
                raise

    def _replaced(self, why: str) -> ReplacedWhileRead:
        return ReplacedWhileRead(
            f"{self._key} in {self._location.url} was replaced or removed while it was read",
            why=why,
            remedy="read it again from its beginning, and find out who changes stored objects",
        )
