"""Which bucket is meant, how is it reached, and what must every object in it have?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit
from weakref import WeakKeyDictionary

from backup_assets.errors import Refused, SettingsError
from backup_assets.sets.retention_class import RetentionClass
from backup_assets.stores.s3_source import PartBody

# boto3 costs a third of a second: who only says where a bucket is, as Dagster's pages do, does not pay it.
if TYPE_CHECKING:
    import boto3
    from botocore.client import BaseClient
    from botocore.loaders import Loader

MIB = 1 << 20
#: Limits of S3 itself: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
SMALLEST_PART_BYTES = 5 * MIB
LARGEST_PART_BYTES = 5 << 30
#: Of an upload, unless its size demands larger ones.
PART_BYTES = 16 * MIB
CONNECT_SECONDS = 10
READ_SECONDS = 60
RETENTION_TAG = "retention"
#: By their clients, which end with them.
_sessions: WeakKeyDictionary[Any, boto3.Session] = WeakKeyDictionary()
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Credentials:
    """A key pair given directly; without one, boto3's own chain (environment, profile, role) is asked."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ObjectLock:
    """No one may delete or replace an object before ``days`` have passed (COMPLIANCE: not even the owner).

    ``weekly_days`` and ``monthly_days`` are for the objects of sets of these classes; left out: ``days``.
    """

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int
    weekly_days: int | None = None
    monthly_days: int | None = None

    def days_of(self, retention: RetentionClass | None) -> int:
        """Return the days for a class; an object of no known class has those of a daily one."""
        named = {"weekly": self.weekly_days, "monthly": self.monthly_days}
        return named.get(retention or "daily") or self.days

    def until(self, now: datetime, retention: RetentionClass | None = None) -> datetime:
        """Return the moment (UTC) that an object stored at ``now`` is locked until."""
        return now.astimezone(UTC) + timedelta(days=self.days_of(retention))


