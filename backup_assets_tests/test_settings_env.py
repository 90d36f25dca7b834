from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_env import settings_from_variables
from backup_assets.settings_variables import BY_NAME


def read(directory: Path, **variables: str) -> DatabaseSettings:
    return settings_from_variables(variables, directory).databases[0]


def mistakes(directory: Path, **variables: str) -> str:
    with pytest.raises(SettingsError) as error:
        settings_from_variables(variables, directory)
    return error.value.what


def test_every_variable_reaches_its_field(tmp_path: Path) -> None:
    (tmp_path / "pdf").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("ca.pem", "check.sql"):
        (tmp_path / name).touch()
    variables = {
        "APP_ENV": "production",
        "BACKUP_DIR": "store",
        "PG_BIN_DIR": "bin",
        "DB_NAME": "erp",
        "DB_HOST": "db",
        "DB_PORT": "6432",
        "DB_USER": "backup",
        "DB_PASSWORD": " hunter2 ",
        "DB_SSLMODE": "verify-full",
        "DB_SSLROOTCERT": "ca.pem",
        "PDF_PROVIDER": "local",
        "ASSET_DIR": "pdf",
        "ASSET_FILE_COLUMN": "invoices.pdf_path, crm.letters.file",
        "BACKUP_PREFIX": "erp4-main",
        "BACKUP_TIER": "important",
        "BACKUP_SCHEDULE": "day",
        "BACKUP_TIME": "03:15",
        "BACKUP_TIMEZONE": "Europe/Berlin",
        "IMPORTANT_TABLES": "invoices, crm.letters,",
        "SCHEMA_VERSION_QUERY": "SELECT 1",
        "INTEGRITY_SQL": "check.sql",
        "CONTENT_HASHES": "important",
        "DUMP_JOBS": "3",
        "SCRATCH_HOST": "scratch",
        "SCRATCH_PORT": "7432",
        "SCRATCH_USER": "prover",
        "SCRATCH_PASSWORD": "hunter3",
        "FOLDER_COPY_DIR": "usb",
        "FOLDER_COPY_MUST_BE_MOUNT": "TRUE",
        "FOLDER_COPY_OFF_SITE": "TRUE",
        "S3_BUCKET": "erp4-backups",
        "S3_PREFIX": "backups/erp",
        "S3_REGION": "eu-central-1",
        "S3_ENDPOINT_URL": "https://s3.example:9000",
        "S3_ADDRESSING_STYLE": "path",
        "SSE_KMS_KEY_ID": "alias/erp4-backup",
        "S3_COPY_BUCKET": "erp4-osaka",
        "S3_COPY_PREFIX": "backups/erp",
        "S3_COPY_REGION": "eu-west-1",
        "S3_COPY_ENDPOINT_URL": "https://osaka.example:9000",
        "S3_COPY_ADDRESSING_STYLE": "path",
        "S3_COPY_KMS_KEY_ID": "alias/osaka",
        "S3_COPY_PROFILE": "osaka",
        "REMOTE_HOST": "backup-host",
        "REMOTE_DIR": "/var/backups/erp4",
        "REMOTE_PORT": "2222",
        "REMOTE_USER": "backup",
        "REMOTE_SSH_KEY": "id_ed25519",
        "REMOTE_KNOWN_HOSTS": "hosts",
        "REMOTE_KEEP_DAYS": "30",
        "GPG_RECIPIENT": "0123456789ABCDEF0123456789ABCDEF01234567",
        "GPG_HOMEDIR": "keys",
        "GPG_PROGRAM": "gpg2",
        "GPG_PASSPHRASE_FILE": "words",
        "AGE_IDENTITY_FILE": "identity",
        "AGE_PROGRAM": "rage",
        "KEEP_PLAIN": "yes",
        "SECRET_FILES": ".env",
        "SECRETS_MANAGER_NAMES": "erp4/jwt, erp4/kintone",
        "SSM_PARAMETER_NAMES": "/erp4/token",
        "RPO_HOURS": "3",
        "RTO_HOURS": "0.25",
        "VERIFIED_WITHIN_HOURS": "30",
        "RETENTION_DAILY": "30",
        "RETENTION_WEEKLY": "0",
        "RETENTION_MONTHLY": "24",
        "RETENTION_APPLY": "false",
        "VERIFY_EVERY_DAYS": "60",
        "DRILL_STORE": "s3_copy",
        "DRILL_HTTP_URL": "http://127.0.0.1:8080/health",
        "ALERT_URLS": "json://alerts.example, mailto://a:b@example.com?to=x@example.com,y@example.com",
        "HEARTBEAT_URL": "https://heartbeat.example/1",
        "ALERT_REMINDER_HOURS": "12",
        "DAGSTER_UI_URL": "https://dagster.example",
        "REPORT_LANGUAGE": "ja",
        "ALERT_LANGUAGE": "en",
    }
    for file in (".env", "id_ed25519", "hosts", "words", "identity"):
        (tmp_path / file).touch()
    not_in_this_one = {"BACKUP_CONFIG", "BACKUP_DEMO_HOME", "DB_CONTAINER", "DB_CONTAINER_ENGINE"}
    not_in_this_one |= {"SSE_S3", "S3_COPY_SSE_S3", "AGE_RECIPIENT"}
    assert {*variables, *not_in_this_one} == {*BY_NAME}
    settings = settings_from_variables(variables, tmp_path)
    database = settings.databases[0]
    assert database.server.password is not None
    assert database.server.password.get_secret_value() == " hunter2 "
    assert settings == Settings.model_validate(
        {
            "env": "production",
            "backup_dir": tmp_path / "store",
            "client_bin_dir": tmp_path / "bin",
            "databases": [
                {
                    "name": "erp4_main",
                    "database": "erp",
                    "server": {
                        "host": "db",
                        "port": 6432,
                        "user": "backup",
                        "password": " hunter2 ",
                        "sslmode": "verify-full",
                        "sslrootcert": tmp_path / "ca.pem",
                    },
                    "tier": "important",
                    "schedule": {"every": "day", "at": "03:15", "timezone": "Europe/Berlin"},
                    "important_tables": ["invoices", "crm.letters"],
                    "schema_version_query": "SELECT 1",
                    "integrity_sql": tmp_path / "check.sql",
                    "attachments": {
                        "directory": tmp_path / "pdf",
                        "files": [
                            {"table": "invoices", "column": "pdf_path"},
                            {"table": "crm.letters", "column": "file"},
                        ],
                    },
                    "dump": {"content_hashes": "important", "jobs": 3},
                    "verification": {
                        "scratch": {"host": "scratch", "port": 7432, "user": "prover", "password": "hunter3"},
                        "every_days": 60,
                    },
                    "secrets": {
                        "files": [tmp_path / ".env"],
                        "secrets_manager": ["erp4/jwt", "erp4/kintone"],
                        "ssm_parameters": ["/erp4/token"],
                    },
                    "retention": {"daily": 30, "weekly": 0, "monthly": 24, "apply": False},
                    "objectives": {"rpo_hours": 3, "rto_hours": 0.25, "verified_within_hours": 30},
                    "drill": {"store": "s3_copy", "http_checks": [{"url": "http://127.0.0.1:8080/health"}]},
                    "prefix": "erp4-main",
                }
            ],
            "stores": [
                {
                    "name": "folder",
                    "kind": "folder",
                    "directory": tmp_path / "usb",
                    "must_be_mount": True,
                    "off_site": True,
                },
                {
                    "name": "s3",
                    "kind": "s3",
                    "bucket": "erp4-backups",
                    "prefix": "backups/erp",
                    "region": "eu-central-1",
                    "endpoint_url": "https://s3.example:9000",
                    "addressing_style": "path",
                    "sse_kms_key_id": "alias/erp4-backup",
                },
                {
                    "name": "s3_copy",
                    "kind": "s3",
                    "copied_from": "s3",
                    "bucket": "erp4-osaka",
                    "prefix": "backups/erp",
                    "region": "eu-west-1",
                    "endpoint_url": "https://osaka.example:9000",
                    "addressing_style": "path",
                    "sse_kms_key_id": "alias/osaka",
                    "profile": "osaka",
                },
                {
                    "name": "remote",
                    "kind": "ssh",
                    "host": "backup-host",
                    "remote_dir": "/var/backups/erp4",
                    "port": 2222,
                    "user": "backup",
                    "ssh_key": tmp_path / "id_ed25519",
                    "known_hosts": tmp_path / "hosts",
                    "keep_days": 30,
                },
            ],
            "encryption": {
                "cipher": "gpg",
                "recipients": ["0123456789ABCDEF0123456789ABCDEF01234567"],
                "keep_plain": True,
                "gpg_homedir": tmp_path / "keys",
                "gpg_program": "gpg2",
                "gpg_passphrase_file": tmp_path / "words",
                "age_identity_file": tmp_path / "identity",
                "age_program": "rage",
            },
            "watch": {
                "channels": ["json://alerts.example, mailto://a:b@example.com?to=x@example.com,y@example.com"],
                "heartbeat": "https://heartbeat.example/1",
                "reminder_hours": 12,
                "ui_url": "https://dagster.example",
                "language": "ja",
                "alert_language": "en",
            },
        }
    )


