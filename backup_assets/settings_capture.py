"""What is captured of a database, and how?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from backup_assets.settings_model import Model

QualifiedTable = Annotated[str, Field(min_length=1)]


class FileColumn(Model):
    """A column whose values name attachment files, relative to the attachments directory."""

    table: QualifiedTable = Field(description="Table, with its schema unless that is `public`.")
    column: str = Field(description="Column of text.")
    strip_prefix: str = Field(
        default="", description="Leading text of the values that is not part of the relative path."
    )


class AttachmentsSettings(Model):
    """The folder of PDFs that belongs to the database."""

    directory: Path = Field(description="The folder; it must exist.")
    full_every_days: int = Field(
        default=7, ge=1, description="Age in days of a full archive after which a new one is made."
    )
    files: tuple[FileColumn, ...] = Field(
        default=(), description="Columns compared with the files that are really there."
    )


class DumpSettings(Model):
    """How the dump is made."""

    jobs: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Set: always a directory-format dump with this many jobs. Left out: by size.",
    )
    parallel_above_gb: float = Field(
        default=20.0, gt=0, description="Databases larger than this are dumped in directory format with all cores."
    )
    zstd_level: int = Field(default=1, ge=1, le=19, description="Compression: 1 is fastest.")
    content_hashes: Literal["always", "important", "never"] = Field(
        default="always",
        description="Which tables' contents are hashed in the dump's snapshot and compared after a restore.",
    )
    timeout_hours: float = Field(default=12.0, gt=0, description="A dump that takes longer is ended.")


class SecretsSettings(Model):
    """Environment settings and secrets that are captured with every set: never without encryption."""

    files: tuple[Path, ...] = Field(default=(), description="Files such as `.env`, each stored under its base name.")
    secrets_manager: tuple[str, ...] = Field(default=(), description="Names or ARNs of secrets in AWS Secrets Manager.")
    ssm_parameters: tuple[str, ...] = Field(
        default=(), description="Names of parameters in the AWS Systems Manager parameter store."
    )
    region: str = Field(default="ap-northeast-1", description="Region of the secrets and parameters.")
    profile: str | None = Field(
        default=None, description="AWS profile that may read them; left out: boto3's own order."
    )
    endpoint_url: str | None = Field(default=None, description="Address of a service other than AWS.")