@dataclass(frozen=True)
class S3Location:
    """A bucket, or a part of one, and what is demanded of it.

    Exactly one of ``kms_key_id`` (SSE-KMS; a key ARN, a key id or an alias) and ``sse_s3`` (SSE-S3, AES256) is
    required; ``allow_unencrypted`` lifts that, for test servers. Of an alias no answer tells which key it stands for,
    so that then any KMS key is accepted: name the key itself to have it verified. ``prefix`` is put before every key.
    ``checksum_mode`` concerns botocore's own CRC checksums, which some providers reject; the SHA-256 of every part is
    always sent. ``max_parts`` is 10,000, with some providers 1,000. ``bandwidth_limit_bytes_per_second`` is for
    uploads. ``sha256_tag`` tags each object with its SHA-256, by which a role that may not read can recognise what it
    stored before (it needs s3:PutObjectTagging and s3:GetObjectTagging). ``retention`` is the class of what is stored
    through this location: it decides how long ``object_lock`` lasts and, with ``retention_tags``, goes onto every
    object as the tag ``retention``, which lifecycle rules read.

    Raises SettingsError for values that contradict each other, Refused when no encryption is demanded.
    """

    bucket: str
    region: str
    prefix: str = ""
    endpoint_url: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    checksum_mode: Literal["when_supported", "when_required"] = "when_supported"
    kms_key_id: str | None = None
    sse_s3: bool = False
    allow_unencrypted: bool = False
    object_lock: ObjectLock | None = None
    tags: tuple[tuple[str, str], ...] = ()
    sha256_tag: bool = False
    retention_tags: bool = False
    retention: RetentionClass | None = None
    bandwidth_limit_bytes_per_second: int | None = None
    part_bytes: int = PART_BYTES
    max_parts: int = 10_000
    parallel_parts: int = 3
    attempts: int = 5
    profile: str | None = None
    credentials: Credentials | None = None

    def __post_init__(self) -> None:
        self._require_usable_address()
        self._require_sound_limits()
        if self.kms_key_id and self.sse_s3:
            raise SettingsError(
                "SSE_KMS_KEY_ID and SSE_S3 are both set", remedy="keep the one that the bucket is meant to use"
            )
        if not (self.kms_key_id or self.sse_s3 or self.allow_unencrypted):
            raise Refused(
                f"no encryption is configured for the bucket {self.bucket}",
                why="neither SSE_KMS_KEY_ID nor SSE_S3 is set, and backups are never stored without it",
                remedy="set SSE_KMS_KEY_ID to the key's ARN, or SSE_S3=AES256",
            )

    def _require_usable_address(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise SettingsError(
                f"{self.bucket!r} is not the name of a bucket",
                remedy="give the name alone: 3 to 63 small letters, digits, dots and hyphens, without s3:// or a path",
            )
        if self.prefix.startswith("/") or self.prefix.endswith("/") or "//" in self.prefix:
            raise SettingsError(f"the S3 prefix {self.prefix!r} has an empty part", remedy="write it as part/part")
        if self.endpoint_url is None:
            return
        url = urlsplit(self.endpoint_url)
        if url.username or url.password or url.query:
            raise SettingsError(
                "S3_ENDPOINT_URL contains credentials or a query",
                remedy="give the address alone; credentials belong in the environment or a profile",
            )
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise SettingsError(
                f"S3_ENDPOINT_URL is no address: {self.endpoint_url!r}", remedy="write it as https://host:port"
            )

    def _require_sound_limits(self) -> None:
        limits = (
            ("part size", self.part_bytes, SMALLEST_PART_BYTES, LARGEST_PART_BYTES),
            ("number of parts", self.max_parts, 1, 10_000),
            ("number of parallel parts", self.parallel_parts, 1, 64),
            ("number of attempts", self.attempts, 1, 20),
            ("bandwidth limit", self.bandwidth_limit_bytes_per_second or 1, 1, 1 << 40),
            *(("lock in days", days, 1, 36_500) for days in self._lock_days()),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise SettingsError(f"the {name} of S3 is {value}", remedy=f"choose from {least} to {most}")
        if len(self.tags) + self.sha256_tag + self.retention_tags > 10:
            raise SettingsError("S3 allows ten tags on an object", remedy="configure fewer")

    def _lock_days(self) -> tuple[int, ...]:
        lock = self.object_lock
        return (lock.days, lock.days_of("weekly"), lock.days_of("monthly")) if lock else ()

    @property
    def url(self) -> str:
        """The place as ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    def describe(self) -> str:
        """Return where it is, for a person."""
        return f"{self.url} ({self.region}{f' at {self.endpoint_url}' if self.endpoint_url else ''})"

    def object_key(self, key: str) -> str:
        """Return the full key in the bucket of a store's key."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def planned_part_bytes(self, size: int) -> int:
        """Return the part size for an object of ``size`` bytes, a whole number of MiB; raises Refused over 5 TiB."""
        needed = -(-size // self.max_parts)
        planned = max(self.part_bytes, -(-needed // MIB) * MIB)
        if planned > LARGEST_PART_BYTES or size > 5 << 40:
            raise Refused(f"{size} bytes are too many for one S3 object", remedy="split the database or its archive")
        return planned

    def encryption(self) -> dict[str, str]:
        """Return the request parameters that demand the configured encryption."""
        if self.kms_key_id:
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key_id}
        return {"ServerSideEncryption": "AES256"} if self.sse_s3 else {}

    def encrypted_as_required(self, answer: dict[str, Any]) -> bool | None:
        """Tell whether an answer shows the required encryption and key; None when it says nothing of either."""
        found = answer.get("ServerSideEncryption")
        if not (self.kms_key_id or self.sse_s3):
            return True
        if found is None:
            return None
        if self.sse_s3:
            return found == "AES256"
        return found == "aws:kms" and self._is_our_key(answer.get("SSEKMSKeyId"))

    def _is_our_key(self, found: str | None) -> bool:
        wanted = self.kms_key_id or ""
        if "alias/" in wanted:
            return bool(found)
        return found == wanted or bool(found and found.endswith(f":key/{wanted}"))

    def object_parameters(self, sha256: str, metadata: dict[str, str], now: datetime) -> dict[str, Any]:
        """Return what a new object is created with: encryption, metadata, tags and lock."""
        metadata = {**metadata, "sha256": sha256}
        parameters: dict[str, Any] = {**self.encryption(), "Metadata": metadata}
        tags = [*self.tags]
        if self.sha256_tag:
            tags.append(("sha256", sha256))
        if self.retention_tags and self.retention:
            tags.append((RETENTION_TAG, self.retention))
        if tags:
            parameters["Tagging"] = urlencode(tags)
        if self.object_lock:
            parameters["ObjectLockMode"] = self.object_lock.mode
            parameters["ObjectLockRetainUntilDate"] = self.object_lock.until(now, self.retention)
        return parameters


@lru_cache(maxsize=32)
def client_of(location: S3Location) -> Any:
    """Return the client of a location, one for all threads; raises SettingsError for an unknown profile."""
    from botocore.exceptions import ProfileNotFound

    try:
        session = _new_session(location)
        client: BaseClient = _new_client(session, location)
    except ProfileNotFound as error:
        raise SettingsError(
            f"there is no AWS profile {location.profile}",
            why=str(error),
            remedy="correct AWS_PROFILE, or add the profile to the AWS configuration file",
        ) from error
    _sessions[client] = session
    # Signing reads the body too: only what is read after it goes out, and counts against the bandwidth.
    client.meta.events.register_first("request-created.s3", _not_sending)
    client.meta.events.register_last("request-created.s3", _sending)
    return client


def session_of(location: S3Location) -> boto3.Session:
    """Return what gives a location's client its credentials; raises as :func:`client_of` does."""
    return _sessions[client_of(location)]


def _new_session(location: S3Location) -> boto3.Session:
    import boto3
    from botocore.session import get_session

    keys = location.credentials
    inner = get_session()
    inner.register_component("data_loader", _descriptions())
    inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.Session(
        botocore_session=inner,
        profile_name=location.profile,
        region_name=location.region,
        aws_access_key_id=keys.access_key_id if keys else None,
        aws_secret_access_key=keys.secret_access_key if keys else None,
        aws_session_token=keys.session_token if keys else None,
    )


def _new_client(session: boto3.Session, location: S3Location) -> Any:
    from botocore.config import Config

    return session.client(
        "s3",
        endpoint_url=location.endpoint_url,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": location.attempts},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=max(10, 4 * location.parallel_parts),
            s3={"addressing_style": location.addressing_style},
            request_checksum_calculation=location.checksum_mode,
            response_checksum_validation=location.checksum_mode,
        ),
    )


def _moment(value: Any) -> datetime:
    """Return a time of an answer; botocore's own way takes half a millisecond, for each object that is listed."""
    if isinstance(value, str) and value[10:11] == "T" and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    from botocore.utils import parse_timestamp

    return parse_timestamp(value)


@lru_cache(maxsize=1)
def _descriptions() -> Loader:
    """Return what reads the descriptions of services, which it remembers: a second client then costs a tenth."""
    from botocore.loaders import create_loader

    return create_loader()


def _not_sending(request: Any, **_: object) -> None:
    if isinstance(request.body, PartBody):
        request.body.sending = False


def _sending(request: Any, **_: object) -> None:
    if isinstance(request.body, PartBody):
        request.body.sending = True
