"""The one typed tree of settings: what a backup needs to know, from the environment or from backup.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from backup_assets.settings_aws import AwsSettings, RdsSettings
from backup_assets.settings_capture import AttachmentsSettings, DumpSettings, QualifiedTable, SecretsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_model import Model, Name, OursAlone
from backup_assets.settings_restore import DrillSettings, VerificationSettings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_watch import (
    LEAST_VERIFIED_WITHIN_HOURS,
    RPO_HOURS,
    RTO_HOURS,
    ObjectivesSettings,
    WatchSettings,
)


class DatabaseSettings(Model):
    """One database that is backed up; ``name`` is the key prefix of its assets and of its stored sets."""

    name: Name
    database: str = Field(description="Name of the database on its server.")
    server: ServerSettings = Field(default=ServerSettings(), description="Where the database is.")
    tier: Literal["important", "ordinary"] = Field(
        default="ordinary", description="Which objectives for data loss and recovery time apply."
    )
    schedule: ScheduleSettings = Field(default=ScheduleSettings(), description="When backups are due.")
    important_tables: tuple[QualifiedTable, ...] = Field(
        default=(), description="Tables (`table` or `schema.table`) that are also backed up on their own every week."
    )
    schema_version_query: str | None = Field(default=None, description="A query whose one value is the schema version.")
    integrity_sql: Path | None = Field(
        default=None, description="File of named queries compared before and after a restore."
    )
    attachments: AttachmentsSettings | None = Field(
        default=None, description="The folder of PDFs archived with the database; left out: none."
    )
    dump: DumpSettings = Field(default=DumpSettings(), description="How the dump is made.")
    verification: VerificationSettings = Field(
        default=VerificationSettings(), description="How sets are proven by a trial restore."
    )
    secrets: SecretsSettings | None = Field(
        default=None, description="Environment settings captured with every set, encrypted; left out: none."
    )
    retention: RetentionSettings = Field(default=RetentionSettings(), description="How many sets are kept.")
    objectives: ObjectivesSettings = Field(default=ObjectivesSettings(), description="What was promised.")
    drill: DrillSettings = Field(default=DrillSettings(), description="The monthly rehearsal of a restore.")
    rds: RdsSettings | None = Field(
        default=None, description="The RDS instance or Aurora cluster that runs it; left out: it is not on RDS."
    )
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = Field(
        default=None, description="First part of the path in every store; left out: the name."
    )

    @property
    def rpo_hours(self) -> float:
        """Hours of work that may be lost."""
        return self.objectives.rpo_hours or RPO_HOURS[self.tier]

    @property
    def rto_hours(self) -> float:
        """Hours that a restore may take."""
        return self.objectives.rto_hours or RTO_HOURS[self.tier]

    @property
    def verified_within_hours(self) -> float:
        """Hours that the newest proven set may be old."""
        return self.objectives.verified_within_hours or max(2 * self.rpo_hours, LEAST_VERIFIED_WITHIN_HOURS)

    @property
    def store_prefix(self) -> str:
        """First folder of this database's sets in every store."""
        return self.prefix or self.name


class Settings(Model):
    """Everything that was configured."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        default="local", description="Environment, for example `production`: part of every stored path."
    )
    backup_dir: Path = Field(default=Path(".backups"), description="The local store; outside git.")
    client_bin_dir: Path | None = Field(
        default=None, description="Directory of pg_dump, pg_restore, psql; searched first."
    )
    databases: tuple[DatabaseSettings, ...] = Field(min_length=1, description="The databases, by name.")
    stores: tuple[StoreSettings, ...] = Field(
        default=(), description="Further stores, by name, to which every set is copied; `local` is the first store."
    )
    encryption: EncryptionSettings = Field(
        default=EncryptionSettings(), description="To whom sets are encrypted before they leave this host."
    )
    watch: WatchSettings = Field(default=WatchSettings(), description="How the watch looks, and whom it tells.")
    aws: AwsSettings = Field(default=AwsSettings(), description="AWS itself: RDS, AWS Backup and what is around them.")
    is_demo: Annotated[bool, OursAlone()] = Field(default=False, exclude=True)

    def database(self, name: str) -> DatabaseSettings:
        """Return the database of that name; raises KeyError when none is configured."""
        for database in self.databases:
            if database.name == name:
                return database
        raise KeyError(name)
