"""Which environment variables exist, and what does each set?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _text(value: str) -> object:
    return value


def _list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _boolean(value: str) -> object:
    meant = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    return meant.get(value.casefold(), value)  # what is neither is refused by the models


def file_columns(value: str) -> list[dict[str, str]]:
    """Return the columns that ``value`` names, each with its table."""
    # Without a dot the table stays empty, which the models refuse.
    return [dict(zip(("table", "column"), part.rpartition(".")[::2], strict=True)) for part in _list(value)]


def _http_checks(value: str) -> list[dict[str, str]]:
    return [{"url": url} for url in _list(value)]


@dataclass(frozen=True)
class Variable:
    """One environment variable; ``field`` is the path it sets: `databases.*.` begins what belongs to the database."""

    name: str
    field: str
    description: str
    convert: Callable[[str], object] = _text
    secret: bool = False

    @property
    def of_database(self) -> bool:
        """Whether it sets something of the one database, and not of everything."""
        return self.field.startswith("databases.")

    @property
    def of_store(self) -> str | None:
        """The store (a key of `STORES` in settings_env.py) that it sets something of, or None."""
        parts = self.field.split(".")
        return parts[1] if parts[0] == "stores" else None

    @property
    def of_encryption(self) -> bool:
        """Whether it says to whom or how sets are encrypted."""
        return self.field.startswith("encryption.")

    @property
    def of_watch(self) -> bool:
        """Whether it says how the watch looks, or whom it tells."""
        return self.field.startswith("watch.")


VARIABLES = (
    Variable("BACKUP_CONFIG", "", "YAML file to read instead of `backup.yaml` in the current directory."),
    Variable("APP_ENV", "env", "Environment, for example `production`."),
    Variable("BACKUP_DIR", "backup_dir", "The local store; `.backups` unless set."),
    Variable("PG_BIN_DIR", "client_bin_dir", "Directory of pg_dump, pg_restore and psql."),
    Variable("DB_NAME", "databases.*.database", "Name of the database on its server; required with the others."),
    Variable("DB_HOST", "databases.*.server.host", "Host, address, or directory of the Unix socket."),
    Variable("DB_PORT", "databases.*.server.port", "TCP port."),
    Variable("DB_USER", "databases.*.server.user", "A superuser, or a role with BYPASSRLS that may read everything."),
    Variable(
        "DB_PASSWORD", "databases.*.server.password", "Password; unset: a .pgpass file or peer applies.", secret=True
    ),
    Variable("DB_SSLMODE", "databases.*.server.sslmode", "As libpq's `sslmode`."),
    Variable("DB_SSLROOTCERT", "databases.*.server.sslrootcert", "File of trusted certificates, or `system`."),
    Variable("DB_CONTAINER", "databases.*.server.container.name", "Container of the server; not with DB_HOST."),
    Variable("DB_CONTAINER_ENGINE", "databases.*.server.container.engine", "`docker` or `podman`."),
    Variable(
        "PDF_PROVIDER",
        "",
        "`local`: ASSET_DIR is archived. Anything else: attachments are elsewhere, none are archived.",
    ),
    Variable("ASSET_DIR", "databases.*.attachments.directory", "The folder of PDFs and attachments."),
    Variable(
        "ASSET_FILE_COLUMN",
        "databases.*.attachments.files",
        "Columns that name files in ASSET_DIR: `table.column` or `schema.table.column`, with commas between.",
        file_columns,
    ),
    Variable("BACKUP_PREFIX", "databases.*.prefix", "First part of every stored path, and the database's name here."),
    Variable("BACKUP_TIER", "databases.*.tier", "`important` or `ordinary`."),
    Variable("BACKUP_SCHEDULE", "databases.*.schedule.every", "`day`, `12h`, `8h`, `6h`, `4h`, `3h`, `2h` or `1h`."),
    Variable("BACKUP_TIME", "databases.*.schedule.at", "Local time of the daily backup, such as `02:00`."),
    Variable("BACKUP_TIMEZONE", "databases.*.schedule.timezone", "IANA time zone, such as `Asia/Tokyo`."),
    Variable(
        "IMPORTANT_TABLES",
        "databases.*.important_tables",
        "Tables also backed up on their own every week, with commas between.",
        _list,
    ),
    Variable(
        "SCHEMA_VERSION_QUERY", "databases.*.schema_version_query", "Query whose one value is the schema version."
    ),
    Variable(
        "INTEGRITY_SQL", "databases.*.integrity_sql", "File of named queries compared before and after a restore."
    ),
    Variable("CONTENT_HASHES", "databases.*.dump.content_hashes", "`always`, `important` or `never`."),
    Variable("DUMP_JOBS", "databases.*.dump.jobs", "Jobs of a directory-format dump; unset: by size."),
    Variable(
        "SCRATCH_HOST",
        "databases.*.verification.scratch.host",
        "Server for trial restores, where a throw-away local cluster will not do.",
    ),
    Variable("SCRATCH_PORT", "databases.*.verification.scratch.port", "Its TCP port."),
    Variable("SCRATCH_USER", "databases.*.verification.scratch.user", "A superuser there."),
    Variable("SCRATCH_PASSWORD", "databases.*.verification.scratch.password", "Its password.", secret=True),
    Variable(
        "SECRET_FILES",
        "databases.*.secrets.files",
        "Files such as `.env` to capture, encrypted; commas between.",
        _list,
    ),
    Variable(
        "SECRETS_MANAGER_NAMES",
        "databases.*.secrets.secrets_manager",
        "Secrets of AWS Secrets Manager to capture, encrypted; commas between.",
        _list,
    ),
    Variable(
        "SSM_PARAMETER_NAMES",
        "databases.*.secrets.ssm_parameters",
        "Parameters of AWS Systems Manager to capture, encrypted; commas between.",
        _list,
    ),
    Variable("RPO_HOURS", "databases.*.objectives.rpo_hours", "Recovery point objective; by tier unless set."),
    Variable("RTO_HOURS", "databases.*.objectives.rto_hours", "Recovery time objective; by tier unless set."),
    Variable(
        "VERIFIED_WITHIN_HOURS",
        "databases.*.objectives.verified_within_hours",
        "Greatest age of the newest proven set; twice the RPO and at least 48 unless set.",
    ),
    Variable("RETENTION_DAILY", "databases.*.retention.daily", "Days that keep a set; 14 unless set."),
    Variable("RETENTION_WEEKLY", "databases.*.retention.weekly", "Weeks that keep a set; 8 unless set."),
    Variable("RETENTION_MONTHLY", "databases.*.retention.monthly", "Months that keep a set; 12 unless set."),
    Variable(
        "RETENTION_APPLY",
        "databases.*.retention.apply",
        "`false`: the daily retention deletes nothing and only shows its plan.",
        _boolean,
    ),
    Variable(
        "VERIFY_EVERY_DAYS",
        "databases.*.verification.every_days",
        "Days within which every copy is verified again; 30 unless set.",
    ),
    Variable("DRILL_STORE", "databases.*.drill.store", "Store that the drill fetches from; the farthest unless set."),
    Variable(
        "DRILL_HTTP_URL",
        "databases.*.drill.http_checks",
        "Addresses, such as that of `/health`, that must answer 200 in a drill; commas between.",
        _http_checks,
    ),
    Variable(
        "GPG_RECIPIENT", "encryption.recipients", "Full fingerprints of the keys to encrypt to; commas between.", _list
    ),
    Variable("GPG_HOMEDIR", "encryption.gpg_homedir", "Keyring; gpg's own unless set."),
    Variable("GPG_PROGRAM", "encryption.gpg_program", "The gpg program."),
    Variable("GPG_PASSPHRASE_FILE", "encryption.gpg_passphrase_file", "File with the private key's passphrase."),
    Variable(
        "AGE_RECIPIENT", "encryption.recipients", "`age1…` keys to encrypt to, instead of gpg; commas between.", _list
    ),
    Variable("AGE_IDENTITY_FILE", "encryption.age_identity_file", "File with the private key, to restore."),
    Variable("AGE_PROGRAM", "encryption.age_program", "The age program."),
    Variable(
        "KEEP_PLAIN", "encryption.keep_plain", "`true`: local plain files stay after a set was encrypted.", _boolean
    ),
    Variable("FOLDER_COPY_DIR", "stores.folder.directory", "Folder on other media to which every set is copied."),
    Variable(
        "FOLDER_COPY_MUST_BE_MOUNT",
        "stores.folder.must_be_mount",
        "`true`: nothing is copied unless FOLDER_COPY_DIR itself is a mount point.",
        _boolean,
    ),
    Variable(
        "FOLDER_COPY_OFF_SITE",
        "stores.folder.off_site",
        "`true`: a service or a person carries that folder to another site.",
        _boolean,
    ),
    Variable("S3_BUCKET", "stores.s3.bucket", "Bucket to which every set is copied."),
    Variable("S3_PREFIX", "stores.s3.prefix", "Put before every key in the bucket."),
    Variable("S3_REGION", "stores.s3.region", "The bucket's region; `ap-northeast-1` unless set."),
    Variable("S3_ENDPOINT_URL", "stores.s3.endpoint_url", "Address of a service other than AWS."),
    Variable("S3_ADDRESSING_STYLE", "stores.s3.addressing_style", "`auto`, `path` or `virtual`."),
    Variable("SSE_KMS_KEY_ID", "stores.s3.sse_kms_key_id", "KMS key that every object must be encrypted with."),
    Variable("SSE_S3", "stores.s3.sse_s3", "`AES256`: encryption with keys of the service, in place of a KMS key."),
    Variable("S3_COPY_BUCKET", "stores.s3_copy.bucket", "Second bucket, copied to from the first."),
    Variable("S3_COPY_PREFIX", "stores.s3_copy.prefix", "Put before every key in the second bucket."),
    Variable("S3_COPY_REGION", "stores.s3_copy.region", "Its region; `ap-northeast-3` unless set."),
    Variable("S3_COPY_ENDPOINT_URL", "stores.s3_copy.endpoint_url", "Address of its service, where that is not AWS."),
    Variable("S3_COPY_ADDRESSING_STYLE", "stores.s3_copy.addressing_style", "`auto`, `path` or `virtual`."),
    Variable("S3_COPY_KMS_KEY_ID", "stores.s3_copy.sse_kms_key_id", "KMS key of the second region."),
    Variable("S3_COPY_SSE_S3", "stores.s3_copy.sse_s3", "`AES256`, in place of a KMS key there."),
    Variable("S3_COPY_PROFILE", "stores.s3_copy.profile", "AWS profile for the second bucket, as of another account."),
    Variable("REMOTE_HOST", "stores.remote.host", "Another host, to which every set is copied by rsync over SSH."),
    Variable("REMOTE_DIR", "stores.remote.remote_dir", "Directory there; required with REMOTE_HOST."),
    Variable("REMOTE_PORT", "stores.remote.port", "Port of its SSH server; 22 unless set."),
    Variable("REMOTE_USER", "stores.remote.user", "User there; as ssh's configuration says unless set."),
    Variable("REMOTE_SSH_KEY", "stores.remote.ssh_key", "Private key file; as ssh's configuration says unless set."),
    Variable("REMOTE_KNOWN_HOSTS", "stores.remote.known_hosts", "File with the host's key; ssh's own unless set."),
    Variable(
        "REMOTE_KEEP_DAYS", "stores.remote.keep_days", "Sets there are pruned after so many days; never unless set."
    ),
    Variable(
        "ALERT_URLS",
        "watch.channels",
        "Whom to tell when something is wrong: Apprise addresses (`mailto://…`, `slack://…`), commas between.",
        secret=True,
    ),
    Variable("HEARTBEAT_URL", "watch.heartbeat", "Address requested after every look that went well.", secret=True),
    Variable("ALERT_REMINDER_HOURS", "watch.reminder_hours", "Hours until an alert is told again; 24 unless set."),
    Variable("DAGSTER_UI_URL", "watch.ui_url", "Address of the Dagster UI, for links in alerts."),
    Variable("REPORT_LANGUAGE", "watch.language", "Language of the monthly report and of alerts: `en` or `ja`."),
    Variable("ALERT_LANGUAGE", "watch.alert_language", "Language of alerts, where it is another one: `en` or `ja`."),
    Variable("BACKUP_DEMO_HOME", "", "Home of the embedded demo; `var/demo` unless set."),
)
BY_NAME = {variable.name: variable for variable in VARIABLES}
#: Top-level fields and their variables; these also complete a file that is silent about them.
COMMON_FIELDS = {v.field: v.name for v in VARIABLES if v.field and "." not in v.field}
_NAMING = ("DB_NAME", "DB_HOST", "DB_CONTAINER")


def values_set(environment: Mapping[str, str]) -> dict[str, str]:
    """Return our variables that have a value; an empty one counts as unset."""
    found = {name: environment.get(name, "") for name in BY_NAME}
    # A password may begin or end with a space; nothing else does on purpose.
    found = {name: value if BY_NAME[name].secret else value.strip() for name, value in found.items()}
    return {name: value for name, value in found.items() if value}


def field_of(name: str) -> str:
    """Return the field that the variable ``name`` sets, as in backup.yaml with `NAME` for the database."""
    return BY_NAME[name].field.replace("*", "NAME") or "attachments"


def names_a_database(given: Mapping[str, str]) -> bool:
    """Return whether variables say which database is backed up."""
    return any(name in given for name in _NAMING)


def database_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about the one database."""
    return [name for name in given if BY_NAME[name].of_database or name == "PDF_PROVIDER"]


def store_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about a store."""
    return [name for name in given if BY_NAME[name].of_store is not None]


def encryption_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about encryption."""
    return [name for name in given if BY_NAME[name].of_encryption]


def watch_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about the watch."""
    return [name for name in given if BY_NAME[name].of_watch]


def telling_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say whom the watch tells: who sets them relies on being told."""
    return [name for name in watch_variables(given) if BY_NAME[name].secret]
