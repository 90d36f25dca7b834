"""The one typed tree of settings: what a backup needs to know, from the environment or from backup.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
QualifiedTable = Annotated[str, Field(min_length=1)]


class Model(BaseModel):
    """Base of every part: immutable, and unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ContainerSettings(Model):
    """The container in which the server runs, reached with ``<engine> exec``."""

    name: str = Field(description="Name or id of the container.")
    engine: str = Field(
        default="docker", description="`docker`, `podman`, or the path of a program with the same `exec`."
    )


class ServerSettings(Model):
    """How a PostgreSQL server is reached: TCP, Unix socket (a host beginning with `/`), or inside a container."""

    host: str = Field(default="localhost", description="Host name, address, or directory of the Unix socket.")
    port: int = Field(default=5432, ge=1, le=65535)
    user: str = Field(default="postgres", description="A superuser, or a role with BYPASSRLS that may read everything.")
    password: SecretStr | None = Field(
        default=None, description="Left out: libpq's own means apply (a .pgpass file, peer)."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    sslrootcert: Path | None = None
    container: ContainerSettings | None = None
    embedded: bool = Field(default=False, description="The demo's own server, started when needed.")


class ScheduleSettings(Model):
    """When a backup is due: once a day, or every 1, 2, 3, 4, 6, 8 or 12 hours from midnight."""

    every: Literal["day", "12h", "8h", "6h", "4h", "3h", "2h", "1h"] = "day"
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        default="02:00", description="Local time of the daily backup; only with `every: day`."
    )
    timezone: str = Field(default="Asia/Tokyo", description="IANA time zone of the schedule and the slots.")


class FileColumn(Model):
    """A column whose values name attachment files, relative to the attachments directory."""

    table: QualifiedTable = Field(description="Table, with its schema unless that is `public`.")
    column: str
    strip_prefix: str = Field(
        default="", description="Leading text of the values that is not part of the relative path."
    )


class AttachmentsSettings(Model):
    """The folder of PDFs that belongs to the database."""

    directory: Path
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
    zstd_level: int = Field(default=1, ge=1, le=19)
    content_hashes: Literal["always", "important", "never"] = Field(
        default="always",
        description="Which tables' contents are hashed in the dump's snapshot and compared after a restore.",
    )
    timeout_hours: float = Field(default=12.0, gt=0)


class VerificationSettings(Model):
    """Where and how deep a set is proven."""

    scratch: ServerSettings | None = Field(
        default=None,
        description="A server for trial restores, when extensions need one. Left out: a throw-away local cluster.",
    )
    jobs: int = Field(default=2, ge=1, le=64)
    timeout_hours: float = Field(default=12.0, gt=0)


class DatabaseSettings(Model):
    """One database that is backed up; ``name`` is the key prefix of its assets and of its stored sets."""

    name: Name
    database: str = Field(description="Name of the database on its server.")
    server: ServerSettings = ServerSettings()
    tier: Literal["important", "ordinary"] = "ordinary"
    schedule: ScheduleSettings = ScheduleSettings()
    important_tables: tuple[QualifiedTable, ...] = ()
    schema_version_query: str | None = Field(default=None, description="A query whose one value is the schema version.")
    integrity_sql: Path | None = Field(
        default=None, description="File of named queries compared before and after a restore."
    )
    attachments: AttachmentsSettings | None = None
    dump: DumpSettings = DumpSettings()
    verification: VerificationSettings = VerificationSettings()
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = Field(
        default=None, description="First part of the path in every store; left out: the name."
    )

    @property
    def store_prefix(self) -> str:
        """First folder of this database's sets in every store."""
        return self.prefix or self.name


class Settings(Model):
    """Everything that was configured."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = "local"
    backup_dir: Path = Path(".backups")
    client_bin_dir: Path | None = Field(
        default=None, description="Directory of pg_dump, pg_restore, psql; searched first."
    )
    databases: tuple[DatabaseSettings, ...] = Field(min_length=1)
    is_demo: bool = Field(default=False, exclude=True)

    def database(self, name: str) -> DatabaseSettings:
        """Return the database of that name; raises KeyError when none is configured."""
        for database in self.databases:
            if database.name == name:
                return database
        raise KeyError(name)
