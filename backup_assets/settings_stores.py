"""Where are sets copied to?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from backup_assets.settings_model import Model, Name, OursAlone


class ObjectLockSettings(Model):
    """How long nobody may delete an object, by the class of its set; the bucket must have Object Lock."""

    mode: Literal["GOVERNANCE", "COMPLIANCE"] = Field(
        default="GOVERNANCE",
        description="`GOVERNANCE`: a special permission lifts the lock; `COMPLIANCE`: nobody can, not even the owner.",
    )
    daily_days: int = Field(default=14, ge=1, description="Days of a daily set.")
    weekly_days: int = Field(default=56, ge=1, description="Days of the first set of a week.")
    monthly_days: int = Field(default=365, ge=1, description="Days of the first set of a month.")


class StoreSettings(Model):
    """A further store, to which every set is copied: a folder on other media, a bucket, or another host."""

    name: Name
    kind: Literal["folder", "s3", "ssh"] = Field(
        description="`folder`: another disk or a synced directory; `s3`: S3, or a service that speaks like it; `ssh`: "
        "another host, by rsync over SSH."
    )
    directory: Path | None = Field(
        default=None, description="Of a folder, required: it must exist and is never created."
    )
    must_be_mount: bool = Field(
        default=False, description="Of a folder: nothing is copied unless `directory` itself is a mount point."
    )
    bucket: str | None = Field(default=None, description="Of s3, required: the bucket's name alone.")
    prefix: str = Field(default="", description="Of s3: put before every key, such as `backups/erp`.")
    region: str = Field(default="ap-northeast-1", description="Of s3: the bucket's region.")
    endpoint_url: str | None = Field(
        default=None, description="Of s3: address of a service other than AWS, such as `https://host:9000`."
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="Of s3: `path` for services that do not know buckets as host names."
    )
    checksum_mode: Literal["when_supported", "when_required"] = Field(
        default="when_supported",
        description="Of s3: `when_required` for services that reject additional CRC checksums.",
    )
    sse_kms_key_id: str | None = Field(
        default=None, description="Of s3: KMS key (ARN, id or alias) that every object must be encrypted with."
    )
    sse_s3: Literal["AES256"] | None = Field(
        default=None, description="Of s3: encryption with keys of the service; one of the two is required."
    )
    sha256_tag: bool = Field(
        default=False,
        description="Of s3: tag each object with its SHA-256, for a role that may write and not read under KMS.",
    )
    retention_tags: bool = Field(
        default=False,
        description="Of s3: tag each object with the class of its set (`retention` = `daily`, `weekly`, `monthly`), "
        "for lifecycle rules; the role needs s3:PutObjectTagging.",
    )
    object_lock: ObjectLockSettings | None = Field(
        default=None, description="Of s3: how long nobody may delete an object; left out: the bucket's own default."
    )
    part_size_mb: int | None = Field(
        default=None, ge=5, le=5120, description="Of s3: size of the parts of an upload; left out: planned by size."
    )
    max_parts: int = Field(
        default=10_000, ge=1, le=10_000, description="Of s3: parts that the service allows for one object."
    )
    profile: str | None = Field(
        default=None, description="Of s3: AWS profile whose role stores copies; left out: boto3's own order."
    )
    read_profile: str | None = Field(
        default=None, description="Of s3: AWS profile whose role lists and restores; left out: that of `profile`."
    )
    copied_from: Name | None = Field(
        default=None,
        description="Of s3: the store of kind s3 that the copies are taken from, such as one in another region; left "
        "out: from this machine.",
    )
    host: str | None = Field(default=None, description="Of ssh, required: host name or address.")
    port: int = Field(default=22, ge=1, le=65535, description="Of ssh: port of the SSH server.")
    user: str | None = Field(default=None, description="Of ssh: user there; left out: as ssh's configuration says.")
    remote_dir: str | None = Field(
        default=None, description="Of ssh, required: absolute directory there; it must exist and is never created."
    )
    ssh_key: Path | None = Field(
        default=None, description="Of ssh: private key file; left out: as ssh's configuration or agent says."
    )
    known_hosts: Path | None = Field(
        default=None, description="Of ssh: file with the host's key; left out: ssh's own. An unknown host is refused."
    )
    keep_days: int | None = Field(
        default=None, ge=1, description="Of ssh: sets there are pruned after so many days; left out: never."
    )
    off_site: bool | None = Field(
        default=None,
        description="Whether its copies survive the loss of this site; left out: those of s3 and ssh do unless they "
        "are on this machine, those of a folder do not. `true` for a folder that a service carries elsewhere.",
    )
    bandwidth_limit_mb: float | None = Field(
        default=None, gt=0, description="Of s3 and ssh: most megabytes a second that are sent; left out: no limit."
    )
    embedded: Annotated[Path | None, OursAlone()] = Field(
        default=None, description="Home of the demo, whose own S3 server is started when needed."
    )
