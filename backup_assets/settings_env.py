"""Which environment variables exist, what each sets, and the settings of one database made from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup_assets.errors import SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_tree import Loc, Problem, dotted, settings_from_tree, suggestion


def _text(value: str) -> object:
    return value


def _list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _boolean(value: str) -> object:
    meant = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    return meant.get(value.casefold(), value)  # what is neither is refused by the models


def _file_columns(value: str) -> list[dict[str, str]]:
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
        """The store (a key of `STORES`) that it sets something of, or None."""
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
        _file_columns,
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
#: The stores that variables can describe, with what their names already say.
STORES: dict[str, dict[str, object]] = {
    "s3": {"kind": "s3"},
    "s3_copy": {"kind": "s3", "copied_from": "s3", "region": "ap-northeast-3"},
    "folder": {"kind": "folder"},
    "remote": {"kind": "ssh"},
}
BY_NAME = {variable.name: variable for variable in VARIABLES}
#: Top-level fields and their variables; these also complete a file that is silent about them.
COMMON_FIELDS = {v.field: v.name for v in VARIABLES if v.field and "." not in v.field}
_CIPHERS = {"GPG_RECIPIENT": "gpg", "AGE_RECIPIENT": "age"}
_NAMING = ("DB_NAME", "DB_HOST", "DB_CONTAINER")
_REMEDY = "correct the variables; docs/settings.md describes each"


@dataclass(frozen=True)
class CommonSettings:
    """What variables say about everything; None where they say nothing. Paths are absolute."""

    env: str | None
    backup_dir: Path | None
    client_bin_dir: Path | None


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


def common_settings(environment: Mapping[str, str], directory: Path) -> CommonSettings:
    """Return what variables say about everything; relative paths count from ``directory``."""
    given = values_set(environment)
    paths = {
        name: directory / Path(given[name]).expanduser() if name in given else None
        for name in ("BACKUP_DIR", "PG_BIN_DIR")
    }
    return CommonSettings(given.get("APP_ENV"), paths["BACKUP_DIR"], paths["PG_BIN_DIR"])


def store_tree(environment: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return what variables say about stores, in the shape of the field `stores` of backup.yaml."""
    given = values_set(environment)
    tree: dict[str, dict[str, object]] = {}
    for variable in VARIABLES:
        if variable.of_store is not None and variable.name in given:
            store = tree.setdefault(variable.of_store, dict(STORES[variable.of_store]))
            store[variable.field.rpartition(".")[2]] = variable.convert(given[variable.name])
    return tree


def store_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about a store."""
    return [name for name in given if BY_NAME[name].of_store is not None]


def encryption_tree(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what variables say about encryption, in the shape of the field `encryption` of backup.yaml."""
    given = values_set(environment)
    tree: dict[str, object] = {}
    for variable in VARIABLES:
        if variable.of_encryption and variable.name in given:
            field, value = variable.field.rpartition(".")[2], variable.convert(given[variable.name])
            tree |= {field: value} | ({"cipher": _CIPHERS[variable.name]} if variable.name in _CIPHERS else {})
    return tree


def encryption_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about encryption."""
    return [name for name in given if BY_NAME[name].of_encryption]


def watch_tree(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what variables say about the watch, in the shape of the field `watch` of backup.yaml."""
    given = values_set(environment)
    tree: dict[str, object] = {}
    for variable in VARIABLES:
        if variable.of_watch and variable.name in given:
            secret = {"env": variable.name}
            field = variable.field.rpartition(".")[2]
            value = [secret] if field == "channels" else secret
            tree[field] = value if variable.secret else variable.convert(given[variable.name])
    return tree


def watch_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about the watch."""
    return [name for name in given if BY_NAME[name].of_watch]


def telling_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say whom the watch tells: who sets them relies on being told."""
    return [name for name in watch_variables(given) if BY_NAME[name].secret]


def stores_and_encryption(environment: Mapping[str, str], directory: Path) -> Settings:
    """Return what variables say of both and of the watch, in settings without a use else.

    Raises SettingsError naming what is wrong.
    """
    given = values_set(environment)
    if wrong := _combinations(given | {"DB_NAME": "demo"}):
        raise _mistakes([f"{name}: {text}" for name, text in wrong])
    tree = {
        "databases": {"demo": {}},
        "stores": store_tree(environment),
        "encryption": encryption_tree(environment),
        "watch": watch_tree(environment),
    }
    tree |= {"backup_dir": given["BACKUP_DIR"]} if "BACKUP_DIR" in given else {}
    outcome = settings_from_tree(tree, directory, environment)
    if outcome.problems:
        raise _mistakes([f"{_where(problem, 'demo')}: {problem.text}" for problem in outcome.problems])
    if outcome.settings is None:
        raise AssertionError("no settings and no problem")
    return outcome.settings


