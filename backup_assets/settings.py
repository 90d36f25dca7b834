"""The one typed tree of settings: what a backup needs to know, from the environment or from backup.yaml."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from backup_assets.errors import SettingsError
from backup_assets.settings_aws import AwsSettings, RdsSettings
from backup_assets.settings_model import LocalTime, Model, Name, OursAlone

QualifiedTable = Annotated[str, Field(min_length=1)]
CONFIG_FILE_NAME = "backup.yaml"
DEMO_HOME = Path("var/demo")
#: Objectives by tier, in hours, as the users' own policy states them.
RPO_HOURS = {"ordinary": 24.0, "important": 6.0}
RTO_HOURS = {"ordinary": 4.0, "important": 2.0}
#: A proof takes long: one of yesterday is good enough however often backups are taken.
LEAST_VERIFIED_WITHIN_HOURS = 48.0


class ContainerSettings(Model):
    """The container in which the server runs, reached with ``<engine> exec``."""

    name: str = Field(description="Name or id of the container.")
    engine: str = Field(
        default="docker", description="`docker`, `podman`, or the path of a program with the same `exec`."
    )


class ServerSettings(Model):
    """How a PostgreSQL server is reached: TCP, Unix socket (a host beginning with `/`), or inside a container."""

    host: str = Field(default="localhost", description="Host name, address, or directory of the Unix socket.")
    port: int = Field(default=5432, ge=1, le=65535, description="TCP port; also part of the Unix socket's name.")
    user: str = Field(default="postgres", description="A superuser, or a role with BYPASSRLS that may read everything.")
    password: SecretStr | None = Field(
        default=None, description="Left out: libpq's own means apply (a .pgpass file, peer)."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, description="As libpq's `sslmode`; left out: libpq's default."
    )
    sslrootcert: Path | None = Field(
        default=None, description="File of trusted certificates, or `system` for those of the operating system."
    )
    container: ContainerSettings | None = Field(
        default=None, description="The server runs in this container and is reached inside it; not with `host`."
    )
    embedded: Annotated[Path | None, OursAlone()] = Field(
        default=None, description="Home of the demo, whose own server is started when needed."
    )


class ScheduleSettings(Model):
    """When a backup is due: once a day, or every 1, 2, 3, 4, 6, 8 or 12 hours from midnight."""

    every: Literal["day", "12h", "8h", "6h", "4h", "3h", "2h", "1h"] = Field(
        default="day", description="How often a backup is due."
    )
    at: LocalTime = Field(default="02:00", description="Local time of the daily backup; only with `every: day`.")
    timezone: str = Field(default="Asia/Tokyo", description="IANA time zone of the schedule and the slots.")
    since: date | None = Field(
        default=None,
        description="Day (`2026-11-22`) of the first slot that exists; left out: the day of the oldest set in the "
        "local store, else today.",
    )

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a directory such as `Asia`
            close = difflib.get_close_matches(value, sorted(available_timezones()), n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise PydanticCustomError(
                "unknown_zone", "found '{found}', which is no IANA time zone{hint}", {"found": value, "hint": hint}
            ) from error
        return value


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


class VerificationSettings(Model):
    """Where and how deep a set is proven."""

    scratch: ServerSettings | None = Field(
        default=None,
        description="A server for trial restores, when extensions need one. Left out: a throw-away local cluster.",
    )
    jobs: int = Field(default=2, ge=1, le=64, description="Parallel jobs of a trial restore.")
    timeout_hours: float = Field(default=12.0, gt=0, description="A trial restore that takes longer is ended.")
    every_days: int = Field(
        default=30, ge=1, le=3650, description="Days within which every copy of a set in every store is verified again."
    )
    nightly_limit: int = Field(
        default=3, ge=0, le=10000, description="Most copies that are verified again in one night; 0: none ever."
    )
    at: LocalTime = Field(
        default="03:30", description="Local time at which older sets are verified again, in the zone of the schedule."
    )


class RetentionSettings(Model):
    """How many sets are kept in the local store and in folders; of each day, week and month the newest verified one."""

    daily: int = Field(default=14, ge=1, le=36500, description="Days that keep a set, the newest ones.")
    weekly: int = Field(default=8, ge=0, le=36500, description="ISO weeks that keep a set.")
    monthly: int = Field(default=12, ge=0, le=36500, description="Months that keep a set.")
    all_for_days: float = Field(default=2.0, ge=0, le=36500, description="Days for which every set is kept.")
    grace_hours: float = Field(
        default=24.0,
        gt=0,
        le=876000,
        description="Hours that sets may wait for their verification; after that nothing is deleted until one passes.",
    )
    damaged_days: float = Field(
        default=7.0, ge=0, le=36500, description="Least days for which an incomplete or failed set is kept."
    )
    largest_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Nothing is deleted when more than this share of all sets would go, and more than three.",
    )
    apply: bool = Field(
        default=True, description="Whether the daily retention deletes what may go; `false`: it only shows the plan."
    )
    at: LocalTime = Field(
        default="06:30", description="Local time of the daily retention, in the zone of the schedule."
    )


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


class ObjectivesSettings(Model):
    """What was promised: how much may be lost, and how long a restore may take."""

    rpo_hours: float | None = Field(
        default=None, gt=0, description="Recovery point objective; left out: 24 for `ordinary`, 6 for `important`."
    )
    rto_hours: float | None = Field(
        default=None, gt=0, description="Recovery time objective; left out: 4 for `ordinary`, 2 for `important`."
    )
    verified_within_hours: float | None = Field(
        default=None,
        gt=0,
        description="Greatest age of the newest set that is proven by a restore; left out: twice the RPO, at least 48.",
    )


class HttpCheck(Model):
    """One request to the application that runs on the restored database."""

    url: str = Field(description="Address, such as `http://127.0.0.1:8080/health`.")
    status: int = Field(default=200, ge=100, le=599, description="Status that the answer must have.")
    contains: str | None = Field(default=None, description="Text that the answer must contain.")
    timeout_seconds: float = Field(default=60.0, gt=0, description="How long the check is tried again before it fails.")


class DrillSettings(Model):
    """The monthly rehearsal: the newest set from off-site, restored into a separate environment and tried."""

    store: Name | None = Field(default=None, description="Store that the set is fetched from; left out: the farthest.")
    server: ServerSettings | None = Field(
        default=None, description="Server restored on, never the source. Left out: a throw-away local cluster."
    )
    start_command: tuple[str, ...] = Field(
        default=(),
        description="Program with its arguments that runs the application on the restored database while it is "
        "checked. It finds PGHOST, PGPORT, PGUSER, PGDATABASE and BACKUP_DRILL_ATTACHMENTS in its environment.",
    )
    http_checks: tuple[HttpCheck, ...] = Field(default=(), description="Requests that must be answered as expected.")
    command: tuple[str, ...] = Field(
        default=(), description="Program with its arguments that must end with status 0; same environment."
    )
    day_of_month: int = Field(default=1, ge=1, le=28, description="Day of the month that the drill is due.")
    at: LocalTime = Field(default="05:00", description="Local time of the drill, in the zone of the schedule.")


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


class EncryptionSettings(Model):
    """To whom every set is encrypted before it leaves this host, and how a set is decrypted where that is allowed."""

    cipher: Literal["gpg", "age"] = Field(default="gpg", description="`gpg` (OpenPGP) or `age`.")
    recipients: tuple[str, ...] = Field(
        default=(),
        description="Public keys, each of which can read every set: full fingerprints (gpg) or `age1…`. None: nothing "
        "is encrypted here, the other fields serve to restore.",
    )
    keep_plain: bool = Field(
        default=False, description="Keep the local plain files after a set is verified and encrypted."
    )
    gpg_homedir: Path | None = Field(default=None, description="Keyring; left out: gpg's own.")
    gpg_program: str = Field(default="gpg", description="Program.")
    gpg_passphrase_file: Path | None = Field(
        default=None, description="File with the passphrase of the private key; left out: gpg-agent asks."
    )
    age_identity_file: Path | None = Field(default=None, description="File with the private key, to restore.")
    age_program: str = Field(default="age", description="Program.")

    @property
    def encrypts(self) -> bool:
        """Whether sets are encrypted here."""
        return bool(self.recipients)


class WatchSettings(Model):
    """How the watch looks, and whom it tells."""

    channels: tuple[SecretStr, ...] = Field(
        default=(),
        description="Whom to tell: addresses as the library Apprise takes them (`mailto://…`, `slack://…`, "
        "`jsons://…`), one or several with commas between; each is a secret.",
    )
    heartbeat: SecretStr | None = Field(
        default=None,
        description="Address that is requested after every look that went well, so that somebody outside notices when "
        "none does.",
    )
    reminder_hours: float = Field(
        default=24.0, gt=0, le=8760, description="Hours after which what still holds is told again."
    )
    interval_minutes: float = Field(default=5.0, gt=0, le=15, description="Minutes between two looks.")
    ui_url: str | None = Field(
        default=None, description="Address of the Dagster UI, such as `https://dagster.example`, for links in alerts."
    )
    language: Literal["en", "ja"] = Field(
        default="en", description="Language of the monthly report and, unless `alert_language` is set, of alerts."
    )
    alert_language: Literal["en", "ja"] | None = Field(
        default=None, description="Language of alerts, where it is another one: `en` or `ja`."
    )


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


def demo_settings(backup_dir: Path, home: Path | None = None) -> Settings:
    """Return the settings of the embedded demo, whose sets go to ``backup_dir``.

    ``home`` holds the demo's own servers and attachments; left out it is ``BACKUP_DEMO_HOME``, else ``var/demo``.
    Nothing is created here.
    """
    place = home or Path(os.environ.get("BACKUP_DEMO_HOME") or DEMO_HOME)
    erp4 = DatabaseSettings(
        name="erp4",
        database="erp4",
        server=ServerSettings(embedded=place),
        important_tables=("invoices", "invoice_lines", "journal_entries"),
        schema_version_query="SELECT version FROM schema_migrations ORDER BY applied_at DESC LIMIT 1",
        integrity_sql=Path(__file__).parent / "demo" / "integrity.sql",
        attachments=AttachmentsSettings(
            directory=place / "attachments", files=(FileColumn(table="invoices", column="pdf_path"),)
        ),
        dump=DumpSettings(content_hashes="always"),
    )
    # Two buckets of the demo's own S3 server stand for two regions.
    bucket = {"kind": "s3", "addressing_style": "path", "sse_s3": "AES256", "embedded": place}
    tokyo = StoreSettings(name="tokyo", bucket="erp4-tokyo", region="ap-northeast-1", **bucket)
    osaka = StoreSettings(name="osaka", bucket="erp4-osaka", region="ap-northeast-3", copied_from="tokyo", **bucket)
    return Settings(backup_dir=backup_dir, databases=(erp4,), stores=(tokyo, osaka), is_demo=True)


def load_settings(environment: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Return what is configured: a file, else one database by variables, else the demo.

    The file is the one that ``BACKUP_CONFIG`` names, else ``backup.yaml`` in ``directory`` (left out: the current
    one). ``environment`` left out means this process's. All paths in the result are absolute; those given relative
    count from the file's directory, or from ``directory`` when a variable gave them. Raises SettingsError naming
    every mistake at once, when a file and variables would both configure a database, and when variables show that the
    demo is not what is meant.
    """
    # Imported here because both build on the models above.
    from backup_assets import settings_env, settings_file, settings_misspelled

    variables = dict(os.environ if environment is None else environment)
    base = (directory or Path.cwd()).absolute()
    given = settings_env.values_set(variables)
    path = base / Path(given.get("BACKUP_CONFIG", CONFIG_FILE_NAME)).expanduser()
    # A container says with /dev/null in its place that there is no file; a directory there is a mistake.
    if "BACKUP_CONFIG" in given or (path.exists() and not path.is_char_device()):
        return settings_file.read_settings_file(path, variables, base)
    settings_misspelled.refuse_misspelled(variables)
    if settings_env.names_a_database(given):
        return settings_env.settings_from_variables(variables, base)
    stray = settings_env.database_variables(given)
    if stray:
        raise SettingsError(
            f"{', '.join(stray)} would configure a database, but no variable names one",
            why="without DB_NAME, DB_HOST or DB_CONTAINER only the embedded demo would be backed up",
            remedy=f"set DB_NAME, write a {CONFIG_FILE_NAME}, or unset {', '.join(stray)} to run the demo",
        )
    telling = settings_env.telling_variables(given)
    # Started in another directory by mistake, the schedules and the watch would be off, and nobody would be told.
    if telling and "BACKUP_DEMO_HOME" not in given:
        raise SettingsError(
            f"somebody is to be told ({', '.join(telling)}), but no database is configured",
            why=f"there is no {CONFIG_FILE_NAME} in {base}, and without DB_NAME, DB_HOST or DB_CONTAINER only the "
            "embedded demo would be backed up",
            remedy=f"start in the directory of {CONFIG_FILE_NAME}, name it in BACKUP_CONFIG, or set DB_NAME; to try "
            f"alerts with the demo, set BACKUP_DEMO_HOME={DEMO_HOME}",
        )
    common = settings_env.common_settings(variables, base)
    home = base / Path(given.get("BACKUP_DEMO_HOME", DEMO_HOME)).expanduser()
    demo = demo_settings(common.backup_dir or base / ".backups", home)
    more = settings_env.stores_and_encryption(variables, base)
    return demo.model_copy(
        update={
            "env": common.env or demo.env,
            "client_bin_dir": common.client_bin_dir or demo.client_bin_dir,
            "stores": (*demo.stores, *more.stores),
            "encryption": more.encryption,
            "watch": more.watch,
        }
    )