def test_a_container_and_its_engine_are_read(tmp_path: Path) -> None:
    container = read(tmp_path, DB_NAME="erp", DB_CONTAINER="pg", DB_CONTAINER_ENGINE="podman").server.container
    assert container is not None
    assert (container.name, container.engine) == ("pg", "podman")


@pytest.mark.parametrize(
    ("given", "name"),
    [("Erp-4", "erp_4"), ("2026erp", "db_2026erp"), ("_x_", "x"), ("a" * 70, "a" * 63), ("受注erp", "erp")],
)
def test_the_databases_name_makes_a_valid_one(tmp_path: Path, given: str, name: str) -> None:
    database = read(tmp_path, DB_NAME=given)
    assert (database.name, database.database, database.prefix) == (name, given, None)


def test_a_name_without_latin_letters_asks_for_a_prefix(tmp_path: Path) -> None:
    assert mistakes(tmp_path, DB_NAME="受注").startswith("BACKUP_PREFIX: missing")
    assert read(tmp_path, DB_NAME="受注", BACKUP_PREFIX="orders").name == "orders"


def test_every_wrong_variable_is_named(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        DB_NAME="erp",
        DB_PORT="many",
        DB_SSLMODE="requre",
        BACKUP_TIMEZONE="Asia/Tokio",
        BACKUP_SCHEDULE="5h",
        BACKUP_TIME="2:00",
        INTEGRITY_SQL="none.sql",
        DUMP_JOBS="0",
        BACKUP_PREFIX="a/b",
    ).splitlines()
    assert found[0].startswith("8 mistakes")
    assert {line.split(":")[0] for line in found[1:]} == {
        "DB_PORT", "DB_SSLMODE", "BACKUP_TIMEZONE", "BACKUP_SCHEDULE", "BACKUP_TIME", "INTEGRITY_SQL", "DUMP_JOBS",
        "BACKUP_PREFIX",
    }  # fmt: skip


def test_a_password_of_spaces_is_a_password(tmp_path: Path) -> None:
    password = read(tmp_path, DB_NAME="x", DB_PASSWORD="  ").server.password
    assert password is not None
    assert password.get_secret_value() == "  "


def test_attachments_elsewhere_are_not_archived(tmp_path: Path) -> None:
    assert read(tmp_path, DB_NAME="x", PDF_PROVIDER="s3").attachments is None


@pytest.mark.parametrize("name", ["DB_NAME", "DB_HOST"])
def test_a_connection_string_is_refused_and_not_repeated(tmp_path: Path, name: str) -> None:
    found = mistakes(tmp_path, **{"DB_NAME": "x", name: "postgresql://u:hunter2@db/erp", "BACKUP_PREFIX": "erp"})
    assert found.startswith(f"{name}: found a connection string")
    assert "hunter2" not in found