def settings_from_variables(environment: Mapping[str, str], directory: Path) -> Settings:
    """Return the settings of the one database that variables describe; relative paths count from ``directory``.

    Raises SettingsError naming every variable that is missing or wrong.
    """
    given = values_set(environment)
    combinations = _combinations(given)
    refused = {name for name, _ in combinations}
    problems = [f"{name}: {text}" for name, text in combinations]
    name = _derived_name(given)
    if name is None and "DB_NAME" in given:
        problems.append("BACKUP_PREFIX: missing; no name with latin letters can be made from DB_NAME")
    name = name or "database"
    stores = store_tree(environment)
    tree: dict[str, Any] = {"stores": stores} if stores else {}
    if encryption := encryption_tree(environment):
        tree["encryption"] = encryption
    if watch := watch_tree(environment):
        tree["watch"] = watch
    for variable in VARIABLES:
        # What does not go together is left out here: its consequences are no mistakes of their own.
        elsewhere = variable.of_store or variable.of_encryption or variable.of_watch
        if variable.field and not elsewhere and variable.name in given and variable.name not in refused:
            value = {"env": variable.name} if variable.secret else variable.convert(given[variable.name])
            _put(tree, variable.field.replace("*", name).split("."), value)
    outcome = settings_from_tree(tree, directory, environment)
    for problem in outcome.problems:
        where = _where(problem, name)
        if where not in refused:
            problems.append(f"{where}: {problem.text}")
    if problems:
        raise _mistakes(problems)
    if outcome.settings is None:
        raise AssertionError("no settings and no problem")
    return outcome.settings


def _mistakes(problems: list[str]) -> SettingsError:
    heading = [f"{len(problems)} mistakes in the environment:"] if len(problems) > 1 else []
    return SettingsError("\n".join([*heading, *problems]), remedy=_REMEDY)


def _combinations(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which variables do not go together, or need one that is not set."""
    found: list[tuple[str, str]] = []
    if "DB_NAME" not in given:
        found.append(("DB_NAME", "missing; it names the database to back up"))
    if "DB_CONTAINER" in given and "DB_HOST" in given:
        found.append(("DB_CONTAINER", "not together with DB_HOST: the server is reached inside its container"))
    if "DB_CONTAINER_ENGINE" in given and "DB_CONTAINER" not in given:
        found.append(("DB_CONTAINER_ENGINE", "only together with DB_CONTAINER"))
    if "GPG_RECIPIENT" in given and "AGE_RECIPIENT" in given:
        found.append(("AGE_RECIPIENT", "not together with GPG_RECIPIENT; keep the one that is meant"))
    if "REMOTE_HOST" in given and "REMOTE_DIR" not in given:
        found.append(("REMOTE_DIR", "missing; REMOTE_HOST needs the directory there"))
    for first, start in (("REMOTE_HOST", "REMOTE_"), ("S3_BUCKET", "S3_COPY_"), ("S3_COPY_BUCKET", "S3_COPY_")):
        found += [
            (name, f"only together with {first}")
            for name in given
            if name.startswith(start) and first not in given
        ]  # fmt: skip
    found += [
        (name, "only together with SCRATCH_HOST")
        for name in ("SCRATCH_PORT", "SCRATCH_USER", "SCRATCH_PASSWORD")
        if name in given and "SCRATCH_HOST" not in given
    ]
    provider = given.get("PDF_PROVIDER")
    if provider == "local" and "ASSET_DIR" not in given:
        found.append(("ASSET_DIR", "missing; PDF_PROVIDER=local says that attachments lie in a folder"))
    if provider not in (None, "local"):
        if suggestion(provider, ["local"]):
            # Taken for another provider, it would leave the attachments out of every backup.
            found.append(("PDF_PROVIDER", f"found {provider!r}{suggestion(provider, ['local'])}"))
        elif "ASSET_DIR" in given:
            found.append(("ASSET_DIR", f"only with PDF_PROVIDER=local, not {provider!r}; unset one of the two"))
    if "ASSET_FILE_COLUMN" in given:
        if "ASSET_DIR" not in given:
            found.append(("ASSET_FILE_COLUMN", "only together with ASSET_DIR"))
        elif any(not part["table"] or not part["column"] for part in _file_columns(given["ASSET_FILE_COLUMN"])):
            found.append(("ASSET_FILE_COLUMN", "expected table.column or schema.table.column, with commas between"))
    return found


def _derived_name(given: Mapping[str, str]) -> str | None:
    source = given.get("BACKUP_PREFIX") or given.get("DB_NAME", "")
    name = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_")
    if name[:1].isdigit():
        name = f"db_{name}"
    return name[:63] or None


def _put(tree: dict[str, Any], path: list[str], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _where(problem: Problem, name: str) -> str:
    """Return the variable that sets the field of the problem, or the field where there is none."""
    loc: Loc = tuple("*" if index == 1 and part == name else part for index, part in enumerate(problem.loc))
    if loc[:2] == ("encryption", "recipients"):
        return "GPG_RECIPIENT or AGE_RECIPIENT"
    for length in range(len(loc), 0, -1):
        for variable in VARIABLES:
            if variable.field == dotted(loc[:length]):
                return variable.name
    return dotted(problem.loc)
